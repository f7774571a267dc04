//! `fleet report`: a rollout as a page for whoever isn't at a terminal.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::named::Which;
use super::pages::{Pages, page_of, suggestions_of};
use crate::cli::app::App;
use crate::cli::commands::report::write;
use crate::cli::exit::{Exit, Fault};
use crate::cli::print;
use crate::clock;
use crate::fleet::Progress;
use crate::private::folder_of;
use crate::report::html::{View, may_replace, overview};
use crate::runs::Runs;

/// Which rollout, and what becomes of it.
#[derive(Args)]
pub(crate) struct ReportArgs {
    #[command(flatten)]
    which: Which,
    /// The file to write, or - for standard output [default: ROLLOUT.html, overwritten each time]
    #[arg(long, short, value_name = "FILE", conflicts_with = "watch")]
    output: Option<PathBuf>,
    /// Write index.html and a page for each cluster into this folder, again and again until the rollout ends
    #[arg(long, value_name = "DIR")]
    watch: Option<PathBuf>,
    /// Overwrite a file that isn't a report
    #[arg(long)]
    force: bool,
}

pub(crate) fn report(app: &App<'_>, args: &ReportArgs) -> Result<Exit, Fault> {
    let runs = app.runs()?;
    let id = args.which.find(&runs)?;
    let written = match &args.watch {
        Some(folder) => {
            let mut pages = Pages::begin(app, &runs, &id, folder, args.force)?;
            tell(app, &id, pages.index());
            pages.watch();
            return Ok(Exit::Done);
        }
        None => once(app, &runs, &id, args)?,
    };
    if let Some(file) = written {
        tell(app, &id, &file);
    }
    Ok(Exit::Done)
}

fn tell(app: &App<'_>, id: &str, file: &Path) {
    if app.global.json {
        print::json(&json!({"rollout": id, "report": file}));
    } else {
        out!("{}", file.display());
    }
}

/// Writes the page once, and returns where. It links those reports of clusters that lie beside it.
fn once(app: &App<'_>, runs: &Runs, id: &str, args: &ReportArgs) -> Result<Option<PathBuf>, Fault> {
    let progress = Progress::of(runs, id)?;
    let usual = PathBuf::from(format!("{id}.html"));
    let path = args.output.as_ref().unwrap_or(&usual);
    let printed = path.as_os_str() == "-";
    let mut pages = BTreeMap::new();
    for cluster in progress
        .clusters()
        .filter(|c| !printed && c.state.is_some())
    {
        let page = page_of(&runs.last_attempt(&format!("{id}.{}", cluster.cluster)));
        if folder_of(path).join(&page).exists() {
            pages.insert(cluster.cluster.clone(), page);
        }
    }
    let text = overview(&View {
        progress: &progress,
        pages: &pages,
        suggestions: suggestions_of(app, runs, &progress)?.as_deref(),
        refresh: None,
        now: clock::now(),
    });
    let text = crate::secret::shown(&text);
    if printed {
        let _ = std::io::stdout().write_all(text.as_bytes());
        return Ok(None);
    }
    write(path, &text, may_replace(path), args.force)?;
    Ok(Some(path.clone()))
}
