//! `lock`: the cluster belongs to one run at a time, whoever starts runs and from wherever, and to one process of it.
//!
//! The lock is on every member, so that two controllers meet whichever members they can reach. It is a symbolic link
//! whose target is the claim: `symlink(2)` makes it whole or not at all and fails where one is, and `readlink` tells whose
//! it is without any other tool. It outlives the controller; only the run that it names continues it.
//!
//! A claim names the *sitting* too: the process that took the run up last. Whoever takes a run up replaces the claims of the
//! sittings that its journal knows, and no others; each batch of commands that may change something begins with the
//! comparison ([`crate::contract::cmd::Guard`]). So of two processes that carry on the same run only the later one can begin anything.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::cmd::{Cmd, End, Output};
use crate::contract::cx::{Cx, LogLevel};
use crate::contract::error::{Kind, OpError};
use crate::contract::op::{Effect, Module, Observation, Op, Switch};
use crate::contract::run::{Run, Sitting};
use crate::contract::schema::{Member, Span};
use crate::contract::text::joined;

pub(crate) use crate::contract::claim::{Claim, LOCK};

/// Where lockstep keeps what it leaves on a member.
pub(crate) const FOLDER: &str = "/var/lib/lockstep";

/// The same, in a way in which `flock` would not make a file where it is missing.
const HERE: &str = "/var/lib/lockstep/.";

/// What it held when a run released it: whoever has a copy of that run's journal sees that it continued elsewhere.
const LAST: &str = "/var/lib/lockstep/lock.last";

/// Runs a program if the link `$1` says `$2`, and nothing where it says something else.
pub const IF: &str = r#"test "$(readlink "$1")" = "$2" || exit 9; shift 2; exec "$@""#;

/// Facts about the lock begin so.
pub const FACT: &str = "lock/";

pub(crate) fn module() -> Module {
    Module::new("lock", "The cluster belongs to one run at a time.")
        .op::<Read>()
        .op::<Take>()
        .op::<Release>()
        .op::<Remove>()
}

/// How a member's lock is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemberLock {
    /// The member.
    pub member: Member,
    /// Whose it is; absent where it is nobody's, or isn't known.
    pub claim: Option<Claim>,
    /// Why it isn't known.
    pub(crate) problem: Option<String>,
    /// What the link says, to the letter; empty where there is none.
    #[serde(default)]
    pub says: String,
    /// Whose it was before, where a run has given it back; only `lock.read` asks for it.
    #[serde(default)]
    pub(crate) last: Option<Claim>,
    /// The member didn't answer.
    #[serde(default)]
    pub away: bool,
}

impl MemberLock {
    /// Whether it is surely nobody's.
    #[must_use]
    pub fn free(&self) -> bool {
        self.claim.is_none() && self.problem.is_none()
    }

    /// The sitting of this run that gave the cluster back without this process' knowing of it.
    #[must_use]
    pub fn continued(&self, run: &Run) -> Option<&Sitting> {
        let last = self.last.as_ref()?;
        let unknown = last.same_run(run) && !last.is_of(run);
        last.sitting.as_ref().filter(|_| unknown)
    }

    /// The lock in a few words.
    #[must_use]
    pub fn brief(&self) -> String {
        match (&self.claim, &self.problem) {
            (Some(claim), _) => claim.to_string(),
            (None, Some(problem)) => problem.clone(),
            (None, None) => "free".to_owned(),
        }
    }

    /// Why `run` can't have the cluster, and what can be done about it; nothing where it has it, or could.
    #[must_use]
    pub fn refusal(&self, run: &Run) -> Option<String> {
        match (&self.claim, &self.problem) {
            (Some(claim), _) => (!claim.is_of(run)).then(|| claim.refusal(run)),
            (None, Some(problem)) => Some(format!(
                "{problem}, so it may be another run's: lockstep unlock shows it and asks"
            )),
            (None, None) => None,
        }
    }

    pub(crate) fn observation(&self) -> Observation {
        Observation::from([(format!("{FACT}{}", self.member), self.brief())])
    }
}

/// The commands that tell how a member's lock is. The second one tells "nothing is there" from "something else is".
fn look() -> [Cmd; 2] {
    [
        Cmd::root(["/usr/bin/readlink", LOCK]),
        Cmd::root(["/usr/bin/test", "-e", LOCK]),
    ]
}

