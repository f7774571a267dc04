//! What people are shown: reporters, which make something of the event stream, and the texts about failures and holds.

mod board;
pub mod excerpt;
pub(crate) mod failure;
mod file;
pub(crate) mod harmless;
pub(crate) mod hold;
pub(crate) mod html;
mod json;
mod line;
mod live;
pub(crate) mod markdown;
pub(crate) mod otlp;

use jiff::Timestamp;

pub use board::{Board, Signs};
pub(crate) use file::{FileReporter, kept};
pub(crate) use harmless::{harmless, harmless_json, harmless_line};
pub(crate) use json::JsonReporter;
pub use line::LineReporter;
pub use live::{LiveReporter, NowReporter, Screen};

/// A date and a time of day, in UTC.
fn date(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}
