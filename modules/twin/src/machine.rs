//! A machine: its power, its link, and what losing them does to what runs on it.

use serde::{Deserialize, Serialize};

use crate::product::{self, Product};
use crate::snapd::Snapd;
use crate::world::{Due, World};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    pub(crate) address: String,
    pub(crate) link: bool,
    pub(crate) power: bool,
    /// Whether none of its processes gets on, though it has power.
    #[serde(default)]
    pub(crate) frozen: bool,
    /// The kernel's id of this boot.
    pub(crate) boot_id: String,
    pub curl: bool,
    /// When it last began or ceased to answer.
    #[serde(default)]
    pub(crate) turned: u64,
    pub(crate) snapd: Snapd,
}

/// What happens to machines by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// It has been switched on, and is up.
    Up(String),
}

/// From power-on to the network's being up, in milliseconds.
const BOOT: u64 = 40_000;

impl Machine {
    /// Whether it answers on the network.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.link && self.power && !self.frozen
    }

    /// Whether its kernel answers and nothing else does.
    pub(crate) fn hangs(&self) -> bool {
        self.link && self.power && self.frozen
    }

    /// Whether its processes get on.
    pub(crate) fn lives(&self) -> bool {
        self.power && !self.frozen
    }
}

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
        for product in product::ALL {
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
        for product in product::ALL {
            product.power_lost(self, member);
        }
        for product in product::ALL {
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
        for snap in product::ALL.map(Product::snap) {
            if self.installed(member, snap).is_some_and(|s| s.active) {
                self.services_start(member, snap);
            }
        }
    }
}
