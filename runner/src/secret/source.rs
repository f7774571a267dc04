//! Where a secret comes from. What is typed, and what the journal keeps, is the place and never the value.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::placeholder::{CLOSES, OPENS};

/// A value with fewer characters would be found by chance in what has nothing to do with it.
pub(crate) const SHORTEST: usize = 6;

/// A value with more bytes is no secret but a file.
pub(super) const LONGEST: usize = 8 * 1024;

/// A place where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A variable of the environment.
    Env(String),
    /// A file; `~/` is the home folder.
    File(PathBuf),
    /// The person at the terminal.
    Ask,
}

/// Why there is no secret to be had from a place. What is reported never holds the value, nor what may be one.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It was given where its place is expected.
    #[error(
        "expected where the secret is found, never the secret itself: env:NAME, file:PATH, or ask"
    )]
    NoSource,
    /// The environment doesn't have it.
    #[error("the environment has no variable {0}")]
    NotSet(String),
    /// There is no such file, or it can't be read.
    #[error("the file {path} {why}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// Nobody can be asked.
    #[error("there is no terminal to ask for it on; give it as env:NAME or file:PATH")]
    NoTerminal,
    /// There is nothing in it.
    #[error("{0} is empty")]
    Empty(String),
    /// It can't be distinguished from ordinary text.
    #[error(
        "{0} holds fewer than {SHORTEST} characters: text this short appears everywhere by chance, and can't be kept out of what is written down"
    )]
    TooShort(String),
    /// It is no secret but a file.
    #[error("{0} holds more than {LONGEST} bytes: that is no secret but a file")]
    TooLong(String),
    /// A program couldn't be given it.
    #[error("{0} holds no text: {1}")]
    NoText(String, &'static str),
    /// All of them are more than can be looked for.
    #[error("the secrets are too long, all in all")]
    TooMuch,
}

/// A secret that was found.
pub struct Opened {
    pub(super) value: String,
    /// What is odd about where it was, for whoever runs this.
    pub(crate) warning: Option<String>,
}

/// Not the value.
impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opened")
    }
}

impl FromStr for Source {
    type Err = Unusable;

    fn from_str(text: &str) -> Result<Self, Unusable> {
        if text == "ask" {
            return Ok(Self::Ask);
        }
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() && !name.contains(['=', '\0']) => {
                Ok(Self::Env(name.to_owned()))
            }
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(PathBuf::from(path))),
            _ => Err(Unusable::NoSource),
        }
    }
}

/// As it is typed.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Ask => f.write_str("ask"),
        }
    }
}

/// A path as it is found from everywhere: it begins in `folder`, or with `~` in the home folder.
pub(crate) fn anchored(path: &Path, folder: &Path) -> PathBuf {
    let path = match path.strip_prefix("~") {
        Ok(rest) => etcetera::home_dir().map_or(path.to_owned(), |home| home.join(rest)),
        Err(_) => folder.join(path),
    };
    std::path::absolute(&path).unwrap_or(path)
}

impl Source {
    /// The same place for a process that is started in another folder; a path begins in `folder`.
    pub(crate) fn anchored(self, folder: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(anchored(&path, folder)),
            other => other,
        }
    }

    /// What the value is in, within a sentence.
    fn holder(&self) -> String {
        match self {
            Self::Env(name) => format!("the variable {name}"),
            Self::File(path) => format!("the file {}", path.display()),
            Self::Ask => "what was typed".to_owned(),
        }
    }

    /// Fetches the secret; `what` is what a person is asked for.
    ///
    /// # Errors
    /// Where it isn't there, or can't be kept secret.
    pub fn open(&self, what: &str) -> Result<Opened, Unusable> {
        let (value, warning) = match self {
            Self::Env(name) => {
                let value = std::env::var_os(name).ok_or_else(|| Unusable::NotSet(name.clone()))?;
                let value = value.into_string();
                let value = value.map_err(|_| Unusable::NoText(self.holder(), "it isn't UTF-8"))?;
                (value, None)
            }
            Self::File(path) => read(path, self)?,
            Self::Ask => {
                let answer = rpassword::prompt_password(format!("{what}: "));
                let answer = answer.map_err(|e| match e.kind() {
                    ErrorKind::UnexpectedEof | ErrorKind::Interrupted => {
                        Unusable::Empty(self.holder())
                    }
                    _ => Unusable::NoTerminal,
                });
                (answer?, None)
            }
        };
        check(&value, self)?;
        Ok(Opened { value, warning })
    }
}

fn read(path: &PathBuf, source: &Source) -> Result<(String, Option<String>), Unusable> {
    let complain = |error: std::io::Error| Unusable::File {
        path: path.clone(),
        why: match error.kind() {
            ErrorKind::NotFound => "isn't there".to_owned(),
            _ => format!("can't be read: {error}"),
        },
    };
    let mut file = File::open(path).map_err(complain)?;
    let mode = file.metadata().map_err(complain)?.mode();
    let mut bytes = Vec::new();
    let most = LONGEST as u64 + 3;
    file.by_ref()
        .take(most)
        .read_to_end(&mut bytes)
        .map_err(complain)?;
    let mut text = String::from_utf8(bytes)
        .map_err(|_| Unusable::NoText(source.holder(), "it isn't UTF-8"))?;
    // Editors and `echo` end a file with a line's end that isn't meant.
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    let others = mode & 0o077 != 0;
    let warning = others.then(|| {
        let path = path.display();
        format!("{path} holds a secret and can be read by others: chmod 600 {path}")
    });
    Ok((text, warning))
}

fn check(value: &str, source: &Source) -> Result<(), Unusable> {
    if value.is_empty() {
        return Err(Unusable::Empty(source.holder()));
    }
    if value.contains('\0') {
        return Err(Unusable::NoText(source.holder(), "it has a NUL in it"));
    }
    if value.contains([OPENS, CLOSES]) {
        return Err(Unusable::NoText(
            source.holder(),
            "it has a character that lockstep marks secrets with",
        ));
    }
    if value.trim().chars().count() < SHORTEST {
        return Err(Unusable::TooShort(source.holder()));
    }
    if value.len() > LONGEST {
        return Err(Unusable::TooLong(source.holder()));
    }
    Ok(())
}
