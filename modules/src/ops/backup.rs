//! `backup`: a copy of the control plane on each member, taken before it is changed.
//!
//! What is copied while everything runs: the databases as SQL (one transaction each), the daemons' own folders, LXD's
//! certificates, OVN's databases. No workload's data. Such a copy is for people who repair a cluster, and no way back by itself.

use std::time::Duration;

use jiff::civil;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::cmd::{Cmd, End, Output};
use crate::contract::component::Component;
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Module, Op};
use crate::contract::schema::{Member, Span};
use crate::ops::lock::FOLDER;
use crate::products::snapd::{self, Snap};

pub(crate) fn module() -> Module {
    Module::new("backup", "A copy of the control plane on each member.")
        .op::<Take>()
        .op::<Verify>()
}

/// Runs `$2…` and keeps what it prints in the file `$1`, which only root can read. The pipe is there because a confined
/// snap may not write to a file that it was handed, and isn't informed. 74 says that the file couldn't be written.
const KEEP: &str = r#"umask 077; out=$1; shift; r=$({ { "$@" || echo $? >&3; } | cat >"$out" || echo 74 >&3; } 3>&1); case $r in *74*) exit 74; esac; exit ${r:-0}"#;

/// What [`KEEP`] ends with where the file couldn't be written.
const UNWRITTEN: End = End::Exit(74);

/// How long copying one part may take.
const TIMEOUT: Duration = Duration::from_secs(180);

/// The list of checksums. It is written last: a backup without it was never finished.
const SUMS: &str = "SHA256SUMS";

struct Part {
    /// The file that it is kept in. A dump of SQL ends with `COMMIT;`.
    file: &'static str,
    component: Component,
    /// A path that is there where the part is.
    there: &'static str,
    /// What prints it; no word of it has a space.
    command: &'static str,
}

/// A row is the file, the component, the path that is there where the part is, and what prints it.
macro_rules! parts {
    ($($file:literal of $component:ident at $there:literal: $command:literal;)+) => {
        [$(Part {
            file: $file,
            component: Component::$component,
            there: $there,
            command: $command,
        }),+]
    };
}

/// All parts. `tar` is asked to put up with files that change and sockets that come and go.
const PARTS: [Part; 11] = parts! {
    "microceph.sql" of Microceph at "/var/snap/microceph/common/state":
        "/snap/bin/microceph cluster sql .dump";
    "microceph-state.tar.gz" of Microceph at "/var/snap/microceph/common/state":
        "/usr/bin/tar --ignore-failed-read -C /var/snap/microceph/common -czf - state";
    "microovn.sql" of Microovn at "/var/snap/microovn/common/state":
        "/snap/bin/microovn cluster sql .dump";
    "microovn-state.tar.gz" of Microovn at "/var/snap/microovn/common/state":
        "/usr/bin/tar --ignore-failed-read -C /var/snap/microovn/common -czf - state";
    "ovn-northbound.db" of Microovn at "/var/snap/microovn/common/run/ovn/ovnnb_db.sock":
        "/snap/bin/microovn.ovsdb-client --timeout=60 backup unix:/var/snap/microovn/common/run/ovn/ovnnb_db.sock OVN_Northbound";
    "ovn-southbound.db" of Microovn at "/var/snap/microovn/common/run/ovn/ovnsb_db.sock":
        "/snap/bin/microovn.ovsdb-client --timeout=60 backup unix:/var/snap/microovn/common/run/ovn/ovnsb_db.sock OVN_Southbound";
    "lxd-global.sql" of Lxd at "/var/snap/lxd/common/lxd":
        "/snap/bin/lxd sql global .dump";
    "lxd-local.sql" of Lxd at "/var/snap/lxd/common/lxd":
        "/snap/bin/lxd sql local .dump";
    "lxd-certificates.tar.gz" of Lxd at "/var/snap/lxd/common/lxd":
        "/usr/bin/tar -C /var/snap/lxd/common/lxd -czf - server.crt server.key cluster.crt cluster.key";
    "microcloud.sql" of Microcloud at "/var/snap/microcloud/common/state":
        "/snap/bin/microcloud sql .dump";
    "microcloud-state.tar.gz" of Microcloud at "/var/snap/microcloud/common/state":
        "/usr/bin/tar --ignore-failed-read -C /var/snap/microcloud/common -czf - state";
};

