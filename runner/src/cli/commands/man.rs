//! `man`: the manual pages, one for lockstep and one for each command.

use std::fs;
use std::path::PathBuf;

use clap::{Args, Command};
use clap_mangen::Man;
use roff::{Roff, bold, italic, roman};

use crate::cli::examples::{Example, examples};
use crate::cli::exit::{Exit, Fault};
use crate::cli::help::{self, ENVIRONMENT, FILES};
use crate::private::{self, Over, SHARED};

/// Where the pages go.
#[derive(Args)]
pub(crate) struct ManArgs {
    /// Folder to write all pages to; without it, lockstep(1) is printed
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Prints or writes the pages of the command line, given as a whole and command by command.
pub(crate) fn man(line: &(Command, Vec<Command>), args: &ManArgs) -> Result<Exit, Fault> {
    let pages = pages(line);
    let Some(folder) = &args.folder else {
        if let Some((_, page)) = pages.first() {
            out!("{}", page.trim_end());
        }
        return Ok(Exit::Done);
    };
    let complain = |e: std::io::Error| Fault::unwritten(folder, e);
    fs::create_dir_all(folder).map_err(complain)?;
    for (name, page) in &pages {
        private::place(&folder.join(name), page, SHARED, Over::File).map_err(complain)?;
    }
    out!(
        "{} pages are written; see: man -l {}",
        pages.len(),
        folder.join("lockstep.1").display()
    );
    Ok(Exit::Done)
}

/// The pages by their file names, lockstep(1) first.
fn pages((overview, commands): &(Command, Vec<Command>)) -> Vec<(String, String)> {
    let mut pages = vec![page(overview, &about_all(overview))];
    pages.extend(
        commands
            .iter()
            .map(|command| page(command, &about_one(command))),
    );
    pages
}

/// A page: what clap knows of a command, and the sections after that.
fn page(command: &Command, sections: &Roff) -> (String, String) {
    let bare = command.clone().after_help("").after_long_help("");
    let man = Man::new(bare);
    let name = man.get_filename();
    let title = name.trim_end_matches(".1").to_uppercase();
    // The date stays open: a build is the same whenever it is made.
    let mut text = format!(
        ".TH {title} 1 \"\" \"lockstep {}\"\n",
        crate::cli::version::SHORT
    )
    .into_bytes();
    // Writing into memory doesn't fail.
    let _ = man.render_name_section(&mut text);
    let _ = man.render_synopsis_section(&mut text);
    let _ = man.render_description_section(&mut text);
    let _ = man.render_options_section(&mut text);
    let text = String::from_utf8_lossy(&text).into_owned() + &sections.to_roff();
    (name, text)
}

fn about_all(command: &Command) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["COMMANDS"]);
    for (title, commands) in help::groups(command) {
        roff.control("SS", [title]);
        for command in commands {
            let about = command
                .get_about()
                .map(ToString::to_string)
                .unwrap_or_default();
            let name = format!("lockstep-{}", command.get_name());
            roff.control("TP", [])
                .text([bold(name), roman("(1)")])
                .text([roman(about)]);
        }
    }
    add_examples(&mut roff, examples("lockstep"));
    roff.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in help::codes() {
        roff.control("TP", [])
            .text([bold(code.to_string())])
            .text([roman(meaning)]);
    }
    for (title, rows) in [
        ("ENVIRONMENT", ENVIRONMENT.as_slice()),
        ("FILES", FILES.as_slice()),
    ] {
        roff.control("SH", [title]);
        for (name, about) in rows {
            roff.control("TP", [])
                .text([italic(*name)])
                .text([roman(*about)]);
        }
    }
    see_also(&mut roff, &["ssh(1)", "ssh_config(5)", "snap(8)"]);
    roff
}

fn about_one(command: &Command) -> Roff {
    let mut roff = Roff::new();
    if command.has_subcommands() {
        let title = if command.get_name() == "op" {
            "OPS"
        } else {
            "COMMANDS"
        };
        roff.control("SH", [title]);
        let below = command.get_subcommands();
        for below in below.filter(|c| c.get_name() != "help" && !c.is_hide_set()) {
            let about = below.get_about().map(ToString::to_string);
            roff.control("TP", [])
                .text([bold(below.get_name())])
                .text([roman(about.unwrap_or_default())]);
        }
    }
    if let Some(more) = help::notes(command) {
        roff.control("SH", ["NOTES"]).control("nf", []);
        for line in more.lines() {
            roff.text([roman(line)]);
        }
        roff.control("fi", []);
    }
    add_examples(&mut roff, examples(command.get_name()));
    roff.control("SH", ["EXIT STATUS"])
        .text([roman("See "), bold("lockstep"), roman("(1).")]);
    see_also(&mut roff, &["lockstep(1)"]);
    roff
}

fn add_examples(roff: &mut Roff, examples: &[Example]) {
    roff.control("SH", ["EXAMPLES"]);
    for (line, what) in examples {
        roff.control("TP", [])
            .text([bold(*line)])
            .text([roman(*what)]);
    }
}

fn see_also(roff: &mut Roff, pages: &[&str]) {
    roff.control("SH", ["SEE ALSO"])
        .text([roman(pages.join(", "))]);
}