/// Reads what [`look`] came back with.
fn seen(member: &Member, link: &Output, there: &Output) -> MemberLock {
    let none = (None, None);
    let problem = |what: String| (None, Some(format!("{what}; see {LOCK} there")));
    let says = target(link);
    let (claim, problem) = match (link.end, there.end) {
        (End::Exit(0), _) => match serde_json::from_str(says) {
            Ok(claim) => (Some(claim), None),
            Err(_) => problem("the lock can't be read".to_owned()),
        },
        (End::Exit(1), End::Exit(1)) => none,
        (End::Exit(1), End::Exit(0)) => problem("the lock is not one of lockstep's".to_owned()),
        (link, there) => problem(format!("the lock can't be inspected ({link}, {there})")),
    };
    MemberLock {
        member: member.clone(),
        claim,
        problem,
        says: says.to_owned(),
        last: None,
        away: false,
    }
}

/// What `readlink` printed; empty where there is no link.
fn target(output: &Output) -> &str {
    let text = output.stdout.as_str();
    match output.end {
        End::Exit(0) => text.strip_suffix('\n').unwrap_or(text),
        _ => "",
    }
}

/// Runs `first` on a member and looks at the lock, all in one exec.
async fn after(
    cx: &Cx,
    member: &Member,
    first: &[Cmd],
) -> Result<(Vec<Output>, MemberLock), OpError> {
    let batch = [first, look().as_slice()].concat();
    let mut outputs = cx.unguarded(member, &batch).await?;
    let looked = outputs.split_off(first.len());
    let [link, there] = looked.as_slice() else {
        return Err(OpError::command("two outputs were expected").on(member));
    };
    let lock = seen(member, link, there);
    Ok((outputs, lock))
}

/// How a member's lock is.
pub(crate) async fn at(cx: &Cx, member: &Member) -> Result<MemberLock, OpError> {
    Ok(after(cx, member, &[]).await?.1)
}

/// Runs a program if the lock says this. Of several processes that try it at once on a member each sees what the one before
/// has done: they take turns by `flock`.
fn if_it_says(says: &str, program: &[&str]) -> Cmd {
    let turn = ["/usr/bin/flock", "-w", "10", HERE];
    let shell = ["/bin/sh", "-c", IF, "sh", LOCK, says];
    let words = turn.iter().chain(&shell).chain(program);
    Cmd::root(words.copied())
}

/// The lock of a member that can't be asked.
fn unread(member: &Member, error: &OpError) -> MemberLock {
    MemberLock {
        member: member.clone(),
        claim: None,
        problem: Some(error.message.clone()),
        says: String::new(),
        last: None,
        away: error.kind == Kind::Unreachable,
    }
}

/// All members, by name: whoever comes second meets whoever came first on the first of them.
fn in_order(cx: &Cx) -> Vec<Member> {
    let mut members = cx.members();
    members.sort();
    members
}

/// Tell whose the cluster is, member by member.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadArgs {}

/// The locks of all members.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReadOut {
    /// One a member, by name.
    pub members: Vec<MemberLock>,
}

/// `lock.read`
pub struct Read;

impl Op for Read {
    const NAME: &'static str = "lock.read";
    const EFFECT: Effect = Effect::Read;
    type Args = ReadArgs;
    type Out = ReadOut;

    fn summary(out: &ReadOut) -> String {
        let taken = out.members.iter().filter(|lock| !lock.free());
        let taken = joined(taken.map(|l| format!("{}: {}", l.member, l.brief())), ", ");
        if taken.is_empty() {
            return "free".to_owned();
        }
        taken
    }

    async fn run(cx: &Cx, _: ReadArgs) -> Result<ReadOut, OpError> {
        let mut members = Vec::new();
        for member in in_order(cx) {
            let last = Cmd::root(["/usr/bin/readlink", LAST]);
            members.push(match after(cx, &member, &[last]).await {
                Ok((outputs, lock)) => MemberLock {
                    last: outputs
                        .first()
                        .and_then(|last| serde_json::from_str(target(last)).ok()),
                    ..lock
                },
                Err(error) => unread(&member, &error),
            });
        }
        Ok(ReadOut { members })
    }
}

/// Take the cluster for this run, on every member.
///
/// It is refused where another run has it, or another process that continued this run, and where that can't be
/// determined. What the
/// run has already stays its own, however often it is resumed: the claim of a session that the run knows of is replaced.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TakeArgs {
    /// Members on which it can't be taken are left out, such as those that don't answer: unless somebody else has it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) best_effort: bool,
}

/// The cluster is this run's.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TakeOut {
    /// What the lock says on every member.
    pub claim: Claim,
    /// The members, by name.
    pub(crate) members: Vec<Member>,
}

/// `lock.take`
pub struct Take;

