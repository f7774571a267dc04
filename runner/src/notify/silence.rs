//! A silence in an Alertmanager as a lease: made at the run's first change, extended while steps run, and ended where the run stops,
//! so that whoever is on call hears of a site that is stuck. After a crash it lapses by itself.

use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::kept::Kept;
use super::post::{Request, Wire};
use super::reading::Entry;
use super::receiver::{Receiver, Trouble};
use super::story::Story;
use crate::clock;
use crate::config::{Matcher, Silence};

/// What is kept of it, and what people call it.
const NAME: &str = "silence";

/// The silence that there is.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Lease {
    /// What the Alertmanager calls it; none where there is none.
    id: Option<String>,
    /// Until when it lasts.
    until: Option<Timestamp>,
}

/// The silence of a run.
pub(super) struct Lull {
    to: Silence,
    story: Story,
    lease: Kept<Lease>,
    /// The run's own process has it.
    alive: bool,
}

/// What an Alertmanager says of a silence.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Known {
    starts_at: Timestamp,
    status: Status,
}

#[derive(Deserialize)]
struct Status {
    state: String,
}

#[derive(Deserialize)]
struct Made {
    #[serde(rename = "silenceID")]
    id: String,
}

impl Lease {
    fn lasts(&self) -> bool {
        let until = self.until.filter(|_| self.id.is_some());
        until.is_some_and(|until| until > clock::now())
    }
}

/// The silence that the run in this folder has made, as long as it lasts: why it isn't as it is to be, if that is known.
pub(super) fn left(run: &Path) -> Option<Option<String>> {
    let lease = Kept::<Lease>::of(run, NAME);
    lease.state.lasts().then_some(lease.why)
}

impl Lull {
    /// `alive`: this is the run's own process, and not somebody who clears up after it.
    pub(super) fn of(run: &Path, to: &Silence, alive: bool) -> Self {
        Self {
            to: to.clone(),
            story: Story::default(),
            lease: Kept::of(run, NAME),
            alive,
        }
    }

    /// Whether alerts are to be silent; nothing where a silence that there is may lapse.
    fn wanted(&self, last: bool) -> Option<bool> {
        if !self.alive || last || !self.story.is_under_way() {
            return Some(false);
        }
        (self.story.touched() && self.story.works()).then_some(true)
    }

    fn renew(&mut self, wire: &Wire) -> Result<(), Trouble> {
        let (Some(head), now) = (self.story.head(), clock::now()) else {
            return Ok(());
        };
        let span = SignedDuration::try_from(self.to.span.0).unwrap_or(SignedDuration::MAX);
        let until = now.saturating_add(span).unwrap_or(Timestamp::MAX);
        // Only one that began when it began is extended, instead of being replaced.
        let known = match self.lease.state.id.clone() {
            Some(id) => self.known(wire, &id)?.map(|known| (id, known.starts_at)),
            None => None,
        };
        let (id, from) = known.map_or((None, now), |(id, from)| (Some(id), from));
        let matchers = self.to.matchers.iter();
        let matchers: Vec<Value> = matchers
            .map(|matcher| as_json(matcher, &head.cluster.name))
            .collect();
        let body = json!({
            "id": id,
            "matchers": matchers,
            "startsAt": from,
            "endsAt": until,
            "createdBy": head.who,
            "comment": format!("{} of {} on {} (lockstep {})", head.id, head.playbook, head.cluster.name, head.lockstep),
        });
        let url = url(&self.to, "silences");
        let answer = wire.send(&Request {
            method: "POST",
            url: &url,
            headers: &[("Content-Type", "application/json")],
            body: &body.to_string(),
        })?;
        let made: Made = serde_json::from_str(&answer).map_err(Trouble::Answer)?;
        self.lease.state = Lease {
            id: Some(made.id),
            until: Some(until),
        };
        self.lease.save(None);
        Ok(())
    }

    /// What the Alertmanager has of a silence: nothing, if it knows none of this name, or one that is over.
    fn known(&self, wire: &Wire, id: &str) -> Result<Option<Known>, Trouble> {
        match ask::<Known>(wire, &self.to, &format!("silence/{id}")) {
            Ok(known) => Ok(Some(known).filter(|known| known.status.state != "expired")),
            Err(Trouble::Post(error)) if error.has_status(404) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    fn expire(&mut self, wire: &Wire, id: &str) -> Result<(), Trouble> {
        let ended = wire.send(&Request {
            method: "DELETE",
            url: &url(&self.to, &format!("silence/{id}")),
            headers: &[],
            body: "",
        });
        // One that it doesn't know is refused with another status from version to version.
        if let Err(error) = ended
            && !matches!(self.known(wire, id), Ok(None))
        {
            return Err(error.into());
        }
        self.lease.state = Lease::default();
        self.lease.save(None);
        Ok(())
    }

    fn tend(&mut self, wire: &Wire, last: bool) -> Result<Option<Duration>, Trouble> {
        let now = clock::now();
        let Lease { id, until } = self.lease.state.clone();
        let until = until.filter(|until| *until > now);
        match (self.wanted(last), id, until) {
            (Some(false), Some(id), Some(_)) => self.expire(wire, &id)?,
            (Some(true), _, until) => {
                let half = self.to.span.0 / 2;
                let left = until.map_or(Duration::ZERO, |until| {
                    Duration::try_from(until.duration_since(now)).unwrap_or_default()
                });
                if left > half {
                    return Ok(Some(left - half));
                }
                self.renew(wire)?;
                return Ok(Some(half));
            }
            // Nobody has to be asked again before something happens.
            _ => {}
        }
        Ok(None)
    }
}

impl Receiver for Lull {
    fn name(&self) -> String {
        NAME.to_owned()
    }

    fn read(&mut self, entry: &Entry) {
        self.story.take(entry);
    }

    fn update(&mut self, wire: &Wire, last: bool) -> Result<Option<Duration>, Trouble> {
        let tended = self.tend(wire, last);
        match &tended {
            Ok(_) => self.lease.settle(),
            Err(trouble) => self.lease.save(Some(trouble.to_string())),
        }
        tended
    }

    fn untold(&self) -> usize {
        0
    }
}

/// Asks an Alertmanager how it is.
pub(super) fn test(wire: &Wire, to: &Silence) -> Result<(), Trouble> {
    ask(wire, to, "status").map(|_: Value| ())
}

fn ask<T: serde::de::DeserializeOwned>(
    wire: &Wire,
    to: &Silence,
    what: &str,
) -> Result<T, Trouble> {
    let answer = wire.send(&Request {
        method: "GET",
        url: &url(to, what),
        headers: &[],
        body: "",
    })?;
    serde_json::from_str(&answer).map_err(Trouble::Answer)
}

fn url(to: &Silence, what: &str) -> String {
    format!("{}/api/v2/{what}", to.alertmanager.trim_end_matches('/'))
}

fn as_json(matcher: &Matcher, cluster: &str) -> Value {
    let cluster = match matcher.is_regex {
        true => regex::escape(cluster),
        false => cluster.to_owned(),
    };
    json!({
        "name": matcher.label,
        "value": matcher.value.replace("{cluster}", &cluster),
        "isRegex": matcher.is_regex,
        "isEqual": matcher.is_equal,
    })
}
