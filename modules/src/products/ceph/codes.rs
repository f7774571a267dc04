//! Health codes: what each means for a refresh.

mod table;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use table::Class;

/// Whether a code says nothing but that placement groups aren't active and clean (`PGMap::get_health_checks`).
pub(super) fn is_of_groups(code: &str) -> bool {
    matches!(code, "PG_AVAILABILITY" | "PG_DEGRADED")
}

/// Codes that are raised, with their counts.
pub type Codes = BTreeMap<String, u64>;

/// A health check that is raised, as `ceph -s -f json` has it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Check {
    pub(super) severity: Severity,
    pub(super) summary: Summary,
    #[serde(default)]
    pub(super) muted: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Summary {
    pub(super) message: String,
    #[serde(default)]
    pub(super) count: u64,
}

/// How bad Ceph calls a code.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Severity {
    /// A warning.
    #[serde(rename = "HEALTH_WARN")]
    Warn,
    /// An error, and whatever else Ceph may call it in times to come.
    #[serde(rename = "HEALTH_ERR", other)]
    Err,
}

/// A code that is raised, and what it means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Raised {
    /// The code, for example `MON_DOWN`.
    pub code: String,
    /// How bad Ceph calls it.
    pub severity: Severity,
    /// Ceph's own words.
    pub message: String,
    /// How often it is counted.
    #[serde(default)]
    pub count: u64,
    /// Whether somebody has muted it.
    #[serde(default)]
    pub muted: bool,
    /// What it means for a refresh.
    pub(crate) class: Class,
    /// What it says, in a few words.
    pub(crate) about: String,
}

/// What a raised check means for a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes away by itself: wait for that.
    Wait,
    /// Not while it is raised.
    Stop,
    /// It wasn't there before, or not as often.
    New,
    /// No reason to stop.
    Fine,
}

/// Flags that keep Ceph from doing what a gate waits for.
const HINDERING: [&str; 9] = [
    "full",
    "nobackfill",
    "nodown",
    "noin",
    "norebalance",
    "norecover",
    "noup",
    "pauserd",
    "pausewr",
];

/// Whether a flag keeps Ceph from doing what a gate waits for.
pub(super) fn hinders(flag: &str) -> bool {
    HINDERING.contains(&flag)
}

/// All codes that are known, with what each says and means: `(class, code, about)`.
pub fn all() -> impl Iterator<Item = (Class, &'static str, &'static str)> {
    table::TABLE
        .iter()
        .flat_map(|(class, codes)| codes.iter().map(|(name, about)| (*class, *name, *about)))
}

/// The class of a code, and what it says.
pub(super) fn known(code: &str) -> (Class, &'static str) {
    all()
        .find(|(_, name, _)| *name == code)
        .map_or((Class::Unknown, "not a code that lockstep knows"), |row| {
            (row.0, row.2)
        })
}

/// What a raised check means for a gate. `since` are the codes that were raised before; without them, nothing is new.
pub(super) fn verdict(code: &str, check: &Check, since: Option<&Codes>) -> Verdict {
    match (known(code).0, check.severity) {
        (Class::Passing, _) => Verdict::Wait,
        (Class::Data, _) | (Class::Unknown, Severity::Err) => Verdict::Stop,
        (Class::Expected, _) => Verdict::Fine,
        (Class::Standing | Class::Unknown, _) => match since {
            Some(codes)
                if codes
                    .get(code)
                    .is_none_or(|count| check.summary.count > *count) =>
            {
                Verdict::New
            }
            _ => Verdict::Fine,
        },
    }
}

/// The command that takes a code out of all judgements for a day. Without `--sticky` a mute ends as soon as the count rises,
/// or the code goes away for a moment, as it does where another manager takes over (`src/mon/HealthMonitor.cc`, `check_mutes`).
pub(super) fn mute(code: &str) -> String {
    format!("sudo microceph.ceph health mute {code} 1d --sticky")
}

