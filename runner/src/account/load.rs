//! Reading a run's folder. Nothing in it is touched.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use lockstep_modules::contract::cmd::quote;

use super::{Account, Output};
use crate::bounds;
use crate::event::OUT;
use crate::report::kept;
use crate::runs::{EVENTS, JOURNAL, Runs, RunsError, begun};

/// Bytes that are taken along of an output that is in a file of its own.
const BEGINNING: u64 = 4096;

/// What is known of a run.
///
/// # Errors
/// Where there is no such run. A folder in which little can be read gives an account of little.
pub(crate) fn load(runs: &Runs, id: &str) -> Result<Account, RunsError> {
    let folder = runs.folder_of(id)?;
    // Asked first: what ends while the files are read has written all of it.
    let running = runs.is_running(id);
    let read = |name: &str, what: &str| {
        fs::read(folder.join(name)).map_err(|error| format!("{what} can't be read: {error}"))
    };
    let (journal, events) = match begun(&folder) {
        Ok(()) => (read(JOURNAL, "the journal"), read(EVENTS, "the events")),
        Err(_) => (Ok(Vec::new()), Ok(Vec::new())),
    };
    let mut account = Account::of(
        id,
        journal.as_deref().map_err(String::clone),
        events.as_deref().map_err(String::clone),
        running,
    );
    for command in account.steps.iter_mut().flat_map(|step| &mut step.commands) {
        begin(&folder, &mut command.stdout);
        begin(&folder, &mut command.stderr);
    }
    account.troubles.extend(full(&folder));
    if !account.state.is_over()
        && let Ok(history) = runs.history(id)
        && let Err(error) = runs.captured(&history.head)
    {
        let playbook = quote(&history.head.playbook);
        account.troubles.push(format!(
            "{error}; resume or abort it with --playbook {playbook}"
        ));
    }
    Ok(account)
}

/// What the journal of a run tells, without its events. None where it can't be read.
pub(crate) fn recalled(runs: &Runs, id: &str) -> Option<Account> {
    let journal = fs::read(runs.folder_of(id).ok()?.join(JOURNAL)).ok()?;
    Some(Account::of(id, Ok(&journal), Ok(b""), false))
}

/// What a run didn't keep, since it was more than it keeps.
fn full(folder: &Path) -> impl Iterator<Item = String> {
    let events = fs::metadata(folder.join(EVENTS)).map_or(0, |file| file.len());
    let outputs = kept(&folder.join(OUT));
    let events = (events > bounds::EVENTS).then(|| {
        let most = bounds::EVENTS >> 20;
        format!(
            "there are more than {most} MiB of events; later steps are shown without what they did"
        )
    });
    // The next one of full length would not have been kept.
    let outputs = (outputs + bounds::OUTPUT as u64 > bounds::OUTPUTS).then(|| {
        let most = bounds::OUTPUTS >> 20;
        format!("members printed about {most} MiB, the most that is kept; of later output only the ends are shown")
    });
    events.into_iter().chain(outputs)
}

/// Takes along how an output begins that is in a file.
fn begin(folder: &Path, output: &mut Output) {
    let Some(name) = &output.file else { return };
    let mut bytes = Vec::new();
    let read =
        File::open(folder.join(name)).and_then(|file| file.take(BEGINNING).read_to_end(&mut bytes));
    output.text = match read {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => format!("{name} can't be read: {error}"),
    };
}

/// The lines of a file that others write to.
#[derive(Debug)]
pub(crate) struct Tail {
    path: PathBuf,
    file: Option<File>,
    /// The beginning of a line whose end isn't there yet.
    begun: Vec<u8>,
}

impl Tail {
    /// A file's lines from its beginning. The file need not exist yet.
    pub(crate) fn of(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            file: None,
            begun: Vec::new(),
        }
    }

    /// The lines that were ended since this was asked last, without their newlines.
    pub(crate) fn lines(&mut self) -> io::Result<Vec<Vec<u8>>> {
        let file = match &mut self.file {
            Some(file) => file,
            None => match File::open(&self.path) {
                Ok(file) => self.file.insert(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(error),
            },
        };
        file.read_to_end(&mut self.begun)?;
        let Some(end) = self.begun.iter().rposition(|byte| *byte == b'\n') else {
            return Ok(Vec::new());
        };
        let rest = self.begun.split_off(end + 1);
        let whole = std::mem::replace(&mut self.begun, rest);
        let lines = whole[..end].split(|byte| *byte == b'\n');
        Ok(lines.map(<[u8]>::to_vec).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn lines_come_when_they_have_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let mut tail = Tail::of(&path);
        assert!(tail.lines().unwrap().is_empty(), "there is no file yet");
        let mut file = File::create(&path).unwrap();
        let mut read = Vec::new();
        for piece in ["one\ntw", "o", "\n\nthree\n", "fo"] {
            file.write_all(piece.as_bytes()).unwrap();
            read.push(tail.lines().unwrap());
        }
        let lines = |lines: &[&str]| {
            lines
                .iter()
                .map(|l| l.as_bytes().to_vec())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            read,
            [
                lines(&["one"]),
                vec![],
                lines(&["two", "", "three"]),
                vec![]
            ]
        );
    }
}
