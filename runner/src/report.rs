//! Reporters: what is made of the event stream.

mod file;
mod json;
mod line;

pub use file::FileReporter;
pub use json::JsonReporter;
pub use line::LineReporter;