impl Op for Take {
    const NAME: &'static str = "lock.take";
    const EFFECT: Effect = Effect::Converge;
    type Args = TakeArgs;
    type Out = TakeOut;

    fn summary(out: &TakeOut) -> String {
        format!("the cluster is {}'s", out.claim.run)
    }

    fn observed(_: &TakeArgs, out: &TakeOut) -> Observation {
        let fact = |member: &Member| (format!("{FACT}{member}"), out.claim.to_string());
        out.members.iter().map(fact).collect()
    }

    fn touches(_: &TakeArgs) -> Vec<String> {
        vec![FACT.to_owned()]
    }

    fn switched(_: &TakeArgs, _: &TakeOut) -> Option<Switch> {
        Some(locked(true))
    }

    async fn run(cx: &Cx, args: TakeArgs) -> Result<TakeOut, OpError> {
        let claim = Claim::of(cx.run());
        let (mut members, mut fresh) = (Vec::new(), Vec::new());
        for member in in_order(cx) {
            match take(cx, &member, &claim).await {
                Ok(Took::Free) => fresh.push(member.clone()),
                Ok(Took::Earlier) => {}
                Err(error) if args.best_effort && error.kind != Kind::Refused => continue,
                Err(error) => {
                    // Whoever has the rest of the cluster must not be kept from the part that this run got first.
                    for member in fresh.iter().rev() {
                        let _ = release(cx, member).await;
                    }
                    return Err(error);
                }
            }
            members.push(member);
        }
        if members.is_empty() {
            return Err(OpError::command("the lock can't be taken on any member"));
        }
        Ok(TakeOut { claim, members })
    }
}

fn locked(on: bool) -> Switch {
    Switch {
        what: "the cluster is locked".to_owned(),
        on,
        undo: "lockstep unlock".to_owned(),
    }
}

/// What a member's lock was before it was taken.
enum Took {
    /// Nobody's, or this sitting's already.
    Free,
    /// The run's, in an earlier sitting.
    Earlier,
}

async fn take(cx: &Cx, member: &Member, claim: &Claim) -> Result<Took, OpError> {
    let text = claim.text();
    // Also one that is there already: the login user has to read the link in it, whatever root's umask was.
    let folder = Cmd::root(["/usr/bin/install", "-d", "-m", "0755", FOLDER]);
    // Without -f it fails where anything is; -T keeps it from making the link inside of a folder of that name.
    let link = Cmd::root(["/usr/bin/ln", "-sT", &text, LOCK]);
    let mut commands = vec![folder, link];
    let (mut outputs, mut lock) = after(cx, member, &commands).await?;
    let mut took = Took::Free;
    if lock.claim.is_some() && lock.says != text && lock.refusal(cx.run()).is_none() {
        took = Took::Earlier;
        let new = format!("{LOCK}.{}", cx.run().sitting.nonce);
        commands = vec![
            Cmd::root(["/usr/bin/ln", "-sfT", &text, &new]),
            if_it_says(&lock.says, &["/usr/bin/mv", "-fT", &new, LOCK]),
            Cmd::root(["/usr/bin/rm", "-f", &new]),
        ];
        (outputs, lock) = after(cx, member, &commands).await?;
    }
    if let Some(why) = lock.refusal(cx.run()) {
        return Err(OpError::refused(why).on(member));
    }
    if lock.says == text {
        return Ok(took);
    }
    for (cmd, output) in commands.iter().zip(&outputs) {
        output.text(cmd, member)?;
    }
    let why = "the lock was taken but is not there";
    Err(OpError::command(why).on(member))
}

/// Give the cluster back, on every member where this run has it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseArgs {}

/// The cluster is not this run's any more.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseOut {
    /// How each member's lock is now: free, or another run's.
    pub(crate) members: Vec<MemberLock>,
}

/// `lock.release`
pub struct Release;

impl Op for Release {
    const NAME: &'static str = "lock.release";
    const EFFECT: Effect = Effect::Converge;
    type Args = ReleaseArgs;
    type Out = ReleaseOut;

    fn summary(out: &ReleaseOut) -> String {
        Read::summary(&ReadOut {
            members: out.members.clone(),
        })
    }

    fn observed(_: &ReleaseArgs, out: &ReleaseOut) -> Observation {
        let facts = out.members.iter().map(MemberLock::observation);
        facts.flatten().collect()
    }

    fn touches(_: &ReleaseArgs) -> Vec<String> {
        vec![FACT.to_owned()]
    }

    fn switched(_: &ReleaseArgs, _: &ReleaseOut) -> Option<Switch> {
        Some(locked(false))
    }

