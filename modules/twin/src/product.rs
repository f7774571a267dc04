//! What is common to the products: each is a snap whose daemons run on members.

use crate::world::World;

/// A product. What the world does with all of them it does by this.
pub(crate) trait Product: Sync {
    fn snap(&self) -> &'static str;

    /// Its programs that are called by an alias; the first is the one that people use.
    fn aliases(&self) -> &'static [&'static str] {
        &[]
    }

    /// Its services, beside the daemon with its database.
    fn services(&self) -> &'static [&'static str] {
        &[]
    }

    /// How long snapd takes to stop its services, in milliseconds, as seen on real machines.
    fn stops_in(&self) -> u64 {
        50
    }

    /// Whether one of its services is to run on a member.
    fn places(&self, _world: &World, _member: &str, _service: &str) -> bool {
        false
    }

    /// Its daemons end on a member, whatever ended them.
    fn stop(&self, world: &mut World, member: &str) {
        world.daemon_stops(self.snap(), member);
    }

    /// Its daemons start on a member, in the revision that is linked now.
    fn start(&self, world: &mut World, member: &str) {
        world.daemon_starts(self.snap(), member);
    }

    /// Whether its daemons are down on a member.
    fn is_down(&self, world: &World, member: &str) -> bool {
        world.daemon_is_down(self.snap(), member)
    }

    /// A daemon that waited for the others serves its database.
    fn ready(&self, _world: &mut World) {}

    /// A member began to answer on the network, or ceased to.
    fn link_changed(&self, _world: &mut World, _member: &str) {}

    /// A member lost its power.
    fn power_lost(&self, _world: &mut World, _member: &str) {}
}
