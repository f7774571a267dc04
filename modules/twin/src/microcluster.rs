//! The database that MicroCeph, MicroOVN and MicroCloud each keep among their members, and their own programs.
//!
//! Every start of a daemon writes its schema into its row and compares (`internal/db/db.go`): newer than someone, it waits;
//! older than someone, it exits and is started again and again; equal to all, it is ready. A waiting daemon looks again
//! when it is told of a change, or after 30 s.

pub(crate) mod overview;
pub(crate) mod state;

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::dialects::Trait;
use crate::product::Product;
use crate::world::{Due, Proc, Reply, World};
use crate::{ceph, ovn};

pub(crate) use state::{Daemon, Micro, Row};

/// The product that is nothing but its daemon.
pub(crate) struct MicroCloud;

impl Product for MicroCloud {
    fn snap(&self) -> &'static str {
        "microcloud"
    }
}

/// From a daemon's start to its first comparison, in milliseconds (seen: online 0.3 s after snapd was done).
const START: u64 = 500;
/// From the last member's refresh to the others' noticing.
const NOTICE: u64 = 1000;
/// Between two starts of a daemon that exits.
const RESTART: u64 = 3000;

/// A cluster that is found as it is: daemons of members that are ahead wait for the others; one that was started again
/// behind another exits, again and again; and one that only runs on knows nothing of it.
pub(crate) fn found(world: &mut World, snap: &str, restarted: &[String]) {
    let Some(micro) = world.micro.get_mut(snap) else {
        return;
    };
    let schemas = || micro.rows.values().map(|row| row.schema);
    let (oldest, newest) = (schemas().min(), schemas().max());
    let mut crashing = Vec::new();
    for (name, row) in &mut micro.rows {
        let (ahead, behind) = (Some(row.schema) > oldest, Some(row.schema) < newest);
        row.daemon = match (ahead, behind) {
            (true, false) => Daemon::Waiting,
            (_, true) if ahead || restarted.contains(name) => {
                crashing.push(name.clone());
                Daemon::Crashing
            }
            _ => Daemon::Ready,
        };
    }
    for member in crashing {
        settle_after(world, RESTART, snap, &member);
    }
}

/// A daemon compares its row with the others' then.
fn settle_after(world: &mut World, millis: u64, snap: &str, member: &str) {
    let (snap, member) = (snap.to_owned(), member.to_owned());
    world.schedule(millis, Due::Micro { snap, member });
}

fn row_mut<'a>(world: &'a mut World, snap: &str, member: &str) -> Option<&'a mut Row> {
    world.micro.get_mut(snap)?.rows.get_mut(member)
}

/// A daemon compares its row with the others'.
pub(crate) fn settle(world: &mut World, snap: &str, member: &str) {
    let Some(micro) = world.micro.get_mut(snap) else {
        return;
    };
    let schemas: Vec<u32> = micro.rows.values().map(|row| row.schema).collect();
    let lost = micro.lost.contains(member);
    let Some(row) = micro
        .rows
        .get_mut(member)
        .filter(|row| row.daemon != Daemon::Down)
    else {
        return;
    };
    if lost {
        row.daemon = Daemon::Down;
        return;
    }
    let was = row.daemon;
    row.daemon = if schemas.iter().any(|s| *s > row.schema) {
        Daemon::Crashing
    } else if schemas.iter().any(|s| *s < row.schema) {
        Daemon::Waiting
    } else {
        Daemon::Ready
    };
    let is = row.daemon;
    if is == Daemon::Crashing {
        settle_after(world, RESTART, snap, member);
    }
    if is == Daemon::Ready && was != Daemon::Ready {
        let waiting: Vec<String> = world.micro.get(snap).map_or_else(Vec::new, |m| {
            m.rows
                .iter()
                .filter(|(_, r)| r.daemon == Daemon::Waiting)
                .map(|(name, _)| name.clone())
                .collect()
        });
        for other in waiting {
            settle_after(world, NOTICE, snap, &other);
        }
        if let Some(product) = World::product(snap) {
            product.ready(world);
        }
    }
}

