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

use crate::contract::cmd::{Cmd, End, Output};
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::schema::Member;
use crate::contract::text::joined;

pub use codes::{Class, Codes, Raised, Severity, all as codes, notes};
pub(crate) use manager::manager_modules;
pub use maps::{
    MdsStat, Metadata, MgrStat, MonDump, OkToStop, OsdDump, OsdTree, Release, Versions,
};
pub use status::{Aside, Figures, Status};

/// Without quorum commands block, perhaps for ever, and `--connect-timeout` doesn't cover all of it.
const TIMEOUT: Duration = Duration::from_secs(30);

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

/// Ceph as one member saw it, all at once.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    pub(crate) asked: Member,
    /// `ceph -s`
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
}

impl Picture {
    /// Takes it from the first of `members` that answers.
    pub(crate) async fn take(cx: &Cx, members: &[Member]) -> Result<Self, OpError> {
        let mut last = OpError::refused("there is no member to ask");
        for member in members {
            match Self::of(cx, member).await {
                Ok(picture) => return Ok(picture),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// As `member` sees it. Without quorum each command takes its whole time and says nothing: the first one shows that.
    async fn of(cx: &Cx, member: &Member) -> Result<Self, OpError> {
        let status = command(&["-s"]);
        let status = cx.cmd(member, &status).await?.json(&status, member)?;
        let asks: [&[&str]; 5] = [
            &["mon", "dump"],
            &["mgr", "stat"],
            &["mds", "stat"],
            &["osd", "dump"],
            &["osd", "tree"],
        ];
        let batch = asks.map(command);
        let outputs = cx.batch(member, &batch).await?;
        Self::read(member, status, &batch, &outputs)
    }

    fn read(
        member: &Member,
        status: Status,
        batch: &[Cmd; 5],
        outputs: &[Output],
    ) -> Result<Self, OpError> {
        let [mons, mgr, mds, dump, tree] = outputs else {
            return Err(OpError::command(
                "the transport returned other outputs than were asked for",
            )
            .on(member));
        };
        Ok(Self {
            asked: member.clone(),
            status,
            mons: mons.json(&batch[0], member)?,
            mgr: mgr.json(&batch[1], member)?,
            mds: mds.json(&batch[2], member)?,
            dump: dump.json(&batch[3], member)?,
            tree: tree.json(&batch[4], member)?,
        })
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
