//! What is in progress in a run right now, as lines of text: pure, so that it can be looked at in tests.

use lockstep_modules::contract::schema::Member;
use std::collections::{BTreeMap, BTreeSet};

use console::{Alignment, measure_text_width, pad_str, truncate_str};
use jiff::Timestamp;

use super::excerpt::Ink;
use super::harmless::one_line;
use crate::event::{Event, Interruption, Stamped, StepInfo};
use crate::window::{self, Window};
use lockstep_modules::contract::path::StepPath;

/// The columns of a terminal that doesn't tell its size.
pub(crate) const WIDTH: usize = 100;

/// On fewer columns rows are no table: there is room for a name and a time.
const NARROW: usize = 60;

/// The signs that lines are made of.
#[derive(Clone, Copy, Debug)]
pub struct Signs {
    done: &'static str,
    now: &'static str,
    later: &'static str,
    full: &'static str,
    empty: &'static str,
    more: &'static str,
    says: &'static str,
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
        says: "│",
    };
    /// Signs for one that doesn't.
    pub(crate) const ASCII: Self = Self {
        done: "+",
        now: ">",
        later: ".",
        full: "#",
        empty: "-",
        more: "..",
        says: "|",
    };
}

/// A step that is under way.
#[derive(Debug)]
struct Running {
    member: Option<String>,
    op: String,
    what: String,
    began: Timestamp,
    /// Seconds that it may take.
    timeout: u64,
    share: Option<(u64, u64)>,
    text: String,
    /// The last line of its command.
    printed: String,
    /// It doesn't go as it should: contact was lost, or an attempt failed.
    trouble: bool,
}

impl Running {
    fn of(step: &StepInfo, began: Timestamp) -> Self {
        Self {
            member: step.member.as_ref().map(|m| one_line(m.as_str())),
            op: step.op.clone(),
            what: one_line(&format!("{} {}", step.op, step.headline)),
            began,
            timeout: 0,
            share: None,
            text: String::new(),
            printed: String::new(),
            trouble: false,
        }
    }
}

