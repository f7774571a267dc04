//! `report`: a run as one file, for whoever wasn't there.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::show::{soundness, suggestions, unread};
use crate::account::load;
use crate::cli::app::App;
use crate::cli::exit::{Exit, Fault};
use crate::cli::print;
use crate::private::{self, Over};
use crate::report::{html, markdown, otlp};

/// Which run, and what becomes of it.
#[derive(Args)]
pub(crate) struct ReportArgs {
    /// The run, for example update-14
    run: String,
    /// The file to write, or - for standard output [default: RUN.html, RUN.md, or RUN.otlp.json, overwritten each time]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// One file for a browser or the printer, text for a ticket, or a trace
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Html)]
    format: Format,
    /// Overwrite a file that isn't a report of a run with this name
    #[arg(long)]
    force: bool,
}

/// What a report is written in.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One self-contained file with everything in it
    Html,
    /// Short: what changed, holds and decisions, the waves
    Markdown,
    /// Its trace, as OpenTelemetry collectors take it at /v1/traces
    Otlp,
}

pub(crate) fn report(app: &App<'_>, args: &ReportArgs) -> Result<Exit, Fault> {
    let account = load(&app.runs()?, &args.run)?;
    let suggestions = suggestions(app, &account, usize::MAX);
    let (text, end) = match args.format {
        Format::Html => (html::page(&account, suggestions.as_deref()), "html"),
        Format::Markdown => (markdown::ticket(&account, suggestions.as_deref()), "md"),
        Format::Otlp => (otlp::trace(&account), "otlp.json"),
    };
    unread(&account);
    let exit = soundness(&account);
    // Journals hold the placeholders of secrets.
    let text = crate::secret::shown(&text);
    let usual = PathBuf::from(format!("{}.{end}", account.run));
    let path = args.output.as_ref().unwrap_or(&usual);
    if path.as_os_str() == "-" {
        let _ = std::io::stdout().write_all(text.as_bytes());
        return Ok(exit);
    }
    write(path, &text, *path == usual, args.force)?;
    if app.global.json {
        print::json(&json!({"run": account.run, "report": path, "bytes": text.len()}));
    } else {
        out!("{}", path.display());
    }
    Ok(exit)
}

/// Writes a report. One of the usual name is made again and again as the run continues; another file may be somebody's.
pub(super) fn write(path: &Path, text: &str, usual: bool, force: bool) -> Result<(), Fault> {
    let over = match (force, usual) {
        (true, _) => Over::Anything,
        (false, true) => Over::File,
        (false, false) => Over::Nothing,
    };
    private::place(path, text, private::PRIVATE, over).map_err(|error| {
        let fault = Fault::usage(format!("{} can't be written: {error}", path.display()));
        match error.kind() {
            ErrorKind::AlreadyExists => fault.help("overwrite it with --force"),
            _ => fault.help("name another file with -o, or - for standard output"),
        }
    })
}
