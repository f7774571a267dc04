//! A run as an OpenTelemetry trace, made of its account: the run is the root, its waves and steps are below it.
//!
//! It is OTLP's JSON encoding of an `ExportTraceServiceRequest`: ids in hexadecimal, times in nanoseconds and other integers of 64
//! bits as text, enumerations as numbers. The same run gives the same ids, so that a trace can be sent again as the run goes on.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::account::{Account, Progress, State, Step};
use crate::bundle::digest;

/// `SPAN_KIND_INTERNAL`
const INTERNAL: u8 = 1;

/// `STATUS_CODE_UNSET`, `STATUS_CODE_OK` and `STATUS_CODE_ERROR`
const UNSET: u8 = 0;
const OK: u8 = 1;
const ERROR: u8 = 2;

/// The digits of a trace's id, and of a span's.
const TRACE: usize = 32;
const SPAN: usize = 16;

/// Between the parts of a name, which have none.
const BETWEEN: char = '\0';

/// A run's trace. One that has recorded nothing has no spans.
pub(crate) fn trace(account: &Account) -> String {
    let spans = Spans::of(account);
    let resource = [
        ("service.name", json!("lockstep")),
        ("service.version", json!(account.lockstep)),
        ("lockstep.cluster", json!(account.cluster)),
    ];
    let trace = json!({"resourceSpans": [{
        "resource": {"attributes": attributes(&resource)},
        "scopeSpans": [{
            "scope": {"name": "lockstep", "version": env!("CARGO_PKG_VERSION")},
            "spans": spans.all(),
        }],
    }]});
    format!("{trace}\n")
}

struct Spans<'a> {
    account: &'a Account,
    /// What all ids begin with: two runs of one name are two traces.
    seed: String,
}

/// A span without its place in the trace.
struct Span {
    /// What it is known by within the run.
    key: String,
    parent: Option<String>,
    name: String,
    from: Timestamp,
    to: Timestamp,
    attributes: Vec<(&'static str, Value)>,
    events: Vec<(Timestamp, String)>,
    status: (u8, String),
}

impl<'a> Spans<'a> {
    fn of(account: &'a Account) -> Self {
        let began = account.began.map(|at| at.to_string()).unwrap_or_default();
        let seed = [&account.run, &account.who, &began].map(String::as_str);
        Self {
            account,
            seed: seed.join(&BETWEEN.to_string()),
        }
    }

    fn id(&self, key: &str, digits: usize) -> String {
        let mut id = digest(format!("{}{BETWEEN}{key}", self.seed));
        id.truncate(digits);
        id
    }

    fn all(&self) -> Vec<Value> {
        let (Some(from), Some(to)) = (self.account.began, self.account.last) else {
            return Vec::new();
        };
        let steps = self.account.steps.iter();
        let steps: Vec<(&Step, Span)> = steps
            .filter_map(|step| Some((step, self.step(step, to)?)))
            .collect();
        let mut all = vec![self.run(from, to)];
        for wave in &self.account.waves {
            let of =
                |(step, _): &&(&Step, Span)| self.account.wave_of(step) == Some(wave.name.as_str());
            let within = || steps.iter().filter(of).map(|(_, span)| span);
            let ends = (
                within().map(|span| span.from).min(),
                within().map(|span| span.to).max(),
            );
            if let (Some(from), Some(to)) = ends {
                all.push(Span {
                    key: wave_key(&wave.name),
                    parent: Some(String::new()),
                    name: wave.name.clone(),
                    from,
                    to,
                    attributes: vec![("lockstep.component", json!(wave.name))],
                    events: Vec::new(),
                    status: (UNSET, String::new()),
                });
            }
        }
        all.extend(steps.into_iter().map(|(_, span)| span));
        all.iter().map(|span| self.encoded(span)).collect()
    }

