//! What can go wrong in a world, on purpose: each fault with a name, arguments, a time to begin and one to end.

mod effect;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use lockstep_modules::contract::near::hint;
use lockstep_modules::contract::schema::Span;
use serde::{Deserialize, Serialize};

/// A kind of fault.
#[derive(Debug)]
pub struct FaultKind {
    /// Its name.
    pub name: &'static str,
    /// What it is about.
    pub args: &'static [Arg],
    /// What happens.
    pub about: &'static str,
}

/// An argument of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// A member's name.
    Member,
    /// A component's snap.
    Snap,
    /// An instance's name.
    Instance,
    /// The number of an OSD.
    Osd,
    /// Seconds.
    Seconds,
    /// An HTTP status.
    Status,
    /// A storage pool of LXD's.
    Pool,
    /// A health code of Ceph's.
    Code,
    /// `HEALTH_WARN` or `HEALTH_ERR`.
    Severity,
}

/// Every kind of fault.
pub const KINDS: &[FaultKind] = &[
    kind(
        "cut",
        &[Arg::Member],
        "The member's network link goes down.",
    ),
    kind(
        "freeze",
        &[Arg::Member],
        "No process of the member makes progress.",
    ),
    kind("power-off", &[Arg::Member], "The member loses its power."),
    kind("reboot", &[Arg::Member], "The member restarts."),
    kind(
        "refresh-fails",
        &[Arg::Snap, Arg::Member],
        "The post-refresh hook fails, and snapd undoes the refresh.",
    ),
    kind(
        "refresh-hangs",
        &[Arg::Snap, Arg::Member],
        "A refresh stands still while the snap's data is copied, with its services stopped.",
    ),
    kind(
        "running-app",
        &[Arg::Snap, Arg::Member],
        "Somebody runs a program of the snap, and snapd refuses to refresh it.",
    ),
    kind(
        "no-return",
        &[Arg::Snap, Arg::Member],
        "After their next stop the snap's daemons don't come back.",
    ),
    kind(
        "crash",
        &[Arg::Snap, Arg::Member],
        "The snap's daemons die, and systemd starts them again.",
    ),
    kind(
        "no-self-update",
        &[Arg::Member],
        "An LXD that lags behind doesn't refresh itself.",
    ),
    kind(
        "auto-refresh",
        &[Arg::Snap, Arg::Member],
        "snapd refreshes the snap by itself, held or not.",
    ),
    kind(
        "other-revision",
        &[Arg::Snap, Arg::Member],
        "The store has nothing new for this member, not even by number (a phased release).",
    ),
    kind(
        "cohort-apart",
        &[Arg::Snap, Arg::Member],
        "The cohort offers nothing new to this member, which gets it by number.",
    ),
    kind(
        "new-release",
        &[Arg::Snap],
        "The publisher releases another revision of the snap into its channels.",
    ),
    kind(
        "disk-full",
        &[Arg::Member],
        "A downloaded snap finds no room.",
    ),
    kind(
        "slow-store",
        &[Arg::Seconds],
        "The store takes that long to answer.",
    ),
    kind(
        "store-error",
        &[Arg::Status],
        "The store answers with this HTTP status.",
    ),
    kind(
        "cannot-migrate",
        &[Arg::Instance],
        "LXD can't migrate the instance: an evacuation fails when it gets to it.",
    ),
    kind(
        "left-behind",
        &[Arg::Instance],
        "Evacuations skip the instance, and report success.",
    ),
    kind(
        "wont-start",
        &[Arg::Instance],
        "LXD can't start the instance.",
    ),
    kind(
        "pool-unavailable",
        &[Arg::Pool, Arg::Member],
        "The member's LXD can't reach the storage pool.",
    ),
    kind(
        "health",
        &[Arg::Code, Arg::Severity],
        "Ceph raises this health code: HEALTH_WARN or HEALTH_ERR.",
    ),
    kind(
        "osd-lost",
        &[Arg::Osd],
        "The OSD stops, and doesn't come back.",
    ),
    kind(
        "mon-lost",
        &[Arg::Member],
        "The member's monitor leaves the quorum, and doesn't come back.",
    ),
    kind(
        "never-clean",
        &[Arg::Member],
        "After the member's next start placement groups don't become clean.",
    ),
    kind("slow-ops", &[], "Ceph reports slow operations."),
    kind(
        "release-not-set",
        &[],
        "MicroCeph doesn't set require_osd_release after an upgrade.",
    ),
    kind(
        "raft-lost",
        &[Arg::Member],
        "The member's OVN databases leave the others, and don't come back.",
    ),
    kind(
        "conversion-stalls",
        &[],
        "The conversion of OVN's databases fails.",
    ),
];

const fn kind(name: &'static str, args: &'static [Arg], about: &'static str) -> FaultKind {
    FaultKind { name, args, about }
}

impl Arg {
    fn word(self) -> &'static str {
        match self {
            Self::Member => "MEMBER",
            Self::Snap => "SNAP",
            Self::Instance => "INSTANCE",
            Self::Osd => "OSD",
            Self::Seconds => "SECONDS",
            Self::Status => "STATUS",
            Self::Pool => "POOL",
            Self::Code => "CODE",
            Self::Severity => "SEVERITY",
        }
    }
}

/// The severities that a health code can be raised with.
pub const SEVERITIES: [&str; 2] = ["HEALTH_WARN", "HEALTH_ERR"];

