//! A machine: its power, its link, and what losing them does to what runs on it.

pub(crate) mod state;

pub(crate) use state::Event;
pub(crate) use state::Machine;

use crate::product::Product;
use crate::world::{Due, World};

/// From power-on to the network's being up, in milliseconds.
const BOOT: u64 = 40_000;

pub(crate) fn happen(world: &mut World, event: Event) {
    match event {
        Event::Up(member) => world.up(&member),
    }
}

impl World {
    pub(crate) fn linked(&self, member: &str) -> bool {
        self.members.get(member).is_some_and(|machine| machine.link)
    }

    fn turn(&mut self, member: &str, change: impl FnOnce(&mut Machine)) {
        let now = self.now;
        if let Some(machine) = self.members.get_mut(member) {
            change(machine);
            machine.turned = now;
        }
        for product in World::PRODUCTS {
            product.link_changed(self, member);
        }
    }

    /// The network link of a member goes down or comes back.
    pub fn set_link(&mut self, member: &str, up: bool) {
        self.turn(member, |machine| machine.link = up);
    }

    /// The processes of a member stop, and go on.
    pub(crate) fn set_frozen(&mut self, member: &str, frozen: bool) {
        self.turn(member, |machine| machine.frozen = frozen);
    }

    /// A member loses its power: what ran there is gone.
    pub(crate) fn power_off(&mut self, member: &str) {
        self.turn(member, |machine| machine.power = false);
        self.kill_all(member);
        for product in World::PRODUCTS {
            product.power_lost(self, member);
        }
        for product in World::PRODUCTS {
            product.stop(self, member);
        }
    }

    /// A member gets its power back. It boots, and its services start.
    pub(crate) fn power_on(&mut self, member: &str) {
        if self.members.get(member).is_some_and(|m| !m.power) {
            self.schedule(BOOT, Due::Machine(Event::Up(member.to_owned())));
        }
    }

    fn up(&mut self, member: &str) {
        let boot = self.random(&format!("boot {member} {}", self.now), u64::MAX);
        self.turn(member, |machine| {
            machine.power = true;
            machine.boot_id = format!("b007b007-0000-4000-8000-{:012}", boot % 1_000_000_000_000);
        });
        for snap in World::PRODUCTS.map(Product::snap) {
            if self.installed(member, snap).is_some_and(|s| s.active) {
                self.services_start(member, snap);
            }
        }
    }
}
