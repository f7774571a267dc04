//! What is going on in a run right now, as lines of text: pure, so that it can be looked at in tests.

use std::collections::{BTreeMap, BTreeSet};

use console::{measure_text_width, truncate_str};
use jiff::Timestamp;

use crate::event::{Event, Stamped};

/// The columns of a terminal that doesn't tell its size.
pub const WIDTH: usize = 100;

/// No row for a member is narrower than this.
const NARROW: usize = 20;

/// The signs that lines are made of.
#[derive(Clone, Copy, Debug)]
pub struct Signs {
    done: &'static str,
    now: &'static str,
    later: &'static str,
    full: &'static str,
    empty: &'static str,
    more: &'static str,
}

impl Signs {
    /// Signs for a terminal that shows Unicode.
    pub const UNICODE: Self = Self {
        done: "✓",
        now: "▶",
        later: "·",
        full: "█",
        empty: "░",
        more: "…",
    };
    /// Signs for one that doesn't.
    pub const ASCII: Self = Self {
        done: "+",
        now: ">",
        later: ".",
        full: "#",
        empty: "-",
        more: "..",
    };
}

/// A step that is under way.
#[derive(Debug)]
struct Running {
    member: Option<String>,
    what: String,
    began: Timestamp,
    /// Seconds that it may take.
    timeout: u64,
    share: Option<(u64, u64)>,
    text: String,
}

/// What is going on: the events of a run so far, without what is over.
#[derive(Debug, Default)]
pub struct Board {
    title: String,
    began: Option<Timestamp>,
    members: Vec<String>,
    stages: Vec<String>,
    visited: BTreeSet<String>,
    stage: String,
    running: BTreeMap<String, Running>,
    held: BTreeMap<String, String>,
    interrupted: Option<&'static str>,
}

impl Board {
    /// Takes an event into account.
    pub fn take(&mut self, stamped: &Stamped) {
        match &stamped.event {
            Event::RunStarted {
                run,
                cluster,
                members,
                stages,
                ..
            } => {
                *self = Self {
                    title: format!("{run} on {cluster}"),
                    began: Some(stamped.at),
                    members: members.clone(),
                    stages: stages.clone(),
                    ..Self::default()
                };
            }
            Event::StepStarted {
                path,
                op,
                member,
                headline,
                attempt,
                timeout,
                ..
            } => {
                self.enter(path, member.as_deref());
                let again = match attempt {
                    1 => String::new(),
                    n => format!(" (attempt {n})"),
                };
                let running = Running {
                    member: member.clone(),
                    what: format!("{op} {headline}").trim_end().to_owned() + &again,
                    began: stamped.at,
                    timeout: *timeout,
                    share: None,
                    text: String::new(),
                };
                self.running.insert(path.clone(), running);
            }
            Event::StepProbed {
                path,
                op,
                member,
                headline,
            } => {
                self.enter(path, member.as_deref());
                let running = Running {
                    member: member.clone(),
                    what: format!("{op} {headline}").trim_end().to_owned(),
                    began: stamped.at,
                    timeout: 0,
                    share: None,
                    text: "finding out what became of it".to_owned(),
                };
                self.running.insert(path.clone(), running);
            }
            Event::Progress {
                path,
                done,
                total,
                text,
            } => {
                if let Some(running) = self.running.get_mut(path) {
                    running.share = total.filter(|total| *total > 0).map(|total| (*done, total));
                    running.text.clone_from(text);
                }
            }
            Event::Away { path, reason, .. } => self.say(path, format!("{reason}; waiting for it")),
            Event::StepRetried {
                path,
                failure,
                attempt,
                wait,
            } => self.say(path, format!("{failure}; attempt {attempt} in {wait} s")),
            Event::StepDone { path, .. } | Event::StepFailed { path, .. } => {
                self.running.remove(path);
            }
            Event::StepHeld { path, failure, .. } => {
                self.running.remove(path);
                self.held.insert(path.clone(), failure.to_string());
            }
            Event::Interrupted { level } => {
                self.interrupted = Some(match level.as_str() {
                    "drain" => {
                        "nothing new is begun; Ctrl-C again leaves what is under way to itself"
                    }
                    _ => "leaving what is under way to itself",
                });
            }
            Event::RunEnded { .. } => self.running.clear(),
            Event::Command { .. } | Event::Mended { .. } | Event::Log { .. } => {}
        }
    }

    /// The first part of a step's path, where that is a section, is the stage in which the run is.
    fn enter(&mut self, path: &str, member: Option<&str>) {
        let Some((first, _)) = path.split_once('/') else {
            return;
        };
        if Some(first) == member || self.members.iter().any(|m| m == first) {
            return;
        }
        if !self.stages.iter().any(|stage| stage == first) {
            // A playbook that doesn't name its stages shows them as they come; what is only cleaned up is none.
            if first == "finally" {
                return;
            }
            self.stages.push(first.to_owned());
        }
        self.visited.insert(first.to_owned());
        first.clone_into(&mut self.stage);
    }

