//! What stands in place of a secret: a placeholder where it is passed on, `***` where people read.

use std::borrow::Cow;

/// What stands around the name of a secret in a placeholder: two characters that Unicode keeps free, so that no product prints
/// and no playbook contains them. They pass through JSON, Lua and the words of a command as any text does.
pub(super) const OPENS: char = '\u{E000}';
pub(super) const CLOSES: char = '\u{E001}';

/// What is shown in place of a secret.
pub(super) const STARS: &str = "***";

/// What stands for the secret of this name wherever its value must not be.
#[must_use]
pub fn placeholder(name: &str) -> String {
    format!("{OPENS}secret:{name}{CLOSES}")
}

/// A text as people may see it: `***` for every placeholder.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains([OPENS, CLOSES]) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, name, after)) = next(rest) {
        shown.push_str(before);
        shown.push_str(if name.is_some() { STARS } else { "" });
        rest = after;
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

/// The text before the first placeholder, the name in it, and the text after it. What was a placeholder and has been cut or
/// changed has no name.
pub(super) fn next(text: &str) -> Option<(&str, Option<&str>, &str)> {
    let (before, rest) = text.split_at(text.find([OPENS, CLOSES])?);
    let whole = rest.strip_prefix(OPENS).and_then(|rest| {
        let (inside, after) = rest.split_once(CLOSES)?;
        let name = inside.strip_prefix("secret:")?;
        (!name.contains(OPENS)).then_some((name, after))
    });
    let (name, after) = match whole {
        Some((name, after)) => (Some(name), after),
        None => (None, &rest[OPENS.len_utf8()..]),
    };
    Some((before, name, after))
}