/// What helps against a code beside muting it, where that is a command or a rule.
pub(super) fn remedy(code: &str) -> Option<&'static str> {
    Some(match code {
        "MGR_MODULE_ERROR" | "MGR_MODULE_DEPENDENCY" => {
            "a newer release may cure it; a module that isn't needed can be switched off, the dashboard for example: \
             sudo microceph.ceph mgr module disable dashboard"
        }
        "RECENT_CRASH" | "RECENT_MGR_MODULE_CRASH" => {
            "see: sudo microceph.ceph crash ls-new; once seen: sudo microceph.ceph crash archive-all"
        }
        "TELEMETRY_CHANGED" => "see: sudo microceph.ceph telemetry diff",
        _ if known(code).1 == table::KEYS => {
            "nothing needs to be done now; rotate keys only once all members and all clients can read the new kind, LXD's snap \
             among them, see https://docs.ceph.com/en/latest/rados/operations/health-checks/"
        }
        _ => return None,
    })
}

/// What is worth knowing of codes that are no reason to stop: those that say the same, together.
#[must_use]
pub fn notes(raised: &[Raised]) -> Vec<String> {
    let mut groups: Vec<(&str, Vec<&Raised>)> = Vec::new();
    // Flags are told apart by whom they are set for.
    let shown = raised.iter().filter(|r| {
        !r.muted
            && !matches!(r.class, Class::Passing | Class::Data)
            && r.code != "OSDMAP_FLAGS"
            && r.code != "OSD_FLAGS"
    });
    for code in shown {
        match groups.iter_mut().find(|(about, _)| *about == code.about) {
            Some((_, group)) => group.push(code),
            None => groups.push((&code.about, vec![code])),
        }
    }
    groups
        .into_iter()
        .map(|(about, group)| note(about, &group))
        .collect()
}

fn note(about: &str, group: &[&Raised]) -> String {
    let names: Vec<&str> = group.iter().map(|raised| raised.code.as_str()).collect();
    let message = match group {
        [one] => format!(": {}", one.message),
        _ => String::new(),
    };
    let word = match group.iter().map(|raised| raised.severity).max() {
        Some(Severity::Err) => "Ceph calls it an error",
        _ => "Ceph warns of it",
    };
    let remedy = names.first().and_then(|code| remedy(code));
    let remedy = remedy.map_or_else(String::new, |remedy| format!("; {remedy}"));
    format!("{}{message} ({about}; {word}{remedy})", names.join(", "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Name, releases and source of each code, as they stand in Ceph's sources.
    const NAMES: &str = include_str!("codes/names.tsv");

    #[test]
    fn every_code_of_ceph_has_a_class_and_every_class_is_of_a_code() {
        let rows = NAMES.lines().filter(|line| !line.starts_with('#'));
        let listed: BTreeSet<&str> = rows.filter_map(|row| row.split('\t').next()).collect();
        let classed: Vec<&str> = table::TABLE
            .iter()
            .flat_map(|(_, codes)| codes.iter().map(|(name, _)| *name))
            .collect();
        let once: BTreeSet<&str> = classed.iter().copied().collect();
        assert_eq!(listed, once);
        assert_eq!(once.len(), classed.len(), "a code stands in two classes");
        assert!(listed.len() > 170, "{}", listed.len());
    }

    #[test]
    fn every_code_has_a_release_and_a_source() {
        for row in NAMES.lines().filter(|line| !line.starts_with('#')) {
            let [_, releases, source] = row.split('\t').collect::<Vec<_>>()[..] else {
                panic!("{row}");
            };
            let known = |release| ["reef", "tentacle"].contains(&release);
            assert!(releases.split('+').all(known), "{row}");
            assert!(
                source.starts_with("src/") || source.starts_with("doc/"),
                "{row}"
            );
        }
    }

    #[test]
    fn a_severity_that_isnt_known_is_an_error() {
        let read = |text| serde_json::from_str::<Severity>(text).unwrap();
        assert_eq!(read(r#""HEALTH_WARN""#), Severity::Warn);
        assert_eq!(read(r#""HEALTH_ERR""#), Severity::Err);
        assert_eq!(read(r#""HEALTH_WORSE""#), Severity::Err);
    }
}
