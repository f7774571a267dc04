//! Programs of a snap that people run: each of them keeps snapd from refreshing it, also where they only have a shell open
//! in an instance. Its services don't (`overlord/snapstate/refresh.go`).
//!
//! snapd finds them by the scope that it has systemd make for each, named `snap.SNAP.APP-UUID.scope`
//! (`sandbox/cgroup/tracking.go`); so do we. It tells of them only once a refresh is asked for.

use std::time::Duration;

use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::cmd::{Cmd, End};
use crate::contract::cx::{Cx, Unmet};
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Op};
use crate::contract::schema::{Member, Span};
use crate::contract::text::joined;

/// Where the kernel shows which process is in which scope.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Between two looks. What ends by itself meanwhile (a script that asks something, a look of ours) is in nobody's way.
const AGAIN: Duration = Duration::from_secs(2);

/// A process that keeps a snap from being refreshed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Client {
    /// The member it runs on.
    pub(crate) member: Member,
    /// The snap that it is a program of.
    pub(crate) snap: String,
    /// The program, as snapd calls it: `lxc` of `lxd`, `ceph` of `microceph`.
    pub(crate) app: String,
    /// Its process.
    pub(crate) pid: u32,
}

impl Client {
    /// Who runs, and where: `lxc (pid 4242)`.
    pub(crate) fn label(&self) -> String {
        format!("{} (pid {})", self.app, self.pid)
    }
}

/// List the programs of snaps that people run on a member: snapd doesn't refresh a snap while one of its programs runs.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientsArgs {
    /// Member to ask.
    pub(crate) member: Member,
    /// Only programs of this snap.
    pub(crate) snap: Option<String>,
}

/// What people run.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ClientsOut {
    /// The processes. What runs for less than two seconds isn't among them.
    pub(crate) clients: Vec<Client>,
}

pub(crate) struct Clients;

impl Op for Clients {
    const NAME: &'static str = "snap.clients";
    const EFFECT: Effect = Effect::Read;
    type Args = ClientsArgs;
    type Out = ClientsOut;

    fn headline(args: &ClientsArgs) -> String {
        args.snap.clone().unwrap_or_default()
    }

    fn summary(out: &ClientsOut) -> String {
        if out.clients.is_empty() {
            return "none".to_owned();
        }
        joined(out.clients.iter().map(Client::label), ", ")
    }

    async fn run(cx: &Cx, args: ClientsArgs) -> Result<ClientsOut, OpError> {
        let mut clients = lasting(cx, &args.member).await?;
        clients.retain(|c| args.snap.as_ref().is_none_or(|snap| c.snap == *snap));
        Ok(ClientsOut { clients })
    }
}

/// Wait until nobody runs a program of a snap on any member, so that snapd can refresh it everywhere.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WaitArgs {
    /// Snap that is to be refreshed.
    pub(crate) snap: String,
}

/// Nobody runs anything.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct WaitOut {
    /// How many members were asked.
    pub(crate) members: usize,
}

pub(crate) struct Wait;

impl Op for Wait {
    const NAME: &'static str = "snap.wait";
    const EFFECT: Effect = Effect::Read;
    const TIMEOUT: Span = Span::secs(5 * 60);
    type Args = WaitArgs;
    type Out = WaitOut;

    fn headline(args: &WaitArgs) -> String {
        args.snap.clone()
    }

    fn summary(_: &WaitOut) -> String {
        "none of its programs is running".to_owned()
    }

    async fn run(cx: &Cx, args: WaitArgs) -> Result<WaitOut, OpError> {
        let members = cx.members();
        let mut found = Vec::new();
        let waited = cx
            .until(AGAIN, async || {
                let looks = join_all(members.iter().map(|m| lasting(cx, m))).await;
                found.clear();
                for look in looks {
                    found.extend(look?.into_iter().filter(|c| c.snap == args.snap));
                }
                match found.is_empty() {
                    true => Ok(()),
                    false => Err(Unmet::NotYet(against(&found))),
                }
            })
            .await;
        match waited {
            Ok(()) => Ok(WaitOut {
                members: members.len(),
            }),
            Err(error) if found.is_empty() => Err(error),
            Err(error) => Err(OpError::refused(error.message).with("clients", evidence(&found))),
        }
    }
}

