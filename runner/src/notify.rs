//! Who gets to know what a run comes to: webhooks, an Alertmanager whose alerts are silent meanwhile, files with figures.
//!
//! All of them read the run's journal, each at its own pace, and nothing is written twice for them. No path leads from here to a
//! decision: a receiver that hangs, refuses or is gone changes nothing about the run.

mod courier;
mod gauges;
mod kept;
mod post;
mod reading;
mod receiver;
mod silence;
mod story;
mod webhook;

use std::cell::LazyCell;
use std::path::Path;

use crate::config::Notify;
use crate::journal::{ClusterRef, Record};
use crate::runs::{JOURNAL, RunFolder};

pub(crate) use courier::Couriers;
pub(crate) use kept::{keep, settings};

use gauges::Gauges;
use post::Wire;
use reading::{Entry, Reading};
use receiver::Receiver;
use silence::Lull;
use webhook::Hook;

/// Sends couriers to all that are to know of the run in this folder, if anybody is. `target` is what it is about, and `asks` whether a
/// person may answer its questions.
pub(crate) fn couriers(run: &RunFolder, target: &ClusterRef, asks: bool) -> Option<Couriers> {
    let notify = of_run(settings(&run.path), target);
    let journal = run.file(JOURNAL);
    if notify.is_empty() {
        return None;
    }
    // Questions before that were another process's.
    let asks = asks.then(|| Reading::of(&journal).next().len());
    let receivers = receivers(run, &notify, asks, true);
    Some(Couriers::of(&journal, receivers))
}

/// Who gets to know of the run itself. Alerts are those of a rollout's clusters, whose runs silence them.
fn of_run(notify: Notify, target: &ClusterRef) -> Notify {
    Notify {
        silence: notify
            .silence
            .filter(|_| !matches!(target, ClusterRef::Fleet(_))),
        ..notify
    }
}

/// What a receiver doesn't know of a run.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Untold {
    /// What people call it.
    pub(crate) receiver: String,
    /// How many events it doesn't have.
    pub(crate) events: usize,
    /// How many of them it refused for good.
    #[serde(skip_serializing_if = "is_none")]
    pub(crate) refused: usize,
    /// Why not, as far as that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
}

fn is_none(count: &usize) -> bool {
    *count == 0
}

impl Untold {
    /// For people.
    pub(crate) fn sentence(&self) -> String {
        let Self {
            receiver,
            events,
            refused,
            why,
        } = self;
        let of = |events| match events {
            1 => "1 event".to_owned(),
            n => format!("{n} events"),
        };
        let reason = why.as_ref().map(|why| format!(" ({why})"));
        let reason = reason.unwrap_or_default();
        match (*events, *refused) {
            (0, _) => {
                let why = why.as_deref().unwrap_or_default();
                format!("{receiver} is not up to date: {why}")
            }
            (events, 0) => format!("{receiver} has not received {}{reason}", of(events)),
            (events, refused) if events == refused => {
                format!("{receiver} refused {}{reason}", of(events))
            }
            (events, refused) => format!(
                "{receiver} has not received {}, {refused} of which it refused{reason}",
                of(events)
            ),
        }
    }

    /// The same with what can be typed, for a run that no process has.
    pub(crate) fn suggestion(&self, run: &str) -> String {
        let sentence = self.sentence();
        match self.events {
            0 => sentence,
            _ => format!("{sentence}; send them with: lockstep notify {run}"),
        }
    }
}

/// What the receivers of the run in this folder don't know, as far as anybody can still see to it.
pub(crate) fn untold(run: &Path) -> Vec<Untold> {
    let entries = LazyCell::new(|| Reading::of(&run.join(JOURNAL)).next());
    let mut untold = Vec::new();
    for (name, to) in &settings(run).webhook {
        let mut hook = Hook::of(run, name, to, None);
        for entry in entries.iter() {
            hook.read(entry);
        }
        if hook.untold() > 0 {
            untold.push(Untold {
                receiver: hook.name(),
                events: hook.untold(),
                refused: hook.refused(),
                why: hook.why().map(str::to_owned),
            });
        }
    }
    let mut behind = |receiver: &str, why| {
        untold.push(Untold {
            receiver: receiver.to_owned(),
            events: 0,
            refused: 0,
            why: Some(why),
        });
    };
    if let Some(why) = silence::left(run).flatten() {
        behind("silence", why);
    }
    if let Some(why) = gauges::why(run).filter(|_| !is_over(&entries)) {
        behind("metrics", why);
    }
    untold
}

