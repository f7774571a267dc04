//! `lock`: the cluster belongs to one run at a time, whoever starts runs and from wherever.
//!
//! The lock is on every member, so that two controllers meet whichever members they can reach. It is a symbolic link
//! whose target is the claim: `symlink(2)` makes it whole or not at all and fails where one is, and `readlink` tells whose
//! it is without any other tool. It outlives the controller; only the run that it names goes on with it.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cmd::{Cmd, End, Output};
use crate::cx::{Cx, Run};
use crate::error::OpError;
use crate::op::{Effect, Module, Observation, Op, OpDef};
use crate::schema::{Member, Span};

/// Where lockstep keeps what it leaves on a member.
pub(crate) const FOLDER: &str = "/var/lib/lockstep";

/// The lock of a member.
const LOCK: &str = "/var/lib/lockstep/lock";

/// Facts about the lock begin so.
const FACT: &str = "lock/";

/// The module.
#[must_use]
pub fn module() -> Module {
    let ops = vec![
        OpDef::of::<Read>(),
        OpDef::of::<Take>(),
        OpDef::of::<Release>(),
        OpDef::of::<Remove>(),
    ];
    Module::new("lock", "The cluster belongs to one run at a time.", ops)
}

/// Whose a member's lock is: what the link's target says, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Claim {
    /// The run, for example `update-14`.
    pub run: String,
    /// Who began it, as `user@host`.
    pub holder: String,
    /// When the run began. Other controllers have an `update-14` too.
    #[schemars(with = "String")]
    pub began: Timestamp,
}

impl Claim {
    /// The claim of a run.
    fn of(run: &Run) -> Self {
        Self {
            run: run.id.clone(),
            holder: run.holder.clone(),
            began: run.began,
        }
    }

    /// Whether it is this run's.
    #[must_use]
    pub fn is_of(&self, run: &Run) -> bool {
        *self == Self::of(run)
    }
}

impl std::fmt::Display for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let began = self.began.strftime("%Y-%m-%d %H:%M:%S UTC");
        write!(f, "{} of {}, begun {began}", self.run, self.holder)
    }
}

/// How a member's lock is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemberLock {
    /// The member.
    pub member: String,
    /// Whose it is; absent where it is nobody's, or can't be told.
    pub claim: Option<Claim>,
    /// Why it can't be told.
    pub problem: Option<String>,
}

impl MemberLock {
    /// Whether it is surely nobody's.
    #[must_use]
    pub fn free(&self) -> bool {
        self.claim.is_none() && self.problem.is_none()
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
            (Some(claim), _) if claim.is_of(run) => None,
            (Some(claim), _) => Some(format!(
                "the cluster belongs to the run {claim}: let it end; if it stopped, continue it where it was begun with: \
                 lockstep resume {0}, or end it with: lockstep abort {0}; if nothing is left of it: lockstep unlock",
                claim.run
            )),
            (None, Some(problem)) => Some(format!(
                "{problem}, so it may be another run's: lockstep unlock shows it and asks"
            )),
            (None, None) => None,
        }
    }

    /// What it says about the cluster.
    #[must_use]
    pub fn observation(&self) -> Observation {
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
    let (claim, problem) = match (link.end, there.end) {
        (End::Exit(0), _) => match serde_json::from_str(link.stdout.trim_end_matches('\n')) {
            Ok(claim) => (Some(claim), None),
            Err(_) => problem("the lock can't be read".to_owned()),
        },
        (End::Exit(1), End::Exit(1)) => none,
        (End::Exit(1), End::Exit(0)) => problem("the lock is no lock of lockstep's".to_owned()),
        (link, there) => problem(format!("the lock can't be looked at ({link}, {there})")),
    };
    MemberLock {
        member: member.0.clone(),
        claim,
        problem,
    }
}

