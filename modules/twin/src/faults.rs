//! What can go wrong in a world, on purpose: each fault with its arguments, a time to begin and one to end.

mod effect;
mod kinds;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use lockstep_modules::contract::near::hint;
use lockstep_modules::contract::schema::Span;
use serde::{Deserialize, Serialize};

pub use kinds::{Arg, FaultKind, KINDS, SEVERITIES, Trouble};

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
    /// What goes wrong.
    pub trouble: Trouble,
    /// When it begins.
    pub when: When,
    /// How many milliseconds it lasts; none for until it is mended.
    pub lasts: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Faults {
    waiting: Vec<Fault>,
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
        let args: Vec<&str> = args.split(',').filter(|a| !a.is_empty()).collect();
        let trouble = kind.with(&args).map_err(|why| format!("{text:?}: {why}"))?;
        Ok(Self {
            trouble,
            when,
            lasts,
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = |ms: u64| Span(Duration::from_millis(ms));
        let args: Vec<String> = self
            .trouble
            .args()
            .into_iter()
            .map(|(_, arg)| arg)
            .collect();
        let colon = if args.is_empty() { "" } else { ":" };
        write!(f, "{}{colon}{}", self.trouble.name(), args.join(","))?;
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
    pub(crate) fn shaken(&self) -> Option<u64> {
        self.shaken
    }

    pub(crate) fn active(&self) -> impl Iterator<Item = &Trouble> {
        self.active.iter().map(|fault| &fault.trouble)
    }

    /// Whether the daemons of a snap stay down on a member.
    pub(crate) fn no_return(&self, member: &str, snap: &str) -> bool {
        self.active().any(
            |t| matches!(t, Trouble::NoReturn { snap: s, member: m } if s == snap && m == member),
        )
    }

    /// Whether a refresh of a snap stands still on a member.
    pub(crate) fn hangs(&self, member: &str, snap: &str) -> bool {
        self.active()
            .any(|t| matches!(t, Trouble::RefreshHangs { snap: s, member: m } if s == snap && m == member))
    }

    /// Whether the store gives a member nothing new of a snap, not even by number.
    pub(crate) fn keeps_back(&self, member: &str, snap: &str) -> bool {
        self.active()
            .any(|t| matches!(t, Trouble::OtherRevision { snap: s, member: m } if s == snap && m == member))
    }

    /// Whether a downloaded snap finds no room on a member.
    pub(crate) fn disk_full(&self, member: &str) -> bool {
        self.active()
            .any(|t| matches!(t, Trouble::DiskFull { member: m } if m == member))
    }

    /// The snaps of which somebody runs a program on a member.
    pub(crate) fn running_apps(&self, member: &str) -> impl Iterator<Item = &str> {
        self.active().filter_map(move |trouble| match trouble {
            Trouble::RunningApp { snap, member: m } if m == member => Some(snap.as_str()),
            _ => None,
        })
    }
}
