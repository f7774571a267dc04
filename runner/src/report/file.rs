//! `events.jsonl`: the stream, kept beside the journal.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use lockstep_modules::contract::cx::LogLevel;

use crate::bounds::{self, EVENTS, OUTPUTS};
use crate::bundle::digest;
use crate::event::{Event, OUT, Reporter, Stamped, Transcript};
use crate::private;
use crate::runs;

/// An output longer than this goes to a file of its own. A run of a few members has many that are a little shorter: making a file of
/// each costs more than writing it again wherever it is printed again.
const INLINE: usize = 16 << 10;

/// So many bytes of commands are written at once.
const BURST: usize = 64 << 10;

/// How many bytes of outputs are in their folder.
pub(crate) fn kept(outputs: &Path) -> u64 {
    let length = |entry: fs::DirEntry| entry.metadata().map_or(0, |file| file.len());
    fs::read_dir(outputs).map_or(0, |files| files.flatten().map(length).sum())
}

/// What is too long for an event.
fn long(transcript: &Transcript) -> Option<&str> {
    match transcript {
        Transcript::Text(text) if text.len() > INLINE => Some(text),
        _ => None,
    }
}

/// Whether something of an event goes to a file of its own.
fn is_long(event: &Event) -> bool {
    matches!(event, Event::Command { stdout, stderr, .. } if long(stdout).or(long(stderr)).is_some())
}

/// Writes events to a file, and long outputs to files beside it: as many as a run keeps, however often it is resumed.
pub(crate) struct FileReporter {
    file: BufWriter<File>,
    /// Its commands are written with what follows them, which is at once unless it is played slowly. All else is written now.
    simulated: bool,
    /// The line that is being written. Many are long.
    line: Vec<u8>,
    outputs: PathBuf,
    /// Bytes of events so far, and of outputs.
    events: u64,
    kept: u64,
    /// What was reported already, and what is to be reported.
    reported: Vec<&'static str>,
    trouble: Option<String>,
}

impl FileReporter {
    /// Appends to `events.jsonl` in the folder of a run.
    pub(crate) fn in_folder(folder: &Path, simulated: bool) -> std::io::Result<Self> {
        let file = private::file()
            .create(true)
            .append(true)
            .open(folder.join(runs::EVENTS))?;
        let outputs = folder.join(OUT);
        Ok(Self {
            events: file.metadata()?.len(),
            file: BufWriter::with_capacity(BURST, file),
            simulated,
            line: Vec::new(),
            kept: kept(&outputs),
            outputs,
            reported: Vec::new(),
            trouble: None,
        })
    }

    /// A command's output as its event has it.
    fn keep(&mut self, transcript: &mut Transcript) {
        if let Some(text) = long(transcript) {
            *transcript = self.kept(text);
        }
    }

    /// A long text, in the file it is put in; what is left of it where that can't be.
    fn kept(&mut self, text: &str) -> Transcript {
        let name = digest(text);
        let path = self.outputs.join(&name);
        let bytes = text.len() as u64;
        if path.exists() {
            return Transcript::Kept { name, bytes };
        }
        if self.kept + bytes > OUTPUTS {
            self.tell("outputs", || {
                let most = OUTPUTS >> 20;
                format!(
                    "members printed more than the {most} MiB that a run keeps; from here on only the ends are kept"
                )
            });
            return Transcript::Text(bounds::ends(text, INLINE).into_owned());
        }
        let written =
            private::make_folder(&self.outputs).and_then(|()| private::write(&path, text));
        match written {
            Ok(_) => {
                self.kept += bytes;
                Transcript::Kept { name, bytes }
            }
            Err(error) => {
                Transcript::Text(format!("{bytes} bytes that could not be kept: {error}"))
            }
        }
    }

    fn tell(&mut self, about: &'static str, what: impl FnOnce() -> String) {
        if !self.reported.contains(&about) {
            self.reported.push(about);
            self.trouble = Some(what());
        }
    }
}

