//! Members over SSH: one connection each, opened early, kept for the whole run, opened again when it is lost.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use tokio::sync::{Mutex, Semaphore};

use super::connect::{CHANNELS, Connection, Target};
use super::local::Local;
use super::sockets::Sockets;
use super::wire::{self, Cut};
use crate::contract::cluster::{Cluster, MemberConfig, SshConfig};
use crate::contract::cmd::{Cmd, Output};
use crate::contract::reach::{ContactError, Ear, Facts, Transport};
use crate::contract::schema::Member;

/// Reaches members with the user's own `ssh`, and the machine itself without.
pub struct Ssh {
    config: SshConfig,
    links: BTreeMap<Member, Link>,
    /// The members of the cluster; a machine beside it may be one of them by another name.
    members: Vec<Member>,
    local: Local,
    sockets: RefCell<Sockets>,
    /// Logins through something that several members may share, such as a jump host.
    shared: Semaphore,
    /// Held by the one attempt to connect that may ask a person something.
    prompt: Mutex<()>,
}

/// Logins that a single sshd takes at once without dropping any (`MaxStartups`, 10:30:100 by default), with some room for
/// others.
const LOGINS: usize = 8;

/// How long a batch that was refused a session while nothing else had one waits for another try.
const CLOSING: [Duration; 3] = [
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_secs(1),
];

struct Link {
    member: MemberConfig,
    number: usize,
    /// Held while connecting, so that a member is connected to once.
    connecting: Mutex<()>,
    open: RefCell<Option<Rc<Connection>>>,
    channels: Semaphore,
    /// How many batches are under way.
    busy: Cell<usize>,
    known: Cell<bool>,
    /// The user's own master didn't answer for this member.
    distrusted: Cell<bool>,
    /// How many attempts to connect have failed, and why the last one did.
    failed: RefCell<Option<(u64, ContactError)>>,
    reconnected: RefCell<Option<String>>,
}

/// A batch under way; one that is given up isn't any more.
struct Busy<'a>(&'a Cell<usize>);

