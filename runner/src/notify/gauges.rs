//! A run's figures in a file that is written again as it goes: one for each cluster, which has its last run.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::kept::{Kept, Nothing};
use super::post::Wire;
use super::reading::Entry;
use super::receiver::{Receiver, Trouble};
use super::story::Story;
use crate::account::State;
use crate::fleet::{Progress, cluster_of};
use crate::journal::{ClusterRef, Head};
use crate::metrics::{self, Metric};
use crate::runs::{RunFolder, Runs};

/// How often it is written at most: as often as it is collected.
const PACE: Duration = Duration::from_secs(15);

/// What is kept of them, and what people call them.
const NAME: &str = "metrics";

/// Why the figures of the run in this folder aren't up to date, if they aren't.
pub(super) fn why(run: &Path) -> Option<String> {
    Kept::<Nothing>::of(run, NAME).why
}

/// The figures of a run.
pub(super) struct Gauges {
    runs: Runs,
    folder: PathBuf,
    kept: Kept<Nothing>,
    story: Story,
    written: Option<Instant>,
    /// There is something new.
    stale: bool,
}

impl Gauges {
    pub(super) fn of(run: &RunFolder, folder: &Path) -> Self {
        Self {
            runs: run.runs(),
            kept: Kept::of(&run.path, NAME),
            folder: folder.to_owned(),
            story: Story::default(),
            written: None,
            stale: false,
        }
    }

    fn write(&self, head: &Head) -> Result<(), Trouble> {
        let fleet = matches!(head.target, ClusterRef::Fleet(_));
        let named = match cluster_of(&head.id) {
            Some((_, cluster)) => cluster,
            None => &head.cluster.name,
        };
        let what = if fleet { "rollout" } else { "run" };
        let plain = |c: char| {
            if c.is_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '_'
            }
        };
        let named: String = named.chars().map(plain).collect();
        let file = self.folder.join(format!("lockstep-{what}-{named}.prom"));
        let written = match fleet {
            true => {
                let under_way = self.story.state() == State::Running;
                let progress = Progress::at(&self.runs, &head.id, under_way);
                let progress = progress.map_err(|error| Trouble::Rollout(error.to_string()))?;
                progress.write_metrics(&file)
            }
            false => self.run(head, &file),
        };
        written.map_err(|source| Trouble::Unwritten {
            path: file.display().to_string(),
            source,
        })
    }

    fn run(&self, head: &Head, file: &Path) -> std::io::Result<()> {
        let story = &self.story;
        let about = vec![
            ("cluster", head.cluster.name.as_str()),
            ("run", head.id.as_str()),
            ("playbook", head.playbook.as_str()),
        ];
        let single = |name, help, value: Option<i64>| Metric {
            name,
            help,
            rows: value.map(|value| (Vec::new(), value)).into_iter().collect(),
        };
        let count = |count: usize| Some(i64::try_from(count).unwrap_or(i64::MAX));
        let windows = story.windows();
        let windows =
            windows.map(|(component, at)| (vec![("component", component)], at.as_second()));
        let metrics = [
            Metric {
                name: "lockstep_run_state",
                help: "Where the last run of a cluster stands, as far as its process could write it.",
                rows: vec![(vec![("state", story.state().word())], 1)],
            },
            single(
                "lockstep_run_steps_done",
                "Steps that have ended.",
                count(story.done()),
            ),
            single(
                "lockstep_run_steps_held",
                "Steps that the run is held at.",
                count(story.held()),
            ),
            single(
                "lockstep_run_start_timestamp_seconds",
                "When the run was started.",
                story.began().map(Timestamp::as_second),
            ),
            single(
                "lockstep_run_last_record_timestamp_seconds",
                "When the run last recorded anything.",
                story.last().map(Timestamp::as_second),
            ),
            Metric {
                name: "lockstep_run_window_open_timestamp_seconds",
                help: "Since when members have different revisions of a component.",
                rows: windows.collect(),
            },
        ];
        metrics::write(file, &about, &metrics)
    }
}

impl Receiver for Gauges {
    fn name(&self) -> String {
        NAME.to_owned()
    }

    fn read(&mut self, entry: &Entry) {
        self.story.take(entry);
        self.stale = true;
    }

    fn update(&mut self, _: &Wire, last: bool) -> Result<Option<Duration>, Trouble> {
        let (Some(head), true) = (self.story.head(), self.stale) else {
            return Ok(None);
        };
        let waited = self.written.map(|written| written.elapsed());
        if let Some(waited) = waited.filter(|waited| *waited < PACE && !last) {
            return Ok(Some(PACE.saturating_sub(waited)));
        }
        let written = self.write(head);
        self.kept
            .save(written.as_ref().err().map(ToString::to_string));
        written?;
        self.written = Some(Instant::now());
        self.stale = false;
        Ok(None)
    }

    fn untold(&self) -> usize {
        0
    }
}
