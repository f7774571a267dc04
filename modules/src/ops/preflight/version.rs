//! Versions, as far as they can be compared.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The numbers that a version begins with: `19.2.3` of `19.2.3+snap9fe2d1b`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub(crate) struct Version {
    numbers: Vec<u64>,
    text: String,
}

impl Version {
    /// The version in a text, if it begins with one that can be compared.
    ///
    /// `0+git.4a608fc` is what snapcraft makes of `version: git` without a tag (MicroCeph's branch for quincy, its
    /// `snap/snapcraft.yaml`): it says nothing. What comes after a `~` stands before the version, and nobody knows how far
    /// (Debian's policy, 5.6.12).
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let numbers = text[..end].trim_end_matches('.').split('.').map(str::parse);
        let numbers: Vec<u64> = numbers.collect::<Result<_, _>>().ok()?;
        let nothing = numbers.iter().all(|n| *n == 0) || text.contains('~');
        (!nothing).then(|| Self {
            numbers,
            text: text.to_owned(),
        })
    }

    /// Whether it comes before `other`. `6.8` is `6.8.0`.
    pub(crate) fn is_below(&self, other: &Self) -> bool {
        let longest = self.numbers.len().max(other.numbers.len());
        let number = |of: &Self, i: usize| of.numbers.get(i).copied().unwrap_or(0);
        let first = (0..longest).find(|i| number(self, *i) != number(other, *i));
        first.is_some_and(|i| number(self, i) < number(other, i))
    }

    /// Whether it begins with the numbers of `other`: `19.2.3` with `19.2`.
    pub(crate) fn begins_with(&self, other: &Self) -> bool {
        self.numbers.starts_with(&other.numbers)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.text
    }
}

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
            .ok_or_else(|| format!("{text:?} is not a version: write for example \"2.75\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        let version = |text: &str| Version::parse(text).unwrap();
        let below = |a: &str, b: &str| version(a).is_below(&version(b));
        assert!(below("19.2.3+snap9fe2d1b", "19.2.10"));
        assert!(below("2.63", "2.63.1") && !below("2.63.1", "2.63"));
        assert!(!below("6.8", "6.8.0-31-generic") && !below("6.8.0-31-generic", "6.8"));
        assert!(version("24.03.2+snapa2c59c1").begins_with(&version("24.03")));
        assert!(!version("24.09.1").begins_with(&version("24.03")));
        assert!(!version("6").begins_with(&version("6.8")));
    }

    #[test]
    fn a_text_that_tells_no_version_is_none() {
        for text in [
            "git-main",
            "",
            "0+git.4a608fc",
            "20.2.0-0ubuntu1~",
            "20.2.0~rc1",
            "v2",
            ".",
            "1..2",
        ] {
            assert!(Version::parse(text).is_none(), "{text:?}");
        }
    }
}
