//! What can go wrong with OVN, on purpose.

use super::JOINS;
use super::schema::expect_conversion;
use super::state::Event;
use crate::world::{Due, World};

impl World {
    /// The database servers of a member don't join the others again when its services start.
    pub fn lose_raft_server(&mut self, member: &str) {
        self.ovn.faults.lost_servers.insert(member.to_owned());
    }

    /// The database servers of a member leave the others now, and don't come back.
    pub fn fail_raft_server(&mut self, member: &str) {
        self.lose_raft_server(member);
        super::stop_servers(self, member);
    }

    /// So many entries of a member's databases don't get committed.
    pub fn hold_entries(&mut self, member: &str, entries: u64) {
        self.ovn
            .faults
            .uncommitted
            .insert(member.to_owned(), entries);
    }

    /// The conversion of the databases fails. MicroOVN tries again only when its daemon is started (`ovn/ovsdb/ovsdb.go`).
    pub fn stall_conversion(&mut self) {
        self.ovn.faults.conversion_fails = true;
    }

    /// The databases have these schemas, northbound and southbound: a conversion failed some time ago.
    pub fn leave_schemas_behind(&mut self, northbound: &str, southbound: &str) {
        self.stall_conversion();
        self.ovn.schemas = (northbound.to_owned(), southbound.to_owned());
    }

    /// Someone has mended OVN: lost servers are started, and the daemons restarted, so that a conversion is tried again.
    pub fn mend_ovn(&mut self) {
        let lost = std::mem::take(&mut self.ovn.faults).lost_servers;
        for member in lost {
            super::start(self, &member);
        }
        self.schedule(JOINS, Due::Ovn(Event::Convert));
        expect_conversion(self);
    }
}
