//! A web server that takes events, and may be told to behave badly.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

/// How it answers.
#[derive(Clone, Copy, Debug)]
pub enum Manner {
    /// With this status.
    Answers(u16),
    /// With what this makes of a request.
    Says(fn(&Seen) -> String),
    /// Not at all, as long as it isn't told otherwise.
    Hangs,
}

/// A web server on loopback, until the process ends.
pub struct Receiver {
    /// Where it is.
    pub url: String,
    state: Arc<State>,
}

struct State {
    inner: Mutex<Inner>,
    changed: Condvar,
}

struct Inner {
    manner: Manner,
    seen: Vec<Seen>,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its first line.
    pub line: String,
    /// The headers, with names in small letters.
    pub headers: Vec<(String, String)>,
    /// The event.
    pub event: Value,
    /// The signature was made with [`SECRET`].
    pub genuine: bool,
    /// It was answered with success.
    pub taken: bool,
}

/// An answer of a web server.
#[must_use]
pub fn answer(status: u16, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} Hm\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

/// What events are signed with.
pub const SECRET: &str = "it is what it is";

impl Receiver {
    /// One that behaves so.
    ///
    /// # Panics
    /// Where it can't listen.
    #[must_use]
    pub fn new(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|e| panic!("{e}"));
        let address = listener.local_addr().unwrap_or_else(|e| panic!("{e}"));
        let state = Arc::new(State {
            inner: Mutex::new(Inner {
                manner,
                seen: Vec::new(),
            }),
            changed: Condvar::new(),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(&shared, &stream));
            }
        });
        Self {
            url: format!("http://{address}/hook"),
            state,
        }
    }

    /// Behaves so from now on, also towards whoever waits.
    pub fn behave(&self, manner: Manner) {
        self.state.lock().manner = manner;
        self.state.changed.notify_all();
    }

    /// What came so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.state.lock().seen.clone()
    }

    /// The types of what it took, in the order in which it came, each with its name.
    #[must_use]
    pub fn taken(&self) -> Vec<(String, String)> {
        let seen = self.seen().into_iter().filter(|seen| seen.taken);
        seen.map(|seen| (seen.text("type"), seen.text("id")))
            .collect()
    }
}

impl Seen {
    /// A field of the event.
    #[must_use]
    pub fn text(&self, field: &str) -> String {
        let text = self.event.get(field).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    }

    /// A header.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        header(&self.headers, name)
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| panic!("{e}"))
    }
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> &'a str {
    let found = headers.iter().find(|(known, _)| known == name);
    found.map_or("", |(_, value)| value)
}

fn serve(state: &State, mut stream: &TcpStream) {
    let mut input = BufReader::new(stream);
    let (mut first, mut headers) = (String::new(), Vec::new());
    if input.read_line(&mut first).is_err() {
        return;
    }
    let mut line = String::new();
    while input.read_line(&mut line).is_ok_and(|read| read > 2) {
        if let Some((name, value)) = line.trim().split_once(": ") {
            headers.push((name.to_lowercase(), value.to_owned()));
        }
        line.clear();
    }
    let length = header(&headers, "content-length").parse().unwrap_or(0);
    let mut body = vec![0; length];
    if input.read_exact(&mut body).is_err() {
        return;
    }
    let genuine = is_genuine(&headers, &body);
    let event = serde_json::from_slice(&body).unwrap_or_default();
    let mut inner = state.lock();
    let place = inner.seen.len();
    inner.seen.push(Seen {
        line: first.trim().to_owned(),
        headers,
        event,
        genuine,
        taken: false,
    });
    while matches!(inner.manner, Manner::Hangs) {
        inner = state.changed.wait(inner).unwrap_or_else(|e| panic!("{e}"));
    }
    let answer = match inner.manner {
        Manner::Answers(status) => answer(status, ""),
        Manner::Says(says) => says(&inner.seen[place]),
        Manner::Hangs => return,
    };
    let written = stream.write_all(answer.as_bytes());
    inner.seen[place].taken = written.is_ok() && answer.starts_with("HTTP/1.1 2");
}

/// As a receiver checks it that knows Standard Webhooks.
fn is_genuine(headers: &[(String, String)], body: &[u8]) -> bool {
    let of = |name| header(headers, name);
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()) else {
        return false;
    };
    mac.update(format!("{}.{}.", of("webhook-id"), of("webhook-timestamp")).as_bytes());
    mac.update(body);
    let right = STANDARD.encode(mac.finalize().into_bytes());
    of("webhook-signature").strip_prefix("v1,") == Some(&right)
}