    fn run(&self, from: Timestamp, to: Timestamp) -> Span {
        let account = self.account;
        let turns = account.turns.iter().filter(|turn| turn.what.matters());
        let why = || account.why.clone().unwrap_or_default();
        Span {
            key: String::new(),
            parent: None,
            name: account.run.clone(),
            from,
            to,
            attributes: vec![
                ("lockstep.run", json!(account.run)),
                ("lockstep.playbook", json!(account.playbook)),
                ("lockstep.cluster", json!(account.cluster)),
                ("lockstep.who", json!(account.who)),
                ("lockstep.state", json!(account.state.word())),
                ("lockstep.resumes", json!(account.resumes)),
            ],
            events: turns
                .map(|turn| {
                    let path = turn.what.path().map(|path| format!("{path}: "));
                    let path = path.unwrap_or_default();
                    (turn.at, format!("{path}{}", turn.what.sentence()))
                })
                .collect(),
            status: match account.state {
                State::Done => (OK, String::new()),
                State::Failed | State::Refused | State::Aborted | State::Held => (ERROR, why()),
                State::Running | State::Suspended | State::BrokenOff | State::NotBegun => {
                    (UNSET, why())
                }
            },
        }
    }

    /// A step that was begun. One whose end isn't known lasts as long as the run is known.
    fn step(&self, step: &Step, last: Timestamp) -> Option<Span> {
        let from = step.began()?;
        let to = step.attempts.last().and_then(|attempt| attempt.ended);
        let wave = self.account.wave_of(step);
        let mut attributes = vec![
            ("lockstep.step", json!(step.path)),
            ("lockstep.op", json!(step.op)),
            ("lockstep.state", json!(step.state.word())),
            ("lockstep.attempts", json!(step.attempts.len())),
        ];
        let member = step.member.as_ref();
        attributes.extend(member.map(|member| ("lockstep.member", json!(member))));
        attributes.extend(wave.map(|wave| ("lockstep.component", json!(wave))));
        let again = step.attempts.iter().enumerate().skip(1);
        let failed = || step.failure.as_ref().map(ToString::to_string);
        Some(Span {
            key: step.path.to_string(),
            parent: Some(wave.map(wave_key).unwrap_or_default()),
            name: step.what(),
            from,
            to: to.unwrap_or(last).max(from),
            attributes,
            events: again
                .map(|(i, attempt)| (attempt.began, format!("attempt {}", i + 1)))
                .collect(),
            status: match step.state {
                Progress::Done => (OK, String::new()),
                Progress::Failed | Progress::Held => (ERROR, failed().unwrap_or_default()),
                Progress::Asked | Progress::UnderWay => (UNSET, String::new()),
            },
        })
    }

    fn encoded(&self, span: &Span) -> Value {
        let (code, message) = &span.status;
        let events = span.events.iter();
        let events: Vec<Value> = events
            .map(|(at, name)| json!({"timeUnixNano": nanos(*at), "name": name}))
            .collect();
        let mut encoded = json!({
            "traceId": self.id("trace", TRACE),
            "spanId": self.id(&span.key, SPAN),
            "name": span.name,
            "kind": INTERNAL,
            "startTimeUnixNano": nanos(span.from),
            "endTimeUnixNano": nanos(span.to),
            "attributes": attributes(&span.attributes),
            "events": events,
            "status": {"code": code, "message": message},
        });
        if let Some(parent) = &span.parent {
            encoded["parentSpanId"] = json!(self.id(parent, SPAN));
        }
        encoded
    }
}

/// No step has such a path.
fn wave_key(wave: &str) -> String {
    format!("{wave}/")
}

fn nanos(at: Timestamp) -> String {
    at.as_nanosecond().to_string()
}

fn attributes(all: &[(&str, Value)]) -> Vec<Value> {
    let one = |(key, value): &(&str, Value)| {
        let value = match value {
            Value::Number(number) => json!({"intValue": number.to_string()}),
            other => json!({"stringValue": other}),
        };
        json!({"key": key, "value": value})
    };
    all.iter().map(one).collect()
}
