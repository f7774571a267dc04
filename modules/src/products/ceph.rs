//! What Ceph says of itself, and what of it matters.
//!
//! Never the top-level word: HEALTH_OK was seen with all placement groups unknown and seconds after a host lost power,
//! and a flag that we set ourselves makes a HEALTH_WARN. Codes are judged by class, beside hard facts: quorum, OSDs,
//! states of placement groups, a manager.

mod codes;
mod manager;
mod maps;
mod status;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::contract::cmd::{Cmd, End, Output, last_line};
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::schema::Member;
use crate::contract::text::joined;

pub use codes::{Class, Codes, Raised, Severity, all as codes, notes};
pub(crate) use manager::manager_modules;
pub use maps::{
    Groups, MdsStat, Metadata, MgrStat, MonDump, OkToStop, OsdDump, OsdTree, PgStat, Release,
    Versions,
};
pub use status::{Aside, Figures, Status};

/// Without quorum commands block, perhaps for ever, and `--connect-timeout` doesn't cover all of it.
const TIMEOUT: Duration = Duration::from_secs(30);

/// For how long a manager is waited for: what was asked before there is one is answered then.
const MANAGER: Duration = Duration::from_secs(10);

/// Longer isn't waited for an OSD that doesn't answer, or for hundreds of them: their own reports come as soon.
const REPORT: Duration = Duration::from_secs(3);

/// What a picture is made of, as monitors have it.
const MAPS: [&str; 7] = [
    "status", "mon dump", "mgr stat", "mds stat", "osd dump", "osd tree", "versions",
];

/// A `ceph` command with JSON output.
pub(crate) fn command(args: &[&str]) -> Cmd {
    let head = ["/snap/bin/microceph.ceph", "--connect-timeout", "15"];
    Cmd::root(head.iter().chain(args).chain(&["-f", "json"]).copied()).timeout(TIMEOUT)
}

/// What a `ceph` command prints on the first of `members` that answers, and which that was.
pub(crate) async fn ask<T: DeserializeOwned>(
    cx: &Cx,
    members: &[Member],
    args: &[&str],
) -> Result<(Member, T), OpError> {
    cx.ask_json(members, &command(args)).await
}

/// Has every OSD report now: otherwise each does so every 5 s (`mgr_stats_period`). It changes nothing else (`OSD.cc`, and
/// Ceph's own tests begin with it; seen with 18.2.7: 0.5 s for three).
fn report() -> Cmd {
    let head = ["/snap/bin/microceph.ceph", "--connect-timeout", "3"];
    Cmd::root(head.into_iter().chain(["tell", "osd.*", "flush_pg_stats"])).timeout(REPORT)
}

/// Gives one process of the client several questions, which it reads as lines.
const SESSION: [&str; 4] = [
    "/bin/sh",
    "-c",
    r#"printf '%s\n' "$@" | /snap/bin/microceph.ceph --connect-timeout 15 -f json"#,
    "microceph.ceph",
];

/// Several questions to one process of the client: most of what a question takes is the client's start. It ends with 0
/// whatever becomes of them, and prints a document for each that it has an answer to (`src/ceph.in`; seen with
/// 18.2.7 and 20.2.4).
pub(crate) fn session<Q: AsRef<str>>(questions: &[Q]) -> Cmd {
    let questions = questions.iter().map(AsRef::as_ref);
    Cmd::root(SESSION.into_iter().chain(questions)).timeout(TIMEOUT)
}

/// The answers of a [`session`], one by one.
pub(crate) struct Answers<'a> {
    pub(crate) member: &'a Member,
    cmd: &'a Cmd,
    output: &'a Output,
    documents: std::vec::IntoIter<&'a RawValue>,
}

