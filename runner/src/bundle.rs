//! Where Lua modules come from: a site's folder, the shipped playbooks, or the folder of a run that captured them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};
use sha2::{Digest, Sha256};

use crate::source::{Source, Sources};

/// The playbooks in the binary.
static SHIPPED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../playbooks");

/// The library that playbooks are written with, required by this name alone.
pub(crate) const LIBRARY: &str = "flow";

/// The folder of the waves that playbooks are made of.
const WAVES: &str = "waves";

/// The shipped playbooks, or a folder that takes their place.
#[derive(Clone, Debug)]
pub enum Playbooks {
    /// Those in the binary.
    Shipped,
    /// Those in a folder (`--playbooks DIR`).
    Folder(PathBuf),
}

impl Playbooks {
    /// The playbooks that can be run by name.
    pub(crate) const NAMES: [&str; 4] = ["update", "upgrade", "stage", "preflight"];

    /// The file of this name, for example `update.lua`.
    fn read(&self, file: &str) -> Option<Result<Source, String>> {
        match self {
            Self::Shipped => {
                let text = SHIPPED
                    .get_file(file)?
                    .contents_utf8()
                    .unwrap_or_default()
                    .to_owned();
                Some(Ok(Source {
                    chunk: format!("playbooks/{file}"),
                    text,
                }))
            }
            Self::Folder(folder) => read_file(&folder.join(file)),
        }
    }

    fn place(&self) -> String {
        match self {
            Self::Shipped => "the shipped playbooks".to_owned(),
            Self::Folder(folder) => folder.display().to_string(),
        }
    }

    /// The Lua modules that `require "playbooks.…"` finds, and the library: paths with texts.
    pub(crate) fn modules(&self) -> Result<Vec<(String, String)>, String> {
        let mut modules = Vec::new();
        for below in ["", WAVES] {
            let path = |name: &str| Path::new(below).join(name).display().to_string();
            match self {
                Self::Shipped => {
                    let files = shipped_in(below).into_iter();
                    modules.extend(files.map(|(name, text)| (path(name), text.to_owned())));
                }
                // A stand-in may have none.
                Self::Folder(folder) if below == WAVES && !folder.join(WAVES).is_dir() => {}
                Self::Folder(folder) => {
                    for file in lua_files(&folder.join(below))? {
                        let name = file.file_name().unwrap_or_default().to_string_lossy();
                        if let Some(source) = read_file(&file) {
                            modules.push((path(&name), source?.text));
                        }
                    }
                }
            }
        }
        Ok(modules)
    }
}

/// A file that comes with the shipped playbooks, whatever takes their place.
pub(crate) fn shipped(file: &str) -> Option<&'static str> {
    SHIPPED.get_file(file)?.contents_utf8()
}

/// The file that comes with the shipped playbooks and has this digest, if one.
pub(crate) fn shipped_with(sum: &str) -> Option<&'static str> {
    fn within(folder: &'static Dir<'_>, sum: &str) -> Option<&'static str> {
        let mut files = folder.files().filter_map(|file| file.contents_utf8());
        files
            .find(|text| digest(text) == sum)
            .or_else(|| folder.dirs().find_map(|folder| within(folder, sum)))
    }
    within(&SHIPPED, sum)
}

/// Whether a source is one of the shipped playbooks, unchanged.
pub(crate) fn is_shipped(source: &Source) -> bool {
    shipped_with(&digest(&source.text)).is_some()
}

/// The Lua files in a folder of the shipped playbooks (`""` for the top): names with texts, by name.
pub(crate) fn shipped_in(folder: &str) -> Vec<(&'static str, &'static str)> {
    let folder = if folder.is_empty() {
        Some(&SHIPPED)
    } else {
        SHIPPED.get_dir(folder)
    };
    let files = folder.into_iter().flat_map(Dir::files);
    let named =
        files.filter_map(|file| Some((file.path().file_name()?.to_str()?, file.contents_utf8()?)));
    let mut named: Vec<_> = named.filter(|(name, _)| name.ends_with(".lua")).collect();
    named.sort_unstable();
    named
}