/// Runs `first` on a member and looks at the lock, all in one exec.
async fn after(
    cx: &Cx,
    member: &Member,
    first: &[Cmd],
) -> Result<(Vec<Output>, MemberLock), OpError> {
    let batch = [first, look().as_slice()].concat();
    let mut outputs = cx.batch(member, &batch).await?;
    let looked = outputs.split_off(first.len());
    let [link, there] = looked.as_slice() else {
        return Err(OpError::command("two outputs were expected").on(member.as_str()));
    };
    let lock = seen(member, link, there);
    Ok((outputs, lock))
}

/// How a member's lock is.
///
/// # Errors
/// Where the member can't be reached, or doesn't let us be root.
pub(crate) async fn at(cx: &Cx, member: &Member) -> Result<MemberLock, OpError> {
    Ok(after(cx, member, &[]).await?.1)
}

/// All members, by name: whoever comes second meets whoever came first on the first of them.
fn in_order(cx: &Cx) -> Vec<Member> {
    let mut members = cx.members();
    members.sort_by(|a, b| a.0.cmp(&b.0));
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

    fn headline(_: &ReadArgs) -> String {
        String::new()
    }

    fn summary(out: &ReadOut) -> String {
        let taken = out.members.iter().filter(|lock| !lock.free());
        let taken: Vec<String> = taken
            .map(|l| format!("{}: {}", l.member, l.brief()))
            .collect();
        if taken.is_empty() {
            "free".to_owned()
        } else {
            taken.join(", ")
        }
    }

    async fn run(cx: &Cx, _: ReadArgs) -> Result<ReadOut, OpError> {
        let mut members = Vec::new();
        for member in in_order(cx) {
            members.push(match at(cx, &member).await {
                Ok(lock) => lock,
                Err(error) => MemberLock {
                    member: member.0,
                    claim: None,
                    problem: Some(error.message),
                },
            });
        }
        Ok(ReadOut { members })
    }
}

/// Take the cluster for this run, on every member.
///
/// It is refused where another run has it, and where that can't be told. What the run has already stays its own, however
/// often it is resumed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TakeArgs {}

/// The cluster is this run's.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TakeOut {
    /// What the lock says on every member.
    pub claim: Claim,
    /// The members, by name.
    pub members: Vec<String>,
}

/// `lock.take`
pub struct Take;

impl Op for Take {
    const NAME: &'static str = "lock.take";
    const EFFECT: Effect = Effect::Converge;
    type Args = TakeArgs;
    type Out = TakeOut;

    fn headline(_: &TakeArgs) -> String {
        String::new()
    }

    fn summary(out: &TakeOut) -> String {
        format!("the cluster is {}'s", out.claim.run)
    }

    fn observed(_: &TakeArgs, out: &TakeOut) -> Observation {
        let fact = |member: &String| (format!("{FACT}{member}"), out.claim.to_string());
        out.members.iter().map(fact).collect()
    }

    fn touches(_: &TakeArgs) -> Vec<String> {
        vec![FACT.to_owned()]
    }

    async fn run(cx: &Cx, _: TakeArgs) -> Result<TakeOut, OpError> {
        let claim = Claim::of(cx.run());
        let members = in_order(cx);
        for (i, member) in members.iter().enumerate() {
            if let Err(error) = take(cx, member, &claim).await {
                // Whoever has the rest of the cluster must not be kept from the part that this run got first.
                for taken in members[..i].iter().rev() {
                    let _ = release(cx, taken, &claim).await;
                }
                return Err(error);
            }
        }
        let members = members.into_iter().map(|m| m.0).collect();
        Ok(TakeOut { claim, members })
    }
}