impl<'a> Answers<'a> {
    /// What a session printed: as many documents as there were questions. With fewer nobody can tell whose each is, but where
    /// `open` of them may have none: whoever asks them knows which these are.
    pub(crate) fn of(
        member: &'a Member,
        cmd: &'a Cmd,
        output: &'a Output,
        open: usize,
    ) -> Result<Self, OpError> {
        let text = output.text(cmd, member)?;
        let documents: Result<Vec<&RawValue>, _> = serde_json::Deserializer::from_str(text)
            .into_iter()
            .collect();
        let documents = documents.map_err(|e| unreadable(member, cmd, output, &e))?;
        let asked = cmd.argv.len().saturating_sub(SESSION.len());
        if documents.len() <= asked && documents.len() + open >= asked {
            return Ok(Self {
                member,
                cmd,
                output,
                documents: documents.into_iter(),
            });
        }
        let why = match last_line(&output.stderr, "") {
            line if line.is_empty() => line,
            line => format!(": {line}"),
        };
        let what = format!("answered {} of {asked} questions{why}", documents.len());
        Err(output.failure(cmd, member, &what))
    }

    /// Whether there is another one.
    fn has_more(&self) -> bool {
        !self.documents.as_slice().is_empty()
    }

    /// The next one.
    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> Result<T, OpError> {
        let document = self.documents.next().map_or("null", RawValue::get);
        serde_json::from_str(document)
            .map_err(|e| unreadable(self.member, self.cmd, self.output, &e))
    }
}

fn unreadable(member: &Member, cmd: &Cmd, output: &Output, error: &serde_json::Error) -> OpError {
    let what = format!("printed something else than the JSON expected of it ({error})");
    output.failure(cmd, member, &what)
}

/// Ceph as one member saw it, all at once.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    pub(crate) asked: Member,
    /// `ceph status`, with the placement groups as the manager has them, if it says: what monitors have of them is up to 5 s
    /// older (`mon_mgr_digest_period`).
    pub(crate) status: Status,
    /// `ceph mon dump`
    pub(crate) mons: MonDump,
    /// `ceph mgr stat`
    pub(crate) mgr: MgrStat,
    /// `ceph mds stat`
    pub(crate) mds: MdsStat,
    /// `ceph osd dump`
    pub(crate) dump: OsdDump,
    /// `ceph osd tree`
    pub(crate) tree: OsdTree,
    /// `ceph versions`
    pub(crate) versions: Versions,
    /// What each of the daemons runs that were asked about.
    pub(crate) metadata: Vec<Metadata>,
    /// The placement groups of the OSDs that were asked about.
    pub(crate) groups: Vec<(i64, Groups)>,
    /// Whether the OSDs can be stopped that were asked about.
    pub(crate) ok_to_stop: bool,
}

/// What else is asked for a picture.
#[derive(Clone, Debug)]
pub(crate) struct Details {
    /// Daemons, by kind and name, for example `mon micro01`.
    pub(crate) daemons: Vec<(&'static str, String)>,
    /// OSDs whose placement groups matter.
    pub(crate) osds: Vec<i64>,
    /// OSDs that are to be stopped.
    pub(crate) stopping: Vec<i64>,
    /// After how long the monitors are asked alone.
    pub(crate) patience: Duration,
}

impl Default for Details {
    fn default() -> Self {
        Self {
            daemons: Vec::new(),
            osds: Vec::new(),
            stopping: Vec::new(),
            patience: MANAGER,
        }
    }
}

impl Picture {
    /// Takes it from the first of `members` that answers.
    pub(crate) async fn take(cx: &Cx, members: &[Member]) -> Result<Self, OpError> {
        Self::detailed(cx, members, &Details::default()).await
    }

