//! How much of what members say a run keeps: in memory, in its journal, in its events and beside them. What a member prints
//! may be without end, and must not fill the controller.
//!
//! What arrives of one command is bounded where it arrives: by [`CAP`](lockstep_modules::transport::wire::CAP) for its outputs, and by
//! less for what says why a connection failed.

use std::borrow::Cow;

use lockstep_modules::contract::cmd::tail;
use lockstep_modules::contract::error::{Kind, OpError};
use lockstep_modules::contract::schema::Member;
use serde_json::Value;

/// A result of an op, or what it left in the world, as JSON: more than that is a failure.
pub(crate) const RECORD: usize = 4 << 20;

/// A text that people read: why something failed, a line of progress, a log's message.
pub(crate) const TEXT: usize = 16 << 10;

/// A piece of a failure's evidence.
pub(crate) const EVIDENCE: usize = 64 << 10;

/// One output of a command, as events have it.
pub(crate) const OUTPUT: usize = 1 << 20;

/// All of a run's outputs that are too long for an event.
pub(crate) const OUTPUTS: u64 = 64 << 20;

/// A run's events, as a file. Those of steps, and those of the run itself, are written also beyond it.
pub(crate) const EVENTS: u64 = 128 << 20;

/// A text of at most about this many bytes: of a longer one its two ends, with how much is left out between them.
pub(crate) fn ends(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    let beginning = &text[..text.floor_char_boundary(most / 4)];
    let end = tail(text, most - most / 4);
    let left_out = text.len() - beginning.len() - end.len();
    Cow::Owned(format!(
        "{beginning}\n[… {left_out} bytes are left out here …]\n{end}"
    ))
}

/// Leaves as much of a text as [`ends`] does.
pub(crate) fn shorten(text: &mut String, most: usize) {
    if let Cow::Owned(ends) = ends(text, most) {
        *text = ends;
    }
}

/// Whether a value is more than a record of the journal may hold: the sentence that says so.
pub(crate) fn too_large(value: &Value, member: Option<&Member>) -> Option<String> {
    let bytes = value.to_string().len();
    let whose = member.map_or_else(|| "its answer".to_owned(), |m| format!("the answer of {m}"));
    (bytes > RECORD).then(|| {
        let most = RECORD >> 20;
        format!("{whose} is larger than the {most} MiB that a run keeps of one: {bytes} bytes")
    })
}

/// A failure with as much of its evidence as a run keeps.
pub(crate) fn failure(mut error: OpError) -> OpError {
    shorten(&mut error.message, TEXT);
    for value in error.detail.values_mut() {
        match value {
            Value::String(text) => shorten(text, EVIDENCE),
            other => {
                let text = other.to_string();
                if text.len() > RECORD {
                    *other = Value::from(ends(&text, EVIDENCE));
                }
            }
        }
    }
    error
}

/// What came of an attempt is more than a run keeps.
pub(crate) fn overflow(message: String, member: Option<&Member>) -> OpError {
    let error = OpError::new(Kind::Command, message);
    match member {
        Some(member) => error.on(member),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_long_text_both_ends_are_kept() {
        assert_eq!(ends("short", 5), "short");
        let text = format!("{}é{}", "a".repeat(1000), "z".repeat(5000));
        let kept = ends(&text, 400);
        assert_eq!(
            kept,
            format!(
                "{}\n[… {} bytes are left out here …]\n{}",
                "a".repeat(100),
                text.len() - 400,
                "z".repeat(300)
            )
        );
        // Nothing is cut within a character.
        assert!(ends(&"é".repeat(1000), 401).len() < 500);
    }

    #[test]
    fn the_evidence_of_a_failure_is_bounded_and_its_reason_stays() {
        let long = "x".repeat(9 << 20);
        let error = OpError::command(long.clone())
            .with("stderr", long.clone())
            .with("checks", json!([{"name": "disk"}]))
            .with("rows", json!([long]));
        let kept = failure(error);
        assert!(kept.message.len() < 2 * TEXT);
        assert_eq!(kept.detail["checks"], json!([{"name": "disk"}]));
        let bytes = serde_json::to_string(&kept).unwrap().len();
        assert!(bytes < 4 * EVIDENCE, "{bytes}");
    }

    #[test]
    fn an_answer_that_is_too_large_names_its_member() {
        let list: Vec<u32> = (1_000_000..2_000_000).collect();
        assert_eq!(too_large(&json!(list[..1000]), Some(&"m1".into())), None);
        assert_eq!(
            too_large(&json!(list), Some(&"m1".into())).unwrap(),
            "the answer of m1 is larger than the 4 MiB that a run keeps of one: 8000001 bytes"
        );
    }
}
