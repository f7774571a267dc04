//! Plain lines, for pipes, logs and terminals alike.

use std::collections::BTreeMap;
use std::io::Write;

use jiff::Timestamp;
use lockstep_modules::contract::cx::LogLevel;
use lockstep_modules::contract::op::Effect;
use lockstep_modules::contract::schema::Member;

use super::excerpt::Ink;
use super::harmless::{harmless, lines};
use crate::event::{Event, Interruption, Reporter, Stamped, StepInfo};
use crate::journal::By;
use lockstep_modules::contract::path::StepPath;

/// How often a step that waits says what it waits for, in seconds.
const PATIENCE: i64 = 10;

/// How often it says the same again, in seconds.
const REMINDER: i64 = 60;

/// Characters of the reason of a hold that are shown in its line.
const BRIEF: usize = 60;

/// A step that changes nothing is worth a line only if somebody had to wait for it, in milliseconds.
const NOTICEABLE: u64 = 1000;

/// Prints a line for everything that a person would want to know.
pub struct LineReporter<W> {
    out: W,
    verbose: bool,
    ink: Ink,
    began: Option<Timestamp>,
    section: String,
    /// What each running step reported last, and when.
    latest: BTreeMap<StepPath, (Timestamp, String)>,
}

impl<W: Write> LineReporter<W> {
    /// A reporter that prints to `out`: every step and command if `verbose`.
    pub fn new(out: W, verbose: bool) -> Self {
        Self {
            out,
            verbose,
            ink: Ink::Plain,
            began: None,
            section: String::new(),
            latest: BTreeMap::new(),
        }
    }

    /// In colours, if the ink has any.
    pub(crate) fn coloured(self, ink: Ink) -> Self {
        Self { ink, ..self }
    }

    fn line(&mut self, at: Timestamp, text: &str) {
        self.marked(at, "", text);
    }

    /// A line that begins with a word that is in the right colour already.
    fn marked(&mut self, at: Timestamp, mark: &str, text: &str) {
        let text = lines(text);
        let began = *self.began.get_or_insert(at);
        let secs = at.duration_since(began).as_secs();
        // Whoever listened may be gone; the run continues.
        let _ = writeln!(self.out, "{:>4}:{:02}  {mark}{text}", secs / 60, secs % 60);
    }

    /// The section that a step stands in, as a heading where it is another one.
    fn heading(&mut self, path: &StepPath, member: Option<&Member>) {
        let stage = path.stage();
        let section = stage
            .filter(|stage| member.is_none_or(|member| *member != **stage))
            .unwrap_or_default();
        if !section.is_empty() && section != self.section {
            let section = self.ink.bold(&harmless(section));
            let _ = writeln!(self.out, "{section}");
        }
        section.clone_into(&mut self.section);
    }

    /// Whether what a running step reports is worth a line after what it reported before, and if so, whether it is news.
    fn news(&mut self, at: Timestamp, path: &StepPath, text: &str) -> Option<bool> {
        let before = self.latest.get(path);
        let news = before.is_none_or(|(_, reported)| reported != text);
        let patience = if news { PATIENCE } else { REMINDER };
        let due = before.is_none_or(|(last, _)| at.duration_since(*last).as_secs() >= patience);
        let worth = self.verbose && news || due;
        if worth {
            self.latest.insert(path.clone(), (at, text.to_owned()));
        }
        worth.then_some(news)
    }

    fn step(&mut self, at: Timestamp, step: &StepInfo, rest: &str) {
        let StepInfo {
            path,
            op,
            member,
            headline,
            ..
        } = step;
        self.heading(path, member.as_ref());
        let who = member
            .as_ref()
            .map_or_else(String::new, |m| format!("{m}  "));
        let object = if headline.is_empty() {
            String::new()
        } else {
            format!(" {headline}")
        };
        self.line(at, &format!("{who}{op}{object}{rest}"));
    }

    fn run_started(&mut self, at: Timestamp, run: &str, how: &str) {
        self.began = Some(at);
        let _ = writeln!(self.out, "{run}: {}", lines(how));
    }

    fn progress(&mut self, at: Timestamp, path: &StepPath, text: &str) {
        if !self.verbose && !self.latest.contains_key(path) {
            // The first look is never a surprise. Nothing was shown of it.
            self.latest.insert(path.clone(), (at, String::new()));
        } else if let Some(news) = self.news(at, path, text) {
            let text = if news { text } else { "no change" };
            self.line(at, &format!("{path}: {text}"));
        }
    }

