//! The path of a step: where it stands in its run, and what it is known by.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize, Serializer};

/// The identity of a step: labels of sections and strands, then the op and how many of it came before in the same scope, for
/// example `MicroCeph/micro2/snap.refresh#1`. Any text can be taken for one; which steps there are, the run knows.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(from = "String")]
pub struct StepPath(Arc<str>);

impl StepPath {
    /// The path of the `count`th step with this op in this scope. Labels have neither `/` nor `#`.
    #[must_use]
    pub fn new(scope: &[String], op: &str, count: u32) -> Self {
        let mut parts: Vec<&str> = scope.iter().map(String::as_str).collect();
        parts.push(op);
        Self(format!("{}#{count}", parts.join("/")).into())
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The outermost label, if the step stands in any.
    #[must_use]
    pub fn stage(&self) -> Option<&str> {
        self.0.split_once('/').map(|(stage, _)| stage)
    }

    /// The op.
    #[must_use]
    pub fn op(&self) -> &str {
        let last = self.0.rsplit_once('/').map_or(&*self.0, |(_, last)| last);
        last.split_once('#').map_or(last, |(op, _)| op)
    }
}

/// As the text itself would be.
impl fmt::Debug for StepPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for StepPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for StepPath {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

/// As a plain text in place: in a schema a path has no name of its own.
impl JsonSchema for StepPath {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        String::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}

impl From<&str> for StepPath {
    fn from(path: &str) -> Self {
        Self(path.into())
    }
}

impl From<String> for StepPath {
    fn from(path: String) -> Self {
        Self(path.into())
    }
}

/// So that a map of steps can be asked for a text.
impl Borrow<str> for StepPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for StepPath {
    fn eq(&self, path: &str) -> bool {
        *self.0 == *path
    }
}

impl PartialEq<&str> for StepPath {
    fn eq(&self, path: &&str) -> bool {
        *self.0 == **path
    }
}

/// Perhaps a step's path: on the wire the empty text stands for none.
pub mod or_empty {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::StepPath;

    /// As text.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn serialize<S: Serializer>(path: &Option<StepPath>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(path.as_ref().map_or("", StepPath::as_str))
    }

    /// From text.
    ///
    /// # Errors
    /// Where it is none.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<StepPath>, D::Error> {
        let text = String::deserialize(from)?;
        Ok((!text.is_empty()).then(|| text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_apart_as_it_was_put_together() {
        let scope = ["MicroCeph".to_owned(), "micro2".to_owned()];
        let path = StepPath::new(&scope, "snap.refresh", 1);
        assert_eq!(path, "MicroCeph/micro2/snap.refresh#1");
        assert_eq!(
            (path.stage(), path.op()),
            (Some("MicroCeph"), "snap.refresh")
        );
        let path = StepPath::new(&[], "exec", 2);
        assert_eq!((path.stage(), path.op()), (None, "exec"));
        assert_eq!(path, "exec#2");
    }

    #[test]
    fn a_path_is_a_text_on_the_wire() {
        let path = StepPath::from("A/exec#1");
        let text = serde_json::to_string(&path).unwrap();
        assert_eq!(text, "\"A/exec#1\"");
        assert_eq!(serde_json::from_str::<StepPath>(&text).unwrap(), path);
    }
}
