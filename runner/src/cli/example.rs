//! Examples of what can be typed.

/// What is typed, and what for.
pub(crate) type Example = (&'static str, &'static str);
