//! Lua's patterns, matched as Lua 5.4's own library matches them, but with a budget: patterns backtrack, and what a member
//! prints can make one go through more ways than anybody will wait for.
//!
//! Positions are byte offsets. After the end of a text or a pattern there is a zero, as in C.

/// Captures that a pattern has at most.
const MOST_CAPTURES: usize = 32;

/// How deep a match may recurse.
const DEEPEST: u32 = 200;

/// What makes a pattern more than a text to look for.
const SPECIALS: &[u8] = b"^$*+?.([%-";

/// Bytes that a search for a plain text passes in the time of one step.
const PLAIN: usize = 64;

/// Why a match came to no end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The pattern, or its replacement, is wrong: in Lua's words.
    Wrong(String),
    /// The budget is used up.
    TooLong,
}

impl Stop {
    fn wrong<T>(what: &str) -> Result<T, Self> {
        Err(Self::Wrong(what.to_owned()))
    }
}

/// Part of a text that a pattern has captured.
#[derive(Clone, Copy, Debug)]
enum Capture {
    Open { from: usize },
    Part { from: usize, len: usize },
    Position(usize),
}

/// What a capture is to Lua.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Captured<'t> {
    Text(&'t [u8]),
    /// A place, counted from 1.
    Position(usize),
}

/// A pattern that is held against a text.
pub(super) struct Matcher<'t, 'b> {
    text: &'t [u8],
    pattern: &'t [u8],
    captures: Vec<Capture>,
    deeper: u32,
    /// Steps that are left.
    budget: &'b mut u64,
}

/// Whether a pattern is a mere text.
pub(super) fn is_plain(pattern: &[u8]) -> bool {
    !pattern.iter().any(|byte| SPECIALS.contains(byte))
}

/// Where a text is found in another one, from `from` on.
pub(super) fn find_plain(
    text: &[u8],
    sought: &[u8],
    from: usize,
    budget: &mut u64,
) -> Result<Option<usize>, Stop> {
    let rest = &text[from..];
    spend(budget, (rest.len() + sought.len()) / PLAIN + 1)?;
    Ok(memchr::memmem::find(rest, sought).map(|at| from + at))
}

fn spend(budget: &mut u64, steps: usize) -> Result<(), Stop> {
    let left = budget.checked_sub(steps as u64);
    *budget = left.unwrap_or(0);
    left.map(drop).ok_or(Stop::TooLong)
}

impl<'t, 'b> Matcher<'t, 'b> {
    /// A pattern without its anchor.
    pub(super) fn new(text: &'t [u8], pattern: &'t [u8], budget: &'b mut u64) -> Self {
        Self {
            text,
            pattern,
            captures: Vec::new(),
            deeper: DEEPEST,
            budget,
        }
    }

    /// The first match that begins at `from`, or after it where the pattern isn't anchored: where it begins and ends. A
    /// match that ends at `last` doesn't count: it is an empty one, right after another.
    pub(super) fn find(
        &mut self,
        from: usize,
        anchored: bool,
        last: Option<usize>,
    ) -> Result<Option<(usize, usize)>, Stop> {
        let furthest = if anchored { from } else { self.text.len() };
        for at in from..=furthest {
            self.captures.clear();
            self.deeper = DEEPEST;
            if let Some(end) = self.matches(at, 0)?
                && last != Some(end)
            {
                return Ok(Some((at, end)));
            }
        }
        Ok(None)
    }

