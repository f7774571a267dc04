//! The connection: made when it is first needed, made anew when it was lost, and asked with a deadline.

use std::error::Error as _;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, NoTls};

use super::StoreError;
use super::rows::{locked, unlock};
use super::schema::{Found, VERSION, found};
use super::url::{CONNECT, Way};

/// How long an answer may take. The server gives up before.
const ANSWER: Duration = Duration::from_secs(90);

/// How long a store that was there is waited for.
const PATIENCE: Duration = Duration::from_secs(300);

/// The first pause between two tries; each is twice as long as the one before, up to the last.
const PAUSE: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(10);

/// What the server does for a session: it notices within 25 s that a machine is gone, and lets go of what that one had, whether
/// it was waiting for that machine or sending to it. What isn't on disk in the database isn't written down.
const SESSION: &str = "
    set tcp_keepalives_idle = 10; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3;
    set tcp_user_timeout = 25000; set statement_timeout = 60000;
    select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'";

/// The pauses between tries, until they have taken too long with all that was tried.
#[derive(Default)]
pub(crate) struct Pauses {
    tries: u32,
    since: Option<Instant>,
}

impl Pauses {
    /// Something is tried.
    #[expect(
        clippy::disallowed_methods,
        reason = "a database is waited for in real time, by simulated clusters' runs too"
    )]
    pub(crate) fn trying(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// It failed. None where it was tried for long enough.
    pub(crate) fn pause(&mut self) -> Option<Duration> {
        let pause = PAUSE.saturating_mul(1 << self.tries.min(8)).min(LONGEST);
        self.tries += 1;
        let taken = self.since?.elapsed() + pause;
        (taken <= PATIENCE).then_some(pause)
    }
}

/// A connection that is there, and what has to be polled for it to do anything.
struct Connected {
    client: Client,
    driver: Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>,
}

/// A lock that is this process's as long as its connection is there.
#[derive(Clone)]
pub(super) struct Lock {
    pub(super) number: i32,
    /// The run that it is of, and the sitting in which it was taken; none where it is of no run.
    pub(super) of: Option<(String, i64)>,
}

/// The way to the database, with a connection where there is one.
pub(super) struct Link {
    runtime: Runtime,
    way: Way,
    connected: Option<Connected>,
    /// What is taken again with a new connection.
    pub(super) locks: Vec<Lock>,
    /// There was a connection once.
    known: bool,
}

impl Link {
    pub(super) fn of(way: Way) -> io::Result<Self> {
        Ok(Self {
            runtime: Builder::new_current_thread().enable_all().build()?,
            way,
            connected: None,
            locks: Vec::new(),
            known: false,
        })
    }

    /// The database, for people.
    pub(super) fn at(&self) -> String {
        self.way.at.clone()
    }

    /// Asks, and asks again where the connection is lost on the way; a store that was never there isn't waited for. What is
    /// asked must be fit to be done twice.
    pub(super) fn ask<T>(
        &mut self,
        ask: &impl AsyncFn(&Client) -> Result<T, Error>,
    ) -> Result<T, StoreError> {
        let mut pauses = Pauses::default();
        loop {
            pauses.trying();
            let why = match self.once(ask) {
                Err(StoreError::Away { why, .. }) => why,
                asked => return asked,
            };
            let Some(pause) = pauses.pause() else {
                return Err(StoreError::Away { at: self.at(), why });
            };
            let at = &self.way.at;
            tracing::warn!("the database {at} is unavailable ({why}); trying again");
            self.runtime.block_on(async { sleep(pause).await });
        }
    }

    /// Asks once.
    pub(super) fn once<T>(
        &mut self,
        ask: impl AsyncFnOnce(&Client) -> Result<T, Error>,
    ) -> Result<T, StoreError> {
        self.connect()?;
        self.answer(ask)
    }

    /// Asks on a connection that is there, whatever is in the database.
    fn answer<T>(
        &mut self,
        ask: impl AsyncFnOnce(&Client) -> Result<T, Error>,
    ) -> Result<T, StoreError> {
        let away = |why: String| StoreError::Away {
            at: self.way.at.clone(),
            why,
        };
        let Some(Connected { client, driver }) = &mut self.connected else {
            return Err(away("it is not connected".to_owned()));
        };
        let asked = self.runtime.block_on(async {
            match select(pin!(timeout(ANSWER, ask(client))), driver).await {
                Either::Left((Ok(answer), _)) => Ok(answer),
                Either::Left((Err(_), _)) => Err(silent()),
                Either::Right((Err(error), _)) => Err(text(&error)),
                Either::Right((Ok(()), _)) => Err("it closed the connection".to_owned()),
            }
        });
        let answer = match asked {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if is_lost(&error) => Err(away(text(&error))),
            Ok(Err(error)) => {
                let why = text(&error);
                return Err(StoreError::Refused { at: self.at(), why });
            }
            Err(why) => Err(away(why)),
        };
        if answer.is_err() {
            self.connected = None;
        }
        answer
    }

    /// Lets go of a lock. Without its connection nobody has it.
    pub(super) fn release(&mut self, number: i32) {
        self.locks.retain(|lock| lock.number != number);
        if self.connected.is_some() {
            let _ = self.answer(async |client| unlock(client, number).await);
        }
    }

