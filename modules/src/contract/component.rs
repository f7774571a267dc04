//! The products that make up a MicroCloud.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::near;

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
    /// All of them, in the order in which they are refreshed.
    pub const ALL: [Self; 4] = [Self::Microceph, Self::Microovn, Self::Lxd, Self::Microcloud];

    /// Its snap.
    #[must_use]
    pub const fn snap(self) -> &'static str {
        match self {
            Self::Microceph => "microceph",
            Self::Microovn => "microovn",
            Self::Lxd => "lxd",
            Self::Microcloud => "microcloud",
        }
    }

    /// As people write it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Microceph => "MicroCeph",
            Self::Microovn => "MicroOVN",
            Self::Lxd => "LXD",
            Self::Microcloud => "MicroCloud",
        }
    }

    /// The component of a snap, if it is one's.
    #[must_use]
    pub fn of_snap(snap: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.snap() == snap)
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.snap())
    }
}

impl FromStr for Component {
    type Err = String;

    fn from_str(snap: &str) -> Result<Self, String> {
        Self::of_snap(snap).ok_or_else(|| {
            let hint = near::hint(snap, &Self::ALL.map(Self::snap));
            format!("there is no component {snap:?}{hint}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_written_as_its_snap() {
        for component in Component::ALL {
            assert_eq!(serde_json::json!(component), component.snap());
            assert_eq!(component.to_string().parse(), Ok(component));
        }
    }
}