/// LXD's databases as files, where it doesn't serve.
const LXD_FILES: [Part; 1] = parts! {
    "lxd-database.tar.gz" of Lxd at "/var/snap/lxd/common/lxd":
        "/usr/bin/tar --ignore-failed-read -C /var/snap/lxd/common/lxd -czf - database";
};

/// Copy the control plane of a member into a folder of this run's there, which only root can read.
///
/// Older backups are removed until this many are left. See [`backup.verify`](#backupverify).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TakeArgs {
    /// Member to act on.
    pub(crate) member: Member,
    /// How many backups are kept there, this one counted.
    #[serde(default = "five")]
    pub(crate) keep: usize,
    /// Components whose daemon doesn't serve there, since members have different releases: of their databases only the
    /// files are copied.
    #[serde(default)]
    pub(crate) unserved: Vec<String>,
}

fn five() -> usize {
    5
}

/// A backup.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TakeOut {
    /// Where it is.
    pub(crate) folder: String,
    /// What is in it.
    pub(crate) files: Vec<File>,
    /// Bytes in all.
    pub(crate) bytes: u64,
    /// Backups that were removed.
    pub(crate) pruned: Vec<String>,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct File {
    /// Its name.
    pub(crate) name: String,
    /// Its size in bytes.
    pub(crate) bytes: u64,
    /// Its SHA-256.
    pub(crate) sha256: String,
}

/// `backup.take`
pub struct Take;

impl Op for Take {
    const NAME: &'static str = "backup.take";
    const EFFECT: Effect = Effect::Converge;
    const TIMEOUT: Span = Span::secs(15 * 60);
    type Args = TakeArgs;
    type Out = TakeOut;

    fn summary(out: &TakeOut) -> String {
        let (files, kib) = (out.files.len(), out.bytes >> 10);
        format!("{files} files, {kib} KiB in {}", out.folder)
    }

    async fn run(cx: &Cx, args: TakeArgs) -> Result<TakeOut, OpError> {
        let member = &args.member;
        let folder = folder(cx);
        // What an earlier attempt finished is from before the first change, and stays.
        if !exists(cx, member, &format!("{folder}/{SUMS}")).await? {
            take(cx, member, &folder, &args.unserved).await?;
        }
        let files = files(cx, member, &folder).await?;
        let pruned = prune(cx, member, &folder, args.keep.max(1)).await?;
        Ok(TakeOut {
            bytes: files.iter().map(|f| f.bytes).fold(0, u64::saturating_add),
            folder,
            files,
            pruned,
        })
    }
}

/// The folder of all backups of a member.
fn all() -> String {
    format!("{FOLDER}/backup")
}

/// When a run began, in the name of its backup: names sort by time.
const STAMP: &str = "%Y%m%dT%H%M%SZ";

/// The folder of this run's backup.
fn folder(cx: &Cx) -> String {
    let began = cx.run().began.strftime(STAMP);
    format!("{}/{began}-{}", all(), cx.run().id)
}

/// Runs a command that must succeed.
async fn must(cx: &Cx, member: &Member, cmd: &Cmd) -> Result<Output, OpError> {
    let output = cx.cmd(member, cmd).await?;
    output.text(cmd, member)?;
    Ok(output)
}

async fn exists(cx: &Cx, member: &Member, path: &str) -> Result<bool, OpError> {
    let cmd = Cmd::root(["/usr/bin/test", "-e", path]);
    Ok(cx.cmd(member, &cmd).await?.success())
}

