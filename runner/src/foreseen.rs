//! For how long the members of a cluster will have different revisions of a snap: as long as they had when this cluster last
//! went through the same, or as a simulated one has.

use std::fmt;
use std::time::Duration;

use lockstep_modules::contract::schema::Span;
use serde::{Deserialize, Serialize};

use crate::account::recalled;
use crate::event::{Event, Stamped};
use crate::runs::Runs;
use crate::window;

/// For how long members will have different revisions of a snap, when its control plane may take no changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Foreseen {
    /// The snap.
    pub snap: String,
    /// Milliseconds, estimated.
    pub ms: u64,
    /// The run of this cluster in which it took so long; none where that is a simulated cluster's time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

impl fmt::Display for Foreseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { snap, ms, run } = self;
        let long = Span(Duration::from_secs(ms.div_ceil(1000).max(1)));
        write!(f, "{snap} may take no changes for about {long} (")?;
        match run {
            Some(run) => write!(f, "as in {run})"),
            None => f.write_str("a guess: on a simulated cluster)"),
        }
    }
}

/// As these events of a simulated cluster have it.
pub(crate) fn simulated(events: &[Stamped]) -> Vec<Foreseen> {
    let mut windows = Vec::new();
    for stamped in events {
        if let Event::StepDone {
            change: Some(change),
            ..
        } = &stamped.event
        {
            window::note(&mut windows, stamped.at, change);
        }
    }
    let several = windows
        .into_iter()
        .filter(|window| window.members.len() > 1);
    let foreseen = several.map(|window| Foreseen {
        ms: window.ms(),
        snap: window.snap,
        run: None,
    });
    foreseen.collect()
}

/// What the runs of a cluster tell of these snaps: of each the latest that has something to say. A run that was resumed says
/// more of who was asked than of the cluster.
pub(crate) fn remembered(runs: &Runs, cluster: &str, snaps: &[&str]) -> Vec<Foreseen> {
    let of_this = |id: &String| {
        let history = runs.history(id);
        history.is_ok_and(|h| h.head.cluster.name == cluster && matches!(h.end, Some(Ok(_))))
    };
    let mut found: Vec<Foreseen> = Vec::new();
    let past = runs.newest_of(cluster).unwrap_or_default().into_iter();
    for id in past.filter(of_this) {
        let is_new = |snap: &&&str| found.iter().all(|known| known.snap != **snap);
        let wanted: Vec<&str> = snaps.iter().filter(is_new).copied().collect();
        if wanted.is_empty() {
            break;
        }
        let Some(account) = recalled(runs, &id).filter(|account| account.resumes == 0) else {
            continue;
        };
        let windows = wanted
            .iter()
            .filter_map(|snap| window::of(&account.windows, snap));
        found.extend(windows.map(|window| Foreseen {
            snap: window.snap.clone(),
            ms: window.ms(),
            run: Some(id.clone()),
        }));
    }
    found
}
