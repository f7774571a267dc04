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

use std::path::Path;

use crate::config::Notify;
use crate::runs::{JOURNAL, RunFolder};

pub(crate) use courier::Couriers;
pub(crate) use kept::keep;

use gauges::Gauges;
use kept::settings;
use post::Wire;
use reading::Reading;
use receiver::Receiver;
use silence::Lull;
use webhook::Hook;

/// Sends couriers to all that are to know of the run in this folder, if anybody is. `asks`: whether a person may answer its questions.
pub(crate) fn couriers(run: &RunFolder, asks: bool) -> Option<Couriers> {
    let (notify, journal) = (settings(&run.path), run.file(JOURNAL));
    if notify.is_empty() {
        return None;
    }
    // Questions before that were another process's.
    let asks = asks.then(|| Reading::of(&journal).next().len());
    let receivers = receivers(run, &notify, asks, true);
    Some(Couriers::of(&journal, receivers))
}

/// What a receiver doesn't know of a run.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Untold {
    /// What people call it.
    pub(crate) receiver: String,
    /// How many events it doesn't have.
    pub(crate) events: usize,
    /// Why not, as far as that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
}

impl Untold {
    /// For people, with what can be typed.
    pub(crate) fn sentence(&self, run: &str) -> String {
        let Self {
            receiver,
            events,
            why,
        } = self;
        let events = match events {
            0 => {
                let why = why.as_deref().unwrap_or_default();
                return format!("{receiver} is not up to date: {why}");
            }
            1 => "1 event",
            n => &format!("{n} events"),
        };
        let why = why
            .as_ref()
            .map_or_else(String::new, |why| format!(" ({why})"));
        format!("{receiver} has not received {events}{why}; send them with: lockstep notify {run}")
    }
}

/// What the receivers of the run in this folder don't know.
pub(crate) fn untold(run: &Path) -> Vec<Untold> {
    let mut untold = Vec::new();
    for (name, to) in &settings(run).webhook {
        let mut hook = Hook::of(run, name, to, None);
        for entry in Reading::of(&run.join(JOURNAL)).next() {
            hook.read(&entry);
        }
        if hook.untold() > 0 {
            untold.push(Untold {
                receiver: hook.name(),
                events: hook.untold(),
                why: kept::why(run, &format!("webhook-{name}")),
            });
        }
    }
    for receiver in ["silence", "metrics"] {
        untold.extend(kept::why(run, receiver).map(|why| Untold {
            receiver: receiver.to_owned(),
            events: 0,
            why: Some(why),
        }));
    }
    untold
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
}

/// Brings all that are to know of a run up to date that no process has, once. `others` take the place of those that it began with.
pub(crate) fn tell(run: &RunFolder, others: Option<&Notify>) -> Vec<Told> {
    let kept = settings(&run.path);
    let receivers = receivers(run, others.unwrap_or(&kept), None, false);
    let each = receivers.into_iter().map(|mut receiver| {
        for entry in Reading::of(&run.file(JOURNAL)).next() {
            receiver.read(&entry);
        }
        let before = receiver.untold();
        let why = receiver.update(&Wire::default(), true).err();
        Told {
            receiver: receiver.name(),
            events: before - receiver.untold(),
            why: why.map(|why| why.to_string()),
        }
    });
    each.collect()
}

/// Tries all receivers out: a webhook gets an event of a type of its own, an Alertmanager is asked how it is, and a folder for
/// figures has to be there.
pub(crate) fn test(notify: &Notify, who: &str, cluster: &str) -> Vec<Told> {
    let wire = Wire::default();
    let told = |receiver: &str, events, why: Option<String>| Told {
        receiver: receiver.to_owned(),
        events,
        why,
    };
    let mut all = Vec::new();
    for (name, to) in &notify.webhook {
        let why = webhook::test(&wire, to, who, cluster).err();
        all.push(told(name, why.is_none().into(), why.map(|w| w.to_string())));
    }
    if let Some(to) = &notify.silence {
        let why = silence::test(&wire, to).err();
        all.push(told("silence", 0, why.map(|why| why.to_string())));
    }
    if let Some(folder) = &notify.metrics {
        let why = (!folder.is_dir()).then(|| format!("{} is no folder", folder.display()));
        all.push(told("metrics", 0, why));
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