    /// Connects, unless there is a connection, to a database whose tables this lockstep knows.
    fn connect(&mut self) -> Result<(), StoreError> {
        if self
            .connected
            .as_ref()
            .is_some_and(|c| !c.client.is_closed())
        {
            return Ok(());
        }
        self.reach()?;
        let ready = self.ready();
        if ready.is_err() {
            self.connected = None;
        }
        self.known |= ready.is_ok();
        ready
    }

    /// Connects, to whatever is there.
    pub(super) fn reach(&mut self) -> Result<(), StoreError> {
        self.connected = None;
        let (way, known) = (&self.way, self.known);
        let connect = async {
            Ok::<_, Error>(match way.tls.clone() {
                Some(tls) => {
                    let (client, driver) = way.config.connect(tls).await?;
                    Connected {
                        client,
                        driver: Box::pin(driver),
                    }
                }
                None => {
                    let (client, driver) = way.config.connect(NoTls).await?;
                    Connected {
                        client,
                        driver: Box::pin(driver),
                    }
                }
            })
        };
        let at = || way.at.clone();
        let failed = |why: String| match known {
            true => StoreError::Away { at: at(), why },
            false => StoreError::Unreachable { at: at(), why },
        };
        // Several addresses are tried one after the other.
        let connected = self
            .runtime
            .block_on(async { timeout(CONNECT * 2, connect).await });
        match connected {
            Ok(Ok(connected)) => self.connected = Some(connected),
            Ok(Err(error)) if is_denied(&error) => {
                return Err(StoreError::Denied {
                    at: at(),
                    why: text(&error),
                });
            }
            Ok(Err(error)) => return Err(failed(text(&error))),
            Err(_) => {
                let limit = (CONNECT * 2).as_secs();
                return Err(failed(format!("no connection within {limit} s")));
            }
        }
        Ok(())
    }

    /// Looks at the tables, and takes again what this process had.
    fn ready(&mut self) -> Result<(), StoreError> {
        let (at, known) = (self.at(), VERSION);
        match self.answer(found)? {
            Found::Nothing => return Err(StoreError::NoSchema { at }),
            Found::Closed => return Err(StoreError::Closed { at }),
            Found::Version(found) if found < known => {
                return Err(StoreError::Older { at, found, known });
            }
            Found::Version(found) if found > known => {
                return Err(StoreError::Newer { at, found, known });
            }
            Found::Version(_) => {}
        }
        self.answer(async |client| client.batch_execute(SESSION).await)?;
        for lock in self.locks.clone() {
            let free = self.answer(async |client| {
                if locked(client, lock.number).await? {
                    return Ok(true);
                }
                let Some((run, sitting)) = &lock.of else {
                    return Ok(false);
                };
                // Somebody else's by now: the next append is told so.
                let ours = client
                    .query_opt(
                        "select from runs where id = $1 and sitting = $2",
                        &[run, sitting],
                    )
                    .await?;
                Ok(ours.is_none())
            })?;
            if !free {
                return Err(StoreError::Away {
                    at: self.at(),
                    why: "it has not noticed yet that the connection before was lost".to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Asks whatever is there, tables or not.
    pub(super) fn bare<T>(
        &mut self,
        ask: impl AsyncFnOnce(&mut Client) -> Result<T, Error>,
    ) -> Result<T, StoreError> {
        self.reach()?;
        let at = self.at();
        let Some(Connected { mut client, driver }) = self.connected.take() else {
            return Err(StoreError::Away {
                at,
                why: "it is not connected".to_owned(),
            });
        };
        let refused = |error: Error| StoreError::Refused {
            at: at.clone(),
            why: text(&error),
        };
        self.runtime.block_on(async {
            match select(pin!(timeout(ANSWER, ask(&mut client))), driver).await {
                Either::Left((Ok(answer), _)) => answer.map_err(refused),
                Either::Left((Err(_), _)) => Err(StoreError::Away {
                    at: at.clone(),
                    why: silent(),
                }),
                Either::Right((ended, _)) => Err(StoreError::Away {
                    at: at.clone(),
                    why: ended.err().map(|error| text(&error)).unwrap_or_default(),
                }),
            }
        })
    }
}

fn silent() -> String {
    format!("no answer within {} s", ANSWER.as_secs())
}

/// Whether the connection is gone, or the server is going.
fn is_lost(error: &Error) -> bool {
    let Some(code) = error.code() else {
        let broken = error
            .source()
            .and_then(|source| source.downcast_ref::<io::Error>())
            .is_some();
        return error.is_closed() || broken;
    };
    let gone = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::QUERY_CANCELED,
        SqlState::READ_ONLY_SQL_TRANSACTION,
    ];
    // Connections, and resources: a disk that is full, too many connections.
    let classes = ["08", "53"];
    gone.contains(code) || classes.iter().any(|class| code.code().starts_with(class))
}

/// Whether nobody gets in by that name or with that password.
fn is_denied(error: &Error) -> bool {
    error
        .code()
        .is_some_and(|code| code.code().starts_with("28"))
}

/// What happened, with what the server or the system said of it.
fn text(error: &Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(said), _) => said.message().to_owned(),
        (None, Some(source)) => source.to_string(),
        (None, None) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_tries_counts_as_that_of_pauses() {
        let mut pauses = Pauses::default();
        pauses.trying();
        assert_eq!(pauses.pause(), Some(PAUSE));
        assert_eq!(pauses.pause(), Some(PAUSE * 2));
        // Each try of a server that is frozen takes as long as an answer may.
        pauses.since = pauses.since.and_then(|since| since.checked_sub(PATIENCE));
        pauses.trying();
        assert_eq!(pauses.pause(), None);
    }
}
