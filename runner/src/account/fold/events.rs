//! What the events add to what the journal says, or say in its place where it is damaged.

use std::collections::btree_map::Entry;

use jiff::Timestamp;
use lockstep_modules::contract::schema::Member;

use super::Fold;
use crate::account::{Command, Output, Progress, Session, What, between};
use crate::event::{Change, CommandEnd, Event, Stamped};
use crate::failure::Failure;
use crate::journal::By;
use lockstep_modules::contract::path::StepPath;

impl Fold {
    pub(super) fn event(&mut self, Stamped { at, event, .. }: Stamped) {
        if let Event::RunStarted {
            run: _,
            playbook,
            cluster,
            members,
            stages: _,
            replayed: _,
        } = event
        {
            self.run_started(at, playbook, cluster, members);
            return;
        }
        let (alone, session) = (self.alone(at), self.session);
        self.reach(session, at);
        match event {
            Event::Log {
                level,
                scope,
                message,
            } => {
                let what = What::Logged {
                    level,
                    scope,
                    message,
                };
                self.turn(at, session, what);
            }
            Event::Interrupted { level } => self.turn(at, session, What::Interrupted { level }),
            Event::RunEnded { outcome, detail } if alone => self.outcome = Some((outcome, detail)),
            other => self.of_step(at, alone, other),
        }
    }

    /// An event of a step, which is all that is known of it where the events are `alone`.
    fn of_step(&mut self, at: Timestamp, alone: bool, event: Event) {
        let session = self.session;
        match event {
            Event::StepStarted { step, .. } => {
                let step = self.named(step);
                if alone {
                    step.begin(session, at);
                }
            }
            Event::StepProbed { step } => drop(self.named(step)),
            Event::Progress { path, text, .. } => {
                self.found(&path, None, at);
                self.step(&path).last_progress = text;
            }
            Event::Printed { path, member, line } => {
                self.found(&path, Some(&member), at);
                self.step(&path).last_progress = line;
            }
            Event::Command {
                path,
                member,
                command,
                end,
                ms,
                stdout,
                stderr,
            } => {
                let command = Command {
                    at,
                    member,
                    command,
                    end,
                    ms,
                    times: 1,
                    last: at,
                    stdout: Output::of(stdout),
                    stderr: Output::of(stderr),
                };
                self.command(&path, command);
            }
            Event::Mended { member, reason, .. } => {
                self.turn(at, session, What::Mended { member, reason });
            }
            Event::Away {
                path,
                member,
                reason,
            } => self.lost(at, path, member, reason),
            Event::StepDone {
                step,
                summary,
                change,
                by,
                ms: _,
            } => {
                self.found(&step.path, None, at);
                let path = step.path.clone();
                self.named(step).summary = summary;
                if alone {
                    self.step_done(&path, at, by, change);
                }
            }
            Event::StepRetried {
                path,
                failure,
                attempt,
                ..
            } => self.retried(at, path, failure, attempt),
            Event::StepFailed { path, failure } if alone => {
                let step = self.step(&path);
                step.end(session, at, Progress::Failed);
                step.failure = Some(failure.clone());
                self.turn(at, session, What::Failed { path, failure });
            }
            Event::StepHeld {
                path,
                failure,
                in_doubt,
            } if alone => self.hold(at, session, path, failure, in_doubt),
            Event::StepFailed { .. }
            | Event::StepHeld { .. }
            | Event::RunStarted { .. }
            | Event::Log { .. }
            | Event::Interrupted { .. }
            | Event::RunEnded { .. } => {}
        }
    }

    fn command(&mut self, path: &StepPath, command: Command) {
        if matches!(command.end, CommandEnd::Ended(_)) {
            self.found(path, Some(&command.member), command.at);
        }
        self.step(path).command(command);
    }

    fn lost(&mut self, at: Timestamp, path: StepPath, member: Member, reason: String) {
        // It is reported again and again while it lasts.
        if let Entry::Vacant(vacant) = self.lost.entry((path.clone(), member.clone())) {
            vacant.insert(at);
            let what = What::Lost {
                path,
                member,
                reason,
            };
            self.turn(at, self.session, what);
        }
    }

    fn retried(&mut self, at: Timestamp, path: StepPath, failure: Failure, attempt: u32) {
        self.step(&path).failed_attempt(attempt, at);
        let what = What::Retried {
            path,
            failure,
            attempt,
        };
        self.turn(at, self.session, what);
    }

    fn run_started(
        &mut self,
        at: Timestamp,
        playbook: String,
        cluster: String,
        members: Vec<Member>,
    ) {
        let sessions = &mut self.account.sessions;
        // Sessions without a word are possible; clocks that go backwards between two of them are too.
        let distance = |i: &usize| at.duration_since(sessions[*i].began).abs();
        let next = self.announced.map_or(0, |last| last + 1);
        let near = (next..sessions.len()).min_by_key(distance);
        let near = near.filter(|i| self.account.sound || distance(i).as_secs() < 60);
        if let Some(session) = near {
            (self.session, self.announced) = (session, Some(session));
        }
        if self.account.sound || near.is_some() {
            return;
        }
        sessions.push(Session::at(at));
        self.session = sessions.len() - 1;
        self.announced = Some(self.session);
        self.outcome = None;
        let account = &mut self.account;
        let first = account.began.is_none();
        if first {
            account.began = Some(at);
            (account.playbook, account.cluster, account.members) = (playbook, cluster, members);
        } else {
            account.resumes += 1;
        }
        let who = String::new();
        let what = if first {
            What::Began { who }
        } else {
            What::Resumed { who }
        };
        self.turn(at, self.session, what);
    }

    fn step_done(&mut self, path: &StepPath, at: Timestamp, by: By, change: Option<Change>) {
        let session = self.session;
        let step = self.step(path);
        step.end(session, at, Progress::Done);
        (step.by, step.failure) = (Some(by), None);
        self.changed(at, change);
    }

    /// A member that was lost to a step has answered it.
    fn found(&mut self, path: &StepPath, member: Option<&Member>, at: Timestamp) {
        if self.lost.is_empty() {
            return;
        }
        let back: Vec<(StepPath, Member)> = self
            .lost
            .keys()
            .filter(|(of, who)| of == path && member.is_none_or(|member| member == who))
            .cloned()
            .collect();
        for key in back {
            let since = self.lost.remove(&key).unwrap_or(at);
            let (path, member) = key;
            let ms = between(since, at);
            self.turn(at, self.session, What::Found { path, member, ms });
        }
    }
}
