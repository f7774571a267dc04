//! Lists as people read them.

use std::fmt::Display;

/// The items, with `between` between them.
#[must_use]
pub fn joined(items: impl IntoIterator<Item = impl Display>, between: &str) -> String {
    let items = items.into_iter().map(|item| item.to_string());
    items.collect::<Vec<_>>().join(between)
}
