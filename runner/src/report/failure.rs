//! A failure in full: who and what, the command and what came of it, the line that asked, and the way to that line.

use std::collections::BTreeMap;
use std::fmt::Write;

use lockstep_modules::contract::cluster::Cluster;
use lockstep_modules::contract::error::Kind;
use serde_json::Value;

use super::excerpt::{Excerpt, Ink, parse};
use super::harmless::{cut, harmless, lines, one_line};
use crate::bundle::is_shipped;
use crate::failure::Failure;
use crate::source::Source;

/// Lines of a program's output that are shown: its last.
const PRINTED: usize = 8;

/// Characters of each of them that are shown.
const WIDE: usize = 300;

/// Frames of a traceback that are shown.
const FRAMES: usize = 12;

/// Tells failures to a person.
pub(crate) struct Teller<'a> {
    /// The sources of the run, by module name: what was loaded, or captured.
    pub(crate) sources: &'a BTreeMap<String, Source>,
    /// How members are reached; none where they are simulated and nobody could type a command there.
    pub(crate) cluster: Option<&'a Cluster>,
    /// Whether excerpts are coloured.
    pub(crate) ink: Ink,
    /// Lua of the shipped playbooks is shown too: whoever runs them hasn't written it.
    pub(crate) verbose: bool,
}

/// What failed, in a line or, where the op's message has more of them, in as many.
pub(crate) fn head(failure: &Failure) -> String {
    let whole = failure.to_string();
    // What failed in the strands is listed after it.
    let brief = match whole.split_once(": ") {
        Some((brief, _)) if !failure.failures.is_empty() => brief,
        _ => &whole,
    };
    lines(brief)
}

impl<'a> Teller<'a> {
    /// For what no member has a part in.
    pub(crate) fn of(sources: &'a BTreeMap<String, Source>, ink: Ink) -> Self {
        Self {
            sources,
            cluster: None,
            ink,
            verbose: false,
        }
    }

    /// Everything about a failure but its head. Each line ends with a line break; empty where nothing more is known.
    pub(crate) fn details(&self, failure: &Failure) -> String {
        let mut text = String::new();
        self.evidence(failure, &mut text);
        self.strands(failure, &mut text);
        self.place(failure, &mut text);
        text
    }

    /// The line at `site`, marked by what `message` is about; none where its source isn't known.
    ///
    /// Where the arguments of a `call` are wrong, the line is that of the argument.
    pub(crate) fn excerpt(&self, site: &str, message: &str, call: bool) -> Option<String> {
        let (chunk, line) = parse(site)?;
        let source = self.sources.values().find(|s| s.chunk == chunk)?;
        Excerpt::of(source, line, message, call)?.render(self.ink)
    }

    /// The command, how it ended, and the last that it printed.
    fn evidence(&self, failure: &Failure, text: &mut String) {
        let word = |key: &str| failure.detail.get(key).and_then(Value::as_str);
        let Some(command) = word("command") else {
            return;
        };
        let typed = self
            .cluster
            .zip(failure.member.as_ref())
            .and_then(|(cluster, member)| cluster.typed(member, command));
        entry(text, "command", &lines(typed.as_deref().unwrap_or(command)));
        if let Some(end) = word("end") {
            let ms = failure.detail.get("ms").and_then(Value::as_u64);
            let after = ms.map_or_else(String::new, |ms| {
                format!(" after {}.{} s", ms / 1000, ms % 1000 / 100)
            });
            entry(text, "ended", &format!("{end}{after}"));
        }
        for stream in ["stderr", "stdout"] {
            let output = word(stream).unwrap_or_default();
            // What the message quotes already isn't shown again.
            if !output.trim().is_empty() && !failure.message.contains(output.trim()) {
                entry(text, stream, &last(output));
            }
        }
    }

    fn strands(&self, failure: &Failure, text: &mut String) {
        let widest = failure
            .failures
            .iter()
            .map(|f| f.label.as_deref().unwrap_or_default().chars().count())
            .max()
            .unwrap_or(0);
        for inner in &failure.failures {
            let label = harmless(inner.label.as_deref().unwrap_or_default());
            let who = match &inner.member {
                Some(member) if **member == *label => {
                    let op = inner
                        .op
                        .as_ref()
                        .map_or_else(String::new, |op| format!("{op}: "));
                    format!("{op}{}", inner.message)
                }
                _ => inner.to_string(),
            };
            let site = inner
                .site
                .as_ref()
                .map_or_else(String::new, |site| format!("  ({})", harmless(site)));
            let _ = writeln!(text, "  {label:widest$}  {}{site}", one_line(&who));
        }
        // Strands of one list mostly fail in one way: the first shows it.
        if let Some(first) = failure.failures.first() {
            let same = failure.failures.iter().all(|f| f.site == first.site);
            if same || first.detail.contains_key("command") {
                self.evidence(first, text);
            }
        }
    }

