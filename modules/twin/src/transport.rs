//! The way to a world's members: a [`Transport`] whose time is tokio's.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use lockstep_modules::contract::cmd::{Cmd, Output};
use lockstep_modules::contract::reach::{ContactError, Ear, Facts, Transport, Turn};
use lockstep_modules::contract::schema::Member;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::files::Node;
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
    /// Members to which a connection is open, whatever became of them since.
    open: Rc<RefCell<BTreeSet<String>>>,
    /// Whose turn it is beside the members.
    turn: Arc<Mutex<()>>,
    /// Writes the world down.
    keep: Rc<dyn Fn(&World)>,
}

impl Twin {
    /// A way to `world`, whose time goes on from where it is.
    #[must_use]
    pub fn new(world: World) -> Self {
        Self::kept(world, |_| {})
    }

    /// As [`Twin::new`], with a function that writes the world down.
    #[must_use]
    pub fn kept(world: World, keep: impl Fn(&World) + 'static) -> Self {
        let base = world.now;
        Self {
            world: Rc::new(RefCell::new(world)),
            start: Instant::now(),
            base,
            open: Rc::default(),
            turn: Arc::default(),
            keep: Rc::new(keep),
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
        (self.keep)(&self.world.borrow());
    }

    /// Writes the world down where a command has changed it since the last time. A process that is killed leaves it as it was
    /// then, so this comes before anything that tells of the change.
    pub fn keep(&self) {
        if self.world.borrow_mut().take_changed() {
            (self.keep)(&self.world.borrow());
        }
    }

    async fn run_one(&self, member: &str, cmd: &Cmd) -> Result<Output, ContactError> {
        self.reach(member).await?;
        self.contact(member).await?;
        if let Some(guard) = &cmd.guard {
            let world = self.world.borrow();
            let says = match world.file(member, guard.link) {
                Some(Node::Link(target)) => target.as_str(),
                _ => "",
            };
            if says != guard.says {
                return Err(ContactError::Taken(says.to_owned()));
            }
        }
        let id = self.world.borrow_mut().spawn(member, cmd);
        loop {
            self.contact(member).await?;
            if self.world.borrow().is_strange(id) {
                self.world.borrow_mut().kill(id);
                return Err(ContactError::Unsimulated(cmd.display()));
            }
            let output = self.world.borrow_mut().take(id);
            if let Some(output) = output {
                return Ok(output);
            }
            let Some(due) = self.next_due() else {
                // It ended with its machine.
                return Err(ContactError::Lost(format!(
                    "Connection to {member} closed by remote host."
                )));
            };
            sleep_until(due).await;
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let due = self.world.borrow().next_due()?;
        Some(self.instant(due))
    }

    /// Waits until the member at the other end of an open connection is heard of. One that isn't for a while is given up:
    /// what was sent meanwhile never arrives.
    async fn contact(&self, member: &str) -> Result<(), ContactError> {
        let gone = Instant::now() + KEEPALIVE;
        loop {
            self.advance();
            if self.world.borrow().answers(member) {
                return Ok(());
            }
            if Instant::now() >= gone {
                self.open.borrow_mut().remove(member);
                return Err(ContactError::Lost(format!(
                    "no answer: Timeout, server {member} not responding."
                )));
            }
            let due = self.next_due();
            sleep_until(due.map_or(gone, |due| due.min(gone))).await;
        }
    }

    /// Connects, unless a connection is open already.
    async fn reach(&self, member: &str) -> Result<(), ContactError> {
        self.advance();
        if self.open.borrow().contains(member) {
            return Ok(());
        }
        self.connect(member).await?;
        self.open.borrow_mut().insert(member.to_owned());
        Ok(())
    }

    async fn connect(&self, member: &str) -> Result<(), ContactError> {
        let known =
            |world: &World| world.members.contains_key(member) || world.machines.contains(member);
        if !known(&self.world.borrow()) {
            return Err(ContactError::NoSuchMember(member.into()));
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
    fn facts<'a>(&'a self, member: &'a Member) -> LocalBoxFuture<'a, Result<Facts, ContactError>> {
        Box::pin(async move {
            self.reach(member.as_str()).await?;
            let facts = self.world.borrow().facts(member.as_str());
            facts.ok_or_else(|| ContactError::NoSuchMember(member.clone()))
        })
    }

    fn turn(&self) -> LocalBoxFuture<'_, Option<Turn>> {
        Box::pin(async { Some(Arc::clone(&self.turn).lock_owned().await) })
    }

    fn run<'a>(
        &'a self,
        member: &'a Member,
        batch: &'a [Cmd],
        // The programs of a simulated cluster say all that they say in their last moment.
        _ear: &'a Ear<'a>,
    ) -> LocalBoxFuture<'a, Result<Vec<Output>, ContactError>> {
        Box::pin(async move {
            let mut outputs = Vec::new();
            for cmd in batch {
                outputs.push(self.run_one(member.as_str(), cmd).await?);
            }
            Ok(outputs)
        })
    }
}

#[cfg(test)]
mod tests {
    use lockstep_modules::contract::reach::deaf;

