//! The journal: small, strict, versioned. Everything that correctness rests on is in here, and nothing else.
//!
//! One JSON line a record, appended in groups, and on disk before anything follows from it: *no start on disk, no effect; no
//! result on disk, nothing that follows from it.* A last group that was torn by a crash is cut as a whole; anything else that
//! is wrong is refused.

mod file;
mod history;
mod memory;
mod shared;
mod words;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use lockstep_modules::contract::cluster::Cluster;
use lockstep_modules::contract::op::{Effect, Observation};
use lockstep_modules::contract::run::Sitting;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

pub use file::{Disk, FileJournal};
pub use history::{History, Phase, Step};
pub use memory::{Crash, MemoryJournal};
pub(crate) use shared::SharedJournal;
pub use words::{ClusterRef, Suspended};

use crate::call::Call;
use crate::failure::Failure;
use crate::programs::Captured;
use crate::store::StoreError;
use lockstep_modules::contract::path::StepPath;

/// The version of the format. Format 2 has no sittings, and in 3 a run stops for a reason in words; both are read as well. A
/// journal of any other is refused.
pub const FORMAT: u32 = 4;

/// The oldest format that is read.
const OLDEST: u32 = 2;

/// One fact about a run. Adding a kind means a new [`FORMAT`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Record {
    /// What is run. First, and once.
    Run(Box<Head>),
    /// A process takes the run up. Its nonce is here before any member has it.
    Sitting(Sitting),
    /// The playbook asks for a step. Nothing has been done yet.
    Intent {
        /// The step.
        path: StepPath,
        /// Its op.
        op: String,
        /// Its arguments.
        args: Value,
        /// What doing it twice would mean.
        effect: Effect,
        /// The line that asks for it.
        site: String,
    },
    /// An attempt begins. From here on its effect may exist.
    Start {
        /// The step.
        path: StepPath,
        /// Counted from 1.
        attempt: u32,
    },
    /// What the op left in the world, by which its end can be known later.
    Witness {
        /// The step.
        path: StepPath,
        /// A snapd change id, for example.
        data: Value,
    },
    /// The step is done, and this is delivered to the playbook.
    Done {
        /// The step.
        path: StepPath,
        /// Its result.
        value: Value,
        /// How that is known.
        by: By,
    },
    /// The step has failed, and this is delivered to the playbook.
    Failed {
        /// The step.
        path: StepPath,
        /// Why.
        failure: Failure,
    },
    /// The run pauses at this step; the playbook has seen nothing.
    Hold {
        /// The step.
        path: StepPath,
        /// Why.
        failure: Failure,
        /// Whether its effect may exist or still be running.
        in_doubt: bool,
    },
    /// What was decided about a held step.
    Decide {
        /// The step.
        path: StepPath,
        /// What.
        choice: Choice,
        /// By whom, as `user@host`.
        who: String,
    },
    /// The run stopped before its end and can be resumed.
    Suspend {
        /// Why.
        why: Suspended,
    },
    /// The run continues.
    Resume {
        /// By whom, as `user@host`.
        who: String,
        /// What the cluster looked like; empty where nobody looked.
        #[serde(default)]
        observed: Observation,
    },
    /// The run is aborted. What was delivered so far stays; from here on the playbook is only asked to clean up.
    Cancel {
        /// By whom, as `user@host`.
        who: String,
    },
    /// The playbook ended. Nothing follows.
    End {
        /// Its result, or the failure that ended it.
        result: Result<Value, Failure>,
    },
}

/// What is run: everything that a resume needs to play the same playbook against the same cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The format of the journal.
    pub format: u32,
    /// The run's name, for example `update-14`.
    pub id: String,
    /// The playbook's module name.
    pub playbook: String,
    /// Its parameters, all of them.
    pub params: Value,
    /// The lockstep that began the run.
    pub lockstep: String,
    /// The cluster, as it was named on the command line.
    pub target: ClusterRef,
    /// The cluster.
    pub cluster: Cluster,
    /// Seed of everything random.
    pub seed: u64,
    /// The captured Lua modules: chunk name and SHA-256, by module name.
    pub bundle: BTreeMap<String, (String, String)>,
    /// The captured module programs, where the site has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub programs: Option<Captured>,
    /// Who began it, as `user@host`.
    pub who: String,
}

