//! Reporters: what is made of the event stream.

mod board;
mod file;
mod json;
mod line;
mod live;

pub use board::{Board, Signs, WIDTH};
pub use file::FileReporter;
pub use json::JsonReporter;
pub use line::LineReporter;
pub use live::{LiveReporter, Screen};
