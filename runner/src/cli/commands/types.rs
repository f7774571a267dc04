//! `types`: what an editor needs to complete and check a site's playbooks.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::bundle::digest;
use crate::cli::app::App;
use crate::cli::exit::{Exit, Fault};
use crate::cli::print;
use crate::generate::{self, TYPES};
use crate::private::{self, Over, SHARED};

/// The file, among the stubs, that says what was written: paths with their SHA-256.
const WRITTEN: &str = "types/lockstep.json";

/// Where the stubs go.
#[derive(Args)]
pub(crate) struct TypesArgs {
    /// The folder of your playbooks
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// What becomes of the files.
#[derive(Default)]
struct Work {
    write: Vec<(String, String)>,
    same: usize,
    /// Ours, and not made any more.
    remove: Vec<String>,
    /// Somebody else's.
    foreign: Vec<String>,
}

/// Writes the stubs and the settings that name them. What it wrote itself is brought up to date; what somebody else wrote,
/// or changed since, is never touched.
pub(crate) fn types(app: &App<'_>, args: &TypesArgs) -> Result<Exit, Fault> {
    let folder = &args.folder;
    let files = generate::editor(app.registry, &app.global.playbooks()).map_err(Fault::usage)?;
    let record = folder.join(WRITTEN);
    let written = fs::read_to_string(&record).ok();
    let written: BTreeMap<String, String> = written
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    let work = sort(folder, files.clone(), &written);

    // Settings are often shared with others, and can be pointed to the stubs by hand. A stub that isn't ours can't.
    let stubs: Vec<&str> = work
        .foreign
        .iter()
        .map(String::as_str)
        .filter(|name| name.starts_with(TYPES))
        .collect();
    if !stubs.is_empty() {
        let text = format!(
            "nothing was written; in {}, these are not lockstep's, or were changed since: {}",
            folder.display(),
            stubs.join(", ")
        );
        return Err(Fault::usage(text).help("move them away, then run the command again"));
    }
    for (name, text) in &work.write {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(|e| Fault::unwritten(parent, e))?;
        private::place(&path, text, SHARED, Over::File).map_err(|e| Fault::unwritten(&path, e))?;
    }
    for name in &work.remove {
        let path = folder.join(name);
        fs::remove_file(&path).map_err(|e| Fault::unwritten(&path, e))?;
    }
    let ours = files
        .into_iter()
        .filter(|(name, _)| !work.foreign.contains(name));
    let ours: BTreeMap<String, String> = ours.map(|(name, text)| (name, digest(&text))).collect();
    if ours != written {
        let text = format!("{:#}\n", json!(ours));
        private::place(&record, &text, SHARED, Over::File)
            .map_err(|e| Fault::unwritten(&record, e))?;
    }
    tell(folder, &work, app.global.json);
    Ok(Exit::Done)
}

/// Holds what is to be there against what is there.
fn sort(folder: &Path, files: Vec<(String, String)>, written: &BTreeMap<String, String>) -> Work {
    let ours =
        |name: &String, text: &str| written.get(name).is_some_and(|sum| *sum == digest(text));
    let mut work = Work::default();
    // The record is a file like any other: it may name nothing outside of the folder.
    let within = |name: &String| {
        let mut parts = Path::new(name).components();
        parts.all(|part| matches!(part, Component::Normal(_)))
    };
    let gone = |name: &&String| within(name) && files.iter().all(|(file, _)| file != *name);
    for name in written.keys().filter(gone) {
        match fs::read_to_string(folder.join(name)) {
            Ok(text) if ours(name, &text) => work.remove.push(name.clone()),
            // Changed since, or gone: it is not ours any more.
            _ => {}
        }
    }
    for (name, text) in files {
        let path = folder.join(&name);
        match fs::read(&path).map(String::from_utf8) {
            // Wherever it leads is somebody else's.
            _ if path.is_symlink() => work.foreign.push(name),
            Ok(Ok(there)) if there == text => work.same += 1,
            Ok(Ok(there)) if ours(&name, &there) => work.write.push((name, text)),
            Ok(_) => work.foreign.push(name),
            Err(_) => work.write.push((name, text)),
        }
    }
    work
}

fn tell(folder: &Path, work: &Work, as_json: bool) {
    let written: Vec<&str> = work.write.iter().map(|(name, _)| name.as_str()).collect();
    if as_json {
        print::json(
            &json!({"folder": folder, "written": written, "unchanged": work.same, "removed": work.remove, "kept": work.foreign}),
        );
        return;
    }
    for (verb, names) in [
        ("written", &written),
        ("removed", &work.remove.iter().map(String::as_str).collect()),
    ] {
        for name in names {
            out!("{verb}  {}", folder.join(name).display());
        }
    }
    match work.same {
        0 => {}
        1 => out!("1 file is unchanged"),
        n => out!("{n} files are unchanged"),
    }
    for name in &work.foreign {
        let wants = match name.as_str() {
            ".luarc.json" => "its workspace.library has to include \"types\"",
            _ => "see types/ for what playbooks see",
        };
        out!(
            "kept     {}: it is not lockstep's, or was changed since; {wants}",
            folder.join(name).display()
        );
    }
    out!(
        "Editors with LuaLS or EmmyLua read .luarc.json when this folder is opened; luacheck reads .luacheckrc."
    );
}
