//! `microceph`: the cluster's storage.

mod baseline;
mod finish;
mod look;
mod noout;
mod spare;
mod wait;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Module, Op};
use crate::contract::schema::Member;
use crate::products::ceph::{self, Answers, Aside, OsdDump, Raised, Status};

pub(crate) use baseline::{Baseline, BaselineOut, Order};
pub(crate) use finish::Finish;
pub(crate) use noout::Noout;
pub(crate) use spare::{Spare, against};
pub(crate) use wait::Wait;

pub(crate) fn module() -> Module {
    Module::new("microceph", "Storage: MicroCeph and the Ceph it runs.")
        .op::<Health>()
        .op::<Baseline>()
        .op::<Order>()
        .op::<Spare>()
        .op::<Noout>()
        .op::<Wait>()
        .op::<Finish>()
}

/// Tell how the storage is, by facts and not by Ceph's own verdict.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthArgs {}

/// How the storage is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HealthOut {
    /// Whether nothing speaks against taking one member down.
    pub(crate) ok: bool,
    /// What does.
    pub(crate) problems: Vec<String>,
    /// Monitors in quorum.
    pub(crate) quorum: Vec<String>,
    /// Monitors in all.
    pub(crate) mons: usize,
    /// OSDs in all.
    pub(crate) osds: u64,
    /// OSDs that are up.
    pub(crate) osds_up: u64,
    /// Placement groups.
    pub(crate) pgs: u64,
    /// Health codes that are raised and not muted, for the record.
    pub(crate) codes: Vec<String>,
    /// The same codes, with what each means.
    #[serde(default)]
    pub(crate) raised: Vec<Raised>,
    /// What is worth knowing and no reason to stop: codes that aren't about data, and for whom `noout` is set.
    #[serde(default)]
    pub(crate) notes: Vec<String>,
}

impl HealthOut {
    fn of(status: &Status, dump: &OsdDump) -> Self {
        let (figures, mut raised) = (status.figures(), status.raised());
        raised.retain(|code| !code.muted);
        let mut problems = status.problems(None, Aside::default());
        problems.extend(dump.hindering_flags());
        let mut notes = ceph::notes(&raised);
        notes.extend(dump.noout_is_set());
        Self {
            ok: problems.is_empty(),
            problems,
            quorum: figures.quorum,
            mons: figures.mons,
            osds: figures.osds.0,
            osds_up: figures.osds.1,
            pgs: figures.pgs,
            codes: status.codes().into_keys().collect(),
            raised,
            notes,
        }
    }

    fn brief(&self) -> String {
        if !self.ok {
            return self.problems.join("; ");
        }
        let (quorum, mons, osds, pgs) = (self.quorum.len(), self.mons, self.osds, self.pgs);
        format!("{quorum} of {mons} monitors, {osds} OSDs up, {pgs} placement groups clean")
    }
}

/// `microceph.health`
pub struct Health;

impl Op for Health {
    const NAME: &'static str = "microceph.health";
    const EFFECT: Effect = Effect::Read;
    type Args = HealthArgs;
    type Out = HealthOut;

    fn summary(out: &HealthOut) -> String {
        out.brief()
    }

    async fn run(cx: &Cx, _: HealthArgs) -> Result<HealthOut, OpError> {
        health(cx, &cx.members()).await
    }
}

/// How the storage is, asked of the first of `members` that answers.
pub(crate) async fn health(cx: &Cx, members: &[Member]) -> Result<HealthOut, OpError> {
    let cmd = ceph::session(&["status", "osd dump"]);
    let (asked, output) = cx.ask(members, &cmd).await?;
    let mut answers = Answers::of(&asked, &cmd, &output, 0)?;
    let (status, dump): (Status, OsdDump) = (answers.next()?, answers.next()?);
    Ok(HealthOut::of(&status, &dump))
}
