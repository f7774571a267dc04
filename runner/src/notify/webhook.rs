//! Webhooks: each notice as a CloudEvent, signed, at least once and in order.
//!
//! There is no queue on disk: the journal is the outbox, and beside it stands up to which record a receiver knows all. An event has
//! the same name each time it is sent. One that a receiver refuses for good isn't in the way of those after it: it is kept in mind,
//! and sent once more by each process that comes later, since whoever came may have corrected what was wrong.

use std::collections::VecDeque;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::Sha256;

use super::kept::Kept;
use super::post::{Request, Wire};
use super::reading::Entry;
use super::receiver::{Receiver, Trouble};
use super::story::{Notice, Story, What};
use crate::account::State;
use crate::bounds::{TEXT, shorten};
use crate::bundle::digest;
use crate::clock;
use crate::config::Webhook;
use crate::journal::{Head, Suspended};
use crate::secret::shown;

/// The media type of a CloudEvent in JSON.
const CLOUD_EVENT: &str = "application/cloudevents+json";

/// What a secret begins with that is written in base64, as Standard Webhooks has it.
const BASE64: &str = "whsec_";

/// The digits by which runs of one name are told apart.
const DIGITS: usize = 12;

/// Up to which record a receiver knows all, but for what it refused.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Cursor {
    told: usize,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    refused: Vec<Refusal>,
}

/// A notice that a receiver refused for good.
#[derive(Clone, Serialize, Deserialize)]
struct Refusal {
    n: usize,
    why: String,
}

/// One webhook of a run.
pub(super) struct Hook {
    name: String,
    to: Webhook,
    cursor: Kept<Cursor>,
    story: Story,
    /// Notices that it doesn't have, with the record after which it has all up to there.
    queue: VecDeque<(usize, Notice)>,
    /// Whether questions wait for somebody, and from which record on.
    asks: Option<usize>,
}

impl Hook {
    /// `asks`: after which record questions are those of this process, where a person may answer them.
    pub(super) fn of(run: &Path, name: &str, to: &Webhook, asks: Option<usize>) -> Self {
        Self {
            name: name.to_owned(),
            to: to.clone(),
            cursor: Kept::of_webhook(run, name),
            story: Story::default(),
            queue: VecDeque::new(),
            asks,
        }
    }

    /// Leaves out questions that nobody waits for an answer to any more.
    fn drop_answered(&mut self) {
        let (story, refused) = (&self.story, &mut self.cursor.state.refused);
        self.queue.retain(|(_, notice)| match &notice.what {
            What::Question { step, .. } if !story.asks(step) => {
                refused.retain(|refusal| refusal.n != notice.n);
                false
            }
            _ => true,
        });
    }

    fn deliver(&mut self, wire: &Wire) -> Result<(), Trouble> {
        self.drop_answered();
        let (mut events, mut last) = (0, None);
        let story = &self.story;
        while let (Some((record, notice)), Some(head), Some(began)) =
            (self.queue.front(), story.head(), story.began())
        {
            let id = id(head, began, notice.n);
            let sent = send(wire, &self.to, &id, &cloud_event(head, &id, notice));
            let Cursor { told, refused } = &mut self.cursor.state;
            match sent {
                Ok(()) => refused.retain(|refusal| refusal.n != notice.n),
                Err(Trouble::Post(error)) if error.is_final() => {
                    refused.retain(|refusal| refusal.n != notice.n);
                    let (n, why) = (notice.n, error.to_string());
                    refused.push(Refusal { n, why });
                    (events, last) = (events + 1, Some(error));
                }
                Err(trouble) => return Err(trouble),
            }
            let record = *record;
            self.queue.pop_front();
            let same = self.queue.front().is_some_and(|(next, _)| *next == record);
            if !same {
                *told = record.max(*told);
            }
            self.cursor.save(None);
        }
        match last {
            Some(why) => Err(Trouble::Refused { events, why }),
            None => Ok(()),
        }
    }

    /// How many of the events that it doesn't know it refused for good.
    pub(super) fn refused(&self) -> usize {
        self.cursor.state.refused.len()
    }

    /// Why there is something that it doesn't know, as far as that is known.
    pub(super) fn why(&self) -> Option<&str> {
        let refused = self.cursor.state.refused.last();
        let why = self.cursor.why.as_deref();
        why.or(refused.map(|refusal| refusal.why.as_str()))
    }
}

impl Receiver for Hook {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn read(&mut self, entry: &Entry) {
        for notice in self.story.take(entry) {
            let waits = self.asks.is_some_and(|after| entry.n > after);
            let wanted = self.to.events.contains(&notice.what.topic())
                && (waits || !matches!(notice.what, What::Question { .. }));
            let Cursor { told, refused } = &mut self.cursor.state;
            let again = refused.iter().any(|refusal| refusal.n == notice.n);
            if wanted && (again || entry.n > *told) {
                self.queue.push_back((entry.n, notice));
            } else {
                refused.retain(|refusal| refusal.n != notice.n);
            }
        }
    }

    fn update(&mut self, wire: &Wire, _: bool) -> Result<Option<Duration>, Trouble> {
        let delivered = self.deliver(wire);
        match &delivered {
            Ok(()) => self.cursor.settle(),
            // What was refused is kept event by event.
            Err(Trouble::Refused { .. }) => {}
            Err(trouble) => self.cursor.save(Some(trouble.to_string())),
        }
        delivered.map(|()| None)
    }

    fn untold(&self) -> usize {
        let queued =
            |refusal: &&Refusal| self.queue.iter().any(|(_, notice)| notice.n == refusal.n);
        let refused = &self.cursor.state.refused;
        self.queue.len() + refused.iter().filter(|refusal| !queued(refusal)).count()
    }
}

