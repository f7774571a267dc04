//! What a world keeps of OVN.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The network's databases.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ovn {
    pub(crate) northbound: Raft,
    pub(crate) southbound: Raft,
    /// The schemas that the databases have now.
    pub(super) schemas: (String, String),
    /// A conversion is waited for.
    pub(super) converting: bool,
    pub(super) faults: Faults,
    #[serde(default)]
    pub(super) certificates: Dates,
}

/// A database's servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Raft {
    pub(crate) servers: BTreeMap<String, Server>,
    pub(crate) leader: Option<String>,
    pub(super) term: u64,
    /// Milliseconds without a leader after which an election begins.
    pub(super) election_timer: u64,
    pub(super) elected_at: u64,
}

/// A server: its short id, and whether it runs and has joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Server {
    pub(super) id: String,
    pub(super) running: bool,
    pub(crate) joined: bool,
    /// When the others last heard of it, if that is over.
    pub(super) silent_since: Option<u64>,
}

/// One of the two databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Database {
    Northbound,
    Southbound,
}

pub(super) const DATABASES: [Database; 2] = [Database::Northbound, Database::Southbound];

/// What happens by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// A server that was started has joined the others.
    Joins(String),
    /// Nobody has heard of a leader for longer than the election timer.
    Election(Database),
    /// The servers have agreed on another election timer.
    Timer(Database, u64),
    /// The daemon that leads conversions looks whether one is due.
    Convert,
}

impl Ovn {
    pub(super) fn raft(&self, database: Database) -> &Raft {
        match database {
            Database::Northbound => &self.northbound,
            Database::Southbound => &self.southbound,
        }
    }

    pub(super) fn raft_mut(&mut self, database: Database) -> &mut Raft {
        match database {
            Database::Northbound => &mut self.northbound,
            Database::Southbound => &mut self.southbound,
        }
    }

    /// The databases' election timers, in milliseconds.
    pub(crate) fn timers(&self) -> [(Database, u64); 2] {
        DATABASES.map(|database| (database, self.raft(database).election_timer))
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Faults {
    /// Members whose servers don't join when they start.
    pub(super) lost_servers: BTreeSet<String>,
    /// Entries that a member's servers don't get committed.
    pub(super) uncommitted: BTreeMap<String, u64>,
    /// The conversion fails, and is not tried again.
    pub(super) conversion_fails: bool,
}

/// When certificates end that don't end as they usually do, by member and service.
pub(super) type Dates = BTreeMap<String, BTreeMap<String, Timestamp>>;
