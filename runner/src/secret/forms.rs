//! In which forms a secret may come back from a program: as it is, or as it stands in JSON, in a URL, in quotes, in base64 or in
//! hexadecimal; a secret of several lines also line by line.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use regex::{Captures, Regex, RegexBuilder};

use super::placeholder::STARS;
use super::source::{SHORTEST, Unusable};

/// Whoever cuts a text to a length leaves at least this much of it.
const CUT: usize = 400;

/// Of a value that was cut in two, a part with fewer characters isn't worth looking for.
const PART: usize = 3;

/// How many bytes the search may take: dozens of times what the longest secret needs.
const ROOM: usize = 512 * 1024 * 1024;

/// Finds secrets in texts.
pub(super) struct Forms {
    /// By name.
    values: Vec<(String, String)>,
    /// The values and, of those with several lines, the lines: longest first.
    pieces: Vec<String>,
    any: Regex,
}

impl Forms {
    /// What finds these, given by name.
    pub(super) fn of(values: &[(String, String)]) -> Result<Self, Unusable> {
        let mut pieces = BTreeSet::new();
        for (_, value) in values {
            pieces.insert(value.clone());
            let lines = value.lines().map(str::trim);
            pieces.extend(
                lines
                    .filter(|line| line.chars().count() >= SHORTEST)
                    .map(str::to_owned),
            );
        }
        let mut pieces: Vec<String> = pieces.into_iter().collect();
        pieces.sort_by_key(|piece| std::cmp::Reverse(piece.len()));
        // To the letter first: only that is passed on to playbooks.
        let plain = pieces.iter().map(|piece| regex::escape(piece));
        let written = pieces.iter().map(|piece| escaped(piece));
        // A long secret of many lines is covered by them.
        let short = pieces
            .iter()
            .filter(|piece| piece.lines().count() == 1 || piece.len() < 256);
        let encoded = short.flat_map(|piece| base64(piece).into_iter().chain([hex(piece)]));
        let all: Vec<String> = plain.chain(written).chain(encoded).collect();
        let any = RegexBuilder::new(&all.join("|"))
            .size_limit(ROOM)
            .dfa_size_limit(ROOM / 32)
            .build();
        Ok(Self {
            values: values.to_vec(),
            pieces,
            // Its own words would quote the expression.
            any: any.map_err(|_| Unusable::TooMuch)?,
        })
    }

    /// A text without secrets. What is a value to the letter becomes what `named` makes of its name, any other form `***`.
    pub(super) fn replaced(&self, text: &str, named: impl Fn(&str) -> String) -> String {
        let found = |found: &Captures<'_>| {
            let is = |(_, value): &&(String, String)| *value == found[0];
            let value = self.values.iter().find(is);
            value.map_or_else(|| STARS.to_owned(), |(name, _)| named(name))
        };
        let replaced = self.any.replace_all(text, found).into_owned();
        if text.len() < CUT {
            return replaced;
        }
        self.without_parts(replaced)
    }

    /// Outputs are cut to a length. What is left of a secret at either end is taken out as well.
    fn without_parts(&self, mut text: String) -> String {
        let parts = |piece: &str| -> Vec<usize> {
            let at = piece.char_indices().map(|(at, _)| at);
            at.filter(|at| *at > 0).collect()
        };
        let first = self.pieces.iter().find_map(|piece| {
            let ends = parts(piece).into_iter().map(|at| &piece[at..]);
            let mut ends = ends.filter(|end| end.chars().count() >= PART);
            ends.find(|end| text.starts_with(end)).map(str::len)
        });
        if let Some(length) = first {
            text.replace_range(..length, STARS);
        }
        let last = self.pieces.iter().find_map(|piece| {
            let begins = parts(piece).into_iter().rev().map(|at| &piece[..at]);
            let mut begins = begins.filter(|begin| begin.chars().count() >= PART);
            begins.find(|begin| text.ends_with(begin)).map(str::len)
        });
        if let Some(length) = last {
            text.replace_range(text.len() - length.., STARS);
        }
        text
    }
}