    async fn run(cx: &Cx, _: ReleaseArgs) -> Result<ReleaseOut, OpError> {
        let mut members = Vec::new();
        for member in in_order(cx).iter().rev() {
            members.push(release(cx, member).await?);
        }
        members.reverse();
        Ok(ReleaseOut { members })
    }
}

/// Removes the lock of a member if it is this run's, and leaves word of it.
async fn release(cx: &Cx, member: &Member) -> Result<MemberLock, OpError> {
    let lock = at(cx, member).await?;
    // On a member that was away an earlier sitting's may be there still.
    if lock
        .claim
        .as_ref()
        .is_some_and(|claim| claim.is_of(cx.run()))
    {
        return remove(cx, member, &lock.says, &["/usr/bin/mv", "-fT", LOCK, LAST]).await;
    }
    let found = if lock.free() {
        "the lock was already gone".to_owned()
    } else {
        format!("the lock isn't this run's: {}", lock.brief())
    };
    cx.say(LogLevel::Warn, &format!("{member}: {found}"));
    Ok(lock)
}

/// Takes the lock of a member away with `program` if it says this; one that is no link says nothing.
async fn remove(
    cx: &Cx,
    member: &Member,
    says: &str,
    program: &[&str],
) -> Result<MemberLock, OpError> {
    let (outputs, lock) = after(cx, member, &[if_it_says(says, program)]).await?;
    if lock.free() || lock.says != says {
        return Ok(lock);
    }
    let why = outputs.first().map(|output| output.stderr.trim());
    let why = why
        .filter(|why| !why.is_empty())
        .unwrap_or("it is still there");
    Err(OpError::command(format!("the lock can't be removed: {why}")).on(member))
}

/// Remove locks that were inspected before, whoever holds them: for the lock of a run that no longer exists. See `lockstep
/// unlock`.
///
/// A lock that says something else by now isn't touched. It fails where one of them is still there, or where that can't
/// be determined.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RemoveArgs {
    /// What each member's lock held, as `lock.read` has it in `says`.
    pub(crate) shown: BTreeMap<String, String>,
}

pub(crate) struct Remove;

impl Op for Remove {
    const NAME: &'static str = "lock.remove";
    const EFFECT: Effect = Effect::Converge;
    const TIMEOUT: Span = Span::secs(120);
    type Args = RemoveArgs;
    type Out = ReleaseOut;

    fn summary(out: &ReleaseOut) -> String {
        Release::summary(out)
    }

    fn observed(_: &RemoveArgs, out: &ReleaseOut) -> Observation {
        Release::observed(&ReleaseArgs {}, out)
    }

    fn touches(_: &RemoveArgs) -> Vec<String> {
        vec![FACT.to_owned()]
    }

    async fn run(cx: &Cx, args: RemoveArgs) -> Result<ReleaseOut, OpError> {
        let (mut members, mut stays) = (Vec::new(), Vec::new());
        for (name, says) in &args.shown {
            let member = Member::from(name.as_str());
            let result = remove(cx, &member, says, &["/usr/bin/rm", "-f", LOCK]).await;
            let lock = result.unwrap_or_else(|error| unread(&member, &error));
            if !lock.free() {
                stays.push(format!("{member}: {}", lock.brief()));
            }
            members.push(lock);
        }
        if stays.is_empty() {
            return Ok(ReleaseOut { members });
        }
        let free = members.iter().filter(|lock| lock.free());
        let free: Vec<&str> = free.map(|lock| lock.member.as_str()).collect();
        let removed = match free.as_slice() {
            [] => "no lock was removed".to_owned(),
            members => format!("the lock was removed on {} only", members.join(", ")),
        };
        Err(OpError::command(format!("{removed}; {}", stays.join("; "))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(link: (i32, &str), there: i32) -> String {
        let output = |code, text: &str| Output::exit(code, text, "");
        let (link, there) = (output(link.0, link.1), output(there, ""));
        seen(&Member::from("m"), &link, &there).brief()
    }

    #[test]
    fn what_cannot_be_known_is_not_free() {
        let claim = r#"{"run":"update-1","holder":"me@here","began":"2026-11-22T23:01:12Z"}"#;
        assert_eq!(read((1, ""), 1), "free");
        assert_eq!(
            read((0, claim), 1),
            "update-1 of me@here, begun 2026-11-22 23:01:12 UTC"
        );
        for (link, there) in [
            ((0, "garbage\n"), 1),
            ((1, ""), 0),
            ((127, ""), 1),
            ((1, ""), 2),
        ] {
            assert!(
                read(link, there).contains("/var/lib/lockstep/lock"),
                "{link:?}"
            );
        }
    }
}