/// Has what `argv` prints kept in a file.
fn keep<'a>(file: &'a str, argv: impl IntoIterator<Item = &'a str>) -> Cmd {
    let head = ["/bin/sh", "-c", KEEP, "sh", file];
    Cmd::root(head.into_iter().chain(argv))
        .timeout(TIMEOUT)
        .private()
}

/// Copies every part that is there.
async fn take(cx: &Cx, member: &Member, folder: &str, unserved: &[String]) -> Result<(), OpError> {
    let installed = installed(cx, member).await?;
    for path in [all().as_str(), folder] {
        let cmd = Cmd::root(["/usr/bin/mkdir", "-p", "-m", "0700", path]);
        let output = cx.cmd(member, &cmd).await?;
        if !output.success() {
            return Err(unwritten(member, path, &cmd, &output));
        }
    }
    let mut kept = Vec::new();
    let has =
        |names: &[String], part: &Part| names.iter().any(|snap| snap == part.component.snap());
    let served = PARTS
        .iter()
        .filter(|part| !(part.file.ends_with(".sql") && has(unserved, part)));
    let files = LXD_FILES.iter().filter(|part| has(unserved, part));
    for part in served.chain(files).filter(|part| has(&installed, part)) {
        if !exists(cx, member, part.there).await? {
            continue;
        }
        cx.progress(kept.len() as u64, Some(PARTS.len() as u64), part.file);
        let path = format!("{folder}/{}", part.file);
        let cmd = keep(&path, part.command.split(' '));
        let output = cx.cmd(member, &cmd).await?;
        // tar's 1: a file changed while it was read, as a living database's do.
        let changed = output.end == End::Exit(1) && part.command.starts_with("/usr/bin/tar ");
        if output.end == UNWRITTEN {
            return Err(unwritten(member, &path, &cmd, &output));
        }
        if !output.success() && !changed {
            let stderr = output.stderr.trim();
            return Err(output.failure(&cmd, member, &format!("{}: {stderr}", part.file)));
        }
        kept.push(path);
    }
    let sums = format!("{folder}/{SUMS}");
    let paths = kept.iter().map(String::as_str);
    let cmd = keep(&sums, std::iter::once("/usr/bin/sha256sum").chain(paths));
    let output = cx.cmd(member, &cmd).await?;
    if output.success() {
        return Ok(());
    }
    Err(unwritten(member, &sums, &cmd, &output))
}

fn unwritten(member: &Member, path: &str, cmd: &Cmd, output: &Output) -> OpError {
    let stderr = output.stderr.trim();
    let error = output.failure(cmd, member, stderr);
    let way = if stderr.contains("No space left") {
        "Free up space there"
    } else {
        "Fix that there"
    };
    OpError {
        message: format!(
            "the backup can't be written to {path}: {stderr}. {way} and resume, or start a run with --backup=false"
        ),
        ..error
    }
}

/// The snaps that are installed on a member.
async fn installed(cx: &Cx, member: &Member) -> Result<Vec<String>, OpError> {
    let snaps: Vec<Snap> = snapd::ask(cx, member, "/v2/snaps").await?;
    Ok(snaps.into_iter().map(|snap| snap.name).collect())
}

/// What the list of checksums says, with the sizes. A file that is empty is no copy of anything.
async fn files(cx: &Cx, member: &Member, folder: &str) -> Result<Vec<File>, OpError> {
    let list = Cmd::root(["/usr/bin/cat", &format!("{folder}/{SUMS}")]);
    let listed = must(cx, member, &list).await?;
    let mut files = Vec::new();
    for line in listed.stdout.lines() {
        let (sha256, path) = line
            .split_once("  ")
            .ok_or_else(|| listed.failure(&list, member, "printed no list of checksums"))?;
        let stat = Cmd::root(["/usr/bin/stat", "-c", "%s", path]);
        let size = must(cx, member, &stat).await?;
        let name = path.rsplit('/').next().unwrap_or(path);
        match size.stdout.trim().parse() {
            Ok(bytes) if bytes > 0 => files.push(File {
                name: name.to_owned(),
                bytes,
                sha256: sha256.to_owned(),
            }),
            _ => {
                let what = format!("{path} is empty or has no size: {}", size.stdout.trim());
                return Err(OpError::command(what).on(member));
            }
        }
    }
    if files.is_empty() {
        return Err(OpError::command(format!("{folder} has nothing in it")).on(member));
    }
    Ok(files)
}

