//! Members over SSH: one connection each, opened early, kept for the whole run, opened again when it is lost.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use tempfile::TempDir;
use tokio::sync::{Mutex, Semaphore};

use super::connect::{CHANNELS, Connection, Target};
use super::local::Local;
use super::wire::Cut;
use super::{ContactError, Ear, Facts, Transport};
use crate::cluster::{Cluster, MemberConfig, SshConfig};
use crate::cmd::{Cmd, Output};

/// Reaches members with the user's own `ssh`, and the machine itself without.
pub struct Ssh {
    config: SshConfig,
    links: BTreeMap<String, Link>,
    local: Local,
    sockets: TempDir,
    /// Key exchange is what a connection costs: more than about two a core at once only makes each of them slower.
    handshakes: Semaphore,
}

struct Link {
    member: MemberConfig,
    number: usize,
    /// Held while connecting, so that a member is connected to once.
    connecting: Mutex<()>,
    open: RefCell<Option<Rc<Connection>>>,
    channels: Semaphore,
    known: Cell<bool>,
    /// How many attempts to connect have failed, and why the last one did.
    failed: RefCell<Option<(u64, ContactError)>>,
    mended: RefCell<Option<String>>,
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
                known: Cell::new(false),
                failed: RefCell::new(None),
                mended: RefCell::new(None),
            };
            (member.name.clone(), link)
        });
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Ok(Self {
            config: cluster.ssh.clone(),
            links: links.collect(),
            local: Local::default(),
            sockets: socket_folder()?,
            handshakes: Semaphore::new(2 * cores),
        })
    }

    fn link(&self, member: &str) -> Result<&Link, ContactError> {
        self.links
            .get(member)
            .ok_or_else(|| ContactError::NoSuchMember(member.to_owned()))
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
        if let Some(connection) = open {
            if connection.alive().await {
                return Ok(connection);
            }
            // It broke while nothing ran over it, so nothing is in doubt.
            link.open.replace(None);
            link.mended
                .replace(Some(connection.autopsy().await.to_string()));
        }
        let _slot = self.handshakes.acquire().await;
        let socket: PathBuf = self.sockets.path().join(format!("m{}", link.number));
        // A master that was killed may have left its socket behind.
        let _ = std::fs::remove_file(&socket);
        let target = Target {
            member: &link.member,
            config: &self.config,
            socket,
            known: link.known.get(),
        };
        let connection = Rc::new(target.connect().await.inspect_err(|why| {
            link.failed.replace(Some((failures(link) + 1, why.clone())));
        })?);
        link.known.set(true);
        link.open.replace(Some(Rc::clone(&connection)));
        Ok(connection)
    }
}

impl Transport for Ssh {
    fn mended(&self, member: &str) -> Option<String> {
        self.links.get(member)?.mended.take()
    }

    fn facts<'a>(&'a self, member: &'a str) -> LocalBoxFuture<'a, Result<Facts, ContactError>> {
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
        member: &'a str,
        batch: &'a [Cmd],
        ear: &'a Ear<'a>,
    ) -> LocalBoxFuture<'a, Result<Vec<Output>, ContactError>> {
        Box::pin(async move {
            let link = self.link(member)?;
            if link.member.local {
                return self.local.run(member, batch, ear).await;
            }
            let _channel = link.channels.acquire().await;
            let connection = self.connection(link).await?;
            match connection.run(batch, ear).await {
                Ok(outputs) => Ok(outputs),
                Err(Cut::Sudo(reason)) => Err(ContactError::Sudo(reason)),
                Err(Cut::Short) => Err(connection.autopsy().await),
            }
        })
    }
}

fn socket_folder() -> io::Result<TempDir> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|dir| dir.is_dir());
    tempfile::Builder::new()
        .prefix("lockstep-")
        .tempdir_in(runtime.unwrap_or_else(|| PathBuf::from("/tmp")))
}
