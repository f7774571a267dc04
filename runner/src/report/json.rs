//! The stream as it is, a JSON object a line.

use std::io::Write;

use super::harmless_json;
use crate::event::{Reporter, Stamped};

/// Prints every event as a line of JSON.
pub(crate) struct JsonReporter;

impl Reporter for JsonReporter {
    fn take(&mut self, event: &Stamped) {
        // Whoever listened may be gone; the run continues.
        let _ = writeln!(std::io::stdout(), "{}", harmless_json(event));
    }
}