fn is_over(entries: &[Entry]) -> bool {
    let last = entries.last();
    last.is_some_and(|entry| matches!(entry.record, Record::End { .. }))
}

/// Whether there is something to be brought to a receiver of the run in this folder that no process has: events, or the end of a
/// silence. What was refused is left to people.
pub(crate) fn is_due(run: &Path) -> bool {
    let new = |untold: &Untold| untold.events > untold.refused;
    let silent = settings(run).silence.is_some() && silence::left(run).is_some();
    silent || untold(run).iter().any(new)
}

/// What became of a receiver that was brought up to date, or tried out.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Told {
    /// What people call it.
    pub(crate) receiver: String,
    /// How many events it got.
    pub(crate) events: usize,
    /// Why it couldn't be reached, if it couldn't.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    /// How it is where nothing had to be sent, in a word.
    #[serde(skip)]
    pub(crate) state: &'static str,
}

/// Brings all that are to know of a run up to date that no process has, once. `others` take the place of those that it began with.
pub(crate) fn tell(run: &RunFolder, others: Option<Notify>) -> Vec<Told> {
    let entries = Reading::of(&run.file(JOURNAL)).next();
    let mut notify = others.unwrap_or_else(|| settings(&run.path));
    if let Some(Record::Run(head)) = entries.first().map(|entry| &entry.record) {
        notify = of_run(notify, &head.target);
    }
    let receivers = receivers(run, &notify, None, false);
    let each = receivers.into_iter().map(|mut receiver| {
        for entry in &entries {
            receiver.read(entry);
        }
        let before = receiver.untold();
        let why = receiver.update(&Wire::default(), true).err();
        Told {
            receiver: receiver.name(),
            events: before - receiver.untold(),
            why: why.map(|why| why.to_string()),
            state: "up to date",
        }
    });
    each.collect()
}

/// Tries all receivers out: a webhook gets an event of a type of its own, an Alertmanager is asked how it is, and a folder for
/// figures has to be there.
pub(crate) fn test(notify: &Notify, who: &str, cluster: &str) -> Vec<Told> {
    let wire = Wire::default();
    let told = |receiver: &str, state, events, why: Option<String>| Told {
        receiver: receiver.to_owned(),
        events,
        why,
        state,
    };
    let mut all = Vec::new();
    for (name, to) in &notify.webhook {
        let why = webhook::test(&wire, to, who, cluster).err();
        let (events, why) = (why.is_none().into(), why.map(|why| why.to_string()));
        all.push(told(name, "reachable", events, why));
    }
    if let Some(to) = &notify.silence {
        let why = silence::test(&wire, to).err();
        all.push(told(
            "silence",
            "reachable",
            0,
            why.map(|why| why.to_string()),
        ));
    }
    if let Some(folder) = &notify.metrics {
        let why = (!folder.is_dir()).then(|| format!("{} is not a folder", folder.display()));
        all.push(told("metrics", "there", 0, why));
    }
    all
}

fn receivers(
    run: &RunFolder,
    notify: &Notify,
    asks: Option<usize>,
    alive: bool,
) -> Vec<Box<dyn Receiver>> {
    let mut all: Vec<Box<dyn Receiver>> = Vec::new();
    for (name, to) in &notify.webhook {
        all.push(Box::new(Hook::of(&run.path, name, to, asks)));
    }
    if let Some(to) = &notify.silence {
        all.push(Box::new(Lull::of(&run.path, to, alive)));
    }
    // Those of an old run would take the place of a newer one's.
    if let Some(folder) = notify.metrics.as_ref().filter(|_| alive) {
        all.push(Box::new(Gauges::of(run, folder)));
    }
    all
}