async fn take(cx: &Cx, member: &Member, claim: &Claim) -> Result<(), OpError> {
    let text = serde_json::to_string(claim)
        .map_err(|e| OpError::command(format!("the claim can't be written: {e}")))?;
    let folder = Cmd::root(["/usr/bin/mkdir", "-p", "-m", "0755", FOLDER]);
    // Without -f it fails where anything is; -T keeps it from making the link inside of a folder of that name.
    let link = Cmd::root(["/usr/bin/ln", "-sT", &text, LOCK]);
    let commands = [folder, link];
    let (outputs, lock) = after(cx, member, &commands).await?;
    if let Some(why) = lock.refusal(cx.run()) {
        return Err(OpError::refused(why).on(member.as_str()));
    }
    if lock.claim.is_some() {
        return Ok(());
    }
    for (cmd, output) in commands.iter().zip(&outputs) {
        output.text(cmd, member.as_str())?;
    }
    Err(OpError::command("the lock was taken and is not there").on(member.as_str()))
}

/// Give the cluster back, on every member where this run has it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseArgs {}

/// The cluster is not this run's any more.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReleaseOut {
    /// How each member's lock is now: free, or another run's.
    pub members: Vec<MemberLock>,
}

/// `lock.release`
pub struct Release;

impl Op for Release {
    const NAME: &'static str = "lock.release";
    const EFFECT: Effect = Effect::Converge;
    type Args = ReleaseArgs;
    type Out = ReleaseOut;

    fn headline(_: &ReleaseArgs) -> String {
        String::new()
    }

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

    async fn run(cx: &Cx, _: ReleaseArgs) -> Result<ReleaseOut, OpError> {
        let claim = Claim::of(cx.run());
        let mut members = Vec::new();
        for member in in_order(cx).iter().rev() {
            members.push(release(cx, member, &claim).await?);
        }
        members.reverse();
        Ok(ReleaseOut { members })
    }
}

/// Removes the lock of a member if it is `claim`'s.
async fn release(cx: &Cx, member: &Member, claim: &Claim) -> Result<MemberLock, OpError> {
    let lock = at(cx, member).await?;
    if lock.claim.as_ref() != Some(claim) {
        return Ok(lock);
    }
    remove(cx, member).await
}

/// Removes the lock of a member, whatever it is.
async fn remove(cx: &Cx, member: &Member) -> Result<MemberLock, OpError> {
    let rm = [Cmd::root(["/usr/bin/rm", "-f", LOCK])];
    let (outputs, lock) = after(cx, member, &rm).await?;
    if lock.free() {
        return Ok(lock);
    }
    for (cmd, output) in rm.iter().zip(&outputs) {
        output.text(cmd, member.as_str())?;
    }
    Err(OpError::command(format!(
        "the lock was removed and is there: {}",
        lock.brief()
    ))
    .on(member.as_str()))
}

/// Remove the lock from every member, whosever it is: for a lock of which nothing else is left. See `lockstep unlock`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveArgs {}

/// `lock.remove`
pub struct Remove;

impl Op for Remove {
    const NAME: &'static str = "lock.remove";
    const EFFECT: Effect = Effect::Converge;
    const TIMEOUT: Span = Span::secs(120);
    type Args = RemoveArgs;
    type Out = ReleaseOut;

    fn headline(_: &RemoveArgs) -> String {
        String::new()
    }

    fn summary(out: &ReleaseOut) -> String {
        Release::summary(out)
    }

    fn observed(_: &RemoveArgs, out: &ReleaseOut) -> Observation {
        Release::observed(&ReleaseArgs {}, out)
    }

    fn touches(_: &RemoveArgs) -> Vec<String> {
        vec![FACT.to_owned()]
    }

    async fn run(cx: &Cx, _: RemoveArgs) -> Result<ReleaseOut, OpError> {
        let mut members = Vec::new();
        for member in in_order(cx) {
            members.push(remove(cx, &member).await?);
        }
        Ok(ReleaseOut { members })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(link: (i32, &str), there: i32) -> String {
        let output = |code, text: &str| Output::exit(code, text, "");
        seen(
            &Member("m".to_owned()),
            &output(link.0, link.1),
            &output(there, ""),
        )
        .brief()
    }

    #[test]
    fn what_can_t_be_told_is_not_free() {
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
