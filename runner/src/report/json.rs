//! The stream as it is, a JSON object a line.

use std::io::Write;

use super::harmless_json;
use crate::event::{Reporter, Stamped};

/// Prints every event as a line of JSON.
pub(crate) struct JsonReporter<W> {
    out: W,
}

impl<W: Write> JsonReporter<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write> Reporter for JsonReporter<W> {
    fn take(&mut self, event: &Stamped) {
        // Whoever listened may be gone; the run goes on.
        let _ = writeln!(self.out, "{}", harmless_json(event));
    }
}
