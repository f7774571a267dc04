//! The world: members, what is due when, and the commands that run.

mod time;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use lockstep_modules::contract::cmd::{Cmd, End, Output};
use lockstep_modules::contract::reach::Facts;
use serde::{Deserialize, Serialize};

use crate::broken::state::{Answers, Programs};
use crate::ceph::state::{Ceph, Event as CephEvent};
use crate::faults::{Event as FaultEvent, Faults};
use crate::files::state::Files;
use crate::host::state::{Client, Host};
use crate::lxd::state::{Event as LxdEvent, Lxd};
use crate::machine::state::{Event as MachineEvent, Machine};
use crate::microcluster::state::Micro;
use crate::ovn::state::{Event as OvnEvent, Ovn};
use crate::rules::state::{Look, Rules};
use crate::snapd::state::Installed;
use crate::store::Store;

/// A simulated cluster. Times are milliseconds since [`World::epoch`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct World {
    /// What the calendar shows at time 0.
    pub epoch: Timestamp,
    /// The time.
    pub now: u64,
    /// Seed of everything random.
    pub(crate) seed: u64,
    /// The machines, by name.
    pub members: BTreeMap<String, Machine>,
    /// The snap store.
    pub store: Store,
    pub(crate) micro: BTreeMap<String, Micro>,
    pub(crate) ceph: Ceph,
    pub(crate) ovn: Ovn,
    pub(crate) lxd: Lxd,
    pub(crate) rules: Rules,
    pub(crate) files: Files,
    pub(crate) hosts: BTreeMap<String, Host>,
    /// Members whose file system can't be written.
    pub read_only: BTreeSet<String>,
    pub(crate) faults: Faults,
    /// Programs of snaps that people run on members.
    #[serde(default)]
    pub(crate) clients: Vec<Client>,
    /// What becomes of commands whose program the world doesn't know.
    #[serde(default)]
    pub strangers: Strangers,
    /// Machines beside the cluster, of which nothing is known but that they answer.
    #[serde(default)]
    pub machines: BTreeSet<String>,
    #[serde(default)]
    pub(crate) broken: Programs,
    #[serde(default)]
    pub(crate) answers: Answers,
    /// The step that what happens now was asked for by; empty where nobody asked.
    #[serde(skip)]
    pub(crate) cause: String,
    /// Whether a command has changed anything since the world was last written down. Time passing changes nothing: a
    /// world that was written down earlier goes through the same again.
    #[serde(skip)]
    changed: bool,
    /// The last one comes first.
    due: Vec<Scheduled>,
    procs: BTreeMap<u64, Proc>,
    spawned: u64,
    /// Every command that arrived at a member since this process began, in order.
    #[serde(skip)]
    pub log: Vec<Entry>,
    /// The log isn't kept, because nobody reads it: a run on fifty members has 50,000 commands.
    #[serde(skip)]
    pub unlogged: bool,
    /// When the last command arrived.
    #[serde(skip)]
    pub(crate) last_command: u64,
    /// What was typed on members, once each: thousands of commands are the same ones.
    #[serde(skip)]
    typed: BTreeSet<Arc<[String]>>,
}

/// A command that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: u64,
    /// Where.
    pub member: String,
    /// What.
    pub argv: Arc<[String]>,
    /// As root.
    pub root: bool,
    /// For which step; empty where it isn't known.
    pub step: String,
    /// How it ended; none while it runs.
    pub end: Option<End>,
    /// Whether it changed anything.
    pub changed: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Scheduled {
    at: u64,
    what: Due,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Due {
    /// A command has something to say.
    Proc(u64),
    /// A machine, or the way to it, changes.
    Machine(MachineEvent),
    /// A fault's time has come, or is over.
    Fault(FaultEvent),
    /// A rule is looked at that takes time to be broken.
    Rule(Look),
    /// The current task of a snapd change is done.
    Task { member: String, change: u64 },
    /// A microcluster daemon looks at the versions of its peers.
    Micro { snap: String, member: String },
    /// Something of Ceph's comes up again.
    Ceph(CephEvent),
    /// Something of OVN's comes up again.
    Ovn(OvnEvent),
    /// Something of LXD's happens.
    Lxd(LxdEvent),
}

/// A command that runs on a member. It goes on whoever may have gone away.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Proc {
    pub(crate) id: u64,
    pub(crate) member: String,
    pub(crate) cmd: Arc<Cmd>,
    pub(crate) began: u64,
    /// Its place in the log, if that is this process's.
    #[serde(skip)]
    entry: Option<usize>,
    output: Option<Output>,
    /// The world doesn't know the program.
    #[serde(default)]
    strange: bool,
}

/// What becomes of a command whose program the world doesn't know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Strangers {
    /// It isn't installed.
    #[default]
    Missing,
    /// It succeeds, and prints nothing.
    Succeed,
    /// Nobody can tell.
    Unknown,
}

#[cfg(test)]
impl Proc {
    /// A command that came at `began`, for tests of a program alone.
    pub(crate) fn of(member: &str, args: &[&str], began: u64) -> Self {
        Self {
            id: 0,
            member: member.to_owned(),
            cmd: Arc::new(Cmd::root(args.iter().copied())),
            began,
            entry: None,
            output: None,
            strange: false,
        }
    }
}

/// What a program answers when it is looked at.
#[derive(Debug)]
pub(crate) enum Reply {
    Exit(Output),
    /// It goes on; look again after so many milliseconds.
    Again(u64),
    /// The world doesn't know the program. A member that doesn't have it would say this.
    Stranger(Output),
    /// It hangs, until its time is up.
    Hang,
}

/// A value as programs print it that write JSON, on one line.
pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

