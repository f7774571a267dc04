//! A line of a playbook as people look at it: with the lines around it, and what is wrong underlined.
//!
//! The text is the one that was loaded, or that the run captured, and not what lies on disk by now.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use console::Style;

use super::harmless::harmless;
use crate::source::Source;

/// Lines shown before the marked one, and after it.
const AROUND: usize = 2;

/// How many lines a call may extend beyond the line in which it begins.
const CALL: usize = 30;

/// A window with a longer line than this, in bytes, is not shown.
const WIDEST: usize = 4096;

/// Whether text is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// No: there is no terminal, or it (or `NO_COLOR`) says so.
    Plain,
    /// Yes.
    Colour,
}

impl Ink {
    pub(crate) fn stdout() -> Self {
        Self::of(console::colors_enabled())
    }

    pub(crate) fn stderr() -> Self {
        Self::of(console::colors_enabled_stderr())
    }

    fn of(colours: bool) -> Self {
        if colours { Self::Colour } else { Self::Plain }
    }

    fn styled(self, style: &Style, text: &str) -> String {
        let on = self == Self::Colour;
        style.clone().force_styling(on).apply_to(text).to_string()
    }

    pub(super) fn good(self, text: &str) -> String {
        self.styled(&Style::new().green(), text)
    }

    pub(super) fn warn(self, text: &str) -> String {
        self.styled(&Style::new().yellow(), text)
    }

    pub(super) fn bad(self, text: &str) -> String {
        self.styled(&Style::new().red().bold(), text)
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.styled(&Style::new().bold(), text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.styled(&Style::new().dim(), text)
    }
}

/// A place in a source, marked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Excerpt<'a> {
    source: &'a Source,
    /// Counted from 1.
    line: usize,
    /// The bytes of the line that are underlined.
    span: Range<usize>,
}

/// `file:line` in its parts.
pub(crate) fn parse(site: &str) -> Option<(&str, usize)> {
    let (chunk, line) = site.rsplit_once(':')?;
    Some((chunk, line.parse().ok().filter(|line| *line > 0)?))
}

impl<'a> Excerpt<'a> {
    /// The line `line` of a source, with what `message` is about underlined: the word that it names, or the whole line.
    ///
    /// Where the arguments of a `call` are wrong, they may stand in lines after the one in which it begins. None where
    /// there is no such line.
    pub(crate) fn of(source: &'a Source, line: usize, message: &str, call: bool) -> Option<Self> {
        let lines: Vec<&str> = source.text.lines().collect();
        // What is missing at the end is missed after the last line.
        let line = line.min(lines.len());
        let text = lines.get(line.checked_sub(1)?)?;
        for Word {
            text: word,
            far,
            last,
        } in words(message)
        {
            let reach = if far && call { CALL } else { 1 };
            for (i, text) in lines.iter().enumerate().skip(line - 1).take(reach) {
                if let Some(span) = find(text, word, last) {
                    let line = i + 1;
                    return Some(Self { source, line, span });
                }
            }
        }
        let from = text.len() - text.trim_start().len();
        let span = from..text.trim_end().len().max(from);
        Some(Self { source, line, span })
    }

    /// The excerpt, with a line that names the place. None where its lines are too long to be looked at.
    pub(crate) fn render(&self, ink: Ink) -> Option<String> {
        let first = self.line.saturating_sub(1 + AROUND);
        let lines: Vec<&str> = self
            .source
            .text
            .lines()
            .skip(first)
            .take(self.line + AROUND - first)
            .collect();
        if lines.iter().any(|line| line.len() > WIDEST) {
            return None;
        }
        let before: usize = lines[..self.line - 1 - first]
            .iter()
            .map(|line| line.len() + 1)
            .sum();
        let window = lines.join("\n");
        let chunk = harmless(&self.source.chunk);
        let snippet = Snippet::source(&window)
            .line_start(first + 1)
            .path(chunk.as_ref())
            .fold(false)
            .annotation(
                AnnotationKind::Primary.span(before + self.span.start..before + self.span.end),
            );
        let group = Group::with_level(Level::ERROR).element(snippet);
        let renderer = match ink {
            Ink::Plain => Renderer::plain(),
            Ink::Colour => Renderer::styled(),
        };
        Some(renderer.render(&[group]))
    }
}

/// A word that may be what a message is about.
struct Word<'a> {
    text: &'a str,
    /// It may stand in a later line of the same call.
    far: bool,
    /// Of several in a line the last is the likeliest.
    last: bool,
}

