//! Text from elsewhere, made fit for a terminal: what a member prints may hold anything, and must do nothing here.

use std::borrow::Cow;

use serde::Serialize;

/// A line that is longer than this, in characters, is cut.
const LONGEST: usize = 2000;

/// A text in which every control character is seen instead of obeyed: `ESC [31m` becomes `␛[31m`.
///
/// Line breaks stay, and a tab is four blanks. Characters that turn the direction of writing around, or end a line in a
/// way of their own, and those that nobody sees, become `U+FFFD`: they would show something else than what is there.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| c != '\n' && seen(c).is_some()) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let text = text.replace("\r\n", "\n");
    for c in text.chars() {
        match seen(c) {
            _ if c == '\n' => out.push(c),
            Some(_) if c == '\t' => out.push_str("    "),
            Some(sign) => out.push(sign),
            None => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// A value as a line of JSON that holds all of it: what [`harmless`] would change is escaped, as JSON can.
pub(crate) fn harmless_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).map_or_else(|_| "null".to_owned(), |line| harmless_line(&line))
}

/// As [`harmless_json`], of a line of JSON that is there already.
pub(crate) fn harmless_line(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    for c in line.chars() {
        match seen(c) {
            // Between values, where no text can be.
            Some(_) if c < ' ' => out.push(' '),
            Some(_) => {
                let units = c.encode_utf16(&mut [0; 2]).to_vec();
                out.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
            }
            None => out.push(c),
        }
    }
    out
}

/// As [`harmless`], in one line of bounded length: of more, the first is shown, and how much is left out.
pub(crate) fn one_line(text: &str) -> String {
    let mut lines = text.lines().map(str::trim_end).filter(|l| !l.is_empty());
    let first = lines.next().unwrap_or_default();
    let more = lines.count();
    let line = cut(first, LONGEST);
    let line = harmless(&line);
    match more {
        0 => line.into_owned(),
        1 => format!("{line} (and 1 more line)"),
        n => format!("{line} (and {n} more lines)"),
    }
}

/// The beginning of a line of more characters than `longest`, and how much is left out.
pub(crate) fn cut(line: &str, longest: usize) -> Cow<'_, str> {
    match line.char_indices().nth(longest) {
        None => Cow::Borrowed(line),
        Some((at, _)) => {
            let more = line.len() - at;
            Cow::Owned(format!("{}… ({more} more bytes)", &line[..at]))
        }
    }
}

/// A text of any number of lines, each of them harmless and of bounded length.
pub(crate) fn lines(text: &str) -> String {
    let lines: Vec<Cow<'_, str>> = text.split('\n').map(|line| cut(line, LONGEST)).collect();
    harmless(&lines.join("\n")).into_owned()
}

/// The sign by which a character is shown that a terminal would obey.
fn seen(c: char) -> Option<char> {
    match c {
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(c)),
        '\x7f' => Some('␡'),
        '\u{80}'..='\u{9f}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => Some('\u{fffd}'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_seen() {
        let evil = "a\x1b[31mred\x07\r\nb\tc\x1b]0;title\x07\u{9b}2J\u{202e}\x7f";
        assert_eq!(
            harmless(evil),
            "a␛[31mred␇\nb    c␛]0;title␇\u{fffd}2J\u{fffd}␡"
        );
        assert!(matches!(harmless("plain – “text” 日本"), Cow::Borrowed(_)));
    }

    #[test]
    fn json_keeps_what_a_terminal_would_obey() {
        let evil = "a\x1b[31m\u{9b}2J\u{202e}\x7f – \u{e000}";
        let line = harmless_json(&evil);
        assert_eq!(line, "\"a\\u001b[31m\\u009b2J\\u202e\\u007f – \u{e000}\"");
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), evil);
        let unseen = "\u{61c}\u{e0041}";
        assert_eq!(harmless(unseen), "\u{fffd}\u{fffd}");
        let line = harmless_json(&unseen);
        assert_eq!(line, "\"\\u061c\\udb40\\udc41\"");
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), unseen);
        assert_eq!(harmless_line("{\r\t\"\u{7f}\"}"), "{  \"\\u007f\"}");
    }

    #[test]
    fn a_line_of_ten_megabytes_is_cut() {
        let long = "é".repeat(5 * 1024 * 1024);
        let shown = one_line(&format!("{long}\nsecond\nthird"));
        assert!(shown.len() < 2 * LONGEST + 100, "{}", shown.len());
        assert!(
            shown.ends_with("… (10481760 more bytes) (and 2 more lines)"),
            "{}",
            &shown[shown.len() - 80..]
        );
    }
}
