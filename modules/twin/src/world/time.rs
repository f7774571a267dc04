//! What happens as time passes: what is due happens, and commands look at the world.

use std::sync::Arc;

use lockstep_modules::contract::cmd::{Cmd, End, Output};

use super::{Due, Proc, Reply, Strangers, World};
use crate::{ceph, lxd, machine, microcluster, ovn, programs, rules, snapd};

/// How long an ordinary command takes, in milliseconds.
const LATENCY: u64 = 40;

/// The step that a command is run for; where that isn't known, the command.
fn cause_of(cmd: &Cmd) -> String {
    if cmd.step.is_empty() {
        cmd.display()
    } else {
        cmd.step.clone()
    }
}

impl World {
    /// Lets time pass until `now`.
    pub fn advance(&mut self, now: u64) {
        while let Some(due) = self.due.pop_if(|due| due.at <= now) {
            self.now = self.now.max(due.at);
            match due.what {
                Due::Proc(id) => self.look_at(id),
                Due::Machine(event) => machine::happen(self, event),
                Due::Fault(event) => self.fault_event(event),
                Due::Rule(look) => rules::look(self, look),
                Due::Task { member, change } => snapd::task_done(self, &member, change),
                Due::Micro { snap, member } => microcluster::settle(self, &snap, &member),
                Due::Ceph(event) => ceph::happen(self, event),
                Due::Ovn(event) => ovn::happen(self, event),
                Due::Lxd(event) => lxd::happen(self, event),
            }
            self.rules_on_return();
            self.cause.clear();
        }
        self.now = self.now.max(now);
    }

    /// Starts a command on a member. It has a look at the world after its latency.
    pub fn spawn(&mut self, member: &str, cmd: &Cmd) -> u64 {
        self.spawned += 1;
        let id = self.spawned;
        let latency = LATENCY + programs::extra_latency(self, cmd);
        self.cause = cause_of(cmd);
        self.rules_on_command(member, cmd);
        self.last_command = self.now;
        let entry = (!self.unlogged).then(|| self.logged(member, cmd));
        let proc = Proc {
            id,
            member: member.to_owned(),
            cmd: Arc::new(cmd.clone()),
            began: self.now,
            entry,
            output: None,
            strange: false,
        };
        self.procs.insert(id, proc);
        self.cause.clear();
        self.schedule(latency, Due::Proc(id));
        id
    }

    fn look_at(&mut self, id: u64) {
        let Some(proc) = self.procs.get(&id).filter(|p| p.output.is_none()).cloned() else {
            return;
        };
        if self.members.get(&proc.member).is_some_and(|m| !m.lives()) {
            return self.schedule(1000, Due::Proc(id));
        }
        let left = u64::try_from(proc.cmd.timeout.as_millis())
            .unwrap_or(u64::MAX)
            .saturating_sub(self.now - proc.began);
        self.cause = cause_of(&proc.cmd);
        let before = self.settings_from(&proc.member);
        let changed = self.take_changed();
        let reply = self.answer(&proc);
        self.rules_on_settings(&proc.member, &before);
        if let Some(entry) = proc.entry.and_then(|at| self.log.get_mut(at)) {
            entry.changed |= self.changed;
        }
        self.changed |= changed;
        let output = match reply {
            _ if left == 0 => Output {
                end: End::TimedOut,
                ..Output::exit(0, "", "")
            },
            Reply::Exit(output) => output,
            Reply::Stranger(_) if proc.cmd.planned.is_some() => {
                let planned = proc.cmd.planned.clone().unwrap_or_default();
                Output::exit(planned.code, planned.stdout, "")
            }
            Reply::Stranger(output) => {
                if let Some(proc) = self.procs.get_mut(&id) {
                    proc.strange = self.strangers == Strangers::Unknown;
                }
                match self.strangers {
                    Strangers::Succeed => Output::exit(0, "", ""),
                    Strangers::Missing | Strangers::Unknown => output,
                }
            }
            Reply::Again(after) => return self.schedule(after.min(left), Due::Proc(id)),
            Reply::Hang => return self.schedule(left, Due::Proc(id)),
        };
        if let Some(entry) = proc.entry.and_then(|at| self.log.get_mut(at)) {
            entry.end = Some(output.end);
        }
        if let Some(proc) = self.procs.get_mut(&id) {
            proc.output = Some(output);
        }
    }
}