/// `microceph|microovn|microcloud …`
pub(crate) fn command(world: &World, proc: &Proc, app: &str, args: &[&str]) -> Reply {
    let has = |what| world.has(&proc.member, what);
    let prefix = error_prefix(app);
    let if_ready = |lacks: &str, reply: &dyn Fn() -> Reply| match unready(world, app, &proc.member)
    {
        Some(error) => Reply::fail(1, format!("Error: {lacks}{error}\n")),
        None => reply(),
    };
    match args {
        ["cluster", "list", flags @ ..] => {
            if app == "microceph"
                && !has(Trait::CephListFormat)
                && let Some(flag) = flags.first()
            {
                return Reply::fail(1, format!("{prefix}{}\n", unknown_flag(flag)));
            }
            let json = ["-f", "--format"].iter().any(|f| flags == [*f, "json"])
                || ["-fjson", "-f=json", "--format=json"]
                    .iter()
                    .any(|f| flags == [*f]);
            match cluster_list(world, proc, app) {
                Ok(members) if json => Reply::json(&members),
                Ok(members) => Reply::out(members_table(&members)),
                Err(reply) => reply,
            }
        }
        ["disk", "list", "--json"] if app == "microceph" => {
            let lacks = "internal error: unable to fetch configured disks: ";
            if_ready(lacks, &|| Reply::out(format!("{}\n", ceph::disks(world))))
        }
        ["status"] if app == "microceph" => if_ready("", &|| Reply::out(ceph_status(world))),
        ["status"] if app == "microovn" => if_ready("failed listing services: ", &|| {
            Reply::out(ovn::status(world, &proc.member))
        }),
        ["certificates", "list", flags @ ..] if app == "microovn" => {
            if_ready("", &|| ovn::certificates(world, &proc.member, flags))
        }
        ["waitready", flags @ ..]
            if (app == "microceph" && has(Trait::CephWaitready))
                || (app == "microovn" && has(Trait::OvnWaitready)) =>
        {
            waitready(world, proc, app, flags)
        }
        // It waits for its own daemon without a deadline.
        ["status"] if app == "microcloud" && unready(world, app, &proc.member).is_some() => {
            Reply::Hang
        }
        _ => unknown_command(app, args),
    }
}

/// As cobra says it.
fn unknown_command(app: &str, args: &[&str]) -> Reply {
    let word = args.first().copied().unwrap_or_default();
    let text = format!(
        "{}unknown command \"{word}\" for \"{app}\"\nRun '{app} --help' for usage.\n",
        error_prefix(app)
    );
    Reply::fail(1, text)
}

/// As cobra says it.
fn unknown_flag(flag: &str) -> String {
    match flag.strip_prefix("--") {
        Some(long) => format!("unknown flag: --{}", long.split('=').next().unwrap_or(long)),
        None => {
            let letter = flag.chars().nth(1).unwrap_or('-');
            format!("unknown shorthand flag: '{letter}' in {flag}")
        }
    }
}

/// `waitready [--timeout N]`: until the daemon serves its database.
fn waitready(world: &World, proc: &Proc, app: &str, flags: &[&str]) -> Reply {
    if unready(world, app, &proc.member).is_none() {
        return Reply::out("");
    }
    let limit = match flags {
        ["--timeout" | "-t", seconds, ..] => seconds.parse::<u64>().ok(),
        [flag, ..] => flag.strip_prefix("--timeout=").and_then(|s| s.parse().ok()),
        [] => None,
    };
    match limit {
        Some(limit) if world.now - proc.began >= limit * 1000 => {
            Reply::fail(1, "Error: daemon not ready: context deadline exceeded\n")
        }
        _ => Reply::Again(500),
    }
}

/// The table for people: five columns, the shortened fingerprint among them (`cmd/*/cluster_list.go`).
fn members_table(members: &[Listed<'_>]) -> String {
    let header = ["NAME", "ADDRESS", "ROLE", "FINGERPRINT", "STATUS"].map(str::to_owned);
    let row = |member: &Listed<'_>| {
        let fingerprint = Sha256::digest(member.name);
        let fingerprint: String = fingerprint
            .iter()
            .take(6)
            .map(|b| format!("{b:02x}"))
            .collect();
        vec![
            member.name.to_owned(),
            member.address.clone(),
            member.role.to_owned(),
            fingerprint,
            member.status.to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = members.iter().map(row).collect();
    crate::table::render_ruled(&header, &rows)
}

/// `microceph status`: where daemons are to be, and nothing of whether they are well (`cmd/microceph/status.go`).
fn ceph_status(world: &World) -> String {
    let members = world
        .micro
        .get("microceph")
        .into_iter()
        .flat_map(|micro| micro.rows.keys());
    let lines = members.map(|name| {
        let address = world.members.get(name).map_or("", |m| m.address.as_str());
        let (services, disks) = world.ceph_services(name);
        format!("- {name} ({address})\n  Services: {services}\n  Disks: {disks}\n")
    });
    format!(
        "MicroCeph deployment summary:\n{}",
        lines.collect::<String>()
    )
}

fn error_prefix(app: &str) -> &'static str {
    if app == "microcloud" {
        "⨯ Error: "
    } else {
        "Error: "
    }
}

/// A service of a snap: what is false is left out (`client/apps.go`).
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Service<'a> {
    snap: &'a str,
    name: &'static str,
    daemon: &'static str,
    daemon_scope: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    enabled: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    active: bool,
}