/// Why nothing is refreshed while these run, and what to do.
pub(crate) fn against(clients: &[Client]) -> String {
    let mut members: Vec<&str> = clients.iter().map(|c| c.member.as_str()).collect();
    members.dedup();
    let each = members.iter().map(|member| {
        let here = clients.iter().filter(|c| c.member == **member);
        let programs = joined(here.clone().map(Client::label), ", ");
        let pids = joined(here.map(|c| c.pid), ",");
        format!("{member} runs {programs} (see: ps -fp {pids})")
    });
    let snap = clients.first().map_or("", |c| c.snap.as_str());
    format!(
        "snapd doesn't refresh {snap} while its programs run: {}; end them there",
        joined(each, "; ")
    )
}

pub(super) fn evidence(clients: &[Client]) -> serde_json::Value {
    serde_json::to_value(clients).unwrap_or_default()
}

/// What runs on a member, of all snaps, and still runs after [`AGAIN`]. Most ends much sooner: as our own looks do, which are
/// such programs too.
pub(crate) async fn lasting(cx: &Cx, member: &Member) -> Result<Vec<Client>, OpError> {
    let mut clients = now(cx, member).await?;
    let (mut waited, mut pause) = (Duration::ZERO, AGAIN / 8);
    while !clients.is_empty() && waited < AGAIN {
        tokio::time::sleep(pause).await;
        let still = now(cx, member).await?;
        clients.retain(|client| still.contains(client));
        waited += pause;
        pause = (pause * 2).min(AGAIN - waited);
    }
    Ok(clients)
}

/// `find` fails on a folder that goes between being listed and being opened, whatever it is told to ignore (4.10, seen on the
/// lab). What fails each time has another reason.
const LOOKS: u32 = 4;

/// What runs on a member at this moment.
pub(super) async fn now(cx: &Cx, member: &Member) -> Result<Vec<Client>, OpError> {
    let cmd = listed(CGROUPS);
    let mut output = cx.cmd(member, &cmd).await?;
    for _ in 1..LOOKS {
        if output.success() {
            break;
        }
        // Where the kernel shows none, snapd finds no program either, and nothing keeps it from a refresh.
        let there = Cmd::user(["/usr/bin/test", "-d", CGROUPS]);
        if cx.cmd(member, &there).await?.end == End::Exit(1) {
            return Ok(Vec::new());
        }
        output = cx.cmd(member, &cmd).await?;
    }
    read(member, output.text(&cmd, member)?)
        .ok_or_else(|| output.failure(&cmd, member, "printed something else than processes"))
}

/// `head` names each file and can't fail on one that is empty. It may fail where a program ends between being found and being
/// read (seen on the lab); `find` doesn't end with an error for that, so a file that is still there and wasn't read is named in
/// words that are no process.
fn listed(folder: &str) -> Cmd {
    let read = ["-exec", "/usr/bin/head", "-v", "{}", ";"];
    let gone = ["-exec", "/usr/bin/test", "!", "-e", "{}", ";"];
    let words = [
        &["/usr/bin/find", folder, "-ignore_readdir_race"][..],
        &["-path", "*/snap.*.scope/cgroup.procs", "("],
        &read,
        &["-o"],
        &gone,
        &["-o", "-printf", "not read: %p\\n", ")"],
    ];
    Cmd::user(words.concat())
}

