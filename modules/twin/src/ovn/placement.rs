//! Where OVN's databases live.

use super::state::{DATABASES, Ovn, Raft, Server};
use crate::world::World;

/// Short ids of servers, as real ones had them.
const IDS: [[&str; 5]; 2] = [
    ["e654", "f1e3", "d7d7", "20c7", "bf2c"],
    ["9001", "5662", "6c99", "b84c", "9498"],
];

/// MicroOVN's election timer for new clusters (`snapcraft/ovn-central.env`).
const ELECTION_TIMER: u64 = 16_000;

impl Ovn {
    /// Both databases on `central`, each led by another member where there are several, with these schemas.
    pub(crate) fn placed(central: &[String], schemas: (&str, &str)) -> Self {
        let raft = |which: usize| {
            let ids = IDS[which].iter().cycle();
            let server = |(member, id): (&String, &&str)| {
                (
                    member.clone(),
                    Server {
                        id: (*id).to_owned(),
                        running: true,
                        joined: true,
                        silent_since: None,
                    },
                )
            };
            Raft {
                servers: central.iter().zip(ids).map(server).collect(),
                leader: central
                    .get(which.min(central.len().saturating_sub(1)))
                    .cloned(),
                term: 1,
                election_timer: ELECTION_TIMER,
                elected_at: 0,
            }
        };
        Self {
            northbound: raft(0),
            southbound: raft(1),
            schemas: (schemas.0.to_owned(), schemas.1.to_owned()),
            ..Self::default()
        }
    }
}

impl World {
    /// OVN's databases live on `central`.
    pub fn place_ovn(&mut self, central: &[&str]) {
        let central: Vec<String> = central.iter().map(|name| (*name).to_owned()).collect();
        let (north, south) = self.ovn.schemas.clone();
        self.ovn = Ovn::placed(&central, (&north, &south));
    }

    /// A cluster from before MicroOVN raised it has this election timer, in milliseconds.
    pub fn set_election_timer(&mut self, millis: u64) {
        for database in DATABASES {
            self.ovn.raft_mut(database).election_timer = millis;
        }
    }

    /// The election timers of both databases, in milliseconds.
    #[must_use]
    pub fn election_timers(&self) -> [u64; 2] {
        DATABASES.map(|database| self.ovn.raft(database).election_timer)
    }
}
