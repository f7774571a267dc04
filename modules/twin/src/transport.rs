//! The way to a world's members: a [`Transport`] whose time is tokio's.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use lockstep_modules::cmd::{Cmd, Output};
use lockstep_modules::transport::{ContactError, Facts, Transport};
use tokio::time::{Instant, sleep_until};

use crate::machine::Machine;
use crate::world::World;

/// What an attempt to connect to a machine that doesn't answer takes.
const CONNECT: Duration = Duration::from_secs(10);

/// From the loss of a link to the connection's being given up: three keepalives, 5 s apart.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// Reaches the members of a world. Clones reach the same world.
#[derive(Clone)]
pub struct Twin {
    world: Rc<RefCell<World>>,
    /// The tokio instant at which the world's time was `base`.
    start: Instant,
    base: u64,
    /// Called when a command has changed the world.
    changed: Rc<dyn Fn(&World)>,
}

impl Twin {
    /// A way to `world`, whose time goes on from where it is.
    #[must_use]
    pub fn new(world: World) -> Self {
        Self::watched(world, |_| {})
    }

    /// As [`Twin::new`], with a function that is called whenever a command has changed something, before anybody
    /// hears of it: to write the world down.
    #[must_use]
    pub fn watched(world: World, changed: impl Fn(&World) + 'static) -> Self {
        let base = world.now;
        Self {
            world: Rc::new(RefCell::new(world)),
            start: Instant::now(),
            base,
            changed: Rc::new(changed),
        }
    }

    /// The world.
    #[must_use]
    pub fn world(&self) -> Rc<RefCell<World>> {
        Rc::clone(&self.world)
    }

    fn now(&self) -> u64 {
        self.base + u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX / 2)
    }

    fn instant(&self, at: u64) -> Instant {
        self.start + Duration::from_millis(at.saturating_sub(self.base))
    }

    /// Lets the world's time catch up with tokio's.
    pub fn advance(&self) {
        let now = self.now();
        self.world.borrow_mut().advance(now);
    }

    /// The controller goes, and time stops: the world as it is now is written down.
    pub fn leave(&self) {
        self.advance();
        (self.changed)(&self.world.borrow());
    }

    async fn run_one(&self, member: &str, cmd: &Cmd) -> Result<Output, ContactError> {
        self.reach(member).await?;
        let id = self.world.borrow_mut().spawn(member, cmd);
        let mut lost_since: Option<Instant> = None;
        loop {
            self.advance();
            let mut wake = self
                .world
                .borrow()
                .next_due()
                .map_or_else(Instant::now, |at| self.instant(at));
            if self.world.borrow().answers(member) {
                lost_since = None;
                if self.world.borrow().is_strange(id) {
                    self.world.borrow_mut().kill(id);
                    return Err(ContactError::Unsimulated(cmd.display()));
                }
                let output = self.world.borrow_mut().take(id);
                if let Some(output) = output {
                    if self.world.borrow_mut().take_changed() {
                        (self.changed)(&self.world.borrow());
                    }
                    return Ok(output);
                }
            } else {
                let gone = *lost_since.get_or_insert_with(Instant::now) + KEEPALIVE;
                if Instant::now() >= gone {
                    return Err(ContactError::Lost(format!(
                        "no answer: Timeout, server {member} not responding."
                    )));
                }
                wake = wake.min(gone);
            }
            sleep_until(wake).await;
        }
    }

    async fn reach(&self, member: &str) -> Result<(), ContactError> {
        self.advance();
        let known =
            |world: &World| world.members.contains_key(member) || world.machines.contains(member);
        if !known(&self.world.borrow()) {
            return Err(ContactError::NoSuchMember(member.to_owned()));
        }
        if self.world.borrow().answers(member) {
            return Ok(());
        }
        tokio::time::sleep(CONNECT).await;
        self.advance();
        if self.world.borrow().answers(member) {
            return Ok(());
        }
        // A frozen machine's kernel takes the connection, and its sshd never says a word.
        let frozen = self
            .world
            .borrow()
            .members
            .get(member)
            .is_some_and(Machine::hangs);
        let reason = if frozen {
            "Connection timed out during banner exchange".to_owned()
        } else {
            format!("connect to host {member} port 22: Connection timed out")
        };
        Err(ContactError::TimedOut {
            reason,
            known: true,
        })
    }
}

impl Transport for Twin {
    fn facts<'a>(&'a self, member: &'a str) -> LocalBoxFuture<'a, Result<Facts, ContactError>> {
        Box::pin(async move {
            self.reach(member).await?;
            let facts = self.world.borrow().facts(member);
            facts.ok_or_else(|| ContactError::NoSuchMember(member.to_owned()))
        })
    }

    fn run<'a>(
        &'a self,
        member: &'a str,
        batch: &'a [Cmd],
    ) -> LocalBoxFuture<'a, Result<Vec<Output>, ContactError>> {
        Box::pin(async move {
            let mut outputs = Vec::new();
            for cmd in batch {
                outputs.push(self.run_one(member, cmd).await?);
            }
            Ok(outputs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    /// What ssh said on real hosts.
    #[tokio::test(start_paused = true)]
    async fn a_frozen_machine_takes_the_connection_and_says_nothing() {
        let twin = Twin::new(Scenario::of(3).build());
        twin.world().borrow_mut().set_frozen("micro02", true);
        let said = |error: ContactError| error.to_string();
        let frozen = twin.facts("micro02").await.map_err(said).unwrap_err();
        assert!(
            frozen.contains("Connection timed out during banner exchange"),
            "{frozen}"
        );
        twin.world().borrow_mut().set_link("micro02", false);
        let cut = twin.facts("micro02").await.map_err(said).unwrap_err();
        assert!(
            cut.contains("connect to host micro02 port 22: Connection timed out"),
            "{cut}"
        );
    }
}
