//! A silence in an Alertmanager as a lease: made at the run's first change, extended while steps run, and ended where the run stops,
//! so that whoever is on call hears of a site that is stuck. After a crash it lapses by itself.

use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::kept::Kept;
use super::post::{PostError, Request, Wire};
use super::reading::Entry;
use super::receiver::{Receiver, Trouble};
use super::story::Story;
use crate::clock;
use crate::config::{Matcher, Silence};

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

impl Lull {
    /// `alive`: this is the run's own process, and not somebody who clears up after it.
    pub(super) fn of(run: &Path, to: &Silence, alive: bool) -> Self {
        Self {
            to: to.clone(),
            story: Story::default(),
            lease: Kept::of(run, "silence"),
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
        let known = self.lease.state.id.clone().and_then(|id| {
            let known: Known = ask(wire, &self.to, &format!("silence/{id}")).ok()?;
            Some((id, known.starts_at)).filter(|_| known.status.state == "active")
        });
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

    fn expire(&mut self, wire: &Wire, id: &str) -> Result<(), Trouble> {
        let gone = wire.send(&Request {
            method: "DELETE",
            url: &url(&self.to, &format!("silence/{id}")),
            headers: &[],
            body: "",
        });
        match gone {
            // It isn't there any more, or has ended.
            Ok(_) | Err(PostError::Refused { status: 404, .. }) => {}
            Err(error) => return Err(error.into()),
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
        "silence".to_owned()
    }

    fn read(&mut self, entry: &Entry) {
        self.story.take(entry);
    }

    fn update(&mut self, wire: &Wire, last: bool) -> Result<Option<Duration>, Trouble> {
        let tended = self.tend(wire, last);
        if let Err(trouble) = &tended {
            self.lease.save(Some(trouble.to_string()));
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
