//! The rows of the tables.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::component::Component;
use crate::contract::schema::Channel;
use crate::contract::text::joined;
use crate::ops::preflight::version::Version;

/// Channels that go together.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Set {
    /// What it is called by.
    pub(crate) name: String,
    /// Channel of MicroCeph.
    pub(crate) microceph: Channel,
    /// Channel of MicroOVN.
    pub(crate) microovn: Channel,
    /// Channel of LXD.
    pub(crate) lxd: Channel,
    /// Channel of MicroCloud.
    pub(crate) microcloud: Channel,
    /// What kind of release it is, in a few words: `feature release`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) about: Option<String>,
    /// Until when its publisher maintains it: `LTS until 2029-06`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) support: Option<String>,
    /// Where this is written.
    pub(crate) link: Link,
}

impl Set {
    pub(crate) fn channel(&self, component: Component) -> &Channel {
        match component {
            Component::Microceph => &self.microceph,
            Component::Microovn => &self.microovn,
            Component::Lxd => &self.lxd,
            Component::Microcloud => &self.microcloud,
        }
    }

    pub(crate) fn label(&self) -> String {
        joined(self.about.iter().chain(&self.support), ", ")
    }
}

/// A track whose name isn't the beginning of its versions.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Track {
    /// The component.
    pub(crate) component: Component,
    /// What it is called by.
    pub(crate) name: String,
    /// What its versions begin with.
    pub(crate) version: Version,
    /// Where this is written.
    pub(crate) link: Link,
}

/// A component's tracks that may follow one.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Path {
    /// The component.
    pub(crate) component: Component,
    /// The track that it follows.
    pub(crate) from: String,
    /// Tracks that it may be moved to.
    #[serde(default)]
    pub(crate) to: Vec<String>,
    /// The track rolls on from one release to the next: where it leads is known by the version that runs.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) by_version: bool,
    /// The newest revision of the old track has to be on all members before.
    #[serde(default)]
    pub(crate) latest_first: bool,
    /// Why it goes nowhere else, and what is possible instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    /// Where this is written.
    pub(crate) link: Link,
}

/// Versions of a component.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Range {
    /// The component.
    pub(crate) component: Component,
    /// This version and newer ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<Version>,
    /// Versions older than this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) below: Option<Version>,
}

impl Range {
    pub(crate) fn has(&self, version: &Version) -> bool {
        let late = self
            .since
            .as_ref()
            .is_none_or(|since| !version.is_below(since));
        late && self
            .below
            .as_ref()
            .is_none_or(|below| version.is_below(below))
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.since, &self.below) {
            (Some(since), Some(below)) => write!(f, "{since} or newer and older than {below}"),
            (Some(since), None) => write!(f, "{since} or newer"),
            (None, Some(below)) => write!(f, "older than {below}"),
            (None, None) => f.write_str("any version"),
        }
    }
}

/// Versions that go together: a component with versions from `since` on and below `below` takes another one only in the
/// versions of `with`. It is held against what the members have afterwards.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Together {
    /// The name of the check.
    pub(crate) name: String,
    /// The versions that it is about.
    pub(crate) of: Range,
    /// The versions of another component that go with them.
    pub(crate) with: Range,
    /// What goes wrong with others.
    pub(crate) what: String,
    /// Where this is written.
    pub(crate) link: Link,
    /// Whether an operator may continue all the same.
    pub(crate) accept: bool,
}

/// Something that is known to go wrong.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hazard {
    /// The name of the check.
    pub(crate) name: String,
    /// The component that gets another version.
    pub(crate) component: Component,
    /// Only if it is moved to this track, from another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
    /// Only if it runs a version below this one and would get this one or a newer one, in whatever channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<Version>,
    /// Only if it runs this version or a newer one.
    pub(crate) running: Option<Version>,
    /// Only if it would get a version lower than this one.
    pub(crate) below: Option<Version>,
    /// Only where the release of Ubuntu is older than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) os: Option<Version>,
    /// Only where snapd is older than this.
    pub(crate) snapd: Option<Version>,
    /// Only where the kernel is older than this.
    pub(crate) kernel: Option<Version>,
    /// Only where another component has one of these versions afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) with: Option<Range>,
    /// Only where LXD has a storage pool of one of these drivers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) pools: Vec<String>,
    /// Only where LXD has buckets in a pool that isn't Ceph's own object storage.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) buckets: bool,
    /// Only where an instance has a TPM.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) tpm: bool,
    /// Only where one of these modules of Ceph's manager is switched on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) modules: Vec<String>,
    /// Only where Ceph has raised one of these health codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) codes: Vec<String>,
    /// How it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) known: Option<Known>,
    /// What goes wrong, and what helps.
    pub(crate) what: String,
    /// Where this is written.
    pub(crate) link: Link,
    /// Whether an operator may continue all the same.
    pub(crate) accept: bool,
}

/// How something is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Known {
    /// The publisher says so.
    Documented,
    /// Users have reported it.
    Reported,
    /// It follows from the sources, and nobody was seen to have met it.
    Inferred,
}

impl Known {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Documented => "documented by its publisher",
            Self::Reported => "reported by users",
            Self::Inferred => "inferred from the sources, not seen",
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// A page on the web.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
pub(crate) struct Link(pub String);

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
