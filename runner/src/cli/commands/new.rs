//! `new`: the beginning of a site's playbook.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use lockstep_modules::contract::cmd::quote;
use serde_json::json;

use crate::bundle::shipped;
use crate::cli::exit::{Exit, Fault};
use crate::cli::global::Global;
use crate::cli::help::columns;
use crate::cli::print;
use crate::private::folder_of;

/// What is to be written.
#[derive(Args)]
pub(crate) struct NewArgs {
    /// The file to write, for example site/drain.lua
    file: PathBuf,
    /// Start from this shipped playbook, with the places where a site can add to it
    #[arg(long, value_name = "NAME", value_parser = ["update", "upgrade"])]
    extends: Option<String>,
}

/// Writes a playbook that can be run as it is, and says what to do next.
pub(crate) fn new(global: &Global, args: &NewArgs) -> Result<Exit, Fault> {
    let file = &args.file;
    let shown = file.display();
    if file.extension().is_none_or(|ending| ending != "lua") {
        let wanted = format!("{shown}.lua");
        let help = format!("lockstep new {}", quote(&wanted));
        return Err(Fault::usage(format!(
            "{shown}: the name of a playbook file must end with .lua"
        ))
        .help(help));
    }
    write(file, &text(args.extends.as_deref())?)?;
    if global.json {
        print::json(&json!({"written": file}));
        return Ok(Exit::Done);
    }
    let typed = quote(&shown.to_string());
    let folder = quote(&folder_of(file).display().to_string());
    let next = [
        (
            format!("lockstep types {folder}"),
            "so that an editor completes and checks it",
        ),
        (format!("lockstep run {typed} --help"), "what it takes"),
        (
            format!("lockstep plan {typed} --cluster twin:3"),
            "what it will do",
        ),
        (
            format!("lockstep check {typed}"),
            "which rules it breaks under faults and interruptions",
        ),
    ];
    out!(
        "wrote {shown}, which can be run as it is. Next steps:\n{}",
        columns(&next)
    );
    Ok(Exit::Done)
}

/// A playbook that stands alone, or one that extends a shipped one.
fn text(extends: Option<&str>) -> Result<String, Fault> {
    let skeleton = match extends {
        None => shipped("new/playbook.lua").map(str::to_owned),
        // The same hooks are around both.
        Some(name) => shipped("new/extension.lua").map(|text| text.replace("update", name)),
    };
    skeleton.ok_or_else(|| {
        Fault::new(
            Exit::State,
            "this lockstep was built without starter playbooks",
        )
    })
}

/// Writes a new file, and its folder where there is none.
fn write(file: &Path, text: &str) -> Result<(), Fault> {
    let complain = |e: std::io::Error| Fault::unwritten(file, e);
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(complain)?;
    }
    let fresh = OpenOptions::new().write(true).create_new(true).open(file);
    let mut fresh = fresh.map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => {
            Fault::usage(format!("{} exists, and was not changed", file.display()))
        }
        _ => complain(e),
    })?;
    fresh.write_all(text.as_bytes()).map_err(complain)
}
