//! The tables that upgrades are judged by: which tracks follow which, and what is known to go wrong. They are files beside
//! the playbooks, so that a site can have its own.

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Version;
use crate::schema::{self, Channel};

/// A component, by its snap.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Component {
    /// MicroCeph.
    Microceph,
    /// MicroOVN.
    Microovn,
    /// LXD.
    Lxd,
    /// MicroCloud.
    Microcloud,
}

impl Component {
    /// Its snap.
    #[must_use]
    pub fn snap(self) -> &'static str {
        match self {
            Self::Microceph => "microceph",
            Self::Microovn => "microovn",
            Self::Lxd => "lxd",
            Self::Microcloud => "microcloud",
        }
    }
}

/// Channels that go together.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Set {
    /// What it is called by.
    pub name: String,
    /// Channel of MicroCeph.
    pub microceph: Channel,
    /// Channel of MicroOVN.
    pub microovn: Channel,
    /// Channel of LXD.
    pub lxd: Channel,
    /// Channel of MicroCloud.
    pub microcloud: Channel,
    /// Where this is written.
    pub link: Link,
}

/// A component's tracks that may follow one.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Path {
    /// The component.
    pub component: Component,
    /// The track that it follows.
    pub from: String,
    /// Tracks that it may be moved to.
    pub to: Vec<String>,
    /// The newest revision of the old track has to be on all members before.
    #[serde(default)]
    pub latest_first: bool,
    /// Where this is written.
    pub link: Link,
}

/// Something that is known to go wrong.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hazard {
    /// The name of the check.
    pub name: String,
    /// The component that is moved.
    pub component: Component,
    /// The track that it is moved to.
    pub to: String,
    /// Only if it runs this version or a newer one.
    pub running: Option<Version>,
    /// Only if it would get a version lower than this one.
    pub below: Option<Version>,
    /// Only where snapd is older than this.
    pub snapd: Option<Version>,
    /// Only where the kernel is older than this.
    pub kernel: Option<Version>,
    /// What goes wrong, and what helps.
    pub what: String,
    /// Where this is written.
    pub link: Link,
    /// Whether an operator may go on all the same.
    pub accept: bool,
}

/// A page on the web.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
pub struct Link(pub String);

impl TryFrom<String> for Link {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.starts_with("https://") {
            Ok(Self(text))
        } else {
            Err(format!("{text:?} is not a link: it begins with https://"))
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Compatibility {
    set: Vec<Set>,
    path: Vec<Path>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hazards {
    hazard: Vec<Hazard>,
}

/// The tables, by the stem of their file.
const TABLES: [&str; 2] = ["compatibility", "hazards"];

/// Reads the table `name` from the text of its file.
///
/// # Errors
/// With the line and what is wrong there; and for a table that doesn't exist.
pub fn read(name: &str, text: &str) -> Result<Value, (usize, String)> {
    fn table<T: for<'de> Deserialize<'de> + Serialize>(
        text: &str,
    ) -> Result<Value, (usize, String)> {
        let table: T =
            toml::from_str(text).map_err(|e| (line(text, e.span()), e.message().to_owned()))?;
        serde_json::to_value(table).map_err(|e| (1, e.to_string()))
    }
    match name {
        "compatibility" => table::<Compatibility>(text),
        "hazards" => table::<Hazards>(text),
        other => Err((
            1,
            format!(
                "there is no table {other:?}{}",
                schema::hint(other, &TABLES)
            ),
        )),
    }
}

/// The line, from 1, that a place in a text is in.
fn line(text: &str, place: Option<Range<usize>>) -> usize {
    let start = place.map_or(0, |range| range.start).min(text.len());
    text.as_bytes()[..start]
        .iter()
        .filter(|b| **b == b'\n')
        .count()
        + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_table_is_told_with_its_line() {
        let row = |change: &str| {
            let text = format!(
                "# a site's own\n[[hazard]]\nname = \"x\"\ncomponent = \"lxd\"\nto = \"6\"\nwhat = \"y\"\naccept = true\n{change}\n"
            );
            read("hazards", &text).map_or_else(
                |(line, what)| format!("{line}: {what}"),
                |_| "fine".to_owned(),
            )
        };
        let cases = [
            row("link = \"https://example.org\""),
            row("link = \"nowhere\""),
            row("link = \"https://example.org\"\nsnpad = \"2.75\""),
            row("link = \"https://example.org\"\nsnapd = \"new\""),
            row("link = "),
            row(""),
        ];
        insta::assert_snapshot!(cases.join("\n---\n"));
    }

    #[test]
    fn the_shipped_tables_are_in_order() {
        for (name, text) in [
            (
                "compatibility",
                include_str!("../../../playbooks/data/compatibility.toml"),
            ),
            (
                "hazards",
                include_str!("../../../playbooks/data/hazards.toml"),
            ),
        ] {
            read(name, text).unwrap_or_else(|(line, what)| panic!("{name}.toml:{line}: {what}"));
        }
        assert!(
            read("hazard", "")
                .unwrap_err()
                .1
                .contains("did you mean \"hazards\"?")
        );
    }
}
