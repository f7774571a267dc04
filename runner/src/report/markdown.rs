//! A report of a run in Markdown, short enough for a ticket.

use std::fmt::Write as _;

use super::date;
use super::harmless::harmless;
use crate::account::{Account, Progress, What, span};
use lockstep_modules::contract::path::StepPath;

/// The report of a run. `suggestions` are what can be typed, where it waits for somebody.
pub(crate) fn ticket(account: &Account, suggestions: Option<&str>) -> String {
    let mut out = Ticket(String::new());
    out.summary(account);
    out.changes(account);
    out.turns(account);
    out.waves(account);
    if let Some(suggestions) = suggestions {
        out.line("\n## What you can do\n");
        out.block(suggestions);
    }
    out.0
}

struct Ticket(String);

impl Ticket {
    fn line(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push('\n');
    }

    /// Text as it is. The fence is longer than any in it.
    fn block(&mut self, text: &str) {
        let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
        let fence = "`".repeat(longest.max(2) + 1);
        let _ = writeln!(
            self.0,
            "{fence}text\n{}\n{fence}",
            harmless(text).trim_end()
        );
    }

    fn table(&mut self, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
        let _ = writeln!(self.0, "| {} |", head.join(" | "));
        let _ = writeln!(self.0, "|{}", " --- |".repeat(head.len()));
        for row in rows {
            let _ = writeln!(self.0, "| {} |", row.join(" | "));
        }
    }

    fn summary(&mut self, account: &Account) {
        let _ = writeln!(
            self.0,
            "# {}: {}\n",
            plain(&account.run),
            account.state.word()
        );
        let _ = writeln!(
            self.0,
            "{} of {} ({})",
            plain(&account.playbook),
            plain(&account.cluster),
            plain(&account.members.join(", "))
        );
        if let Some(why) = &account.why {
            let _ = writeln!(self.0, "\n{}", plain(why));
        }
        self.line("");
        if let (Some(began), Some(last)) = (account.began, account.last) {
            let what = if account.state.is_over() {
                "ended"
            } else {
                "last event"
            };
            let _ = writeln!(
                self.0,
                "- started {}, {what} {} (UTC), ran {}",
                date(began),
                date(last),
                span(account.ms())
            );
        }
        if !account.who.is_empty() {
            let _ = writeln!(
                self.0,
                "- started by {}, lockstep {}",
                plain(&account.who),
                plain(&account.lockstep)
            );
        }
        let params = account.params.as_object().into_iter().flatten();
        let params: Vec<String> = params.map(|(k, v)| plain(&format!("{k}={v}"))).collect();
        if !params.is_empty() {
            let _ = writeln!(self.0, "- {}", params.join(", "));
        }
        for trouble in &account.troubles {
            let _ = writeln!(self.0, "- **{}**", plain(trouble));
        }
    }

    fn changes(&mut self, account: &Account) {
        self.line("\n## What changed\n");
        let moves = account.moves();
        if moves.is_empty() {
            return self.line("No revision changed.");
        }
        let rows = moves.iter().map(|one| {
            vec![
                plain(one.component),
                plain(one.from),
                plain(one.to),
                plain(one.version.unwrap_or_default()),
                plain(&one.among(&account.members)),
                plain(&one.differed()),
            ]
        });
        self.table(
            &[
                "component",
                "before",
                "after",
                "version",
                "members",
                "window",
            ],
            rows,
        );
    }

    fn turns(&mut self, account: &Account) {
        self.line("\n## Holds and decisions\n");
        let worth = |what: &What| what.matters() && !matches!(what, What::Retried { .. });
        let rows = account.turns.iter().filter(|turn| worth(&turn.what));
        let rows = rows.map(|turn| {
            let path = turn.what.path().map_or_else(String::new, code);
            vec![date(turn.at), path, plain(&turn.what.sentence())]
        });
        self.table(&["time (UTC)", "step", "what"], rows);
    }

    fn waves(&mut self, account: &Account) {
        self.line("\n## Timeline\n");
        if account.waves.is_empty() {
            return self.line("No wave was started.");
        }
        let rows = account.waves.iter().map(|wave| {
            let stuck = account.steps.iter().find(|step| {
                step.state == Progress::Held && account.wave_of(step) == Some(wave.name.as_str())
            });
            vec![
                plain(&wave.name),
                wave.began.map(date).unwrap_or_default(),
                span(wave.ms),
                wave.members.to_string(),
                wave.steps.to_string(),
                wave.again.to_string(),
                stuck.map_or_else(String::new, |step| format!("held at {}", code(&step.path))),
            ]
        });
        let head = [
            "wave",
            "started (UTC)",
            "took",
            "members",
            "steps",
            "tried again",
            "",
        ];
        self.table(&head, rows);
    }
}

/// What nobody sees, and what makes no link of the text around it.
const NOTHING: &str = "&#8203;";

/// Whether forges make a link of text where this character stands: of names, of numbers of issues and the like, and of bare
/// addresses. Escaping doesn't help: they look at what is shown.
fn begins_a_link(before: &str, c: char, after: &str) -> bool {
    let next = after.chars().next();
    match c {
        '@' | '#' => next.is_some_and(char::is_alphanumeric),
        '!' | '$' | '%' | '&' | '~' => next.is_some_and(|c| c.is_ascii_digit()),
        ':' => after.starts_with("//"),
        'w' | 'W' => after.starts_with('.') && before.to_lowercase().ends_with("ww"),
        _ => false,
    }
}

/// Text in a line of bounded length, of which no character means anything to Markdown or to HTML in it.
fn plain(text: &str) -> String {
    const LONGEST: usize = 1000;
    let mut out = String::new();
    let shown = &text[..text.floor_char_boundary(LONGEST)];
    let text_here = harmless(shown);
    let mut rest = text_here.chars();
    while let Some(c) = rest.next() {
        let live = begins_a_link(&out, c, rest.as_str());
        match c {
            '\n' => out.push(' '),
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '|' | '`' | '*' | '[' | ']' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
        if live {
            out.push_str(NOTHING);
        }
    }
    if shown.len() < text.len() {
        let _ = write!(out, "… (cut: {} bytes in all)", text.len());
    }
    out
}

/// A path as code in a table, where a bar would end the cell.
fn code(path: &StepPath) -> String {
    format!(
        "`{}`",
        harmless(path.as_str()).replace(['`', '|', '\n'], "·")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_member_says_becomes_a_link() {
        for (raw, shown) in [
            ("ask @root", "ask @&#8203;root"),
            ("see #1 and a/b#2", "see #&#8203;1 and a/b#&#8203;2"),
            ("!7 &8 $9", "!&#8203;7 &amp;&#8203;8 $&#8203;9"),
            ("https://x.y/z", "https:&#8203;//x.y/z"),
            ("WWW.x.y", "WWW&#8203;.x.y"),
            ("a@b.c", "a@&#8203;b.c"),
            ("now. $HOME & a: b # c", "now. $HOME &amp; a: b # c"),
            ("<b>[x](y)`z`", "&lt;b>\\[x\\](y)\\`z\\`"),
        ] {
            assert_eq!(plain(raw), shown, "{raw}");
        }
    }
}