/// `GET /v2/apps?names=SNAP&select=service`
pub(crate) fn services<'a>(world: &'a World, member: &str, snap: &str) -> Vec<Service<'a>> {
    let Some((snap, micro)) = world.micro.get_key_value(snap) else {
        return Vec::new();
    };
    let linked = world.installed(member, snap).is_some_and(|s| s.active);
    let up = micro
        .rows
        .get(member)
        .is_some_and(|row| row.daemon != Daemon::Down);
    let product = World::product(snap);
    let others = product.map_or(&[][..], |product| product.services());
    let placed = |name: &str| product.is_some_and(|product| product.places(world, member, name));
    let service = |name: &'static str, enabled: bool, active: bool| Service {
        snap,
        name,
        daemon: "simple",
        daemon_scope: "system",
        enabled,
        active,
    };
    let lost = |name: &str| {
        micro
            .lost_services
            .contains(&(member.to_owned(), name.to_owned()))
    };
    let own = std::iter::once(service("daemon", true, linked && up));
    own.chain(
        others
            .iter()
            .map(|name| service(name, placed(name), linked && placed(name) && !lost(name))),
    )
    .collect()
}

/// Why a daemon doesn't serve its database.
fn unready(world: &World, app: &str, member: &str) -> Option<String> {
    let rows = &world.micro.get(app)?.rows;
    let own = rows.get(member)?;
    match own.daemon {
        Daemon::Ready => None,
        Daemon::Starting => Some("Database is still starting".to_owned()),
        Daemon::Waiting => {
            let behind = rows.values().filter(|row| row.schema < own.schema).count();
            Some(format!(
                "Database is waiting for an upgrade: {behind} cluster members have not yet received the update"
            ))
        }
        Daemon::Down | Daemon::Crashing => {
            let socket = format!("/var/snap/{app}/common/state/control.socket");
            let get = "Get \"http://control.socket/1.0/cluster\"";
            Some(format!(
                "{get}: dial unix {socket}: connect: connection refused"
            ))
        }
    }
}

/// Whether a member's daemon says that it is ready, when a peer asks it.
fn is_ready(world: &World, app: &str, member: &str) -> bool {
    world.answers(member) && unready(world, app, member).is_none()
}

/// The members as a daemon tells them, or what is printed where it can't.
fn cluster_list<'a>(world: &'a World, proc: &Proc, app: &str) -> Result<Vec<Listed<'a>>, Reply> {
    let Some(micro) = world.micro.get(app) else {
        return Err(Reply::fail(1, ""));
    };
    let Some(own) = micro.rows.get(&proc.member) else {
        return Err(Reply::fail(1, ""));
    };
    if !matches!(own.daemon, Daemon::Ready | Daemon::Waiting) {
        let error = unready(world, app, &proc.member).unwrap_or_default();
        return Err(Reply::fail(1, format!("{}{error}\n", error_prefix(app))));
    }
    if own.daemon == Daemon::Ready {
        // Members are asked one after the other, and one that isn't there takes 30 s.
        let away = micro
            .rows
            .keys()
            .filter(|name| !world.answers(name))
            .count() as u64;
        let spent = world.now - proc.began;
        if spent < away * 30_000 {
            return Err(Reply::Again(away * 30_000 - spent));
        }
        let alive = micro
            .rows
            .iter()
            .filter(|(name, row)| world.answers(name) && alive(row.daemon))
            .count();
        if 2 * alive <= micro.rows.len() {
            return Err(Reply::fail(
                1,
                format!(
                    "{}Failed to begin transaction: context deadline exceeded\n",
                    error_prefix(app)
                ),
            ));
        }
    }
    let newest = micro.rows.values().map(|row| row.schema).max().unwrap_or(0);
    let members = micro.rows.iter().enumerate().map(|(i, (name, row))| {
        let status = match own.daemon {
            // Nobody is probed: the statuses come from stored versions alone.
            Daemon::Waiting if row.schema >= newest => "UPGRADING",
            Daemon::Waiting => "NEEDS UPGRADE",
            _ if is_ready(world, app, name) => "ONLINE",
            _ => "UNREACHABLE",
        };
        listed(world, micro, name, row, i, status)
    });
    Ok(members.collect())
}

