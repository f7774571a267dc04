//! Secrets: values that a run needs and that nobody gets to read in what it leaves behind.
//!
//! Lua, the journal, plans and simulated clusters only ever hold a *placeholder*. Right before an op runs, placeholders in its
//! arguments become values (`Secrets::put_in`); in whatever comes back from it they become placeholders again
//! (`Secrets::take_out`); and whatever a person or a program gets to see of a run has `***` for either (`Secrets::show`).

mod forms;
mod placeholder;
mod source;

use std::fmt;

use lockstep_modules::contract::error::{Kind, OpError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use forms::Forms;
use placeholder::{CLOSES, OPENS, STARS, next};

pub use placeholder::placeholder;
pub(crate) use placeholder::shown;
pub use source::Source;
pub(crate) use source::{Opened, Unusable, anchored};

/// The secrets of a run.
#[derive(Default)]
pub struct Secrets {
    /// By name. A run on a simulated cluster has no values.
    all: Vec<(String, Option<String>)>,
    /// Every form in which a value may come back; none where there are no values.
    forms: Option<Forms>,
}

/// Names only.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.all.iter().map(|(name, _)| name))
            .finish()
    }
}

impl Secrets {
    /// The secrets of a run on a simulated cluster: placeholders go all the way.
    pub(crate) fn simulated(names: impl IntoIterator<Item = String>) -> Self {
        Self {
            all: names.into_iter().map(|name| (name, None)).collect(),
            forms: None,
        }
    }

    /// Secrets with their values.
    ///
    /// # Errors
    /// Where they are too much together.
    pub fn of(values: impl IntoIterator<Item = (String, Opened)>) -> Result<Self, Unusable> {
        let values = values
            .into_iter()
            .map(|(name, opened)| (name, opened.value));
        let values: Vec<(String, String)> = values.collect();
        let forms = (!values.is_empty()).then(|| Forms::of(&values));
        let forms = forms.transpose()?;
        let all = values.into_iter().map(|(name, value)| (name, Some(value)));
        Ok(Self {
            all: all.collect(),
            forms,
        })
    }

    /// Puts values in place of placeholders. Where there are no values, placeholders stay.
    ///
    /// # Errors
    /// For what was a placeholder and has been cut or changed: the program would be given what nobody meant.
    pub(crate) fn put_in(&self, value: Value) -> Result<Value, OpError> {
        if self.all.is_empty() {
            return Ok(value);
        }
        let mut broken = false;
        let filled = each_text(value, &mut |_, text| {
            let filled = self.filled(text);
            broken |= filled.is_none();
            filled.unwrap_or_default()
        });
        if broken {
            return Err(OpError::new(
                Kind::Args,
                "an argument holds a part of a secret, or one that was changed: a secret can only be passed on whole",
            ));
        }
        Ok(filled)
    }

    fn filled(&self, text: &str) -> Option<String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, name, after)) = next(rest) {
            let name = name?;
            let (_, value) = self.all.iter().find(|(known, _)| known == name)?;
            filled.push_str(before);
            filled.push_str(&value.clone().unwrap_or_else(|| placeholder(name)));
            rest = after;
        }
        filled.push_str(rest);
        Some(filled)
    }

    /// Takes values out of what an op returned. A value as it is becomes its placeholder, so that a playbook can pass it on;
    /// one in another form (in base64, as a part of JSON) becomes `***`, since nothing could make it again. What a member
    /// made to look like a placeholder isn't one any more: it would be filled in the next time it is passed on.
    pub(crate) fn take_out(&self, value: Value) -> Value {
        let Some(forms) = &self.forms else {
            return value;
        };
        each_text(value, &mut |_, text| {
            let text = text.replace([OPENS, CLOSES], "\u{FFFD}");
            forms.replaced(&text, placeholder)
        })
    }

    /// As [`Secrets::take_out`], of one text.
    pub(crate) fn take_out_of(&self, text: String) -> String {
        match self.take_out(Value::String(text)) {
            Value::String(text) => text,
            _ => String::new(),
        }
    }

    /// As [`Secrets::take_out`], of a failure.
    pub(crate) fn take_out_of_error(&self, error: OpError) -> OpError {
        let detail = match self.take_out(Value::Object(error.detail)) {
            Value::Object(detail) => detail,
            _ => Map::new(),
        };
        OpError {
            message: self.take_out_of(error.message),
            detail,
            ..error
        }
    }

    /// A text as people may see it: `***` for every value and every placeholder.
    pub(crate) fn show_text(&self, text: &str) -> String {
        let text = match &self.forms {
            Some(forms) => forms.replaced(text, |_| STARS.to_owned()),
            None => text.to_owned(),
        };
        shown(&text).into_owned()
    }

    /// The last line with a letter or a number in it of what a program has printed so far, as people may see it. None where
    /// it may be a part of a secret: a program that encodes a long one prints it in several lines, of which each is a word.
    pub(crate) fn last_line(&self, lines: &str) -> Option<String> {
        /// A word from which on it may be one. Programs break what they encode at 60 letters and more.
        const WORD: usize = 40;
        let shown = self.show_text(lines);
        let says = |line: &&str| line.chars().any(char::is_alphanumeric);
        let line = shown.split(['\n', '\r']).map(str::trim).rfind(says)?;
        let part = self.forms.is_some() && line.split_whitespace().any(|word| word.len() >= WORD);
        (!part).then(|| line.to_owned())
    }

    /// As [`Secrets::show_text`], of all texts in something. None where it can't be read again, so that it isn't shown at all.
    pub(crate) fn show<T: Serialize + DeserializeOwned>(&self, whole: T) -> Option<T> {
        /// Fields with words of our own, which a value may be by chance.
        const OURS: [&str; 6] = ["event", "effect", "by", "kind", "level", "outcome"];
        if self.all.is_empty() {
            return Some(whole);
        }
        let value = serde_json::to_value(&whole).ok()?;
        let value = each_text(value, &mut |field, text| {
            if OURS.contains(&field) {
                shown(text).into_owned()
            } else {
                self.show_text(text)
            }
        });
        serde_json::from_value(value).ok()
    }
}

/// Changes every text in a value, given the field that it is in. The names of fields are texts too, in the field "".
fn each_text(value: Value, change: &mut impl FnMut(&str, &str) -> String) -> Value {
    fn at(value: Value, field: &str, change: &mut impl FnMut(&str, &str) -> String) -> Value {
        match value {
            Value::String(text) => Value::String(change(field, &text)),
            Value::Array(items) => items.into_iter().map(|i| at(i, field, change)).collect(),
            Value::Object(fields) => {
                let fields = fields.into_iter().map(|(name, value)| {
                    let value = at(value, &name, change);
                    (change("", &name), value)
                });
                Value::Object(fields.collect())
            }
            other => other,
        }
    }
    at(value, "", change)
}

#[cfg(test)]
mod tests;