/// How the end of a step is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// The op itself returned it.
    Run,
    /// Contact or lockstep was lost on the way; the world was asked.
    Probe,
    /// The operator decided so.
    Operator,
}

/// What can be decided about a held step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// Try it again.
    Retry,
    /// Take it as done, with the value of the `done` record that follows.
    AssumeDone,
    /// Let the playbook have the failure.
    Deliver,
}

impl Record {
    /// What is known of a step before anything is done.
    pub(crate) fn intent(call: &Call) -> Self {
        Self::Intent {
            path: call.path.clone(),
            op: call.op.clone(),
            args: call.args.clone(),
            effect: call.effect,
            site: call.site.clone(),
        }
    }

    /// The step that the record is about, if one.
    #[must_use]
    pub fn path(&self) -> Option<&StepPath> {
        match self {
            Self::Intent { path, .. }
            | Self::Start { path, .. }
            | Self::Witness { path, .. }
            | Self::Done { path, .. }
            | Self::Failed { path, .. }
            | Self::Hold { path, .. }
            | Self::Decide { path, .. } => Some(path),
            Self::Run(_)
            | Self::Sitting(_)
            | Self::Suspend { .. }
            | Self::Resume { .. }
            | Self::Cancel { .. }
            | Self::End { .. } => None,
        }
    }
}

/// A journal being written.
pub trait Journal {
    /// Appends `records` as one group, of which a reader has all or nothing, and returns once they are on disk.
    ///
    /// # Errors
    /// Where they can't be written; then the run must stop. [`JournalError::Away`] asks for the same call once more.
    fn append(&mut self, at: Timestamp, records: &[Record]) -> Result<(), JournalError>;
}

/// What is wrong with a journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It can't be read or written.
    #[error("the journal {path} can't be {verb}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried: "read" or "written".
        verb: &'static str,
        /// Why it didn't work.
        source: std::io::Error,
    },
    /// Something was written to it that this process didn't write.
    #[error("another process is continuing this run: it has written to {0}")]
    Shared(PathBuf),
    /// A line isn't what was written there.
    #[error("line {line} of the journal is damaged: {why}")]
    Damaged {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// Another lockstep wrote it.
    #[error(
        "the journal is of format {found}, and this lockstep knows {FORMAT}: resume or abort it with the lockstep that started the run"
    )]
    Format {
        /// The format it says it has.
        found: u64,
    },
    /// The database that has it is unavailable, and may come back.
    #[error("{source}")]
    Away {
        /// Why.
        source: StoreError,
        /// When it is worth another try.
        again: Duration,
    },
    /// The database that has it doesn't take records.
    #[error(transparent)]
    Store(StoreError),
    /// It has no records.
    #[error("the run did not start: its journal is missing or empty")]
    Empty,
    /// It has none, and there are events, which come after them.
    #[error("its journal is missing or empty, and its events are not: what was recorded is lost")]
    Lost,
}

impl JournalError {
    /// The same, where `events` says whether there are any.
    pub(crate) fn beside(self, events: bool) -> Self {
        match self {
            Self::Empty if events => Self::Lost,
            Self::Io { source, .. } if events && source.kind() == ErrorKind::NotFound => Self::Lost,
            error => error,
        }
    }

    /// Whether nobody will ever know what the run did: trying again, or another lockstep, is of no use.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Lost)
    }
}

/// One line of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    /// Counted from 1.
    n: usize,
    at: Timestamp,
    /// The group that the record was appended in continues with the next line.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    more: bool,
    /// The beginning of the SHA-256 of all the rest: a flipped bit must not become a fact.
    sum: String,
    #[serde(borrow)]
    record: &'a RawValue,
}

