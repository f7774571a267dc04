//! A rollout's pages in a folder, which are written again as it goes on: any web server or share can show them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use lockstep_modules::contract::standing::Standing;
use tokio::time::Instant;

use crate::account::load;
use crate::cli::app::App;
use crate::cli::commands::show::suggestions;
use crate::cli::exit::Fault;
use crate::clock;
use crate::fleet::Progress;
use crate::private::{self, Over, SHARED};
use crate::report::html::{self, View, may_replace, overview};
use crate::runs::{EVENTS, JOURNAL, Runs, RunsError};

/// How often it is looked at what has changed; a page is loaded again as often.
const PACE: Duration = Duration::from_secs(10);

/// The page of a run that is under way is written at most this often, and the rollout's own at least.
const BEAT: Duration = Duration::from_secs(60);

/// The file of a run's report, as `lockstep report` calls it: never `index.html`.
pub(super) fn page_of(run: &str) -> String {
    format!("{run}.html")
}

/// What can be typed, where a rollout is held.
pub(super) fn suggestions_of(
    app: &App<'_>,
    runs: &Runs,
    progress: &Progress,
) -> Result<Option<String>, RunsError> {
    match progress.state {
        Standing::Held => Ok(suggestions(
            app,
            &load(runs, &progress.rollout)?,
            usize::MAX,
        )),
        _ => Ok(None),
    }
}

/// What a run's page was made of: how its files were, and whether a process had it.
type Stamp = ([Option<(u64, SystemTime)>; 2], bool);

/// The pages of a rollout, and what was written so far.
pub(super) struct Pages<'a> {
    app: &'a App<'a>,
    runs: &'a Runs,
    id: &'a str,
    folder: &'a Path,
    index: PathBuf,
    /// The runs that have a page, with what it was made of, and when.
    runs_seen: BTreeMap<String, (Stamp, Instant)>,
    /// The rollout's page without the time of it, and when it was written.
    shown: Option<(String, Instant)>,
    /// The rollout has ended.
    over: bool,
}

impl<'a> Pages<'a> {
    /// Writes all pages once.
    pub(super) fn begin(
        app: &'a App<'a>,
        runs: &'a Runs,
        id: &'a str,
        folder: &'a Path,
        force: bool,
    ) -> Result<Self, Fault> {
        let index = folder.join("index.html");
        if !force && !may_replace(&index) {
            let what = format!("{} isn't a report", index.display());
            return Err(
                Fault::usage(what).help("name another folder, or overwrite it with --force")
            );
        }
        private::make_folder(folder).map_err(|error| Fault::unwritten(folder, error))?;
        let mut pages = Self {
            app,
            runs,
            id,
            folder,
            index,
            runs_seen: BTreeMap::new(),
            shown: None,
            over: false,
        };
        pages.round()?;
        Ok(pages)
    }

    /// The rollout's page.
    pub(super) fn index(&self) -> &Path {
        &self.index
    }

    /// Writes what has changed, again and again, until the rollout has ended.
    pub(super) fn watch(&mut self) {
        while !self.over {
            #[expect(
                clippy::disallowed_methods,
                reason = "there is nothing else to do until it is looked at again"
            )]
            std::thread::sleep(PACE);
            // A full disk, or a share that is away, may be there again in a while.
            if let Err(fault) = self.round() {
                fault.warn();
            }
        }
    }

    /// Writes what has changed.
    fn round(&mut self) -> Result<(), Fault> {
        let progress = Progress::of(self.runs, self.id)?;
        let over = progress.is_over();
        let begun: Vec<(&str, String)> = progress
            .clusters()
            .filter(|cluster| cluster.state.is_some())
            .map(|cluster| {
                let name = cluster.cluster.as_str();
                (name, self.runs.last_attempt(&format!("{}.{name}", self.id)))
            })
            .collect();
        if self.shown.is_none() {
            // Thousands of pages take a while: until then, it links those that are there.
            let there = |run: &str| self.folder.join(page_of(run)).exists();
            let there = begun.iter().filter(|(_, run)| there(run));
            let pages = there.map(|(name, run)| ((*name).to_owned(), page_of(run)));
            self.write_index(&progress, &pages.collect(), false)?;
        }
        let runs = begun.iter().map(|(_, run)| run.clone());
        self.runs.bring(runs.collect())?;
        let mut pages = BTreeMap::new();
        for (name, run) in begun {
            match self.write_run(&run, over) {
                Ok(true) => drop(pages.insert(name.to_owned(), page_of(&run))),
                Ok(false) => {}
                // The others are worth showing.
                Err(fault) => fault.warn(),
            }
        }
        self.write_index(&progress, &pages, over)?;
        self.over = over;
        Ok(())
    }

    /// Writes the rollout's page, if it shows something new or hasn't been written for a while.
    fn write_index(
        &mut self,
        progress: &Progress,
        pages: &BTreeMap<String, String>,
        last: bool,
    ) -> Result<(), Fault> {
        let suggestions = suggestions_of(self.app, self.runs, progress)?;
        let mut view = View {
            progress,
            pages,
            suggestions: suggestions.as_deref(),
            refresh: (!last).then_some(PACE.as_secs()),
            // Times that only grow are no change.
            now: progress.last,
        };
        let timeless = overview(&view);
        let fresh = |(shown, at): &(String, Instant)| *shown == timeless && at.elapsed() < BEAT;
        if !self.shown.as_ref().is_some_and(fresh) {
            view.now = clock::now();
            let text = crate::secret::shown(&overview(&view)).into_owned();
            self.write(&self.index, &text)?;
            self.shown = Some((timeless, Instant::now()));
        }
        Ok(())
    }

    /// Writes a run's page if something was added to the run. Returns whether it has a page.
    fn write_run(&mut self, run: &str, last: bool) -> Result<bool, Fault> {
        let folder = self.runs.place_of(run);
        let file = |name: &str| {
            let file = fs::metadata(folder.join(name)).ok()?;
            Some((file.len(), file.modified().ok()?))
        };
        let stamp = ([file(JOURNAL), file(EVENTS)], self.runs.is_running(run));
        if stamp.0 == [None, None] {
            return Ok(false);
        }
        let fresh = |(seen, at): &(Stamp, Instant)| {
            *seen == stamp || stamp.1 && !last && at.elapsed() < BEAT
        };
        if !self.runs_seen.get(run).is_some_and(fresh) {
            let account = load(self.runs, run)?;
            let suggestions = suggestions(self.app, &account, usize::MAX);
            let page = html::page(&account, suggestions.as_deref());
            let text = crate::secret::shown(&page).into_owned();
            self.write(&self.folder.join(page_of(run)), &text)?;
            self.runs_seen
                .insert(run.to_owned(), (stamp, Instant::now()));
        }
        Ok(true)
    }

    /// Writes a page, unless it says this already.
    fn write(&self, path: &Path, text: &str) -> Result<(), Fault> {
        if fs::read_to_string(path).is_ok_and(|there| there == text) {
            return Ok(());
        }
        let placed = private::place(path, text, SHARED, Over::File);
        placed.map_err(|error| Fault::unwritten(path, error))
    }
}
