//! `playbooks`: what can be run.

use std::path::{Path, PathBuf};

use clap::Args;
use lockstep_modules::contract::error::Kind;
use serde_json::{Map, Value, json};

use super::playbook::main_of;
use crate::bundle::{Playbooks, lua_files};
use crate::cli::app::App;
use crate::cli::exit::{Exit, Fault};
use crate::cli::print;
use crate::failure::Failure;
use crate::script::{Param, Playbook, Script};
use crate::trust;

/// Where is looked.
#[derive(Args)]
pub(crate) struct PlaybooksArgs {
    /// Folders with playbooks of your own [default: this one, and site/]
    #[arg(value_name = "DIR")]
    folders: Vec<PathBuf>,
}

/// A file, and what it says about itself or why it can't be run.
struct Found {
    file: String,
    playbook: Result<Playbook, Failure>,
}

/// Lists the shipped playbooks, and those in a site's folders.
pub(crate) fn playbooks(app: &App<'_>, args: &PlaybooksArgs) -> Result<Exit, Fault> {
    let load = |file: String| -> Result<Found, Fault> {
        let main = main_of(app.global, &file)?;
        let script = Script::load(&main.main, Box::new(main.finder), app.registry, 1);
        let playbook = script.map(|script| script.playbook().clone());
        Ok(Found { file, playbook })
    };
    let shipped = Playbooks::NAMES
        .into_iter()
        .map(|name| load(name.to_owned()));
    let shipped: Vec<Found> = shipped.collect::<Result<_, _>>()?;
    // Where nobody has named a folder, what is found may be anybody's.
    let found = |file: String| match trust::found(Path::new(&file)) {
        Err(distrust) if args.folders.is_empty() => Ok(Found {
            file,
            playbook: Err(Failure::new(Kind::Refused, distrust.to_string())),
        }),
        _ => load(file),
    };
    let sites = files(&args.folders)?.into_iter().map(found);
    let sites: Vec<Found> = sites.collect::<Result<_, _>>()?;
    if app.global.json {
        let all = shipped.iter().map(|found| (true, found));
        let all = all.chain(sites.iter().map(|found| (false, found)));
        print::json(
            &all.map(|(shipped, found)| record(shipped, found))
                .collect::<Value>(),
        );
        return Ok(Exit::Done);
    }
    out!("Shipped:");
    shipped.iter().for_each(print);
    let (fit, unfit): (Vec<&Found>, Vec<&Found>) =
        sites.iter().partition(|found| found.playbook.is_ok());
    if !fit.is_empty() {
        out!("\nYours:");
        fit.into_iter().for_each(print);
    }
    if !unfit.is_empty() {
        out!("\nNot playbooks, or with errors:");
        unfit.into_iter().for_each(print);
    }
    out!(
        "\nlockstep run NAME --help shows the parameters of one; lockstep new FILE creates another."
    );
    Ok(Exit::Done)
}

/// The Lua files of the folders, as they are typed: without a folder, those here and in `site/`.
fn files(folders: &[PathBuf]) -> Result<Vec<String>, Fault> {
    let mut files = Vec::new();
    if folders.is_empty() {
        for folder in [".", "site"].map(Path::new) {
            // There may be none, or one that can't be read.
            files.extend(lua_files(folder).unwrap_or_default());
        }
    }
    for folder in folders {
        files.extend(lua_files(folder).map_err(Fault::usage)?);
    }
    let typed = |file: PathBuf| {
        file.strip_prefix(".")
            .unwrap_or(&file)
            .display()
            .to_string()
    };
    Ok(files.into_iter().map(typed).collect())
}

fn record(shipped: bool, Found { file, playbook }: &Found) -> Value {
    match playbook {
        Ok(playbook) => json!({
            "playbook": file, "shipped": shipped, "about": playbook.about, "stages": playbook.stages,
            "params": playbook.params.iter().map(param).collect::<Map<_, _>>(),
        }),
        Err(failure) => {
            json!({"playbook": file, "shipped": shipped, "error": failure.to_string(), "site": failure.site})
        }
    }
}

fn param((name, param): &(String, Param)) -> (String, Value) {
    let value = json!({"type": param.kind, "default": param.default, "one_of": param.one_of, "about": param.about});
    (name.clone(), value)
}

fn print(Found { file, playbook }: &Found) {
    match playbook {
        Ok(playbook) => {
            out!("  {file}\n      {}", playbook.about);
            let flags: Vec<String> = playbook
                .names()
                .iter()
                .map(|name| format!("--{}", name.replace('_', "-")))
                .collect();
            if !flags.is_empty() {
                out!("      {}", flags.join(" "));
            }
        }
        Err(failure) => {
            let place = failure
                .site
                .as_ref()
                .map_or_else(String::new, |site| format!("{site}: "));
            out!("  {file}\n      {place}{failure}");
        }
    }
}