    fn say(&mut self, path: &str, text: String) {
        if let Some(running) = self.running.get_mut(path) {
            (running.share, running.text) = (None, text);
        }
    }

    /// Whether there is something to show.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.running.is_empty() && self.held.is_empty()
    }

    /// The lines to show at `now` on a terminal of this size.
    #[must_use]
    pub fn lines(&self, now: Timestamp, width: usize, height: usize, signs: Signs) -> Vec<String> {
        let Some(began) = self.began.filter(|_| !self.is_empty()) else {
            return Vec::new();
        };
        let head = format!("{}  {}", self.title, clock(seconds(began, now)));
        let mut lines = vec![String::new(), head];
        if !self.stages.is_empty() {
            lines.push(self.stages(signs));
        }
        let mut rows = self.rows(now, width, signs);
        let mut feet: Vec<String> = self
            .held
            .iter()
            .map(|(path, failure)| format!("held at {path}: {failure}"))
            .collect();
        feet.extend(self.interrupted.map(|text| format!("interrupted: {text}")));
        // One line stays free for the cursor, and one for what is left out.
        let room = height.saturating_sub(lines.len() + feet.len() + 2).max(1);
        if rows.len() > room {
            let left_out = rows.len() - room;
            rows.truncate(room);
            rows.push(format!("{} and {left_out} more", signs.more));
        } else if let Some(idle) = self.idle() {
            rows.push(idle);
        }
        lines.extend(rows);
        lines.extend(feet);
        let fit = |line: String| truncate_str(&line, width.max(NARROW), signs.more).into_owned();
        lines.into_iter().map(fit).collect()
    }

    fn stages(&self, signs: Signs) -> String {
        let at = self.stages.iter().position(|stage| *stage == self.stage);
        let sign = |(i, stage): (usize, &String)| {
            let sign = match at {
                Some(at) if i == at => signs.now,
                _ if self.visited.contains(stage) => signs.done,
                // It was passed over.
                Some(at) if i < at => return None,
                _ => signs.later,
            };
            Some(format!("{sign} {stage}"))
        };
        let stages: Vec<String> = self.stages.iter().enumerate().filter_map(sign).collect();
        stages.join("   ")
    }

    /// A row for each step that is under way, in the members' order.
    fn rows(&self, now: Timestamp, width: usize, signs: Signs) -> Vec<String> {
        let place = |running: &Running| {
            let member = running.member.as_ref()?;
            self.members.iter().position(|m| m == member)
        };
        let mut running: Vec<&Running> = self.running.values().collect();
        running.sort_by_key(|r| (place(r), r.began));
        let longest = |text: fn(&Running) -> &str| {
            let widths = running.iter().map(|r| measure_text_width(text(r)));
            widths.max().unwrap_or(0)
        };
        let member = longest(|r| r.member.as_deref().unwrap_or_default());
        // What a step waits for is worth more room than its name.
        let what = longest(|r| &r.what).min((width / 2).max(NARROW));
        let row = |r: &&Running| {
            let who = r.member.as_deref().unwrap_or_default();
            let what = format!("{:what$}", truncate_str(&r.what, what, signs.more));
            let gap = if member == 0 { "" } else { "  " };
            let mut time = clock(seconds(r.began, now));
            if r.timeout > 0 {
                time = format!("{time} of {}", clock(r.timeout));
            }
            let bar = r.share.map_or_else(String::new, |share| bar(share, signs));
            format!("  {who:member$}{gap}{what}  {time:>13}  {bar}{}", r.text)
                .trim_end()
                .to_owned()
        };
        running.iter().map(row).collect()
    }

    /// The members for which nothing is under way while something is for others.
    fn idle(&self) -> Option<String> {
        let busy: BTreeSet<&str> = self
            .running
            .values()
            .filter_map(|r| r.member.as_deref())
            .collect();
        let idle: Vec<&str> = self
            .members
            .iter()
            .map(String::as_str)
            .filter(|member| !busy.contains(member))
            .collect();
        match (busy.is_empty(), idle.as_slice()) {
            (true, _) | (_, []) => None,
            (false, few) if few.len() <= 4 => Some(format!("  waiting: {}", few.join(", "))),
            (false, many) => Some(format!("  waiting: {} members", many.len())),
        }
    }
}

/// A share of 100 as a bar and a number.
fn bar((done, total): (u64, u64), signs: Signs) -> String {
    const CELLS: u64 = 10;
    let done = done.min(total);
    let full = usize::try_from(done * CELLS / total).unwrap_or(0);
    let empty = usize::try_from(CELLS).unwrap_or(0) - full;
    format!(
        "{}{} {:>3} %  ",
        signs.full.repeat(full),
        signs.empty.repeat(empty),
        done * 100 / total
    )
}

fn seconds(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.duration_since(from).as_secs()).unwrap_or(0)
}

/// Minutes and seconds, and hours where there are any.
fn clock(seconds: u64) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{rest:02}")
    } else {
        format!("{minutes}:{rest:02}")
    }
}