impl Arg {
    /// Whether a value can be this at all, on whatever cluster.
    fn check(self, value: &str) -> Result<(), String> {
        let of_codes = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        match self {
            Self::Osd | Self::Seconds | Self::Status if value.parse::<u16>().is_err() => {
                Err(format!("{value:?} is not a number for {}", self.word()))
            }
            Self::Severity if !SEVERITIES.contains(&value) => {
                let (all, near) = (SEVERITIES.join(" or "), hint(value, &SEVERITIES));
                Err(format!("{value:?} is no severity{near}: it is {all}"))
            }
            Self::Code if !value.chars().all(of_codes) => {
                Err(format!("{value:?} is no health code of Ceph's"))
            }
            _ => Ok(()),
        }
    }
}

impl FaultKind {
    /// As it is typed, for example `cut:MEMBER`.
    #[must_use]
    pub fn usage(&self) -> String {
        let words: Vec<&str> = self.args.iter().map(|arg| arg.word()).collect();
        let colon = if words.is_empty() { "" } else { ":" };
        format!("{}{colon}{}", self.name, words.join(","))
    }
}

/// When a fault begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    /// So many milliseconds after the world's beginning.
    At(u64),
    /// When the services of a snap stop on a member, in the middle of its refresh.
    Refresh {
        /// The snap.
        snap: String,
        /// The member.
        member: String,
    },
}

/// A fault: `NAME:ARG,…[@WHEN][+SPAN]`, where `WHEN` is a span from the beginning or `SNAP/MEMBER` for the moment at which
/// the snap's services stop on the member, and `SPAN` is how long it lasts: for ever, if none is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its kind.
    pub name: String,
    /// The kind's arguments.
    pub args: Vec<String>,
    /// When it begins.
    pub when: When,
    /// How many milliseconds it lasts; none for until it is mended.
    pub lasts: Option<u64>,
}

/// The faults of a world.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Faults {
    /// Those whose time hasn't come.
    waiting: Vec<Fault>,
    /// Those that are there.
    active: Vec<Fault>,
    /// When one last came or went.
    #[serde(default)]
    shaken: Option<u64>,
    /// Whether snapd refreshed LXD on a member by itself.
    #[serde(default)]
    lxd_drifted: bool,
}

/// A fault's beginning or end is due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    Begin(Fault),
    End(Fault),
    /// systemd starts a snap's daemons again.
    Restart {
        snap: String,
        member: String,
    },
}

fn millis(text: &str) -> Result<u64, String> {
    let span: Span = Span::parse(text)?;
    u64::try_from(span.0.as_millis()).map_err(|_| format!("{text:?} is too long"))
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (rest, lasts) = match text.split_once('+') {
            Some((rest, span)) => (rest, Some(millis(span)?)),
            None => (text, None),
        };
        let (rest, when) = match rest.split_once('@') {
            None => (rest, When::At(0)),
            Some((rest, when)) => match when.split_once('/') {
                Some((snap, member)) => {
                    let (snap, member) = (snap.to_owned(), member.to_owned());
                    (rest, When::Refresh { snap, member })
                }
                None => (rest, When::At(millis(when)?)),
            },
        };
        let (name, args) = rest.split_once(':').unwrap_or((rest, ""));
        let Some(kind) = KINDS.iter().find(|kind| kind.name == name) else {
            let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
            return Err(format!("there is no fault {name:?}{}", hint(name, &names)));
        };
        let args: Vec<String> = args
            .split(',')
            .filter(|a| !a.is_empty())
            .map(str::to_owned)
            .collect();
        if args.len() != kind.args.len() {
            return Err(format!(
                "{text:?}: write it as {}[@WHEN][+SPAN]",
                kind.usage()
            ));
        }
        for (arg, value) in kind.args.iter().zip(&args) {
            arg.check(value).map_err(|why| format!("{text:?}: {why}"))?;
        }
        Ok(Self {
            name: name.to_owned(),
            args,
            when,
            lasts,
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = |ms: u64| Span(Duration::from_millis(ms));
        let colon = if self.args.is_empty() { "" } else { ":" };
        write!(f, "{}{colon}{}", self.name, self.args.join(","))?;
        match &self.when {
            When::At(0) => {}
            When::At(at) => write!(f, "@{}", span(*at))?,
            When::Refresh { snap, member } => write!(f, "@{snap}/{member}")?,
        }
        match self.lasts {
            Some(lasts) => write!(f, "+{}", span(lasts)),
            None => Ok(()),
        }
    }
}

impl Serialize for Fault {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fault {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Faults {
    /// When a fault last came or went.
    pub(crate) fn shaken(&self) -> Option<u64> {
        self.shaken
    }

    /// Whether the daemons of a snap stay down on a member.
    pub(crate) fn no_return(&self, member: &str, snap: &str) -> bool {
        let args = [snap, member];
        self.active
            .iter()
            .any(|f| f.name == "no-return" && f.args == args)
    }

    /// Whether a refresh of a snap stands still on a member.
    pub(crate) fn hangs(&self, member: &str, snap: &str) -> bool {
        let args = [snap, member];
        self.active
            .iter()
            .any(|f| f.name == "refresh-hangs" && f.args == args)
    }

    /// Whether a fault of this kind is there for a member.
    pub(crate) fn has(&self, name: &str, member: &str) -> bool {
        let about = |f: &Fault| f.name == name && f.args.iter().any(|a| a == member);
        self.active.iter().any(about)
    }
}