    /// As [`Picture::take`], with more of some daemons.
    pub(crate) async fn detailed(
        cx: &Cx,
        members: &[Member],
        details: &Details,
    ) -> Result<Self, OpError> {
        let mut last = OpError::refused("there is no member to ask");
        for member in members {
            match Self::of(cx, member, details).await {
                Ok(picture) => return Ok(picture),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// As `member` sees it. Without a manager the questions to it hang, and the monitors are asked alone.
    async fn of(cx: &Cx, member: &Member, details: &Details) -> Result<Self, OpError> {
        let metadata = details.daemons.iter();
        let metadata = metadata.map(|(kind, who)| format!("{kind} metadata {who}"));
        let monitors: Vec<String> = MAPS
            .map(str::to_owned)
            .into_iter()
            .chain(metadata)
            .collect();
        let mut all = monitors.clone();
        all.extend(details.osds.iter().map(|id| format!("pg ls-by-osd {id}")));
        // After those: an OSD that has left its groups has none, and only then it is sure that they are known to lack it.
        all.push("pg stat".to_owned());
        let open = usize::from(!details.stopping.is_empty());
        if open > 0 {
            all.push(stopping(&details.stopping));
        }
        let cmd = session(&all).timeout(details.patience);
        let output = cx.cmd(member, &cmd).await?;
        let silent = output.end == End::TimedOut;
        let why = if silent {
            output.failure(&cmd, member, "")
        } else {
            match Answers::of(member, &cmd, &output, open) {
                Ok(answers) => return Self::whole(member, details, answers),
                // An OSD that is down has no placement groups to tell of: the maps say so.
                Err(error) if output.success() => error,
                Err(error) => return Err(error),
            }
        };
        let cmd = session(&monitors);
        let output = cx.cmd(member, &cmd).await?;
        let mut answers = Answers::of(member, &cmd, &output, 0)?;
        let mut picture = Self::of_monitors(member, details, &mut answers)?;
        if silent {
            picture.status.manager_is_silent(&why);
        } else {
            picture.status.is_refused(&why);
        }
        Ok(picture)
    }

    fn whole(
        member: &Member,
        details: &Details,
        mut answers: Answers<'_>,
    ) -> Result<Self, OpError> {
        let mut picture = Self::of_monitors(member, details, &mut answers)?;
        for id in &details.osds {
            picture.groups.push((*id, answers.next()?));
        }
        picture.status.update(answers.next()?);
        picture.ok_to_stop = answers.has_more() && answers.next::<OkToStop>()?.ok_to_stop;
        Ok(picture)
    }

    fn of_monitors(
        member: &Member,
        details: &Details,
        answers: &mut Answers<'_>,
    ) -> Result<Self, OpError> {
        let mut picture = Self {
            asked: member.clone(),
            status: answers.next()?,
            mons: answers.next()?,
            mgr: answers.next()?,
            mds: answers.next()?,
            dump: answers.next()?,
            tree: answers.next()?,
            versions: answers.next()?,
            metadata: Vec::new(),
            groups: Vec::new(),
            ok_to_stop: false,
        };
        for _ in &details.daemons {
            picture.metadata.push(answers.next()?);
        }
        Ok(picture)
    }

    /// Everything that speaks against taking `member` down, or, without one, against going on after one came back. What is
    /// down on that very member doesn't count. See [`Status::problems`].
    pub(crate) fn problems(&self, since: Option<&Codes>, member: Option<&Member>) -> Vec<String> {
        let aside = member.map_or_else(Aside::default, |member| self.aside(member));
        let mut problems = self.status.problems(since, aside);
        problems.extend(self.down_elsewhere(member));
        problems.extend(self.dump.hindering_flags());
        problems
    }

    /// Where all OSDs are up and placement groups aren't clean, or were reported on before their OSD came up, the manager may
    /// not know yet how they are: has them reported, for the next look. Whatever becomes of it, that look decides.
    pub(crate) async fn have_reported(&self, cx: &Cx) {
        let old = self.status.has_unclean_groups() || self.unreported().next().is_some();
        if old && self.down_elsewhere(None).is_empty() {
            let _ = cx.cmd(&self.asked, &report()).await;
        }
    }

    /// The OSDs that have placement groups which nobody has reported on since they came up: how many, of how many.
    pub(crate) fn unreported(&self) -> impl Iterator<Item = (i64, usize, usize)> {
        let each = self.groups.iter().map(|(id, groups)| {
            let since = self.dump.up_from(*id).unwrap_or(u64::MAX);
            let (unreported, all) = groups.unreported_since(since);
            (*id, unreported, all)
        });
        each.filter(|(_, unreported, _)| *unreported > 0)
    }

    fn aside(&self, member: &Member) -> Aside {
        let own: BTreeSet<i64> = self.tree.of_host(member.as_str()).0.into_iter().collect();
        let (down, out) = self.dump.down_and_out(&own);
        let quorum = self.status.figures().quorum;
        let is_mon = self.mons.names().any(|name| *name == *member);
        Aside {
            mons: usize::from(is_mon && !quorum.iter().any(|name| *name == *member)),
            down,
            out,
        }
    }

    /// Which OSDs are down, and where to look.
    pub(crate) fn down_elsewhere(&self, member: Option<&Member>) -> Vec<String> {
        let hosts = self
            .tree
            .by_host()
            .into_keys()
            .filter(|host| member.is_none_or(|member| host != member));
        let down = hosts.map(|host| (self.tree.of_host(&host).1, host));
        let down = down.filter(|(ids, _)| !ids.is_empty());
        down.map(|(ids, host)| {
            let osds = joined(ids.iter().map(|id| format!("osd.{id}")), ", ");
            format!("down on {host}: {osds}; on that member, see: sudo snap logs microceph.osd")
        })
        .collect()
    }

    /// What speaks against stopping all of Ceph on `member`, if everything else were well: majorities and successors.
    pub(crate) fn needs(&self, member: &Member) -> Vec<String> {
        let mut needs = Vec::new();
        let quorum = self.status.figures().quorum;
        let mons = self.mons.names().count();
        if quorum.iter().any(|name| *name == *member) && 2 * (quorum.len() - 1) <= mons {
            needs.push(format!(
                "without {member} {} of {mons} monitors are left, which is no majority",
                quorum.len() - 1
            ));
        }
        if self.mgr.active_name == *member && self.mgr.num_standby == 0 {
            needs.push(format!(
                "the active manager is on {member}, and none stands by elsewhere"
            ));
        }
        if self.mds.serves(member) && !self.mds.stands_by_beside(member) {
            needs.push(format!(
                "a file system is served from {member}, and no metadata server stands by elsewhere"
            ));
        }
        needs
    }
}

/// Whether the OSDs of each of these hosts can be stopped, one host at a time, without data becoming unavailable.
pub(crate) async fn each_ok_to_stop(
    cx: &Cx,
    asked: &Member,
    hosts: &[Vec<i64>],
) -> Result<bool, OpError> {
    let hosts = hosts.iter().filter(|ids| !ids.is_empty());
    let questions: Vec<String> = hosts.map(|ids| stopping(ids)).collect();
    if questions.is_empty() {
        return Ok(true);
    }
    let cmd = session(&questions);
    let output = cx.cmd(asked, &cmd).await?;
    // A refusal has no document.
    let mut answers = Answers::of(asked, &cmd, &output, questions.len())?;
    let mut each = 0;
    while answers.has_more() {
        each += usize::from(answers.next::<OkToStop>()?.ok_to_stop);
    }
    Ok(each == questions.len())
}

fn stopping(ids: &[i64]) -> String {
    format!("osd ok-to-stop {}", joined(ids, " "))
}

/// Whether these OSDs can be stopped without data becoming unavailable, as Ceph tells; why not, if they can't.
///
/// Without a manager the question hangs, and an OSD that doesn't exist is fine to stop, so the ids have to be right.
pub(crate) async fn ok_to_stop(
    cx: &Cx,
    asked: &Member,
    ids: &[i64],
) -> Result<Option<String>, OpError> {
    if ids.is_empty() {
        return Ok(None);
    }
    let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
    let args: Vec<&str> = ["osd", "ok-to-stop"]
        .into_iter()
        .chain(ids.iter().map(String::as_str))
        .collect();
    let cmd = command(&args);
    let output = cx.cmd(asked, &cmd).await?;
    // A refusal (EBUSY) has its JSON on stdout too.
    let answer = match output.end {
        End::Exit(16) => Output {
            end: End::Exit(0),
            ..output.clone()
        },
        _ => output.clone(),
    };
    let answer: OkToStop = answer.json(&cmd, asked)?;
    let agreed = output.success() && answer.ok_to_stop;
    Ok((!agreed).then(|| {
        format!(
            "Ceph says that osd.{} can't be stopped: {} placement groups would become unavailable",
            ids.join(", osd."),
            answer.num_not_ok_pgs
        )
    }))
}

#[cfg(test)]
mod tests;