/// Sends an event by which a receiver can be tried out.
pub(super) fn test(wire: &Wire, to: &Webhook, who: &str, cluster: &str) -> Result<(), Trouble> {
    let at = clock::now();
    let id = format!("test/{}", at.as_millisecond());
    let data = json!({"cluster": cluster, "text": format!("a test by {who}: nothing happened")});
    let event = envelope(&id, &source(who, cluster), "lockstep.test", at, &data);
    send(wire, to, &id, &event)
}

fn send(wire: &Wire, to: &Webhook, id: &str, event: &Value) -> Result<(), Trouble> {
    // Journals hold the placeholders of secrets.
    let text = event.to_string();
    let body = shown(&text);
    let key = key(&to.secret)?;
    let at = clock::now().as_second().to_string();
    let signature = signature(&key, id, &at, &body);
    wire.send(&Request {
        method: "POST",
        url: &to.url,
        headers: &[
            ("Content-Type", CLOUD_EVENT),
            ("webhook-id", id),
            ("webhook-timestamp", &at),
            ("webhook-signature", &signature),
        ],
        body: &body,
    })?;
    Ok(())
}

/// The secret in a file: as it is, or in base64 where it says so.
fn key(file: &Path) -> Result<Vec<u8>, Trouble> {
    let path = || file.display().to_string();
    let text = fs::read_to_string(file).map_err(|source| Trouble::Secret {
        path: path(),
        source,
    })?;
    let key = match text.trim().strip_prefix(BASE64) {
        Some(coded) => STANDARD.decode(coded).unwrap_or_default(),
        None => text.trim().as_bytes().to_vec(),
    };
    match key.is_empty() {
        true => Err(Trouble::NoSecret(path())),
        false => Ok(key),
    }
}

/// A signature as Standard Webhooks has it: HMAC-SHA256 of what is sent, with its name and its time.
fn signature(key: &[u8], id: &str, at: &str, body: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        unreachable!("a key of HMAC has any length");
    };
    mac.update(format!("{id}.{at}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// The name of the event that the n-th record tells: the same each time, and no other one's, whoever else has a run of this name.
fn id(head: &Head, began: Timestamp, n: usize) -> String {
    let mut run = digest(format!("{}\0{}\0{began}", head.id, head.who));
    run.truncate(DIGITS);
    format!("{}/{run}/{n}", head.id)
}

/// A notice as a CloudEvent in structured mode.
fn cloud_event(head: &Head, id: &str, notice: &Notice) -> Value {
    let cluster = head.cluster.name.as_str();
    let mut data = json!({
        "run": head.id,
        "playbook": head.playbook,
        "cluster": cluster,
        "text": sentence(&head.id, cluster, &notice.what),
    });
    if let (Value::Object(data), Value::Object(more)) = (&mut data, json!(notice.what)) {
        data.extend(more);
    }
    for field in ["failure", "why", "text"] {
        if let Some(Value::String(text)) = data.get_mut(field) {
            shorten(text, TEXT);
        }
    }
    let source = source(&head.who, cluster);
    envelope(id, &source, notice.what.kind(), notice.at, &data)
}

fn envelope(id: &str, source: &str, kind: &str, at: Timestamp, data: &Value) -> Value {
    json!({
        "specversion": "1.0",
        "id": id,
        "source": source,
        "type": kind,
        "time": at.to_string(),
        "datacontenttype": "application/json",
        "data": data,
    })
}

/// Who runs it, as `user@host`, and on which cluster.
fn source(who: &str, cluster: &str) -> String {
    let mut uri = "lockstep://".to_owned();
    for (part, keeps) in [(who, "-._~@"), ("/", "/"), (cluster, "-._~")] {
        for byte in part.bytes() {
            let c = char::from(byte);
            if c.is_ascii_alphanumeric() || keeps.contains(c) {
                uri.push(c);
            } else {
                let _ = write!(uri, "%{byte:02X}");
            }
        }
    }
    uri
}

/// The notice for people.
fn sentence(run: &str, cluster: &str, what: &What) -> String {
    match what {
        What::Started { who } => format!("{run} on {cluster}: started by {who}"),
        What::Resumed { who } => format!("{run} on {cluster}: resumed by {who}"),
        What::Held { step, failure, .. } => {
            format!("{run} on {cluster}: held at {step}: {failure}")
        }
        What::Suspended { why } => format!("{run} on {cluster}: suspended: {why}"),
        What::Waiting { until } => {
            let why = Suspended::Waiting(*until);
            format!("{run} on {cluster}: {why}")
        }
        What::Question { question, .. } => format!("{run} on {cluster}: {question}"),
        What::RingStarted { ring, .. } => format!("{run} on {cluster}: ring {ring} started"),
        What::RingEnded { ring, .. } => format!("{run} on {cluster}: ring {ring} ended"),
        What::Ended { outcome, why } => {
            let why = why.as_ref().filter(|_| *outcome != State::Aborted);
            let why = why.map_or_else(String::new, |why| format!(": {why}"));
            format!("{run} on {cluster}: {}{why}", outcome.word())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_standard_webhooks() {
        // The example of its specification.
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = r#"{"test": 2432232314}"#;
        assert_eq!(
            signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn a_source_is_a_uri_whatever_a_cluster_is_called() {
        assert_eq!(
            source("ops@bastion", "Köln lab/1"),
            "lockstep://ops@bastion/K%C3%B6ln%20lab%2F1"
        );
    }
}