fn sum(n: usize, at: Timestamp, more: bool, record: &str) -> String {
    let more = if more { "more " } else { "" };
    let digest = Sha256::digest(format!("{n} {at} {more}{record}"));
    digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The lines for a group of records, the first of which is number `n`.
pub(crate) fn encode(
    n: usize,
    at: Timestamp,
    group: &[Record],
) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    for (i, record) in group.iter().enumerate() {
        let record = serde_json::value::to_raw_value(record)?;
        let (n, more) = (n + i, i + 1 < group.len());
        let line = Line {
            n,
            at,
            more,
            sum: sum(n, at, more, record.get()),
            record: &record,
        };
        text.push_str(&serde_json::to_string(&line)?);
        text.push('\n');
    }
    Ok(text)
}

/// A journal's records, and how many bytes of its file they take: what follows is a torn last group.
#[derive(Debug)]
pub struct Decoded {
    /// The records with the times they were written at.
    pub records: Vec<(Timestamp, Record)>,
    /// Bytes of the groups that are whole.
    pub whole: usize,
    /// Only the newline of the last line is missing: the next one would be written after it.
    pub(crate) unended: bool,
}

/// Reads a journal's text.
///
/// # Errors
/// Where anything but a torn last group is not what was written, or the format is another.
pub fn decode(text: &[u8]) -> Result<Decoded, JournalError> {
    match readable(text) {
        (decoded, None) => Ok(decoded),
        (_, Some(error)) => Err(error),
    }
}

/// Reads a journal's text up to the first group that is not what was written, and tells what is wrong with that one. For
/// whoever only shows a run: nothing may be done on the strength of a journal that is damaged.
pub(crate) fn readable(text: &[u8]) -> (Decoded, Option<JournalError>) {
    let mut decoded = Decoded {
        records: Vec::new(),
        whole: 0,
        unended: false,
    };
    let (mut group, mut read) = (Vec::new(), 0);
    for (i, bytes) in text.split_inclusive(|b| *b == b'\n').enumerate() {
        let line = bytes.strip_suffix(b"\n");
        if line.is_none() && is_torn(bytes) {
            break;
        }
        match decode_line(i + 1, line.unwrap_or(bytes)) {
            Ok((at, more, record)) => {
                group.push((at, record));
                read += bytes.len();
                if !more {
                    decoded.records.append(&mut group);
                    (decoded.whole, decoded.unended) = (read, line.is_none());
                }
            }
            Err(error) => return (decoded, Some(error)),
        }
    }
    (decoded, None)
}

/// Whether a line that has no newline was never written to its end. One that was, and lacks only that or has something else in
/// its place, is looked at like any other.
fn is_torn(line: &[u8]) -> bool {
    let mut values = serde_json::Deserializer::from_slice(line).into_iter::<&RawValue>();
    !matches!(values.next(), Some(Ok(_)))
}

/// Reads line `n`: its time, whether its group continues on the next, and its record.
pub(crate) fn decode_line(
    n: usize,
    text: &[u8],
) -> Result<(Timestamp, bool, Record), JournalError> {
    let damaged = |why: String| JournalError::Damaged { line: n, why };
    let line: Line<'_> = serde_json::from_slice(text).map_err(|e| damaged(e.to_string()))?;
    if line.n != n {
        return Err(damaged(format!("it says that it is line {}", line.n)));
    }
    if line.sum != sum(line.n, line.at, line.more, line.record.get()) {
        return Err(damaged("its checksum doesn't fit".to_owned()));
    }
    // What means the same and is written otherwise, such as a time, is not what was written.
    if serde_json::to_string(&line).is_ok_and(|written| written.as_bytes() != text) {
        return Err(damaged("it is written otherwise than it was".to_owned()));
    }
    if n == 1 {
        check_format(line.record)?;
    }
    let record = serde_json::from_str(line.record.get()).map_err(|e| damaged(e.to_string()))?;
    Ok((line.at, line.more, record))
}