    use super::*;
    use crate::scenario::Scenario;

    /// What ssh said on real hosts.
    #[tokio::test(start_paused = true)]
    async fn a_frozen_machine_takes_the_connection_and_says_nothing() {
        let twin = Twin::new(Scenario::of(3).build());
        twin.world().borrow_mut().set_frozen("micro02", true);
        let text = |error: ContactError| error.to_string();
        let frozen = twin
            .facts(&"micro02".into())
            .await
            .map_err(text)
            .unwrap_err();
        assert!(
            frozen.contains("Connection timed out during banner exchange"),
            "{frozen}"
        );
        twin.world().borrow_mut().set_link("micro02", false);
        let cut = twin
            .facts(&"micro02".into())
            .await
            .map_err(text)
            .unwrap_err();
        assert!(
            cut.contains("connect to host micro02 port 22: Connection timed out"),
            "{cut}"
        );
    }

    /// Time has to pass also where nothing is due any more in the world.
    #[tokio::test(start_paused = true)]
    async fn a_member_that_stays_away_is_given_up_in_a_still_world() {
        let twin = Twin::new(Scenario::of(3).build());
        let cmd = [Cmd::user(["/bin/cat", "/proc/sys/kernel/random/boot_id"])];
        let ask = async || {
            twin.run(&"micro02".into(), &cmd, &deaf)
                .await
                .map_err(|e| e.to_string())
        };
        ask().await.unwrap();
        twin.world().borrow_mut().set_link("micro02", false);
        while twin.world().borrow().next_due().is_some() {
            tokio::time::advance(Duration::from_secs(60)).await;
            twin.advance();
        }
        let began = Instant::now();
        let lost = ask().await.unwrap_err();
        assert!(lost.contains("not responding"), "{lost}");
        assert_eq!(began.elapsed(), KEEPALIVE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_outlives_a_flap_and_not_three_keepalives() {
        let twin = Twin::new(Scenario::of(3).build());
        let cmd = [Cmd::user(["/bin/cat", "/proc/sys/kernel/random/boot_id"])];
        let ask = async || {
            twin.run(&"micro02".into(), &cmd, &deaf)
                .await
                .map_err(|e| e.to_string())
        };
        ask().await.unwrap();
        let flap = "cut:micro02+3s".parse().unwrap();
        twin.world().borrow_mut().inject(flap).unwrap();
        ask().await.unwrap();
        twin.world().borrow_mut().set_link("micro02", false);
        let began = Instant::now();
        let lost = ask().await.unwrap_err();
        assert_eq!(
            lost,
            "contact was lost: no answer: Timeout, server micro02 not responding."
        );
        assert_eq!(began.elapsed(), KEEPALIVE);
        let again = ask().await.unwrap_err();
        assert!(again.contains("connect to host micro02 port 22"), "{again}");
    }
}