fn alive(daemon: Daemon) -> bool {
    matches!(daemon, Daemon::Ready | Daemon::Waiting | Daemon::Starting)
}

/// A member as a daemon lists it; by the alphabet, as all that the twin prints.
#[derive(Serialize)]
struct Listed<'a> {
    address: String,
    certificate: &'static str,
    extensions: [&'static str; 1],
    last_heartbeat: Timestamp,
    name: &'a str,
    role: &'static str,
    schema_external_version: u32,
    schema_internal_version: u32,
    secret: &'static str,
    status: &'static str,
}

fn listed<'a>(
    world: &World,
    micro: &Micro,
    name: &'a str,
    row: &Row,
    i: usize,
    status: &'static str,
) -> Listed<'a> {
    let address = world.members.get(name).map_or("", |m| m.address.as_str());
    Listed {
        address: format!("{address}:{}", micro.port),
        certificate: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        extensions: ["internal:runtime_extension_v1"],
        last_heartbeat: world.timestamp(world.now),
        name,
        role: if i < 3 { "voter" } else { "stand-by" },
        schema_external_version: row.schema,
        schema_internal_version: 8,
        secret: "",
        status,
    }
}

impl World {
    /// The daemon of a snap ends on a member.
    pub(crate) fn daemon_stops(&mut self, snap: &str, member: &str) {
        if let Some(row) = row_mut(self, snap, member) {
            row.daemon = Daemon::Down;
        }
    }

    /// The daemon of a snap starts on a member, in the revision that is linked now.
    pub(crate) fn daemon_starts(&mut self, snap: &str, member: &str) {
        let Some(schema) = self.release(member, snap).map(|r| r.schema) else {
            return;
        };
        if let Some(row) = row_mut(self, snap, member) {
            row.daemon = Daemon::Starting;
            row.schema = schema;
        }
        settle_after(self, START, snap, member);
    }

    /// Whether the daemon of a snap is down on a member.
    pub(crate) fn daemon_is_down(&self, snap: &str, member: &str) -> bool {
        let row = self.micro.get(snap).and_then(|m| m.rows.get(member));
        row.is_some_and(|row| row.daemon == Daemon::Down)
    }

    /// The daemon of MicroCeph, MicroOVN or MicroCloud doesn't come up on a member when it is started.
    pub fn lose_daemon(&mut self, snap: &str, member: &str) {
        if let Some(micro) = self.micro.get_mut(snap) {
            micro.lost.insert(member.to_owned());
        }
    }

    /// A service of a snap ends soon after it was started, and stays down.
    pub fn lose_service(&mut self, snap: &str, member: &str, service: &str) {
        if let Some(micro) = self.micro.get_mut(snap) {
            micro
                .lost_services
                .insert((member.to_owned(), service.to_owned()));
        }
    }

    /// Someone has mended the services of a snap: those that were lost are started.
    pub fn mend_daemons(&mut self, snap: &str) {
        if let Some(micro) = self.micro.get_mut(snap) {
            micro.lost_services.clear();
        }
        let lost = self
            .micro
            .get_mut(snap)
            .map(|micro| std::mem::take(&mut micro.lost));
        for member in lost.into_iter().flatten() {
            self.daemon_starts(snap, &member);
        }
    }

    /// A member that has a snap no longer: neither the snap nor its part in that cluster.
    pub fn remove_snap(&mut self, member: &str, snap: &str) {
        self.uninstall(member, snap);
        self.forget_member(snap, member);
    }

    /// Someone has removed a snap from a member, whose cluster goes on listing it.
    pub fn uninstall(&mut self, member: &str, snap: &str) {
        if let Some(machine) = self.members.get_mut(member) {
            machine.snapd.snaps.remove(snap);
        }
    }

    /// Someone has removed a member from a snap's cluster, and left it the snap.
    pub fn forget_member(&mut self, snap: &str, member: &str) {
        if let Some(micro) = self.micro.get_mut(snap) {
            micro.rows.remove(member);
        }
    }
}