impl Reporter for FileReporter {
    fn take(&mut self, event: &Stamped) {
        if self.events > EVENTS && !event.event.is_essential() {
            return self.tell("events", || {
                let most = EVENTS >> 20;
                format!("the run's events are more than {most} MiB; from here on only steps are recorded there")
            });
        }
        let mut event = Cow::Borrowed(event);
        if is_long(&event.event)
            && let Event::Command { stdout, stderr, .. } = &mut event.to_mut().event
        {
            self.keep(stdout);
            self.keep(stderr);
        }
        self.line.clear();
        if serde_json::to_writer(&mut self.line, &*event).is_err() {
            return;
        }
        self.line.push(b'\n');
        let waits = self.simulated && matches!(event.event, Event::Command { .. });
        let mut written = self.file.write_all(&self.line);
        if !waits {
            written = written.and_then(|()| self.file.flush());
        }
        match written {
            Ok(()) => self.events += self.line.len() as u64,
            Err(error) => self.tell("file", || {
                format!("the run's events can't be written ({error}); it continues without them")
            }),
        }
    }

    fn trouble(&mut self) -> Option<Event> {
        let message = self.trouble.take()?;
        Some(Event::Log {
            level: LogLevel::Warn,
            scope: String::new(),
            message,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::event::{Events, Kept};

    fn command(stdout: String) -> Event {
        Event::Command {
            path: "exec#1".into(),
            member: "m1".into(),
            command: "/bin/cat /dev/zero".to_owned(),
            end: "exit 0".to_owned().into(),
            ms: 1,
            stdout: stdout.into(),
            stderr: String::new().into(),
        }
    }

    #[test]
    fn commands_of_a_simulated_run_are_written_with_what_follows() {
        for (simulated, written) in [(false, [1, 2, 3]), (true, [0, 0, 3])] {
            let run = tempfile::tempdir().unwrap();
            let file = FileReporter::in_folder(run.path(), simulated).unwrap();
            let events = Events::new(Clock::system(), vec![Box::new(file)]);
            let lines = || {
                let text = fs::read_to_string(run.path().join(runs::EVENTS)).unwrap();
                text.lines().count()
            };
            let log = Event::Log {
                level: LogLevel::Info,
                scope: String::new(),
                message: "done".to_owned(),
            };
            let seen = [command(String::new()), command(String::new()), log].map(|event| {
                events.emit(event);
                lines()
            });
            assert_eq!(seen, written);
            // What is last is written when the run's process ends.
            events.emit(command(String::new()));
            drop(events);
            assert_eq!(lines(), 4);
        }
    }

    #[test]
    fn what_members_print_is_kept_up_to_a_limit_over_all_resumes() {
        let run = tempfile::tempdir().unwrap();
        let seen = Kept::default();
        for sitting in 0..2 {
            let file = FileReporter::in_folder(run.path(), false).unwrap();
            let reporters: Vec<Box<dyn Reporter>> = vec![Box::new(file), Box::new(seen.clone())];
            let events = Events::new(Clock::system(), reporters);
            for i in 0..50 {
                events.emit(command(format!("{sitting} {i} ").repeat(600_000)));
            }
        }
        let outputs = run.path().join(OUT);
        let files: Vec<u64> = fs::read_dir(&outputs)
            .unwrap()
            .map(|file| file.unwrap().metadata().unwrap().len())
            .collect();
        assert!(kept(&outputs) <= OUTPUTS, "{}", kept(&outputs));
        assert!((55..=64).contains(&files.len()), "{}", files.len());
        let most = bounds::OUTPUT as u64 + 100;
        assert!(files.iter().all(|bytes| *bytes <= most), "{files:?}");
        let events = fs::read_to_string(run.path().join(runs::EVENTS)).unwrap();
        assert!(events.len() < 100 * 2 * INLINE, "{}", events.len());
        assert!(events.lines().last().unwrap().contains("1 49 1 49"));
        let warned = |stamped: &&Stamped| {
            matches!(
                &stamped.event,
                Event::Log {
                    level: LogLevel::Warn,
                    ..
                }
            )
        };
        let seen = seen.0.borrow();
        assert_eq!(seen.iter().filter(warned).count(), 1);
        let printed = |stamped: &Stamped| match &stamped.event {
            Event::Command {
                stdout: Transcript::Text(stdout),
                ..
            } => stdout.len(),
            _ => 0,
        };
        assert!(seen.iter().map(printed).all(|bytes| bytes as u64 <= most));
    }
}
