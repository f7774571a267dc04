//! Lines of `events.jsonl`, read with patience: what isn't known is kept apart from what can't be read, and neither is fatal.

use serde::Deserialize;

use crate::event::{Stamped, VERSION};

/// What a line of events turned out to be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Line {
    Event(Box<Stamped>),
    /// An event that this lockstep doesn't know, or of a later version of the stream: its name.
    Strange(String),
    Garbage,
}

/// What every event of every version has.
#[derive(Deserialize)]
struct Least {
    v: u32,
    event: String,
}

impl Line {
    /// Reads one line, without its newline.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let Ok(least) = serde_json::from_slice::<Least>(bytes) else {
            return Self::Garbage;
        };
        match serde_json::from_slice::<Stamped>(bytes) {
            // A later version means something else by the same words.
            Ok(stamped) if stamped.v == VERSION => Self::Event(Box::new(stamped)),
            _ if least.v == VERSION => Self::Strange(least.event),
            _ => Self::Strange(format!("{} of version {}", least.event, least.v)),
        }
    }
}

/// The events of a run, and what of their file could not be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct EventLog {
    pub(crate) events: Vec<Stamped>,
    /// Names of events that this lockstep doesn't know, each once.
    pub(crate) strange: Vec<String>,
    /// How many lines were strange.
    pub(crate) strangers: usize,
    pub(crate) garbage: usize,
    /// Whether the last line has no end.
    pub(crate) torn: bool,
}

impl EventLog {
    pub(crate) fn of(text: &[u8]) -> Self {
        let mut log = Self::default();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            match line.strip_suffix(b"\n") {
                Some([]) => {}
                Some(line) => log.take(Line::of(line)),
                // What is being written just now, or was when the controller died.
                None => log.torn = true,
            }
        }
        log
    }

    fn take(&mut self, line: Line) {
        match line {
            Line::Event(event) => self.events.push(*event),
            Line::Strange(name) => {
                self.strangers += 1;
                if !self.strange.contains(&name) {
                    self.strange.push(name);
                }
            }
            Line::Garbage => self.garbage += 1,
        }
    }

    /// What could not be read, a sentence each. A torn end is no news while the run is `running`.
    pub(crate) fn troubles(&self, running: bool) -> Vec<String> {
        let mut troubles = Vec::new();
        if self.garbage > 0 {
            troubles.push(format!(
                "left out: {} of the events that can't be read",
                lines(self.garbage)
            ));
        }
        if self.strangers > 0 {
            troubles.push(format!(
                "left out: {} of events that this lockstep doesn't know: {}",
                lines(self.strangers),
                self.strange.join(", ")
            ));
        }
        if self.torn && !running {
            troubles.push("left out: the last line of the events, which is incomplete".to_owned());
        }
        troubles
    }
}

fn lines(count: usize) -> String {
    match count {
        1 => "1 line".to_owned(),
        n => format!("{n} lines"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = r#"{"v":1,"at":"2026-04-01T12:00:00Z","event":"log","level":"info","scope":"a","message":"hello"}"#;

    #[test]
    fn what_is_not_known_is_kept_from_what_cannot_be_read() {
        let later = LOG.replace("\"v\":1", "\"v\":9");
        let text = [
            LOG,
            r#"{"v":1,"at":"2026-04-01T12:00:00Z","event":"eclipse","of":"the sun"}"#,
            r#"{"v":1,"at":"2026-04-01T12:00:00Z","event":"log","level":"info"}"#,
            &later,
            "\u{0}\u{0}",
            "[1,2]",
            r#"{"v":1,"at":"20"#,
        ]
        .join("\n");
        let log = EventLog::of(text.as_bytes());
        assert_eq!(log.events.len(), 1);
        assert_eq!(log.strange, ["eclipse", "log", "log of version 9"]);
        assert_eq!((log.strangers, log.garbage, log.torn), (3, 2, true));
        insta::assert_snapshot!(log.troubles(false).join("\n"), @r"
        left out: 2 lines of the events that can't be read
        left out: 3 lines of events that this lockstep doesn't know: eclipse, log, log of version 9
        left out: the last line of the events, which is incomplete
        ");
        assert_eq!(log.troubles(true).len(), 2);
    }

    #[test]
    fn a_field_more_is_no_stranger() {
        let more = LOG.replace("\"level\"", "\"new\":1,\"level\"");
        assert_eq!(EventLog::of(format!("{more}\n").as_bytes()).events.len(), 1);
    }
}
