//! The files of snaps: what the store has of them, and what is where snapd looks before it downloads one (`store/cache.go`).

use std::sync::Arc;

use lockstep_modules::contract::cmd::Output;
use lockstep_modules::ops::snap;
use serde_json::Value;
use sha3::{Digest, Sha3_384};

use super::RATE;
use super::api::{Answer, failure};
use crate::files::Node;
use crate::store::Release;
use crate::world::{Proc, Reply, World, json as printed};

/// The bytes of a revision, of which a simulated world needs no more than that they differ from all others.
fn content(snap: &str, revision: u32) -> String {
    format!("{snap} {revision}\n")
}

fn digest(text: &str) -> String {
    let digest = Sha3_384::digest(text);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where snapd looks for the file of a revision.
fn cached(snap: &str, revision: u32) -> String {
    format!("/var/lib/snapd/cache/{}", digest(&content(snap, revision)))
}

/// Where a refresh puts it.
fn placed(snap: &str, revision: u32) -> String {
    format!("/var/lib/snapd/snaps/{snap}_{revision}.snap")
}

impl World {
    /// Whether nothing has to be downloaded for a refresh to a revision.
    pub(super) fn has_file(&self, member: &str, snap: &str, revision: u32) -> bool {
        self.file(member, &cached(snap, revision)).is_some()
    }

    /// A refresh has come to its file: the one in the cache, or a downloaded one. What is in its place already is taken for
    /// the one in the cache, whatever is in it.
    pub(super) fn place(&mut self, member: &str, snap: &str, revision: u32) {
        let path = placed(snap, revision);
        match self.file(member, &cached(snap, revision)).cloned() {
            None => self.set_file(member, &path, None),
            Some(_) if self.file(member, &path).is_some() => {}
            Some(file) if file == Node::File(content(snap, revision)) => {}
            wrong => self.set_file(member, &path, wrong),
        }
    }

    /// Whether the file that a refresh has come to is another one. Right ones aren't kept.
    pub(super) fn is_wrong(&self, member: &str, snap: &str, revision: u32) -> bool {
        self.file(member, &placed(snap, revision)).is_some()
    }

    /// A wrong file is where snapd will look for what its channel has of a snap now.
    pub(crate) fn misplace(&mut self, member: &str, snap: &str) {
        let channel = self.installed(member, snap).map(|s| s.tracking.clone());
        let offered = channel.and_then(|channel| self.store.offered(member, snap, &channel));
        if let Some(revision) = offered {
            let wrong = Node::File("others\n".to_owned());
            self.set_file(member, &cached(snap, revision), Some(wrong));
        }
    }
}

/// `curl … -d REQUEST http://localhost/v2/download`: the headers of a file, or its bytes for the token that was in them.
pub(super) fn download(world: &World, proc: &Proc, args: &[&str]) -> Reply {
    let words = args.iter().position(|word| *word == "-d");
    let request: Value = words
        .and_then(|at| serde_json::from_str(args.get(at + 1)?).ok())
        .unwrap_or_default();
    let text = |key: &str| request[key].as_str();
    let snap = text("snap-name").unwrap_or_default();
    if let Some((_, number)) = text("resume-token").and_then(|token| token.split_once('.')) {
        return bytes(world, proc, snap, number.parse().unwrap_or(0));
    }
    let answer = head(world, &proc.member, snap, text("revision"), text("channel"));
    Reply::out(answer.unwrap_or_else(|error| {
        let (code, status) = (error.status_code, error.status);
        let body = printed(&error);
        format!("HTTP/1.1 {code} {status}\r\nContent-Type: application/json\r\n\r\n{body}")
    }))
}

fn head<'a>(
    world: &World,
    member: &str,
    snap: &str,
    number: Option<&str>,
    channel: Option<&str>,
) -> Result<String, Answer<'a>> {
    if let Some(why) = world.store.trouble(world.linked(member)) {
        return Err(failure(500, "", &format!("cannot download snap: {why}")));
    }
    let revision = match (number, channel) {
        (Some(number), _) => world.by_number(member, snap, number).ok_or_else(|| {
            let why = "no snap revision available as specified";
            failure(404, "snap-revision-not-available", why)
        })?,
        (None, channel) => {
            let channel = channel.unwrap_or_default();
            let offered = world.store.offered(member, snap, channel);
            offered.ok_or_else(|| {
                let why = "no snap revision on specified channel";
                failure(404, "snap-channel-not-available", why)
            })?
        }
    };
    let size = world.store.release(snap, revision).map_or(0, |r| r.size);
    let digest = digest(&content(snap, revision));
    Ok(format!(
        "HTTP/1.1 200 OK\r\nContent-Disposition: attachment; filename={snap}_{revision}.snap\r\nContent-Type: application/octet-stream\r\nSnap-Download-Token: token.{revision}\r\nSnap-Length: {size}\r\nSnap-Sha3-384: {digest}\r\nContent-Length: 0\r\n\r\n"
    ))
}

/// The bytes of a revision, which take their time.
fn bytes(world: &World, proc: &Proc, snap: &str, revision: u32) -> Reply {
    let Some(Release { size, .. }) = world.store.release(snap, revision) else {
        return Reply::fail(22, "curl: (22) The requested URL returned error: 400\n");
    };
    let (takes, spent) = (size * 1000 / RATE, world.now - proc.began);
    if spent < takes {
        return Reply::Again(takes - spent);
    }
    if world.store.trouble(world.linked(&proc.member)).is_some() {
        return Reply::fail(22, "curl: (22) The requested URL returned error: 500\n");
    }
    Reply::out(content(snap, revision))
}

/// What the script of `snap.stage` does on a member.
pub(crate) fn stage(world: &mut World, proc: &Proc, args: &[&str]) -> Option<Reply> {
    let ["-c", snap::STAGE, _, curl, request, sum, _, cache, blob] = args else {
        return None;
    };
    let (member, path) = (proc.member.as_str(), format!("{cache}/{sum}"));
    let right = |node: &Node| matches!(node, Node::File(text) if digest(text) == **sum);
    let is_wrong = |path: &&str| world.file(member, path).is_some_and(|node| !right(node));
    let wrong: Vec<&str> = [*blob, &path].into_iter().filter(is_wrong).collect();
    let printed = if wrong.is_empty() { "" } else { "removed\n" };
    let is_there = world.file(member, &path).is_some_and(right);
    let mut inner = proc.clone();
    let argv = [*curl, "-d", *request, "http://localhost/v2/download"];
    Arc::make_mut(&mut inner.cmd).argv = argv.map(str::to_owned).into();
    let mut output = match download(world, &inner, &argv[1..]) {
        _ if is_there => Output::exit(100, "", ""),
        Reply::Exit(output) => output,
        waits => return Some(waits),
    };
    for path in wrong {
        world.set_file(member, path, None);
    }
    if output.success() && (world.faults.disk_full(member) || world.host_of(member).free == 0) {
        let why = "curl: (23) Failure writing output to destination, passed 16384 returned 0\n";
        output = Output::exit(23, "", why);
    }
    if output.success() {
        world.set_file(member, &path, Some(Node::File(output.stdout)));
    }
    output.stdout = printed.to_owned();
    Some(Reply::Exit(output))
}
