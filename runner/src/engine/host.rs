//! The run, as ops see it.

use std::cell::RefCell;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use jiff::Timestamp;
use lockstep_modules::contract::cluster::Cluster;
use lockstep_modules::contract::cmd::Guard;
use lockstep_modules::contract::cx::{Host, Note};
use lockstep_modules::contract::error::{Kind, OpError};
use lockstep_modules::contract::op::Op;
use lockstep_modules::contract::reach::Transport;
use lockstep_modules::contract::run::Run;
use lockstep_modules::ops::lock::{Release, Take, TakeOut};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::tools::{Answer, Asker, Tools};
use crate::bounds;
use crate::clock::Clock;
use crate::event::{CommandEnd, Event, Events};
use crate::secret::Secrets;
use lockstep_modules::contract::path::StepPath;

/// Something that must be on disk before the op that left it continues.
pub(super) struct Witness {
    pub(super) path: StepPath,
    pub(super) data: Value,
    pub(super) written: oneshot::Sender<()>,
}

/// A step that does nothing but wait until then.
pub(super) struct Wait {
    pub(super) path: StepPath,
    pub(super) until: Timestamp,
}

pub(super) struct RunHost {
    run: Run,
    /// What members compare before they begin anything, as long as the run has the cluster.
    guard: RefCell<Option<Guard>>,
    cluster: Cluster,
    transport: Rc<dyn Transport>,
    clock: Clock,
    events: Events,
    asker: Rc<dyn Asker>,
    pub(super) secrets: Rc<Secrets>,
    witnesses: mpsc::UnboundedSender<Witness>,
    waits: mpsc::UnboundedSender<Wait>,
}

impl RunHost {
    pub(super) fn new(
        tools: &Tools,
        witnesses: mpsc::UnboundedSender<Witness>,
        waits: mpsc::UnboundedSender<Wait>,
    ) -> Self {
        Self {
            run: tools.run.clone(),
            guard: RefCell::default(),
            cluster: tools.cluster.clone(),
            transport: Rc::clone(&tools.transport),
            clock: tools.clock,
            events: tools.events.clone(),
            asker: Rc::clone(&tools.asker),
            secrets: Rc::clone(&tools.secrets),
            witnesses,
            waits,
        }
    }

    pub(super) fn guard(&self) -> Option<Guard> {
        self.guard.borrow().clone()
    }

    /// The run has the cluster from now on, or not any more, if this is what such a step came to.
    pub(super) fn owns(&self, op: &str, value: &Value) {
        if op == Take::NAME {
            let out = TakeOut::deserialize(value).ok();
            self.guard.replace(out.map(|out| out.claim.guard()));
        } else if op == Release::NAME {
            self.guard.replace(None);
        }
    }
}

impl Host for RunHost {
    fn run(&self) -> &Run {
        &self.run
    }

    fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    fn transport(&self) -> &dyn Transport {
        &*self.transport
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn witness<'a>(
        &'a self,
        path: &'a StepPath,
        data: Value,
    ) -> LocalBoxFuture<'a, Result<(), OpError>> {
        Box::pin(async move {
            let gone = || OpError::new(Kind::Cancelled, "the run is ending");
            let (written, on_disk) = oneshot::channel();
            let data = self.secrets.take_out(data);
            if let Some(why) = bounds::too_large(&data, None) {
                return Err(bounds::overflow(why, None));
            }
            let witness = Witness {
                path: path.clone(),
                data,
                written,
            };
            self.witnesses.send(witness).map_err(|_| gone())?;
            on_disk.await.map_err(|_| gone())
        })
    }

    fn ask<'a>(&'a self, question: &'a str) -> LocalBoxFuture<'a, Option<bool>> {
        Box::pin(async move {
            match self.asker.ask(&self.secrets.show_text(question)).await {
                Answer::Yes => Some(true),
                Answer::No => Some(false),
                Answer::Nobody => None,
            }
        })
    }

    fn note(&self, path: &StepPath, note: Note<'_>) {
        if let Note::Waits(until) = note {
            let path = path.clone();
            // Where nobody hears it the run is over.
            let _ = self.waits.send(Wait { path, until });
            return;
        }
        if !self.events.follows_steps() && !matches!(note, Note::Log { .. }) {
            return;
        }
        let path = path.clone();
        self.events.emit(match note {
            Note::Waits(_) => return,
            Note::Printed { member, lines } => match self.secrets.last_line(lines) {
                Some(line) => Event::Printed {
                    path,
                    member: member.clone(),
                    line,
                },
                None => return,
            },
            Note::Progress { done, total, text } => Event::Progress {
                path,
                done,
                total,
                text,
            },
            Note::Log { level, text } => Event::Log {
                scope: path.to_string(),
                level,
                message: text.to_owned(),
            },
            Note::Reconnected { member, reason } => Event::Mended {
                path,
                member: member.clone(),
                reason: reason.to_owned(),
            },
            Note::Away { member, reason } => Event::Away {
                path,
                member: member.clone(),
                reason: reason.to_owned(),
            },
            Note::Command {
                member,
                cmd,
                result,
                took,
            } => {
                let (end, (stdout, stderr)) = match result {
                    Ok(output) => (CommandEnd::Ended(output.end), output.transcript(cmd)),
                    Err(error) => (CommandEnd::Unknown(error.to_string()), Default::default()),
                };
                let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                Event::Command {
                    path,
                    member: member.clone(),
                    command: cmd.display(),
                    end,
                    ms,
                    stdout: stdout.into(),
                    stderr: stderr.into(),
                }
            }
        });
    }
}