/// A text as it is, or as programs write it within JSON, URLs, HTML, quotes and the like: each of its characters as itself or as
/// one of its escapes.
fn escaped(text: &str) -> String {
    text.chars().map(escapes).collect()
}

/// The ways in which a character is written.
fn escapes(c: char) -> String {
    let itself = regex::escape(c.encode_utf8(&mut [0; 4]));
    // What is never escaped keeps the search small.
    if c.is_ascii_alphanumeric() || "-_.".contains(c) {
        return itself;
    }
    let mut bytes = [0; 4];
    let bytes = c.encode_utf8(&mut bytes).as_bytes();
    let each = |way: &dyn Fn(&u8) -> String| bytes.iter().map(way).collect::<String>();
    let mut units = [0; 2];
    let units = c.encode_utf16(&mut units).iter();
    let code = u32::from(c);
    // JSON may stand within JSON, and so on: then there are more backslashes.
    let mut ways = vec![
        itself.clone(),
        units.map(|unit| format!(r"\\+u(?i:{unit:04x})")).collect(),
        format!(r"\\+u\{{0*(?i:{code:x})\}}"),
        each(&|byte| format!(r"\\+x(?i:{byte:02x})")),
        each(&|byte| format!(r"\\+{byte:03o}")),
        each(&|byte| format!("%(?:25)*(?i:{byte:02x})")),
        format!("&#(?:0*{code}|(?i:x0*{code:x}));"),
    ];
    if c.is_ascii_punctuation() || c == ' ' {
        ways.push(format!(r"\\+{itself}"));
    }
    ways.extend(match c {
        ' ' => vec![r"\+".to_owned()],
        '\n' => vec![
            r"\r\n".to_owned(),
            r"(?:\\+r)?\\+n".to_owned(),
            "%0[dD]%0[aA]".to_owned(),
        ],
        '\r' => vec![r"\\+r".to_owned()],
        '\t' => vec![r"\\+t".to_owned()],
        '\'' => vec![
            r"'\\+''".to_owned(),
            r#"'"'"'"#.to_owned(),
            "&apos;".to_owned(),
            "''".to_owned(),
        ],
        '"' => vec!["&quot;".to_owned(), "\"\"".to_owned()],
        '&' => vec!["&amp;".to_owned()],
        '<' => vec!["&lt;".to_owned()],
        '>' => vec!["&gt;".to_owned()],
        _ => Vec::new(),
    });
    // It is the shortest way: of the backslashes in front of it none may be left.
    ways.rotate_left(1);
    format!("(?:{})", ways.join("|"))
}

/// A text in base64, wherever it stands in what was encoded: its bytes fall into groups in three ways, and those at its ends share
/// a letter with their neighbours.
fn base64(text: &str) -> Vec<String> {
    let at = |before: usize| {
        let bytes: Vec<u8> = std::iter::repeat_n(0, before).chain(text.bytes()).collect();
        let letters = STANDARD_NO_PAD.encode(&bytes);
        let own = &letters[(before * 8).div_ceil(6)..bytes.len() * 8 / 6];
        let letters: Vec<&str> = own
            .split("")
            .filter(|letter| !letter.is_empty())
            .map(|letter| match letter {
                // The alphabet for URLs.
                "+" => r"(?:[+-]|\\+u002[bB]|%2[bB])",
                "/" => r"(?:\\*[/_]|%2[fF])",
                letter => letter,
            })
            .collect();
        // Programs break long lines.
        let own = letters.join(r"(?:[ \t\r\n]|\\+[rn])*");
        // Whole groups share none.
        let shared = if bytes.len().is_multiple_of(3) {
            ""
        } else {
            "[A-Za-z0-9+/_-]?={0,2}"
        };
        format!("{own}{shared}")
    };
    (0..3).map(at).collect()
}

/// A text in hexadecimal.
fn hex(text: &str) -> String {
    let digits: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("(?i:{digits})")
}