/// The words that a message is about, the likeliest first.
fn words(message: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut push = |text, far, last| words.push(Word { text, far, last });
    // Lua: attempt to index a nil value (field 'membrs')
    for kind in ["global", "field", "local", "upvalue", "method", "constant"] {
        if let Some((_, rest)) = message.split_once(&format!("({kind} '"))
            && let Some((name, _)) = rest.split_once("')")
        {
            push(name, false, false);
        }
    }
    // Lua: unexpected symbol near '}'
    if let Some((_, rest)) = message.rsplit_once(" near '")
        && let Some(token) = rest.strip_suffix('\'')
    {
        // What stands before it was read without a complaint.
        push(token, false, true);
    }
    let mut add = |text, far| push(text, far, false);
    // Ours: unknown argument "membr" (did you mean "member"?); what is meant comes after what is there.
    let stated = message.split("(did you mean").next().unwrap_or(message);
    for quoted in stated.split('"').skip(1).step_by(2) {
        add(quoted, true);
    }
    // Of a table of data: unknown variant `lxc`, expected one of …
    if let Some(name) = stated.split('`').nth(1) {
        add(name, false);
    }
    // Ours: there is no snap.refesh; os isn't there in playbooks; parallel: a label is a text; argument wait: expected …
    for name in stated.split([' ', ':', ',', ';', '=']) {
        let name = name.trim_matches(|c: char| !c.is_alphanumeric() && c != '_');
        if name.contains(['.', '_']) {
            add(name, false);
            add(name.rsplit('.').next().unwrap_or(name), false);
        }
    }
    // Ours: os isn't there in playbooks; argv: expected a list; exec: argv: expected a list
    for name in stated.split(": ").take(2) {
        let (name, rest) = name.split_once(' ').unwrap_or((name, ""));
        if rest.is_empty() || rest.starts_with("isn't") || rest.starts_with("is asked") {
            add(name, true);
        }
    }
    // The function in which a call stands at its end is all that is known of the call's line.
    if !message.contains(' ') {
        add(message, true);
    }
    words
}

/// Where a word stands in a line, as a word of its own: the first, or the last of several.
fn find(line: &str, word: &str, last: bool) -> Option<Range<usize>> {
    if word.is_empty() {
        return None;
    }
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let code = line.find("--").unwrap_or(line.len());
    let own = |at: &usize| {
        let (before, after) = (&line[..*at], &line[at + word.len()..]);
        let joined =
            |c: Option<char>, edge: Option<char>| c.is_some_and(part) && edge.is_some_and(part);
        !joined(before.chars().next_back(), word.chars().next())
            && !joined(after.chars().next(), word.chars().next_back())
    };
    let all: Vec<usize> = line
        .match_indices(word)
        .map(|(at, _)| at)
        .filter(|at| *at < code && own(at))
        .collect();
    // A name that is given a value is what most messages mean.
    let given = |at: &&usize| line[**at + word.len()..].trim_start().starts_with('=');
    let at = if last {
        *all.last()?
    } else {
        *all.iter().find(given).or(all.first())?
    };
    Some(at..at + word.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, line: usize, message: &str) -> String {
        let source = Source {
            chunk: "site.lua".to_owned(),
            text: text.to_owned(),
        };
        let excerpt = Excerpt::of(&source, line, message, true).unwrap();
        format!("{message}\n{}\n", excerpt.render(Ink::Plain).unwrap())
    }

    #[test]
    fn what_a_message_is_about_is_underlined() {
        let call = "-- drain\nlocal r = snap.refresh {\n\tmember = \"micro01\",\n\tsnpa = \"lxd\", -- snpa\n}\nreturn r.chnaged";
        let cases = [
            shown(
                "local m = cluster.membrs[1]",
                1,
                "attempt to index a nil value (field 'membrs')",
            ),
            shown(
                "local x = {\n\ny = 3 }\n\n\nprint(x))",
                6,
                "<eof> expected near ')'",
            ),
            shown(
                call,
                2,
                "snap.refresh: unknown argument \"snpa\" (did you mean \"snap\"?)",
            ),
            shown(
                call,
                6,
                "there is no field \"chnaged\" here (did you mean \"changed\"?)",
            ),
            shown(
                "x = os.time()",
                1,
                "os isn't there in playbooks: the clock is a step (time.now)",
            ),
            shown(
                "snap.refesh {}",
                1,
                "there is no snap.refesh (did you mean \"refresh\"?)",
            ),
            shown("if true then", 1, "'end' expected near <eof>"),
            shown(
                "exec { argv = 3, member = \"m\" }",
                1,
                "exec: argv: expected a list",
            ),
            shown(
                "error(\"the load balancer\")",
                1,
                "the load balancer is gone",
            ),
            shown(
                "\té\t= nil + 1 \x1b[31m",
                1,
                "attempt to perform arithmetic on a nil value",
            ),
        ];
        insta::assert_snapshot!(cases.join("\n"));
    }

    #[test]
    fn what_cannot_be_shown_is_left_out() {
        let source = Source {
            chunk: "a.lua".to_owned(),
            text: format!("x\n{}\n", "y".repeat(10_000_000)),
        };
        assert_eq!(Excerpt::of(&source, 0, "", false), None);
        let long = Excerpt::of(&source, 2, "", false).unwrap();
        assert_eq!(long.render(Ink::Plain), None);
        assert_eq!(parse("a.lua:0"), None);
        assert_eq!(parse("a:b.lua:12"), Some(("a:b.lua", 12)));
    }
}
