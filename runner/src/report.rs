//! What people are told: reporters, which make something of the event stream, and the texts about failures and holds.

mod board;
pub mod excerpt;
pub mod failure;
mod file;
pub mod harmless;
pub mod hold;
pub mod html;
mod json;
mod line;
mod live;
pub mod markdown;

pub use board::{Board, Signs, WIDTH};
pub use file::FileReporter;
pub(crate) use file::{OUT, kept};
pub use harmless::{harmless, harmless_json, harmless_line};
pub use json::JsonReporter;
pub use line::LineReporter;
pub use live::{LiveReporter, NowReporter, Screen};
