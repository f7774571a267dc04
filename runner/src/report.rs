//! Reporters: what is made of the event stream.

mod board;
mod file;
mod harmless;
pub mod html;
mod json;
mod line;
mod live;
pub mod markdown;

pub use board::{Board, Signs, WIDTH};
pub use file::FileReporter;
pub use harmless::harmless;
pub use json::JsonReporter;
pub use line::LineReporter;
pub use live::{LiveReporter, Screen};