    fn step_done(&mut self, at: Timestamp, step: &StepInfo, summary: &str, by: By, ms: u64) {
        self.latest.remove(&step.path);
        if step.effect != Effect::Once && ms < NOTICEABLE && !self.verbose {
            return;
        }
        let by = match by {
            By::Run => "",
            By::Probe => ", determined afterwards",
            By::Operator => ", reported by the operator",
        };
        self.step(at, step, &format!(": {summary} ({}{by})", seconds(ms)));
    }

    /// The whole of a hold is shown when the run ends, which is mostly the next line.
    fn held(&mut self, at: Timestamp, path: &StepPath, message: &str) {
        self.latest.remove(path);
        let mark = self.ink.bad("held");
        self.marked(at, &mark, &format!(" at {path}: {}", brief(message)));
    }

    fn logged(&mut self, at: Timestamp, level: LogLevel, message: &str) {
        match level {
            // What programs of modules print on standard error.
            LogLevel::Debug if !self.verbose => {}
            LogLevel::Debug | LogLevel::Info => self.line(at, message),
            LogLevel::Warn => {
                let mark = self.ink.warn("warning:");
                self.marked(at, &mark, &format!(" {message}"));
            }
        }
    }
}

impl LineReporter<Vec<u8>> {
    /// What was printed since this was asked last.
    pub fn printed(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.out)).into_owned()
    }
}

impl<W: Write> Reporter for LineReporter<W> {
    fn take(&mut self, stamped: &Stamped) {
        let at = stamped.at;
        match &stamped.event {
            Event::RunStarted {
                run,
                playbook,
                cluster,
                members,
                replayed,
                ..
            } => {
                let how = match replayed {
                    0 => format!("{playbook} of {cluster} ({})", members.join(", ")),
                    1 => format!("continuing {playbook} of {cluster} after 1 step"),
                    n => format!("continuing {playbook} of {cluster} after {n} steps"),
                };
                self.run_started(at, run, &how);
            }
            Event::StepStarted { step, .. } => {
                if step.effect == Effect::Once || self.verbose {
                    self.step(at, step, " …");
                }
            }
            Event::StepProbed { step } => {
                self.step(at, step, ": was running; checking what became of it");
            }
            Event::Progress { path, text, .. } => self.progress(at, path, text),
            Event::Printed { path, line, .. } => {
                if self.news(at, path, line).is_some() {
                    self.line(at, &format!("{path} | {line}"));
                }
            }
            Event::Command {
                member,
                command,
                end,
                ms,
                ..
            } => {
                if self.verbose {
                    self.line(at, &format!("{member}  $ {command}  [{end}, {ms} ms]"));
                }
            }
            Event::Away { member, reason, .. } => {
                self.line(at, &format!("{member}  {reason}; waiting for it"));
            }
            Event::Mended { member, reason, .. } => {
                self.line(at, &format!("{member}  {reason}; connected again"));
            }
            Event::StepDone {
                step,
                summary,
                change: _,
                by,
                ms,
            } => self.step_done(at, step, summary, *by, *ms),
            Event::StepRetried {
                path,
                failure,
                attempt,
                wait,
            } => {
                let next = format!("attempt {attempt} in {wait} s");
                self.line(at, &format!("{path}: {failure}; {next}"));
            }
            Event::StepFailed { path, failure } => {
                self.latest.remove(path);
                self.line(at, &format!("{path}: {failure}"));
            }
            Event::StepHeld { path, failure, .. } => self.held(at, path, &failure.message),
            Event::Log { level, message, .. } => self.logged(at, *level, message),
            Event::Interrupted { level } => self.line(at, interrupted(*level)),
            Event::RunEnded { .. } => {}
        }
        let _ = self.out.flush();
    }
}

fn interrupted(level: Interruption) -> &'static str {
    match level {
        Interruption::Drain => {
            "interrupted: no new steps are started; waiting for the running ones (interrupt again to stop waiting)"
        }
        Interruption::StopWaiting => {
            "interrupted: detaching; what is running on the members is not stopped"
        }
    }
}

/// The beginning of a reason.
fn brief(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    match line.char_indices().nth(BRIEF) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}