    /// All captures, or the whole match where there are none.
    pub(super) fn captured(&self, whole: (usize, usize)) -> Result<Vec<Captured<'t>>, Stop> {
        let count = self.captures.len().max(1);
        (0..count).map(|i| self.capture(i, whole)).collect()
    }

    /// The captures of the last match; none stand for the whole of it.
    pub(super) fn captures(&self) -> Result<Vec<Captured<'t>>, Stop> {
        let all = 0..self.captures.len();
        all.map(|i| self.capture(i, (0, 0))).collect()
    }

    /// A capture; the first is the whole match where there are none.
    pub(super) fn capture(
        &self,
        i: usize,
        (from, end): (usize, usize),
    ) -> Result<Captured<'t>, Stop> {
        match self.captures.get(i) {
            Some(&Capture::Part { from, len }) => Ok(Captured::Text(&self.text[from..from + len])),
            Some(&Capture::Position(at)) => Ok(Captured::Position(at + 1)),
            Some(Capture::Open { .. }) => Stop::wrong("unfinished capture"),
            None if i == 0 => Ok(Captured::Text(&self.text[from..end])),
            None => Stop::wrong(&format!("invalid capture index %{}", i + 1)),
        }
    }

    /// Appends what takes the place of a match: `by`, with the captures that it names.
    pub(super) fn replace(
        &self,
        whole: (usize, usize),
        by: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Stop> {
        let mut rest = by;
        while let Some(at) = memchr::memchr(b'%', rest) {
            out.extend_from_slice(&rest[..at]);
            match rest.get(at + 1) {
                Some(b'%') => out.push(b'%'),
                Some(b'0') => out.extend_from_slice(&self.text[whole.0..whole.1]),
                Some(digit @ b'1'..=b'9') => {
                    match self.capture(usize::from(digit - b'1'), whole)? {
                        Captured::Text(text) => out.extend_from_slice(text),
                        Captured::Position(at) => out.extend_from_slice(at.to_string().as_bytes()),
                    }
                }
                _ => return Stop::wrong("invalid use of '%' in replacement string"),
            }
            rest = &rest[at + 2..];
        }
        out.extend_from_slice(rest);
        Ok(())
    }

    fn spend(&mut self, steps: usize) -> Result<(), Stop> {
        spend(self.budget, steps)
    }

    fn text_at(&self, s: usize) -> u8 {
        self.text.get(s).copied().unwrap_or(0)
    }

    fn pattern_at(&self, p: usize) -> u8 {
        self.pattern.get(p).copied().unwrap_or(0)
    }

    /// Where a match of the pattern from `p` on, with the text from `s` on, ends.
    fn matches(&mut self, mut s: usize, mut p: usize) -> Result<Option<usize>, Stop> {
        if self.deeper == 0 {
            return Stop::wrong("pattern too complex");
        }
        self.deeper -= 1;
        let end = loop {
            self.spend(1)?;
            if p == self.pattern.len() {
                break Some(s);
            }
            match (self.pattern_at(p), self.pattern_at(p + 1)) {
                (b'(', b')') => break self.start_capture(s, p + 2, Capture::Position(s))?,
                (b'(', _) => break self.start_capture(s, p + 1, Capture::Open { from: s })?,
                (b')', _) => break self.end_capture(s, p + 1)?,
                (b'$', _) if p + 1 == self.pattern.len() => {
                    break (s == self.text.len()).then_some(s);
                }
                (b'%', b'b') => match self.balanced(s, p + 2)? {
                    Some(end) => (s, p) = (end, p + 4),
                    None => break None,
                },
                (b'%', b'f') => match self.frontier(s, p + 2)? {
                    Some(next) => p = next,
                    None => break None,
                },
                (b'%', digit @ b'0'..=b'9') => match self.again(s, digit)? {
                    Some(end) => (s, p) = (end, p + 2),
                    None => break None,
                },
                _ => {
                    let next = self.class_end(p)?;
                    let fits = self.single(s, p, next)?;
                    match (self.pattern_at(next), fits) {
                        (b'*' | b'?' | b'-', false) => p = next + 1,
                        (_, false) => break None,
                        (b'?', true) => match self.matches(s + 1, next + 1)? {
                            Some(end) => break Some(end),
                            None => p = next + 1,
                        },
                        (b'+', true) => break self.most(s + 1, p, next)?,
                        (b'*', true) => break self.most(s, p, next)?,
                        (b'-', true) => break self.least(s, p, next)?,
                        (_, true) => (s, p) = (s + 1, next),
                    }
                }
            }
        };
        self.deeper += 1;
        Ok(end)
    }

    fn start_capture(
        &mut self,
        s: usize,
        p: usize,
        capture: Capture,
    ) -> Result<Option<usize>, Stop> {
        if self.captures.len() == MOST_CAPTURES {
            return Stop::wrong("too many captures");
        }
        self.captures.push(capture);
        let end = self.matches(s, p)?;
        if end.is_none() {
            self.captures.pop();
        }
        Ok(end)
    }

    fn end_capture(&mut self, s: usize, p: usize) -> Result<Option<usize>, Stop> {
        let mut all = self.captures.iter().enumerate().rev();
        let last = all.find_map(|(i, capture)| match capture {
            Capture::Open { from } => Some((i, *from)),
            Capture::Part { .. } | Capture::Position(_) => None,
        });
        let Some((i, from)) = last else {
            return Stop::wrong("invalid pattern capture");
        };
        self.captures[i] = Capture::Part {
            from,
            len: s - from,
        };
        let end = self.matches(s, p)?;
        if end.is_none() {
            self.captures[i] = Capture::Open { from };
        }
        Ok(end)
    }

    /// Whether the text continues with what was captured before: where that ends.
    fn again(&mut self, s: usize, digit: u8) -> Result<Option<usize>, Stop> {
        let index = usize::from(digit).checked_sub(usize::from(b'1'));
        match index.and_then(|i| self.captures.get(i).copied()) {
            Some(Capture::Part { from, len }) => {
                self.spend(len / PLAIN)?;
                let same = self.text[s..].starts_with(&self.text[from..from + len]);
                Ok(same.then_some(s + len))
            }
            Some(Capture::Position(_)) => Ok(None),
            Some(Capture::Open { .. }) | None => {
                Stop::wrong(&format!("invalid capture index %{}", digit - b'0'))
            }
        }
    }

    /// `%bxy`: where the text is in balance again.
    fn balanced(&mut self, s: usize, p: usize) -> Result<Option<usize>, Stop> {
        if p + 1 >= self.pattern.len() {
            return Stop::wrong("malformed pattern (missing arguments to '%b')");
        }
        let (opens, closes) = (self.pattern_at(p), self.pattern_at(p + 1));
        if self.text_at(s) != opens {
            return Ok(None);
        }
        let mut depth = 1_usize;
        for at in s + 1..self.text.len() {
            self.spend(1)?;
            if self.text[at] == closes {
                depth -= 1;
                if depth == 0 {
                    return Ok(Some(at + 1));
                }
            } else if self.text[at] == opens {
                depth += 1;
            }
        }
        Ok(None)
    }

    /// `%f[set]`: where the pattern continues, if the set begins here.
    fn frontier(&mut self, s: usize, p: usize) -> Result<Option<usize>, Stop> {
        if self.pattern_at(p) != b'[' {
            return Stop::wrong("missing '[' after '%f' in pattern");
        }
        let next = self.class_end(p)?;
        let before = s.checked_sub(1).map_or(0, |s| self.text_at(s));
        let begins = !self.in_set(before, p, next - 1) && self.in_set(self.text_at(s), p, next - 1);
        Ok(begins.then_some(next))
    }

    /// Where the single character class at `p` ends.
    fn class_end(&mut self, p: usize) -> Result<usize, Stop> {
        let end = self.pattern.len();
        let mut next = p + 1;
        match self.pattern[p] {
            b'%' if next == end => Stop::wrong("malformed pattern (ends with '%')"),
            b'%' => Ok(next + 1),
            b'[' => {
                if self.pattern_at(next) == b'^' {
                    next += 1;
                }
                loop {
                    if next == end {
                        return Stop::wrong("malformed pattern (missing ']')");
                    }
                    let escape = self.pattern[next] == b'%';
                    next += 1;
                    if escape && next < end {
                        next += 1;
                    }
                    if self.pattern_at(next) == b']' {
                        break;
                    }
                }
                self.spend(next - p)?;
                Ok(next + 1)
            }
            _ => Ok(next),
        }
    }

    /// Whether the character at `s` is of the class from `p` to `next`.
    fn single(&mut self, s: usize, p: usize, next: usize) -> Result<bool, Stop> {
        let Some(&c) = self.text.get(s) else {
            return Ok(false);
        };
        self.spend(next - p)?;
        Ok(match self.pattern[p] {
            b'.' => true,
            b'%' => is_of(c, self.pattern[p + 1]),
            b'[' => self.in_set(c, p, next - 1),
            literal => literal == c,
        })
    }

    /// Whether a character is in the set between the brackets at `open` and `close`.
    fn in_set(&self, c: u8, open: usize, close: usize) -> bool {
        let inverted = self.pattern_at(open + 1) == b'^';
        let mut p = if inverted { open + 2 } else { open + 1 };
        while p < close {
            let found = match self.pattern[p] {
                b'%' => {
                    p += 1;
                    is_of(c, self.pattern[p])
                }
                first if self.pattern[p + 1] == b'-' && p + 2 < close => {
                    p += 2;
                    (first..=self.pattern[p]).contains(&c)
                }
                literal => literal == c,
            };
            if found {
                return !inverted;
            }
            p += 1;
        }
        inverted
    }

    /// As many repetitions as there are, then fewer and fewer.
    fn most(&mut self, s: usize, p: usize, next: usize) -> Result<Option<usize>, Stop> {
        let mut end = s;
        while self.single(end, p, next)? {
            end += 1;
        }
        for at in (s..=end).rev() {
            if let Some(end) = self.matches(at, next + 1)? {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    /// As few repetitions as will do.
    fn least(&mut self, mut s: usize, p: usize, next: usize) -> Result<Option<usize>, Stop> {
        loop {
            if let Some(end) = self.matches(s, next + 1)? {
                return Ok(Some(end));
            }
            if !self.single(s, p, next)? {
                return Ok(None);
            }
            s += 1;
        }
    }
}

/// Whether a character is of the class after a `%`.
fn is_of(c: u8, class: u8) -> bool {
    let is = match class.to_ascii_lowercase() {
        b'a' => c.is_ascii_alphabetic(),
        b'c' => c.is_ascii_control(),
        b'd' => c.is_ascii_digit(),
        b'g' => c.is_ascii_graphic(),
        b'l' => c.is_ascii_lowercase(),
        b'p' => c.is_ascii_punctuation(),
        // With the vertical tab, which Rust leaves out.
        b's' => c.is_ascii_whitespace() || c == 0x0b,
        b'u' => c.is_ascii_uppercase(),
        b'w' => c.is_ascii_alphanumeric(),
        b'x' => c.is_ascii_hexdigit(),
        b'z' => c == 0,
        _ => return class == c,
    };
    is == class.is_ascii_lowercase()
}