/// Whether a name is one that [`folder`] gives: anything else in there is somebody else's.
fn is_backup(name: &str) -> bool {
    name.split_once('-').is_some_and(|(stamp, run)| {
        let began = civil::DateTime::strptime(STAMP, stamp);
        let exact = began.is_ok_and(|began| began.strftime(STAMP).to_string() == stamp);
        exact && !run.is_empty()
    })
}

/// Removes the oldest backups until `keep` are left.
async fn prune(cx: &Cx, member: &Member, own: &str, keep: usize) -> Result<Vec<String>, OpError> {
    let list = must(cx, member, &Cmd::root(["/usr/bin/ls", "-1", &all()])).await?;
    let mut folders: Vec<String> = list
        .stdout
        .lines()
        .filter(|name| is_backup(name))
        .map(|name| format!("{}/{name}", all()))
        .collect();
    folders.sort();
    let surplus = folders.len().saturating_sub(keep);
    let old: Vec<String> = folders
        .into_iter()
        .filter(|f| f != own)
        .take(surplus)
        .collect();
    for folder in &old {
        must(cx, member, &Cmd::root(["/usr/bin/rm", "-rf", folder])).await?;
    }
    Ok(old)
}

/// Compare a member's backup with its checksums, and check that its dumps are complete.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerifyArgs {
    /// Member to ask.
    pub(crate) member: Member,
    /// The backup's folder; this run's own unless given.
    pub(crate) folder: Option<String>,
}

/// A backup that is whole.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct VerifyOut {
    /// Where it is.
    pub(crate) folder: String,
    /// What is in it.
    pub(crate) files: Vec<File>,
}

pub(crate) struct Verify;

impl Op for Verify {
    const NAME: &'static str = "backup.verify";
    const EFFECT: Effect = Effect::Read;
    const TIMEOUT: Span = Span::secs(10 * 60);
    type Args = VerifyArgs;
    type Out = VerifyOut;

    fn headline(args: &VerifyArgs) -> String {
        args.folder.clone().unwrap_or_default()
    }

    fn summary(out: &VerifyOut) -> String {
        format!("{} files are intact", out.files.len())
    }

    async fn run(cx: &Cx, args: VerifyArgs) -> Result<VerifyOut, OpError> {
        let member = &args.member;
        let folder = args.folder.unwrap_or_else(|| folder(cx));
        let sums = format!("{folder}/{SUMS}");
        let check = Cmd::root(["/usr/bin/sha256sum", "--check", "--quiet", &sums]).timeout(TIMEOUT);
        let output = cx.cmd(member, &check).await?;
        if !output.success() {
            let printed = format!("{}{}", output.stdout, output.stderr);
            let what = format!("the backup isn't what was written: {}", printed.trim());
            return Err(output.failure(&check, member, &what));
        }
        let files = files(cx, member, &folder).await?;
        for file in files.iter().filter(|file| file.name.ends_with(".sql")) {
            let path = format!("{folder}/{}", file.name);
            let tail = Cmd::root(["/usr/bin/tail", "-n", "1", &path]).private();
            if must(cx, member, &tail).await?.stdout.trim() != "COMMIT;" {
                let what = format!("{path} is not a complete dump: its last line isn't COMMIT;");
                return Err(OpError::command(what).on(member));
            }
        }
        Ok(VerifyOut { folder, files })
    }
}
