//! What a machine has of its own: its snapd, its kernel, its room, its clock; and the programs that tell of them.

pub(crate) mod state;

pub(crate) use state::{Client, Host};

use crate::dialects::Trait;
use crate::world::{Reply, World};

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
        let Some((snap, app)) = World::app(program) else {
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