    fn place(&self, failure: &Failure, text: &mut String) {
        // The line that failed in a strand says more than the one that forked it.
        let inner = failure.failures.first().filter(|f| f.site.is_some());
        let failure = inner.unwrap_or(failure);
        let Some(site) = &failure.site else { return };
        let about = match &failure.op {
            // A step that failed on the cluster is no mistake in its arguments: the call is what is marked.
            Some(op) if failure.step.is_some() => op.clone(),
            _ => failure.message.clone(),
        };
        let call = failure.kind == Kind::Args || failure.step.is_some();
        let own = failure.source.as_deref();
        let found = parse(site).and_then(|(chunk, line)| {
            let mut sources = own.into_iter().chain(self.sources.values());
            Some((sources.find(|source| source.chunk == chunk)?, line))
        });
        if found.is_some_and(|(source, _)| !self.verbose && is_shipped(source)) {
            // Of a step, its path says as much; anything else may have to be reported.
            if failure.step.is_none() {
                entry(text, "at", &harmless(site));
            }
            return;
        }
        let excerpt = found
            .and_then(|(source, line)| Excerpt::of(source, line, &about, call))
            .and_then(|excerpt| excerpt.render(self.ink));
        match excerpt {
            Some(excerpt) => {
                let _ = writeln!(text, "{excerpt}");
            }
            None => entry(text, "at", &harmless(site)),
        }
        let callers = callers(failure.traceback.as_deref().unwrap_or_default());
        entry(text, "called at", &harmless(&callers));
    }
}

/// The frames of a traceback after its first; those that recur one after the other once, with how often.
fn callers(traceback: &str) -> String {
    let mut frames: Vec<(&str, usize)> = Vec::new();
    for line in traceback.lines().skip(1) {
        match frames.last_mut() {
            Some((last, times)) if *last == line => *times += 1,
            _ => frames.push((line, 1)),
        }
    }
    let shown = frames.iter().take(FRAMES).map(|(line, times)| match times {
        1 => (*line).to_owned(),
        n => format!("{line} ({n} times)"),
    });
    shown.collect::<Vec<_>>().join("\n")
}

/// A name and what it stands for; further lines stand below the first.
fn entry(text: &mut String, name: &str, what: &str) {
    let mut name = name;
    for line in what.lines() {
        let _ = writeln!(text, "  {name:<9}  {line}");
        name = "";
    }
}

/// The last lines of what a program printed.
fn last(output: &str) -> String {
    let all: Vec<&str> = output.trim_end().lines().collect();
    let shown = all[all.len().saturating_sub(PRINTED)..].iter();
    let shown: Vec<_> = shown.map(|line| cut(line, WIDE)).collect();
    harmless(&shown.join("\n")).into_owned()
}

#[cfg(test)]
mod tests {
    use lockstep_modules::contract::cluster::{MemberConfig, SshConfig};
    use lockstep_modules::contract::cmd::{Cmd, Output};

    use super::*;

    fn shown(failure: &Failure) -> String {
        let cluster = Cluster {
            name: "c".to_owned(),
            members: vec![MemberConfig {
                address: Some("10.0.0.2".to_owned()),
                user: Some("ubuntu".to_owned()),
                ..MemberConfig::named("micro02")
            }],
            machines: Vec::new(),
            ssh: SshConfig::default(),
        };
        let teller = Teller {
            sources: &BTreeMap::new(),
            cluster: Some(&cluster),
            ink: Ink::Plain,
            verbose: false,
        };
        format!("{}\n{}\n", head(failure), teller.details(failure))
    }

    fn of(cmd: &Cmd, output: &Output) -> Failure {
        let error = output.text(cmd, &"micro02".into()).unwrap_err();
        Failure {
            op: Some("exec".to_owned()),
            step: Some("exec#1".into()),
            member: error.member,
            site: Some("site.lua:3".to_owned()),
            detail: error.detail,
            ..Failure::new(error.kind, error.message)
        }
    }

    #[test]
    fn what_a_program_on_a_member_failed_with() {
        let refresh = Cmd::root(["/usr/bin/snap", "refresh", "lxd"]);
        let output = "one\ntwo\nthree\nfour\nfive\nsix\nseven\nerror: cannot refresh\neight\n";
        let query = Cmd::root(["/snap/bin/lxc", "query", "-d", "{\"it's\": 1}"]);
        let evil = "\x1b[31mgone\x1b[0m\x07\r\n\x1b]0;owned\x07last";
        let mut slow = Output::exit(137, "", "");
        slow.end = lockstep_modules::contract::cmd::End::Signal(9);
        slow.took = Some(std::time::Duration::from_millis(12_345));
        let cases = [
            shown(&of(&refresh, &Output::exit(1, "", output))),
            shown(&of(&refresh, &Output::exit(10, "only\nthis", ""))),
            shown(&of(&query, &Output::exit(2, "", evil))),
            shown(&of(&refresh, &slow)),
            shown(&of(&refresh, &Output::exit(1, "", "x".repeat(10_000_000)))),
        ];
        insta::assert_snapshot!(cases.join("\n"));
        assert!(cases.iter().all(|shown| shown.len() < 8000));
    }
}
