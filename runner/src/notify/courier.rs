//! A thread for each receiver, so that none of them is ever in the way of the run, or of another.
//!
//! The run only rings a bell. The thread reads the journal itself, and tries again after growing pauses where a receiver can't be
//! reached. When the process ends it has a short time for what is left; what is left then stays in the journal.

use std::mem::{Discriminant, discriminant};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver as End, RecvTimeoutError, Sender, SyncSender};
use std::thread;
use std::time::Duration;

use lockstep_modules::contract::cx::LogLevel;
use tokio::time::Instant;

use super::post::Wire;
use super::reading::Reading;
use super::receiver::{Receiver, Trouble};
use crate::event::{Event, Reporter, Stamped};

/// How long the end of a process waits for its receivers.
const GRACE: Duration = Duration::from_secs(2);

/// The pause after the first failure; each further one is twice as long, up to the longest.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// The couriers of a run.
pub(crate) struct Couriers {
    wires: Vec<Arc<Wire>>,
    bells: Vec<SyncSender<()>>,
    /// The process ends.
    ending: Arc<AtomicBool>,
    warnings: End<String>,
    /// Closed when all of them have ended.
    all: End<()>,
}

/// Rings the bells, and reports what couriers complain of.
struct Bell {
    bells: Vec<SyncSender<()>>,
    warnings: End<String>,
}

impl Couriers {
    /// Sends couriers to these receivers, each with the journal from its beginning.
    pub(super) fn of(journal: &Path, receivers: Vec<Box<dyn Receiver>>) -> Self {
        let (warn, warnings) = mpsc::channel();
        let (done, all) = mpsc::channel::<()>();
        let mut couriers = Self {
            wires: Vec::new(),
            bells: Vec::new(),
            ending: Arc::default(),
            warnings,
            all,
        };
        for receiver in receivers {
            let name = receiver.name();
            let wire = Arc::new(Wire::default());
            let (bell, rings) = mpsc::sync_channel(1);
            let mut courier = Courier {
                reading: Reading::of(journal),
                receiver,
                wire: Arc::clone(&wire),
                ending: Arc::clone(&couriers.ending),
                warn: warn.clone(),
                warned: Vec::new(),
            };
            let done = done.clone();
            let thread = thread::Builder::new().name("courier".to_owned());
            let spawned = thread.spawn(move || {
                courier.run(&rings);
                drop(done);
            });
            match spawned {
                Ok(_) => {
                    couriers.wires.push(wire);
                    couriers.bells.push(bell);
                }
                Err(error) => {
                    let _ = warn.send(format!(
                        "notify: {name}: gets to know nothing of this run: {error}"
                    ));
                }
            }
        }
        couriers
    }

    /// The reporter that rings whenever something has happened.
    pub(crate) fn bell(&mut self) -> Box<dyn Reporter> {
        let (_, none) = mpsc::channel();
        Box::new(Bell {
            bells: self.bells.clone(),
            warnings: std::mem::replace(&mut self.warnings, none),
        })
    }

    /// Has them end: with what is left, as far as there is time for it.
    pub(crate) fn end(self) {
        self.ending.store(true, Ordering::SeqCst);
        ring(&self.bells);
        if self.all.recv_timeout(GRACE) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        for wire in &self.wires {
            wire.cut();
        }
        // They write down how far they came. One that can't is left behind.
        let _ = self.all.recv_timeout(GRACE);
    }
}

fn ring(bells: &[SyncSender<()>]) {
    for bell in bells {
        // It rings already, or its courier is gone.
        let _ = bell.try_send(());
    }
}

impl Reporter for Bell {
    fn take(&mut self, _: &Stamped) {
        ring(&self.bells);
    }

    fn trouble(&mut self) -> Option<Event> {
        let message = self.warnings.try_recv().ok()?;
        Some(Event::Log {
            level: LogLevel::Warn,
            scope: String::new(),
            message,
        })
    }
}

struct Courier {
    reading: Reading,
    receiver: Box<dyn Receiver>,
    wire: Arc<Wire>,
    ending: Arc<AtomicBool>,
    warn: Sender<String>,
    /// What it complained of already.
    warned: Vec<Discriminant<Trouble>>,
}

impl Courier {
    fn run(&mut self, rings: &End<()>) {
        let mut pause = PAUSE;
        // Until when there is nothing to be done, and whether news changes that.
        let (mut until, mut patient) = (None, true);
        loop {
            // Asked first: what the run recorded before is read.
            let last = self.ending.load(Ordering::SeqCst);
            for entry in self.reading.next() {
                self.receiver.read(&entry);
            }
            let due = until.is_none_or(|until| until <= Instant::now());
            if due || patient || last {
                let again = match self.receiver.update(&self.wire, last) {
                    Ok(again) => {
                        (pause, patient) = (PAUSE, true);
                        again
                    }
                    // It answers, and will have the events after these.
                    Err(trouble @ Trouble::Refused { .. }) => {
                        self.complain(&trouble);
                        (pause, patient) = (PAUSE, true);
                        Some(PAUSE)
                    }
                    Err(trouble) => {
                        self.complain(&trouble);
                        let again = pause;
                        (pause, patient) = ((pause * 2).min(LONGEST), false);
                        Some(again)
                    }
                };
                until = again.map(|again| Instant::now() + again);
            }
            if last {
                return;
            }
            let wait = until.map_or(LONGEST, |until| {
                until.saturating_duration_since(Instant::now())
            });
            if rings.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
    }

    fn complain(&mut self, trouble: &Trouble) {
        let kind = discriminant(trouble);
        if !self.warned.contains(&kind) {
            self.warned.push(kind);
            let (name, outlook) = (self.receiver.name(), trouble.outlook());
            let _ = self
                .warn
                .send(format!("notify: {name}: {trouble}; {outlook}"));
        }
    }
}
