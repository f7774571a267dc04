//! What records say that others decide by: which cluster a run is about, and why it stopped.

use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use lockstep_modules::contract::path::StepPath;

/// Which cluster a run is about. On disk a text, as it was named: a file's path, `twin:4`, `twin, NAME` of a rehearsal, or
/// `fleet:FILE` of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum ClusterRef {
    /// A real one, by its cluster file.
    File(PathBuf),
    /// A simulated one, by what follows `twin`.
    Twin(String),
    /// The clusters of a fleet, by its file.
    Fleet(PathBuf),
}

/// What the texts of fleets begin with.
const FLEET: &str = "fleet:";

impl ClusterRef {
    /// Whether it is simulated, so that nothing real is reached, and what was made to go wrong there can be cleared.
    pub(crate) fn is_simulated(&self) -> bool {
        matches!(self, Self::Twin(_))
    }
}

/// What a run was begun against while only events tell of it is not known, and is taken for real.
impl Default for ClusterRef {
    fn default() -> Self {
        Self::File(PathBuf::new())
    }
}

impl From<String> for ClusterRef {
    fn from(text: String) -> Self {
        if let Some(file) = text.strip_prefix(FLEET) {
            return Self::Fleet(file.into());
        }
        match text.strip_prefix("twin") {
            Some(rest) if rest.is_empty() || rest.starts_with([':', ',']) => {
                Self::Twin(rest.to_owned())
            }
            _ => Self::File(text.into()),
        }
    }
}

impl From<ClusterRef> for String {
    fn from(cluster: ClusterRef) -> Self {
        cluster.to_string()
    }
}

impl fmt::Display for ClusterRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => file.display().fmt(f),
            Self::Twin(rest) => write!(f, "twin{rest}"),
            Self::Fleet(file) => write!(f, "{FLEET}{}", file.display()),
        }
    }
}

/// Why a run stopped before its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Suspended {
    /// It is held at these steps.
    Held(Vec<StepPath>),
    /// The operator interrupted it, and what was under way came to its end. This many steps were asked for and not begun.
    Drained(usize),
    /// The operator interrupted it while these steps were under way.
    UnderWay(Vec<StepPath>),
    /// Nothing of it has to be done before this time.
    Waiting(Timestamp),
    /// The cluster is another run's, or was changed by something else: in a sentence that says what can be done.
    Fenced(String),
    /// As journals before format 4 have it: in a sentence.
    #[serde(untagged)]
    Other(String),
}

impl fmt::Display for Suspended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held(steps) => write!(f, "held at {}", steps.join(", ")),
            Self::Drained(1) => f.write_str("interrupted; 1 requested step was not started"),
            Self::Drained(n) => write!(f, "interrupted; {n} requested steps were not started"),
            Self::UnderWay(steps) => {
                let steps = steps.join(", ");
                write!(f, "interrupted while these steps were running: {steps}")
            }
            Self::Waiting(until) => write!(f, "waits until {}", until.strftime("%F %T UTC")),
            Self::Fenced(why) | Self::Other(why) => f.write_str(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_are_read_as_they_are_written() {
        for simulated in ["twin", "twin:4", "twin:3@3", "twin, drill.toml"] {
            let cluster = ClusterRef::from(simulated.to_owned());
            assert!(cluster.is_simulated());
            assert_eq!(cluster.to_string(), simulated);
        }
        let fleet = ClusterRef::from("fleet:/srv/fleet.toml".to_owned());
        assert_eq!(fleet, ClusterRef::Fleet("/srv/fleet.toml".into()));
        assert_eq!(fleet.to_string(), "fleet:/srv/fleet.toml");
        for file in ["/srv/twin", "twins.toml", "twin.toml", "cluster.toml"] {
            let cluster = ClusterRef::from(file.to_owned());
            assert_eq!(cluster, ClusterRef::File(file.into()));
            assert_eq!(cluster.to_string(), file);
        }
    }

    #[test]
    fn reasons_are_read_as_they_are_written_and_those_of_before_too() {
        let read = |text: &str| serde_json::from_str::<Suspended>(text).unwrap();
        let all = [
            Suspended::Held(vec!["A/exec#1".into()]),
            Suspended::Drained(2),
            Suspended::UnderWay(vec!["A/exec#1".into()]),
            Suspended::Waiting("2026-11-30T01:00:00Z".parse().unwrap()),
            Suspended::Fenced("it is another run's".to_owned()),
        ];
        for why in all {
            assert_eq!(read(&serde_json::to_string(&why).unwrap()), why);
        }
        let before = Suspended::Other("held at A/exec#1".to_owned());
        assert_eq!(read("\"held at A/exec#1\""), before);
    }
}
