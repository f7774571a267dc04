//! The end of what a program has printed so far, for whoever watches while it runs.

/// How much of it is kept: enough that what is cut off in front matters to nobody.
const KEPT: usize = 4 * 1024;

/// The end of an open stream.
#[derive(Debug, Default)]
pub(super) struct Tail {
    bytes: Vec<u8>,
    /// The first of the bytes were something else.
    cut: bool,
}

impl Tail {
    /// Takes what has arrived.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(KEPT + 1)..];
        self.bytes.extend_from_slice(bytes);
        let over = self.bytes.len().saturating_sub(KEPT);
        self.cut |= over > 0;
        self.bytes.drain(..over);
    }

    /// The last lines that are whole, with their ends; `closed` if the last one of all is. A line is whole when the next one
    /// has begun: half of one may be half of a secret. What writes over its own line begins a new one by that.
    pub(super) fn lines(&self, closed: bool) -> Option<String> {
        let end = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let from = match self.cut {
            true => self.bytes.iter().position(end)? + 1,
            false => 0,
        };
        let to = match closed {
            true => self.bytes.len(),
            false => self.bytes.iter().rposition(end)? + 1,
        };
        let text = String::from_utf8_lossy(self.bytes.get(from..to)?).into_owned();
        Some(text).filter(|text| !text.trim().is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&str], closed: bool) -> Option<String> {
        let mut tail = Tail::default();
        for piece in pieces {
            tail.push(piece.as_bytes());
        }
        tail.lines(closed)
    }

    #[test]
    fn only_whole_lines_are_shown() {
        assert_eq!(lines(&[], false), None);
        assert_eq!(lines(&["\n", " \n"], false), None);
        assert_eq!(lines(&["password: hun"], false), None);
        assert_eq!(lines(&["one\ntw", "o"], false).unwrap(), "one\n");
        assert_eq!(lines(&["one\ntw", "o"], true).unwrap(), "one\ntwo");
        assert_eq!(lines(&["10 %\r20 %"], false).unwrap(), "10 %\r");
    }

    #[test]
    fn a_flood_leaves_its_end_and_a_line_without_end_leaves_nothing() {
        let many: Vec<String> = (0..100_000).map(|n| format!("line {n}\n")).collect();
        let flood = many.concat();
        let end = lines(&[&flood, "cut"], false).unwrap();
        assert!(end.len() <= KEPT && end.starts_with("line "), "{end}");
        assert!(end.ends_with("line 99999\n"), "{end}");
        let end = lines(&[&"x".repeat(1 << 20)], false);
        assert_eq!(end, None);
        let end = lines(&[&"x".repeat(1 << 20), "\nend\n"], false);
        assert_eq!(end.unwrap(), "end\n");
    }
}
