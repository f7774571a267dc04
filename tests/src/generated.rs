//! The files in the tree that follow from something else: what each should hold. `cargo generate` writes them.

use std::fs;
use std::path::{Path, PathBuf};

use lockstep::event::reference;
use lockstep::generate;

use crate::{hazards, licences, root};

/// A file as it should be.
#[derive(Debug)]
pub struct File {
    /// Where it is, from the root of the repository.
    pub path: PathBuf,
    /// What it holds. Without, it shouldn't be there.
    pub text: Option<String>,
}

impl File {
    fn of(path: impl Into<PathBuf>, text: String) -> Self {
        Self {
            path: path.into(),
            text: Some(text),
        }
    }

    /// Whether the tree has it otherwise.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        fs::read_to_string(root().join(&self.path)).ok() != self.text
    }

    /// Writes it to the tree, or removes it there.
    ///
    /// # Errors
    /// Where that can't be done.
    pub fn write(&self) -> std::io::Result<()> {
        let path = root().join(&self.path);
        match &self.text {
            Some(text) => fs::write(path, text),
            None => fs::remove_file(path),
        }
    }
}

/// What the declarations of ops, the tables, the command line, the event types and the crates' notices make.
///
/// # Panics
/// Where one can't be made.
#[must_use]
pub fn files() -> Vec<File> {
    let registry = lockstep_modules::registry();
    let commands = lockstep::cli::reference(&registry);
    let schema = serde_json::to_string_pretty(&reference::schema());
    let mut files = vec![
        File::of("docs/ops.md", generate::reference(&registry)),
        File::of(
            "docs/commands.md",
            commands.unwrap_or_else(|e| panic!("{e:?}")),
        ),
        File::of("docs/events.md", reference::page()),
        File::of(
            "docs/events.schema.json",
            schema.unwrap_or_else(|e| panic!("{e}")) + "\n",
        ),
        File::of("docs/versions.md", generate::versions()),
        File::of("docs/health.md", generate::health()),
        File::of("docs/hazards.md", hazards::page()),
        File::of("playbooks/.luacheckrc", generate::luacheckrc(&registry)),
        File::of("runner/packaging/debian/copyright", licences::copyright()),
    ];
    let types = Path::new("playbooks/types");
    let stubs = generate::stubs(&registry);
    // What is left of a module that is gone. The stubs of flow and of the tables are written by hand.
    let by_hand = ["flow.lua", "data"];
    let is_known =
        |name: &str| by_hand.contains(&name) || stubs.iter().any(|(stub, _)| stub == name);
    for entry in fs::read_dir(root().join(types))
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !is_known(&name) {
            let path = types.join(name);
            files.push(File { path, text: None });
        }
    }
    files.extend(
        stubs
            .into_iter()
            .map(|(name, text)| File::of(types.join(name), text)),
    );
    files
}

/// All Lua that is ours, formatted.
///
/// # Panics
/// Where it can't be parsed.
#[must_use]
pub fn lua() -> Vec<File> {
    let config = stylua_lib::Config {
        column_width: 120,
        call_parentheses: stylua_lib::CallParenType::None,
        ..stylua_lib::Config::new()
    };
    let check = stylua_lib::OutputVerification::None;
    let formatted = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let text = stylua_lib::format_code(&text, config, None, check);
        let text = text.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let path = path.strip_prefix(root()).unwrap_or(&path);
        File::of(path, text)
    };
    let folders = ["playbooks", "runner/src/script"];
    let all = folders.map(|folder| below(&root().join(folder), &[".lua"]));
    all.into_iter().flatten().map(formatted).collect()
}

/// All files below a folder with one of these endings, in order; build output is left out.
///
/// # Panics
/// Where it can't be read.
#[must_use]
pub fn below(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && name != ".git" {
            found.extend(below(&path, endings));
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
    found.sort();
    found
}
