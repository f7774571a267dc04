//! What a machine has of its own: its snapd, its kernel, its room, its clock; and the programs that tell of them.

use serde::{Deserialize, Serialize};

use crate::dialects::Trait;
use crate::programs::app;
use crate::world::{Reply, World};

/// A machine's own properties. One that isn't mentioned is an ordinary machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Host {
    /// What it calls itself, if not by its member's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The release of Ubuntu: `24.04`.
    pub(crate) os: String,
    /// The version of snapd.
    pub snapd: String,
    /// The version of the kernel.
    pub kernel: String,
    /// Bytes that are free on its disk.
    pub free: u64,
    /// Milliseconds that its clock is ahead.
    pub ahead: i64,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            name: None,
            os: "24.04".to_owned(),
            snapd: "2.76".to_owned(),
            kernel: "6.8.0-31-generic".to_owned(),
            free: 40 << 30,
            ahead: 0,
        }
    }
}

/// A program of a snap that somebody runs on a member: its services aside, what keeps a snap from being refreshed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Client {
    pub(crate) member: String,
    pub(crate) snap: String,
    /// The app's name in its snap.
    pub(crate) app: String,
    pub(crate) pid: u32,
}

/// Where the processes of people begin to be counted.
const PID: u32 = 4242;

impl World {
    /// Whether what a member runs has this trait.
    pub(crate) fn has(&self, member: &str, what: Trait) -> bool {
        let version = match what.product() {
            Some("snapd") => self.host_of(member).snapd,
            Some(snap) => match self.release(member, snap) {
                Some(release) if snap == "microceph" => release.built.replace('-', "."),
                Some(release) => release.version.clone(),
                None => return false,
            },
            None => return false,
        };
        what.is_in(&version)
    }

    /// Somebody runs a program of a snap on a member: `lxc`, `ceph`.
    pub(crate) fn run_client(&mut self, member: &str, program: &str) {
        let Some((snap, app)) = app(program) else {
            return;
        };
        let pid = PID + u32::try_from(self.clients.len()).unwrap_or(0);
        self.clients.push(Client {
            member: member.to_owned(),
            snap: snap.to_owned(),
            app: app.to_owned(),
            pid,
        });
    }

    /// A machine's own properties, to be changed.
    pub fn host(&mut self, member: &str) -> &mut Host {
        self.hosts.entry(member.to_owned()).or_default()
    }

    pub(crate) fn host_of(&self, member: &str) -> Host {
        self.hosts.get(member).cloned().unwrap_or_default()
    }
}

/// `df --output=avail -B1 PATH`
pub(crate) fn df(world: &World, member: &str, args: &[&str]) -> Reply {
    match args {
        ["--output=avail", "-B1", _] => Reply::out(format!(
            "{:>12}\n{:>12}\n",
            "Avail",
            world.host_of(member).free
        )),
        _ => Reply::fail(1, "df: unknown arguments\n"),
    }
}

/// `date +%s.%N`
pub(crate) fn date(world: &World, member: &str, args: &[&str]) -> Reply {
    let ["+%s.%N"] = args else {
        return Reply::fail(1, "date: unknown arguments\n");
    };
    let now = world.timestamp(world.now).as_millisecond() + world.host_of(member).ahead;
    let (seconds, rest) = (now.div_euclid(1000), now.rem_euclid(1000));
    Reply::out(format!("{seconds}.{rest:03}000000\n"))
}