impl Reply {
    pub(crate) fn out(text: impl Into<String>) -> Self {
        Self::Exit(Output::exit(0, text, ""))
    }

    pub(crate) fn json(value: &impl Serialize) -> Self {
        Self::out(json(value) + "\n")
    }

    pub(crate) fn fail(code: i32, stderr: impl Into<String>) -> Self {
        Self::Exit(Output::exit(code, "", stderr))
    }
}

impl World {
    pub(crate) fn new(epoch: Timestamp, seed: u64) -> Self {
        Self {
            epoch,
            seed,
            ..Self::default()
        }
    }

    /// What the calendar shows at a time.
    #[must_use]
    pub fn timestamp(&self, at: u64) -> Timestamp {
        let span = jiff::SignedDuration::from_millis(i64::try_from(at).unwrap_or(i64::MAX));
        self.epoch.checked_add(span).unwrap_or(Timestamp::MAX)
    }

    /// A number below `below` that depends on the seed and on what it is for, and on nothing else.
    pub(crate) fn random(&self, what: &str, below: u64) -> u64 {
        // FNV-1a: enough to spread things out.
        let bytes = what.bytes().chain(self.seed.to_le_bytes());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
        });
        (hash >> 16) % below.max(1)
    }

    pub(crate) fn schedule(&mut self, after: u64, what: Due) {
        self.changed |= !matches!(what, Due::Proc(_));
        let at = self.now + after;
        let before = self.due.partition_point(|due| due.at > at);
        self.due.insert(before, Scheduled { at, what });
    }

    /// A command changes something at once.
    pub(crate) fn touch(&mut self) {
        self.changed = true;
    }

    /// Whether the world must be written down, if it is to be found again as it is.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    pub(crate) fn next_due(&self) -> Option<u64> {
        self.due.last().map(|due| due.at)
    }

    /// In how many milliseconds the task of a change ends that is being done.
    pub(crate) fn task_ends(&self, member: &str, change: u64) -> u64 {
        let is_its = |due: &&Scheduled| matches!(&due.what, Due::Task { member: on, change: of } if on == member && *of == change);
        let due = self.due.iter().rev().find(is_its);
        due.map_or(0, |due| due.at - self.now)
    }

    /// What a machine tells of itself.
    pub(crate) fn facts(&self, member: &str) -> Option<Facts> {
        if self.machines.contains(member) {
            return Some(Facts {
                hostname: member.to_owned(),
                root: false,
                boot_id: String::new(),
                curl: None,
            });
        }
        let machine = self.members.get(member)?;
        Some(Facts {
            hostname: self
                .host_of(member)
                .name
                .unwrap_or_else(|| member.to_owned()),
            root: false,
            boot_id: machine.boot_id.clone(),
            curl: machine.curl.then(|| "/usr/bin/curl".to_owned()),
        })
    }

    /// Whether a machine answers on the network.
    #[must_use]
    pub fn answers(&self, member: &str) -> bool {
        let machine = self.members.get(member);
        machine.map_or_else(|| self.machines.contains(member), Machine::answers)
    }

    /// Logs a command that arrived. Returns its place.
    fn logged(&mut self, member: &str, cmd: &Cmd) -> usize {
        let entry = Entry {
            at: self.now,
            member: member.to_owned(),
            argv: self.typed(&cmd.argv),
            root: cmd.root,
            step: cmd.step.clone(),
            end: None,
            changed: false,
        };
        self.log.push(entry);
        self.log.len() - 1
    }

    fn typed(&mut self, argv: &[String]) -> Arc<[String]> {
        if let Some(known) = self.typed.get(argv) {
            return Arc::clone(known);
        }
        let argv: Arc<[String]> = argv.into();
        self.typed.insert(Arc::clone(&argv));
        argv
    }

    /// The output of a command that has ended. It is gone afterwards.
    pub fn take(&mut self, id: u64) -> Option<Output> {
        self.procs.get(&id)?.output.as_ref()?;
        self.procs.remove(&id)?.output
    }

    /// Whether a command has come to a program that the world doesn't know, and nobody can tell what it does.
    pub(crate) fn is_strange(&self, id: u64) -> bool {
        self.procs.get(&id).is_some_and(|proc| proc.strange)
    }

    /// Ends a command, as the death of its session may.
    pub(crate) fn kill(&mut self, id: u64) {
        self.procs.remove(&id);
    }

    /// Ends every command on a member, or on all members: its power or its session is gone.
    pub(crate) fn kill_all(&mut self, member: &str) {
        self.procs.retain(|_, proc| proc.member != member);
    }

    /// The controller's sessions end, and what they ran ends with them. What snapd and LXD were asked for goes on.
    pub fn end_sessions(&mut self) {
        self.procs.clear();
    }

    pub(crate) fn running(&self, member: &str) -> impl Iterator<Item = &Proc> {
        self.procs
            .values()
            .filter(move |p| p.member == member && p.output.is_none())
    }

    /// What is in the revision of a snap that is linked on a member.
    pub(crate) fn release(&self, member: &str, snap: &str) -> Option<&crate::store::Release> {
        self.store.release(snap, self.revision(member, snap)?)
    }

    /// The revision that a member has of a snap.
    #[must_use]
    pub fn revision(&self, member: &str, snap: &str) -> Option<u32> {
        Some(self.installed(member, snap)?.revision)
    }

    pub(crate) fn installed(&self, member: &str, snap: &str) -> Option<&Installed> {
        self.members.get(member)?.snapd.snaps.get(snap)
    }

    pub(crate) fn installed_mut(&mut self, member: &str, snap: &str) -> Option<&mut Installed> {
        self.members.get_mut(member)?.snapd.snaps.get_mut(snap)
    }
}