impl<'a> Busy<'a> {
    fn over(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Ssh {
    /// A transport to the members of `cluster` and the machines beside it. Nothing is connected yet.
    ///
    /// # Errors
    /// Where no folder for control sockets can be made.
    pub fn new(cluster: &Cluster) -> io::Result<Self> {
        let links = cluster.reachable().enumerate().map(|(number, member)| {
            let link = Link {
                member: member.clone(),
                number,
                connecting: Mutex::new(()),
                open: RefCell::new(None),
                channels: Semaphore::new(CHANNELS),
                busy: Cell::new(0),
                known: Cell::new(false),
                distrusted: Cell::new(false),
                failed: RefCell::new(None),
                reconnected: RefCell::new(None),
            };
            (member.name.clone(), link)
        });
        Ok(Self {
            config: cluster.ssh.clone(),
            links: links.collect(),
            members: cluster.names(),
            local: Local::default(),
            sockets: RefCell::new(Sockets::new()?),
            shared: Semaphore::new(LOGINS),
            prompt: Mutex::new(()),
        })
    }

    fn link(&self, member: &Member) -> Result<&Link, ContactError> {
        self.links
            .get(member)
            .ok_or_else(|| ContactError::NoSuchMember(member.clone()))
    }

    async fn connection(&self, link: &Link) -> Result<Rc<Connection>, ContactError> {
        let failures = |link: &Link| link.failed.borrow().as_ref().map_or(0, |(n, _)| *n);
        let before = failures(link);
        let _one = link.connecting.lock().await;
        // Whoever waited for an attempt that failed has its reason: another one would take as long, for each that waits.
        if let Some((_, why)) = link.failed.borrow().as_ref().filter(|(n, _)| *n > before) {
            return Err(why.clone());
        }
        let open = link.open.borrow().clone();
        let mut broken = None;
        if let Some(connection) = open {
            if connection.alive().await {
                return Ok(connection);
            }
            // It broke while nothing ran over it, so nothing is in doubt.
            link.open.replace(None);
            broken = Some(connection.autopsy().await.to_string());
        }
        let socket = self.socket(link).map_err(|e| {
            ContactError::Ssh(format!("no folder for control sockets can be made: {e}"))
        })?;
        // A master that was killed may have left its socket behind.
        let _ = std::fs::remove_file(&socket);
        let mut target = Target {
            member: &link.member,
            config: &self.config,
            socket,
            known: link.known.get(),
            join: !link.distrusted.get(),
            shared: &self.shared,
            prompt: &self.prompt,
        };
        let mut connected = target.connect().await;
        // A ControlPath that doesn't name the host leads to whichever member the user went to.
        let joined = |c: &Connection| c.joined() && self.another(link, &c.facts).is_some();
        if connected.as_ref().is_ok_and(joined) {
            link.distrusted.set(true);
            target.join = false;
            connected = target.connect().await;
        }
        let own = connected.and_then(|c| match self.another(link, &c.facts) {
            Some(other) => Err(ContactError::Another(other)),
            None => Ok(c),
        });
        let connection = Rc::new(own.inspect_err(|why| {
            link.failed.replace(Some((failures(link) + 1, why.clone())));
        })?);
        link.known.set(true);
        if broken.is_some() {
            link.reconnected.replace(broken);
        }
        link.open.replace(Some(Rc::clone(&connection)));
        Ok(connection)
    }

    /// The other member that answers for this one, if one does.
    fn another(&self, link: &Link, facts: &Facts) -> Option<Member> {
        let name = &link.member.name;
        let is_member = |name: &Member| self.members.contains(name);
        let other = Member::from(facts.hostname.as_str());
        (other != *name && is_member(&other) && is_member(name)).then_some(other)
    }

    /// Where a link's control socket goes. The folder is made again where somebody has tidied it away.
    fn socket(&self, link: &Link) -> io::Result<PathBuf> {
        if !self.sockets.borrow().path().is_dir() {
            self.sockets.replace(Sockets::new()?);
        }
        Ok(self
            .sockets
            .borrow()
            .path()
            .join(format!("m{}", link.number)))
    }

    /// Runs a batch in a channel of its own. sshd may grant fewer than it is asked for (`MaxSessions`): nothing was begun
    /// then, and the batch waits for one that is there.
    async fn over(
        &self,
        link: &Link,
        batch: &[Cmd],
        ear: &Ear<'_>,
    ) -> Result<Vec<Output>, ContactError> {
        let mut pauses = CLOSING.iter();
        loop {
            let Ok(channel) = link.channels.acquire().await else {
                return Err(ContactError::Ssh("there are no channels".to_owned()));
            };
            let connection = self.connection(link).await?;
            let busy = Busy::over(&link.busy);
            let result = connection.run(batch, ear).await;
            drop(busy);
            match result {
                Ok(outputs) => return Ok(outputs),
                Err(Cut::Sudo(reason)) => return Err(ContactError::Sudo(reason)),
                Err(Cut::Taken(claim)) => return Err(ContactError::Taken(claim)),
                Err(Cut::Short) => return Err(connection.autopsy().await),
                Err(Cut::Late) if connection.answers().await => return Ok(wire::unended(batch)),
                Err(Cut::Late) => {
                    link.distrusted
                        .set(link.distrusted.get() || connection.joined());
                    link.open.replace(None);
                    let text = "the member doesn't answer on a connection that is open";
                    return Err(ContactError::Lost(text.to_owned()));
                }
                Err(Cut::NotBegun(_)) if !connection.alive().await => {
                    link.open.replace(None);
                    return Err(connection.autopsy().await);
                }
                Err(Cut::NotBegun(_)) if link.busy.get() > 0 => channel.forget(),
                Err(Cut::NotBegun(reason)) => {
                    // What had the session may have ended since, and sshd counts it until it is closed.
                    if let Some(pause) = pauses.next() {
                        drop(channel);
                        tokio::time::sleep(*pause).await;
                        continue;
                    }
                    let text = format!(
                        "sshd allows no session besides the one that holds the connection open: lockstep needs MaxSessions 2 or \
                         more ({reason})"
                    );
                    return Err(ContactError::Shell(text));
                }
            }
        }
    }
}

impl Transport for Ssh {
    fn reconnected(&self, member: &Member) -> Option<String> {
        self.links.get(member)?.reconnected.take()
    }

    fn facts<'a>(&'a self, member: &'a Member) -> LocalBoxFuture<'a, Result<Facts, ContactError>> {
        Box::pin(async move {
            let link = self.link(member)?;
            if link.member.local {
                return self.local.facts(member).await;
            }
            Ok(self.connection(link).await?.facts.clone())
        })
    }

    fn run<'a>(
        &'a self,
        member: &'a Member,
        batch: &'a [Cmd],
        ear: &'a Ear<'a>,
    ) -> LocalBoxFuture<'a, Result<Vec<Output>, ContactError>> {
        Box::pin(async move {
            let link = self.link(member)?;
            if link.member.local {
                return self.local.run(member, batch, ear).await;
            }
            self.over(link, batch, ear).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_was_tidied_away_is_made_again() {
        let ssh = Ssh::new(&Cluster {
            name: "lab".to_owned(),
            members: vec![MemberConfig::named("m1")],
            machines: Vec::new(),
            ssh: SshConfig::default(),
        })
        .unwrap();
        let link = ssh.link(&"m1".into()).unwrap();
        let socket = ssh.socket(link).unwrap();
        std::fs::remove_dir_all(socket.parent().unwrap()).unwrap();
        let socket = ssh.socket(link).unwrap();
        assert!(socket.parent().unwrap().is_dir());
    }
}