/// The format is looked at before anything else is made of the record, since another one may have other fields.
fn check_format(record: &RawValue) -> Result<(), JournalError> {
    let value: Value = serde_json::from_str(record.get()).unwrap_or_default();
    match value.pointer("/run/format").and_then(Value::as_u64) {
        Some(found) if !(OLDEST..=FORMAT).any(|known| u64::from(known) == found) => {
            Err(JournalError::Format { found })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(records: &[Record]) -> String {
        let at = Timestamp::from_second(1_795_000_000).unwrap();
        let lines = records
            .iter()
            .enumerate()
            .map(|(i, r)| encode(i + 1, at, std::slice::from_ref(r)).unwrap());
        lines.collect()
    }

    fn read(text: &[u8]) -> Result<Vec<Record>, JournalError> {
        let records = decode(text)?.records;
        Ok(records.into_iter().map(|(_, record)| record).collect())
    }

    fn three() -> Vec<Record> {
        let start = |attempt| Record::Start {
            path: "a".into(),
            attempt,
        };
        vec![start(1), start(2), start(3)]
    }

    #[test]
    fn what_was_written_is_read() {
        let text = text(&three());
        assert_eq!(read(text.as_bytes()).unwrap(), three());
        assert_eq!(decode(text.as_bytes()).unwrap().whole, text.len());
    }

    #[test]
    fn a_torn_last_line_is_cut_wherever_it_was_torn() {
        let text = text(&three());
        let two = text[..text.len() - 1].rfind('\n').unwrap() + 1;
        for cut in two..text.len() - 1 {
            let decoded = decode(&text.as_bytes()[..cut]).unwrap();
            assert_eq!(
                (decoded.records.len(), decoded.whole),
                (2, two),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn half_a_group_is_nothing() {
        let at = Timestamp::UNIX_EPOCH;
        let one = encode(1, at, &three()[..1]).unwrap();
        let text = one.clone() + &encode(2, at, &three()[1..]).unwrap();
        for cut in one.len()..text.len() - 1 {
            let decoded = decode(&text.as_bytes()[..cut]).unwrap();
            assert_eq!(
                (decoded.records.len(), decoded.whole),
                (1, one.len()),
                "cut at {cut}"
            );
        }
        assert_eq!(read(text.as_bytes()).unwrap(), three());
    }

    #[test]
    fn a_last_line_of_which_only_the_newline_is_missing_counts() {
        let text = text(&three());
        let decoded = decode(&text.as_bytes()[..text.len() - 1]).unwrap();
        assert_eq!((decoded.records.len(), decoded.unended), (3, true));
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let at = Timestamp::from_second(1_795_000_000).unwrap();
        let text = text(&three()[..1]) + &encode(2, at, &three()[1..]).unwrap();
        let text = text.into_bytes();
        for place in 0..text.len() * 8 {
            let mut damaged = text.clone();
            damaged[place / 8] ^= 1 << (place % 8);
            let error = decode(&damaged).unwrap_err();
            assert!(
                matches!(error, JournalError::Damaged { .. }),
                "bit {place}: {error}"
            );
        }
    }

    #[test]
    fn a_missing_line_is_noticed() {
        let text = text(&three());
        let without_second: String = text
            .lines()
            .enumerate()
            .filter(|(i, _)| *i != 1)
            .map(|(_, l)| format!("{l}\n"))
            .collect();
        let error = decode(without_second.as_bytes()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 2 of the journal is damaged: it says that it is line 3"
        );
    }

    #[test]
    fn another_format_is_refused_with_a_sentence() {
        let record =
            RawValue::from_string(r#"{"run":{"format":1,"since_dropped":true}}"#.to_owned())
                .unwrap();
        let at = Timestamp::UNIX_EPOCH;
        let line = Line {
            n: 1,
            at,
            more: false,
            sum: sum(1, at, false, record.get()),
            record: &record,
        };
        let error =
            decode(format!("{}\n", serde_json::to_string(&line).unwrap()).as_bytes()).unwrap_err();
        assert!(
            matches!(error, JournalError::Format { found: 1 }),
            "{error}"
        );
    }
}
