//! What Lua raised, as a failure.

use mlua::Value as LuaValue;
use serde::Deserialize;

use super::convert::to_json;
use super::shared::too_much_memory;
use crate::failure::Failure;

/// How many bytes of a message of the playbook's are kept: each is a line of the journal, and of what people read.
const LONGEST: usize = 16 * 1024;

/// A failure as Lua holds it. Fields that a playbook has put there itself and that don't fit are left out.
pub(super) fn read_failure(value: &LuaValue) -> Failure {
    let as_json = to_json(value).ok();
    let whole = as_json
        .as_ref()
        .and_then(|json| Failure::deserialize(json).ok());
    let failure = whole.unwrap_or_else(|| {
        let message = as_json.and_then(|json| json.get("message")?.as_str().map(str::to_owned));
        Failure::script(
            message
                .unwrap_or_else(|| "the playbook raised an error that is no plain data".to_owned()),
        )
    });
    with_cut_messages(failure)
}

fn with_cut_messages(failure: Failure) -> Failure {
    let failures = failure.failures.into_iter().map(with_cut_messages);
    Failure {
        failures: failures.collect(),
        message: cut(failure.message),
        ..failure
    }
}

/// Only a mistake of lockstep's own, or an exhausted memory, leads to one of these.
impl From<mlua::Error> for Failure {
    fn from(error: mlua::Error) -> Self {
        Self::script(match error {
            mlua::Error::MemoryError(_) => too_much_memory(),
            other => other.to_string(),
        })
    }
}

/// A message that isn't too long.
pub(super) fn cut(message: String) -> String {
    if message.len() <= LONGEST {
        return message;
    }
    let kept = message.floor_char_boundary(LONGEST);
    format!(
        "{}… ({} more bytes)",
        &message[..kept],
        message.len() - kept
    )
}