/// The Lua files in a folder, by name.
pub(crate) fn lua_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let complain = |e: std::io::Error| format!("{} can't be read: {e}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(complain)? {
        let path = entry.map_err(complain)?.path();
        if path.is_file() && path.extension().is_some_and(|ending| ending == "lua") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// A playbook that somebody named.
pub struct Main {
    pub(crate) main: String,
    /// The name that its runs get.
    pub(crate) name: String,
    pub(crate) finder: Finder,
    /// It is a site's own, which may name machines beside the cluster.
    pub(crate) site: bool,
}

impl Main {
    /// A shipped playbook, also one that isn't run by its name.
    #[must_use]
    pub fn shipped(playbooks: Playbooks, named: &str) -> Self {
        Self {
            name: named.to_owned(),
            main: named.to_owned(),
            finder: Finder::shipped(playbooks),
            site: false,
        }
    }

    /// A shipped playbook by its name, or a site's by its file; none where there is neither.
    #[must_use]
    pub fn find(playbooks: Playbooks, named: &str) -> Option<Self> {
        if Playbooks::NAMES.contains(&named) {
            return Some(Self::shipped(playbooks, named));
        }
        let main = named.to_owned();
        let path = Path::new(named);
        let stem = path.file_stem().map(|stem| stem.to_string_lossy());
        path.exists().then(|| Self {
            main,
            name: plain(&stem.unwrap_or("run".into())),
            finder: Finder::site(path, playbooks),
            site: true,
        })
    }
}

/// A file's name as part of a run's name.
fn plain(stem: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || c == '_';
    stem.chars()
        .map(|c| if plain(c) { c } else { '-' })
        .collect()
}

/// Finds modules for a playbook that is about to run.
///
/// `require "x.y"` looks for `x/y.lua` in the folder of the playbook; `require "playbooks.x"` for `x.lua` among the
/// shipped playbooks; `require "flow"` for the library. `require "playbooks.data.x"` is a table of data, `data/x.toml`.
/// Nothing else is looked at: no environment, no current folder.
pub struct Finder {
    site: Option<PathBuf>,
    playbooks: Playbooks,
}

impl Finder {
    /// For a shipped playbook.
    #[must_use]
    pub fn shipped(playbooks: Playbooks) -> Self {
        Self {
            site: None,
            playbooks,
        }
    }

    /// For a site's own playbook, a file.
    #[must_use]
    pub fn site(file: &Path, playbooks: Playbooks) -> Self {
        Self {
            site: Some(file.to_owned()),
            playbooks,
        }
    }

    /// The module name of what is to be run: a shipped playbook's name, or the path of a site's file.
    fn is_main(&self, name: &str) -> Option<&Path> {
        self.site.as_deref().filter(|file| Path::new(name) == *file)
    }
}

impl Sources for Finder {
    fn find(&self, name: &str) -> Result<Source, String> {
        if let Some(file) = self.is_main(name) {
            return read_file(file)
                .unwrap_or_else(|| Err(format!("there is no file {}", file.display())));
        }
        let words: Vec<&str> = name.split('.').collect();
        let plain = |word: &&str| {
            !word.is_empty()
                && word
                    .chars()
                    .all(|c| c.is_alphanumeric() || c == '_' || c == '-')
        };
        if !words.iter().all(plain) {
            return Err(format!(
                "{name:?} is no name of a module: write it with dots, for example \"site.lb\""
            ));
        }
        let path = words.join("/") + ".lua";
        let mut tried = Vec::new();
        if let Some(folder) = self.site.as_deref().and_then(Path::parent) {
            let file = folder.join(&path);
            if let Some(source) = read_file(&file) {
                return source;
            }
            tried.push(file.display().to_string());
        }
        let among = match words.as_slice() {
            ["playbooks", "data", table] => Some(format!("data/{table}.toml")),
            ["playbooks", ..] => path.strip_prefix("playbooks/").map(str::to_owned),
            [LIBRARY] => Some(path.clone()),
            // A shipped playbook, by the name that `lockstep run` knows it by.
            [_] if self.site.is_none() => Some(path.clone()),
            _ => None,
        };
        if let Some(file) = among {
            if let Some(source) = self.playbooks.read(&file) {
                return source;
            }
            tried.push(format!("{file} among {}", self.playbooks.place()));
        }
        Err(format!(
            "there is no module {name:?}; looked for {}",
            tried.join(" and ")
        ))
    }
}

fn read_file(path: &Path) -> Option<Result<Source, String>> {
    let chunk = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Some(Ok(Source { chunk, text })),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => Some(Err(format!("{chunk} can't be read: {error}"))),
    }
}

/// The modules that a run captured. On resume nothing else is consulted.
pub(crate) struct Captured(pub(crate) BTreeMap<String, Source>);

impl Sources for Captured {
    fn find(&self, name: &str) -> Result<Source, String> {
        self.0
            .get(name)
            .cloned()
            .ok_or_else(|| format!("the run did not capture a module {name:?}"))
    }
}

/// The SHA-256 of a text or a file, in hexadecimal.
#[must_use]
pub fn digest(content: impl AsRef<[u8]>) -> String {
    Sha256::digest(content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_of_a_site_come_first_and_the_library_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("mine.lua");
        std::fs::write(&main, "return 1").unwrap();
        std::fs::create_dir(folder.path().join("lib")).unwrap();
        std::fs::write(folder.path().join("lib/lb.lua"), "return 2").unwrap();
        let finder = Finder::site(&main, Playbooks::Shipped);
        assert_eq!(
            finder.find(main.to_str().unwrap()).unwrap().text,
            "return 1"
        );
        assert_eq!(finder.find("lib.lb").unwrap().text, "return 2");
        assert_eq!(finder.find("flow").unwrap().chunk, "playbooks/flow.lua");
        assert_eq!(
            finder.find("playbooks.update").unwrap().chunk,
            "playbooks/update.lua"
        );
        assert!(
            finder
                .find("update")
                .unwrap_err()
                .contains("there is no module \"update\"")
        );
    }

    #[test]
    fn nothing_outside_is_found() {
        let finder = Finder::shipped(Playbooks::Shipped);
        for name in ["../x", "/etc/passwd", "a..b", "", "x/y"] {
            assert!(
                finder
                    .find(name)
                    .unwrap_err()
                    .contains("no name of a module"),
                "{name}"
            );
        }
    }
}
