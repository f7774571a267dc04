//! A step as the playbook asks for it.

use lockstep_modules::contract::op::Effect;
use lockstep_modules::contract::schema::Span;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use lockstep_modules::contract::path::StepPath;

/// One call of an op, with its place in the run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    /// Where it stands: section and member labels, then the op and how many of it came before in the same scope, for
    /// example `MicroCeph/micro2/snap.refresh#1`. This is the step's identity.
    pub(crate) path: StepPath,
    pub(crate) op: String,
    /// Its arguments, fitted to the op's schema.
    pub(crate) args: Value,
    pub(crate) effect: Effect,
    /// Fields of the call that concern the engine. Not part of the identity: a longer time-out is no other step.
    pub(crate) options: Options,
    /// The playbook wants a failure as data (`try`, `pcall`): it is delivered and not a reason to hold.
    pub(crate) caught: bool,
    /// It is part of what `finally` does last: it is carried out even when the run is aborted.
    pub(crate) cleaning: bool,
    /// The line that asks for it, as `file:line`. Not part of the identity, or a comment above would change it.
    pub(crate) site: String,
    /// The playbook's frames from that line on outwards, where there are more of them, as in `Failure`.
    pub(crate) traceback: Option<String>,
}

impl Call {
    /// Whether `op` and `args` are this call's. Keys are compared by name, whatever order they stand in.
    pub(crate) fn is_same(&self, op: &str, args: &Value) -> bool {
        self.op == op && canonical(&self.args) == canonical(args)
    }
}

/// What every call may carry beside the op's own arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Options {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) timeout: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retry: Option<Retry>,
}

/// `retry = { times = 3, every = "10s" }`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retry {
    /// Attempts after the first.
    pub(crate) times: u32,
    #[serde(default = "ten_seconds")]
    pub(crate) every: Span,
}

fn ten_seconds() -> Span {
    Span::secs(10)
}

impl Options {
    /// Takes `timeout` and `retry` out of a call's arguments.
    pub(crate) fn take_from(args: &mut Value) -> Result<Self, String> {
        let Some(fields) = args.as_object_mut() else {
            return Ok(Self::default());
        };
        let timeout = fields.remove("timeout").map(Span::deserialize).transpose();
        let retry = fields.remove("retry").map(Retry::deserialize).transpose();
        Ok(Self {
            timeout: timeout.map_err(|e| format!("timeout: {e}"))?,
            retry: retry.map_err(|e| {
                format!("retry: {e}; write for example {{ times = 3, every = \"10s\" }}")
            })?,
        })
    }
}

/// A value as text that is the same for the same value, whatever order its keys stand in.
pub(crate) fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let mut keys: Vec<&String> = fields.keys().collect();
            keys.sort();
            let fields: Vec<String> = keys
                .into_iter()
                .map(|key| format!("{}:{}", Value::from(key.as_str()), canonical(&fields[key])))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => format!(
            "[{}]",
            items.iter().map(canonical).collect::<Vec<_>>().join(",")
        ),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_are_taken_out_of_the_arguments() {
        let mut args = json!({"member": "m", "timeout": "15m", "retry": {"times": 3}});
        let options = Options::take_from(&mut args).unwrap();
        assert_eq!(args, json!({"member": "m"}));
        assert_eq!(options.timeout, Some(Span::secs(900)));
        assert_eq!(
            options.retry,
            Some(Retry {
                times: 3,
                every: Span::secs(10)
            })
        );
    }

    #[test]
    fn bad_options_are_explained() {
        let complain = |mut args: Value| Options::take_from(&mut args).unwrap_err();
        insta::assert_snapshot!(complain(json!({"timeout": "15"})), @r#"timeout: "15" is not a length of time: write for example "90s", "15m" or "1h30m""#);
        insta::assert_snapshot!(complain(json!({"retry": {"tries": 3}})), @r#"retry: unknown field `tries`, expected `times` or `every`; write for example { times = 3, every = "10s" }"#);
    }

    #[test]
    fn the_order_of_keys_does_not_matter() {
        assert_eq!(
            canonical(&json!({"b": [1, {"d": 1, "c": 2}], "a": "x"})),
            r#"{"a":"x","b":[1,{"c":2,"d":1}]}"#
        );
    }
}
