//! The run of a cluster, as its executor knows it, and what an executor is asked.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::contract::cmd::Cmd;
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::schema::{Member, Span};
use crate::contract::standing::Standing;

/// What the detail of a failure calls the clusters whose runs stopped before their end.
pub const STOPPED: &str = "clusters";

/// How long a cluster's run may take. That it took longer would not stop it.
pub(super) const LONGEST: Span = Span::secs(7 * 24 * 3600);

/// The run of a cluster, as its executor knows it: what the commands here print.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// The run's name.
    pub run: String,
    /// Where it stands.
    pub state: Standing,
    /// The steps that it is held at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<String>,
    /// Why it isn't done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Job {
    /// Why it isn't done, with the run to look at.
    pub(super) fn complaint(&self, cluster: &Member) -> String {
        let why = self.why.as_deref().unwrap_or_default();
        let colon = if why.is_empty() { "" } else { ": " };
        let is = if self.state == Standing::DidNotBegin {
            ""
        } else {
            "is "
        };
        format!("{cluster} {is}{}{colon}{why}", self.state)
    }
}

/// What an executor is asked of a cluster's run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask<'a> {
    /// Begin it unless it has begun, take it up if its process is gone, and wait until it stops: a [`Job`].
    Exec,
    /// Look at it: a [`Job`].
    State,
    /// Look at the cluster itself: a [`super::Look`].
    Look,
    /// Plan it: a [`super::Planned`].
    Plan,
    /// Fetch what it would install: a [`super::Staged`].
    Stage,
    /// Begin nothing of it, for this reason, unless it has begun: a [`Job`].
    Bar(&'a str),
    /// Take the cluster out of the rollout, for this reason: a [`super::Skipped`].
    Skip(&'a str),
}

impl<'a> Ask<'a> {
    /// What is asked, as a command has it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::State => "state",
            Self::Look => "look",
            Self::Plan => "plan",
            Self::Stage => "stage",
            Self::Bar(_) => "bar",
            Self::Skip(_) => "skip",
        }
    }

    pub(super) fn cmd(self, run: &str) -> Cmd {
        let why = match self {
            Self::Bar(why) | Self::Skip(why) => Some(why),
            _ => None,
        };
        let words = ["lockstep", "fleet", self.word(), run];
        Cmd::user(words.into_iter().chain(why))
    }

    /// What a command asks, and of which run.
    #[must_use]
    pub fn of(cmd: &'a Cmd) -> Option<(Self, &'a str)> {
        let [program, fleet, word, run, why @ ..] = cmd.argv.as_slice() else {
            return None;
        };
        let ask = match (word.as_str(), why) {
            ("bar", [why]) => Self::Bar(why),
            ("skip", [why]) => Self::Skip(why),
            (word, []) => *[Self::Exec, Self::State, Self::Look, Self::Plan, Self::Stage]
                .iter()
                .find(|ask| ask.word() == word)?,
            _ => return None,
        };
        (program == "lockstep" && fleet == "fleet").then_some((ask, run))
    }
}

/// What an executor answers about a cluster within the step's time.
pub(super) async fn asked<T: DeserializeOwned>(
    cx: &Cx,
    cluster: &Member,
    ask: Ask<'_>,
) -> Result<T, OpError> {
    let left = cx
        .deadline()
        .saturating_duration_since(tokio::time::Instant::now());
    let cmd = ask.cmd(&run_of(cx, cluster)).timeout(left);
    cx.cmd(cluster, &cmd).await?.json(&cmd, cluster)
}

/// The name of a cluster's run in the rollout that a step belongs to.
pub(super) fn run_of(cx: &Cx, cluster: &Member) -> String {
    format!("{}.{cluster}", cx.run().id)
}

/// So many clusters that are something: "1 cluster is".
pub(super) fn counted(count: usize, ring: &str) -> String {
    match count {
        1 => format!("1 cluster{ring} is"),
        n => format!("{n} clusters{ring} are"),
    }
}

/// How clusters' runs stand now, in their order.
pub(super) async fn states(cx: &Cx, clusters: &[Member]) -> Result<Vec<(Member, Job)>, OpError> {
    let mut states = Vec::new();
    for cluster in clusters {
        states.push((cluster.clone(), state(cx, cluster).await?));
    }
    Ok(states)
}

/// How a cluster's run stands now.
pub(super) async fn state(cx: &Cx, cluster: &Member) -> Result<Job, OpError> {
    let cmd = Ask::State.cmd(&run_of(cx, cluster));
    cx.cmd(cluster, &cmd).await?.json(&cmd, cluster)
}

/// Those that aren't done and weren't skipped, in a line each, and their names.
pub(super) fn unwell(states: &[(Member, Job)]) -> (Vec<Member>, String) {
    let unwell: Vec<&(Member, Job)> = states
        .iter()
        .filter(|(_, job)| !job.state.is_well())
        .collect();
    let lines = unwell
        .iter()
        .map(|(cluster, job)| format!("\n  {}", job.complaint(cluster).replace('\n', "\n    ")));
    let names = unwell.iter().map(|(cluster, _)| cluster.clone()).collect();
    (names, lines.collect())
}
