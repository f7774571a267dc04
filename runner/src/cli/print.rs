//! What commands print.

use std::io::Write;

use serde::Serialize;

use crate::report::{harmless, harmless_json};
use crate::secret::shown;

/// Prints a line for whoever called. Whatever a member put into it does nothing to the terminal, and the placeholders of
/// secrets that journals and results hold are shown as `***`. Somebody who has stopped listening (`lockstep runs | head`)
/// is no reason to fail.
macro_rules! out {
    ($($arg:tt)*) => { $crate::cli::print::line(&mut std::io::stdout(), &format!($($arg)*)) };
}

/// As `out!`, on standard error.
macro_rules! err {
    ($($arg:tt)*) => { $crate::cli::print::line(&mut std::io::stderr(), &format!($($arg)*)) };
}

/// What `out!` and `err!` do.
pub(super) fn line(to: &mut impl Write, text: &str) {
    let _ = writeln!(to, "{}", harmless(&shown(text)));
}

/// Prints a text that is fit for a terminal already, colours and all.
pub(super) fn styled(text: &str) {
    let _ = std::io::stdout().write_all(shown(text).as_bytes());
}

/// Prints a value as a line of JSON, for programs.
pub(super) fn json(value: &impl Serialize) {
    let _ = writeln!(std::io::stdout(), "{}", shown(&harmless_json(value)));
}