/// What is in progress: the events of a run so far, without what is over.
#[derive(Debug, Default)]
pub struct Board {
    run: String,
    title: String,
    began: Option<Timestamp>,
    members: Vec<String>,
    stages: Vec<String>,
    visited: BTreeSet<String>,
    stage: String,
    running: BTreeMap<StepPath, Running>,
    held: BTreeMap<String, String>,
    interrupted: Option<&'static str>,
    /// What members came to in this stage.
    windows: Vec<Window>,
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
                    run: run.clone(),
                    title: one_line(&format!("{run} on {cluster}")),
                    began: Some(stamped.at),
                    members: members.iter().map(|m| one_line(m.as_str())).collect(),
                    stages: stages.iter().map(|s| one_line(s)).collect(),
                    ..Self::default()
                };
            }
            Event::StepStarted {
                step,
                attempt,
                timeout,
            } => {
                self.enter(&step.path, step.member.as_ref());
                let again = match attempt {
                    1 => String::new(),
                    n => format!(" (attempt {n})"),
                };
                let mut running = Running::of(step, stamped.at);
                running.what.push_str(&again);
                running.timeout = *timeout;
                running.trouble = *attempt > 1;
                self.running.insert(step.path.clone(), running);
            }
            Event::StepProbed { step } => {
                self.enter(&step.path, step.member.as_ref());
                let running = Running::of(step, stamped.at);
                let text = "checking what became of it".to_owned();
                self.running
                    .insert(step.path.clone(), Running { text, ..running });
            }
            Event::Progress {
                path,
                done,
                total,
                text,
            } => {
                if let Some(running) = self.running.get_mut(path) {
                    running.share = total.filter(|total| *total > 0).map(|total| (*done, total));
                    running.text = one_line(text);
                    running.trouble = false;
                }
            }
            Event::Printed { path, line, .. } => {
                if let Some(running) = self.running.get_mut(path) {
                    running.printed = one_line(line);
                }
            }
            Event::Command { path, .. } => {
                if let Some(running) = self.running.get_mut(path) {
                    running.printed.clear();
                }
            }
            Event::Away { path, reason, .. } => {
                self.say(path, &format!("{reason}; waiting for it"))
            }
            Event::StepRetried {
                path,
                failure,
                attempt,
                wait,
            } => self.say(path, &format!("{failure}; attempt {attempt} in {wait} s")),
            Event::StepDone {
                step: StepInfo { path, .. },
                change,
                ..
            } => {
                self.running.remove(path);
                if let Some(change) = change {
                    window::note(&mut self.windows, stamped.at, change);
                }
            }
            Event::StepFailed { path, .. } => {
                self.running.remove(path);
            }
            Event::StepHeld { path, failure, .. } => {
                self.running.remove(path);
                let (path, failure) = (one_line(path.as_str()), one_line(&failure.to_string()));
                self.held.insert(path, failure);
            }
            Event::Interrupted { level } => {
                self.interrupted = Some(match level {
                    Interruption::Drain => {
                        "no new steps are started; Ctrl-C again detaches from the running ones"
                    }
                    Interruption::StopWaiting => {
                        "detaching; what is running on the members is not stopped"
                    }
                });
            }
            Event::RunEnded { .. } => self.running.clear(),
            Event::Mended { .. } | Event::Log { .. } => {}
        }
    }

    /// The first part of a step's path, where that is a section, is the stage in which the run is.
    fn enter(&mut self, path: &StepPath, member: Option<&Member>) {
        let Some(first) = path.stage() else {
            return;
        };
        let first = one_line(first);
        if member.is_some_and(|member| *member == first) || self.members.contains(&first) {
            return;
        }
        if !self.stages.contains(&first) {
            // A playbook that doesn't name its stages shows them as they come; what is only cleaned up is none.
            if first == "finally" {
                return;
            }
            self.stages.push(first.clone());
        }
        self.visited.insert(first.clone());
        if self.stage != first {
            self.windows.clear();
        }
        self.stage = first;
    }

    fn say(&mut self, path: &StepPath, text: &str) {
        if let Some(running) = self.running.get_mut(path) {
            (running.share, running.text) = (None, one_line(text));
            running.printed.clear();
            running.trouble = true;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.held.is_empty()
    }

    /// The lines to show at `now` on a terminal of this many columns and lines.
    #[must_use]
    pub fn lines(
        &self,
        now: Timestamp,
        (width, height): (usize, usize),
        signs: Signs,
        ink: Ink,
    ) -> Vec<String> {
        let Some(began) = self.began.filter(|_| !self.is_empty()) else {
            return Vec::new();
        };
        // One line stays free for the cursor.
        let height = height.saturating_sub(1).max(1);
        let fit = |line: &str| truncate_str(line, width.max(1), signs.more).into_owned();
        let mut feet = self.feet(ink);
        if feet.len() > height.div_ceil(2) {
            let left_out = feet.len() - height.div_ceil(2) + 1;
            feet.truncate(height.div_ceil(2) - 1);
            feet.push(format!("{} and {left_out} more lines", signs.more));
        }
        // What a small terminal has no room for is left out in this order: the space, the stages, the head.
        let mut head = vec![format!("{}  {}", self.title, clock(seconds(began, now)))];
        head[0].extend(self.differing(now));
        if !self.stages.is_empty() {
            head.push(self.stages(width, signs, ink));
        }
        let rows = usize::from(!self.running.is_empty());
        head.insert(0, String::new());
        while head.len() + feet.len() + rows > height && !head.is_empty() {
            let last = if head[0].is_empty() {
                0
            } else {
                head.len() - 1
            };
            head.remove(last);
        }
        let room = height.saturating_sub(head.len() + feet.len());
        let rows = self.rows(now, (width, room), signs, ink);
        let all = head.iter().chain(&rows).chain(&feet);
        all.map(|line| fit(line)).collect()
    }

    /// For how long members have had different revisions of a snap, as long as they have.
    fn differing(&self, now: Timestamp) -> impl Iterator<Item = String> {
        let all = self.members.len();
        let open = self.windows.iter().filter(move |w| w.members.len() < all);
        open.map(move |window| {
            let (snap, done) = (&window.snap, window.members.len());
            let since = clock(seconds(window.began, now));
            format!("   {snap} refreshed on {done} of {all} members for {since}")
        })
    }

    /// The stages in one line; where they don't fit, the one in which the run is.
    fn stages(&self, width: usize, signs: Signs, ink: Ink) -> String {
        let at = self.stages.iter().position(|stage| *stage == self.stage);
        let sign = |(i, stage): (usize, &String)| {
            Some(match at {
                Some(at) if i == at => ink.bold(&format!("{} {stage}", signs.now)),
                _ if self.visited.contains(stage) => {
                    format!("{} {stage}", ink.good(signs.done))
                }
                // It was passed over.
                Some(at) if i < at => return None,
                _ => ink.dim(&format!("{} {stage}", signs.later)),
            })
        };
        let all: Vec<String> = self.stages.iter().enumerate().filter_map(sign).collect();
        let line = all.join("   ");
        match at {
            Some(at) if measure_text_width(&line) > width => {
                let (sign, stage, of) = (signs.now, &self.stage, self.stages.len());
                ink.bold(&format!("{sign} {stage} ({} of {of})", at + 1))
            }
            _ => line,
        }
    }

    /// What needs a person, now or later.
    fn feet(&self, ink: Ink) -> Vec<String> {
        let mut feet: Vec<String> = self
            .held
            .iter()
            .map(|(path, failure)| format!("{} at {path}: {failure}", ink.bad("held")))
            .collect();
        if !self.held.is_empty() && !self.running.is_empty() {
            let Self { run, .. } = self;
            feet.push(format!(
                "  running steps are finished first; then: lockstep resume {run}, or lockstep abort {run}"
            ));
        }
        let interrupted = self.interrupted;
        feet.extend(interrupted.map(|text| format!("{}: {text}", ink.warn("interrupted"))));
        feet
    }

    /// A row for each step that is under way, in the members' order; what there is no room for is summed up.
    fn rows(
        &self,
        now: Timestamp,
        (width, room): (usize, usize),
        signs: Signs,
        ink: Ink,
    ) -> Vec<String> {
        let place = |running: &Running| {
            let member = running.member.as_ref()?;
            self.members.iter().position(|m| m == member)
        };
        let mut running: Vec<&Running> = self.running.values().collect();
        running.sort_by_key(|r| (place(r), r.began));
        let idle = self.idle(ink);
        if running.len() + usize::from(idle.is_some()) <= room {
            let mut rows = self.table(&running, now, width, signs, ink);
            rows.extend(idle);
            return rows;
        }
        // What is in trouble is seen, whoever else isn't.
        running.sort_by_key(|r| !r.trouble);
        let (shown, left_out) = running.split_at(room.saturating_sub(1).min(running.len()));
        let mut shown = shown.to_vec();
        shown.sort_by_key(|r| (place(r), r.began));
        let mut rows = self.table(&shown, now, width, signs, ink);
        if room > 0 {
            rows.push(self.sum(left_out, shown.len(), signs));
        }
        rows
    }

    /// How many steps of which op are under way that aren't shown, and how many members wait.
    fn sum(&self, left_out: &[&Running], shown: usize, signs: Signs) -> String {
        let mut ops: BTreeMap<&str, usize> = BTreeMap::new();
        for running in left_out {
            *ops.entry(&running.op).or_default() += 1;
        }
        let idle = self.waiting().len();
        let mut parts: Vec<String> = ops.iter().map(|(op, n)| format!("{n} {op}")).collect();
        if idle > 0 {
            parts.push(format!("{idle} waiting"));
        }
        let more = left_out.len() + idle;
        match (shown, ops.len()) {
            (0, _) => format!("{} {}", signs.more, parts.join(", ")),
            (_, 1) if idle == 0 => format!("{} {more} more {}", signs.more, left_out[0].op),
            _ => format!("{} {more} more: {}", signs.more, parts.join(", ")),
        }
    }

    fn table(
        &self,
        running: &[&Running],
        now: Timestamp,
        width: usize,
        signs: Signs,
        ink: Ink,
    ) -> Vec<String> {
        let longest = |text: fn(&Running) -> &str| {
            let widths = running.iter().map(|r| measure_text_width(text(r)));
            widths.max().unwrap_or(0)
        };
        let member = longest(|r| r.member.as_deref().unwrap_or_default());
        let narrow = width < NARROW;
        // What a step waits for is worth more room than its name.
        let most = if narrow {
            width.saturating_sub(member + " ".len() + "  00:00".len())
        } else {
            width / 2
        };
        let what = longest(|r| &r.what).min(most);
        let row = |r: &&Running| {
            let who = r.member.as_deref().unwrap_or_default();
            let name = truncate_str(&r.what, what, signs.more);
            let name = pad_str(&name, what, Alignment::Left, None);
            let gap = match (member, narrow) {
                (0, _) => "",
                (_, true) => " ",
                (_, false) => "  ",
            };
            let margin = if narrow { "" } else { "  " };
            let mut time = clock(seconds(r.began, now));
            if r.timeout > 0 && !narrow {
                time = format!("{:>13}", format!("{time} of {}", clock(r.timeout)));
            }
            let bar = r.share.map_or_else(String::new, |share| bar(share, signs));
            let text = if r.trouble {
                ink.warn(&r.text)
            } else {
                r.text.clone()
            };
            let says = match (r.printed.as_str(), r.text.is_empty()) {
                ("", _) => String::new(),
                (line, true) => ink.dim(&format!("{} {line}", signs.says)),
                (line, false) => ink.dim(&format!("  {} {line}", signs.says)),
            };
            format!("{margin}{who:member$}{gap}{name}  {time}  {bar}{text}{says}")
                .trim_end()
                .to_owned()
        };
        running.iter().map(row).collect()
    }

    /// The members for which nothing is under way while something is for others.
    fn waiting(&self) -> Vec<&str> {
        let busy: BTreeSet<&str> = self
            .running
            .values()
            .filter_map(|r| r.member.as_deref())
            .collect();
        if busy.is_empty() {
            return Vec::new();
        }
        let members = self.members.iter().map(String::as_str);
        members.filter(|member| !busy.contains(member)).collect()
    }

    fn idle(&self, ink: Ink) -> Option<String> {
        let waiting = self.waiting();
        let who = match waiting.len() {
            0 => return None,
            1..=4 => waiting.join(", "),
            n => format!("{n} members"),
        };
        Some(ink.dim(&format!("  waiting: {who}")))
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