/// The processes in what `head -v` printed: the name of each file between arrows, and then its lines. Nothing where it is
/// something else.
fn read(member: &Member, text: &str) -> Option<Vec<Client>> {
    let (mut clients, mut of) = (Vec::new(), None);
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(path) = line.strip_prefix("==> ") {
            of = Some(scope(path.strip_suffix(" <==")?));
            continue;
        }
        let pid = line.parse().ok()?;
        if let Some((snap, app)) = of? {
            clients.push(Client {
                member: member.clone(),
                snap: snap.to_owned(),
                app: app.to_owned(),
                pid,
            });
        }
    }
    clients.sort();
    Some(clients)
}

/// The snap and the program that a scope was made for. Between its name and the UUID is a point in older snapds.
fn scope(path: &str) -> Option<(&str, &str)> {
    const UUID: usize = 36;
    let name = path.split('/').rev().nth(1)?;
    let tag = name.strip_prefix("snap.")?.strip_suffix(".scope")?;
    let tag = tag.get(..tag.len().checked_sub(UUID + 1)?)?;
    tag.split_once('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(cmd: &Cmd) -> String {
        let output = std::process::Command::new(&cmd.argv[0])
            .args(&cmd.argv[1..])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn a_program_that_ends_meanwhile_is_no_failure() {
        let folder = tempfile::tempdir().unwrap();
        let scope = |app: &str| {
            let uuid = "3b5d4d0c-7e2e-4a0e-9b39-0f3a8d6f5c11";
            let scope = folder.path().join(format!("snap.lxd.{app}-{uuid}.scope"));
            std::fs::create_dir(&scope).unwrap();
            scope.join("cgroup.procs")
        };
        std::os::unix::fs::symlink("gone", scope("ended")).unwrap();
        std::fs::write(scope("lxc"), "4242\n").unwrap();
        let text = run(&listed(folder.path().to_str().unwrap()));
        let clients = read(&"micro01".into(), &text);
        let labels: Vec<String> = clients.unwrap().iter().map(Client::label).collect();
        assert_eq!(labels, ["lxc (pid 4242)"]);
    }

    #[test]
    fn a_scope_that_cannot_be_read_is_not_empty() {
        let folder = tempfile::tempdir().unwrap();
        // Nobody reads a folder, root neither.
        std::fs::create_dir_all(folder.path().join("snap.lxd.lxc-x.scope/cgroup.procs")).unwrap();
        let text = run(&listed(folder.path().to_str().unwrap()));
        assert_eq!(read(&"micro01".into(), &text), None, "{text}");
    }

    #[test]
    fn clients_are_known_by_their_scopes() {
        let text = "==> /sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice/snap.lxd.lxc-3b5d4d0c-7e2e-4a0e-9b39-0f3a8d6f5c11.scope/cgroup.procs <==\n4242\n4250\n\n\
                    ==> /sys/fs/cgroup/system.slice/snap.microceph.ceph.3b5d4d0c-7e2e-4a0e-9b39-0f3a8d6f5c12.scope/cgroup.procs <==\n77\n\n\
                    ==> /sys/fs/cgroup/system.slice/snap.lxd.hook.configure-3b5d4d0c-7e2e-4a0e-9b39-0f3a8d6f5c13.scope/cgroup.procs <==\n\
                    \n==> /sys/fs/cgroup/system.slice/snap.odd.scope/cgroup.procs <==\n9\n";
        let labels: Vec<String> = read(&"micro01".into(), text)
            .unwrap()
            .iter()
            .map(|c| format!("{} {}", c.snap, c.label()))
            .collect();
        assert_eq!(
            labels,
            [
                "lxd lxc (pid 4242)",
                "lxd lxc (pid 4250)",
                "microceph ceph (pid 77)"
            ]
        );
        assert_eq!(read(&"micro01".into(), ""), Some(vec![]));
        for odd in ["{}", "[]\n", "4242\n", "==> /sys/fs/cgr"] {
            assert_eq!(read(&"micro01".into(), odd), None, "{odd}");
        }
    }
}
