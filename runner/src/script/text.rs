//! What Lua's `string` does that could take for ever: patterns, over a matcher that has a budget, and repetition.
//!
//! `find`, `match` and `rep` are what playbooks call, so that also `return s:match(p)` leaves the frame whose line is
//! reported. Of the others `library.lua` makes Lua's functions, since they call functions of the playbook's or are called
//! again and again: they return whether they succeeded, and then the results or a complaint.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::rc::Rc;

use mlua::debug::Debug;
use mlua::{IntoLuaMulti, Lua, LuaString, MultiValue, Table, Value};

use super::pattern::{Captured, Matcher, Stop, find_plain, is_plain};
use super::shared::{MEMORY, Shared, too_much_memory};

/// What one of the functions returns.
type Results = Result<Vec<Value>, Trouble>;

/// Why it doesn't.
enum Trouble {
    /// The message for the playbook.
    Complaint(String),
    /// Lua itself failed: it has no memory left.
    Lua(mlua::Error),
}

impl From<mlua::Error> for Trouble {
    fn from(error: mlua::Error) -> Self {
        Self::Lua(error)
    }
}

/// Adds the functions to `host`.
pub(super) fn add(lua: &Lua, host: &Table, shared: &Rc<RefCell<Shared>>) -> mlua::Result<()> {
    type Function = fn(&Call<'_>) -> Results;
    let functions: [(&str, bool, Function); 6] = [
        ("find", true, |call| call.search(true)),
        ("match", true, |call| call.search(false)),
        ("rep", true, |call| call.rep()),
        ("gmatch", false, |call| call.gmatch()),
        ("gsub", false, |call| call.gsub()),
        ("scan", false, |call| call.scan()),
    ];
    for (name, direct, function) in functions {
        let shared = Rc::clone(shared);
        let function = move |lua: &Lua, args: MultiValue| {
            let call = Call {
                lua,
                name,
                direct,
                args: args.into_iter().collect(),
                shared: &shared,
            };
            let mut results = match function(&call) {
                Ok(results) => MultiValue::from_vec(results),
                Err(Trouble::Complaint(complaint)) if direct => {
                    let place = lua.inspect_stack(1, place).unwrap_or_default();
                    return Err(mlua::Error::runtime(place + &complaint));
                }
                Err(Trouble::Complaint(complaint)) => {
                    return (false, complaint).into_lua_multi(lua);
                }
                Err(Trouble::Lua(error)) => return Err(error),
            };
            if !direct {
                results.push_front(Value::Boolean(true));
            }
            Ok(results)
        };
        host.set(name, lua.create_function(function)?)?;
    }
    Ok(())
}

/// The line of a frame, as Lua puts it before its messages.
fn place(frame: &Debug<'_>) -> String {
    let chunk = frame.source().short_src;
    let place = frame.current_line().zip(chunk);
    place.map_or_else(String::new, |(line, chunk)| format!("{chunk}:{line}: "))
}

/// A call of one of the functions.
struct Call<'a> {
    lua: &'a Lua,
    name: &'static str,
    /// Whether the playbook has called it, and not the prelude for it.
    direct: bool,
    args: Vec<Value>,
    shared: &'a RefCell<Shared>,
}

impl Call<'_> {
    /// `string.find` and `string.match`.
    fn search(&self, find: bool) -> Results {
        let (text, pattern) = (self.text(0)?, self.text(1)?);
        let (text, mut pattern) = (&*text.as_bytes(), &*pattern.as_bytes());
        let from = self.from(text)?;
        if from > text.len() {
            return Ok(vec![Value::Nil]);
        }
        let plain = !matches!(
            self.args.get(3),
            None | Some(Value::Nil | Value::Boolean(false))
        );
        if find && (plain || is_plain(pattern)) {
            let found = self.spending(text, |budget| find_plain(text, pattern, from, budget))?;
            return Ok(match found {
                Some(at) => vec![position(at + 1), position(at + pattern.len())],
                None => vec![Value::Nil],
            });
        }
        let anchored = pattern.first() == Some(&b'^');
        pattern = &pattern[usize::from(anchored)..];
        let found = self.spending(text, |budget| {
            let mut matcher = Matcher::new(text, pattern, budget);
            let Some(whole) = matcher.find(from, anchored, None)? else {
                return Ok(None);
            };
            let captures = if find {
                matcher.captures()
            } else {
                matcher.captured(whole)
            };
            Ok(Some((whole, captures?)))
        });
        let Some(((at, end), captures)) = found? else {
            return Ok(vec![Value::Nil]);
        };
        let mut results = Vec::new();
        if find {
            results.extend([position(at + 1), position(end)]);
        }
        results.extend(self.values(captures)?);
        Ok(results)
    }

    /// `string.rep`, which in C would count through any number of nothings.
    fn rep(&self) -> Results {
        let text = self.text(0)?;
        let count = self.integer(1)?;
        let count = count.ok_or_else(|| self.unexpected(1, "number"))?;
        let between = match self.args.get(2) {
            None | Some(Value::Nil) => self.lua.create_string("")?,
            Some(_) => self.text(2)?,
        };
        let (text, between) = (&*text.as_bytes(), &*between.as_bytes());
        let count = usize::try_from(count).unwrap_or(0);
        let whole = (text.len() + between.len()).saturating_mul(count);
        if whole > MEMORY {
            return Err(Trouble::Complaint(too_much_memory()));
        }
        let Some(but_one) = count.checked_sub(1) else {
            return Ok(vec![Value::String(self.lua.create_string("")?)]);
        };
        let mut out = if whole == 0 {
            Vec::new()
        } else {
            [text, between].concat().repeat(but_one)
        };
        out.extend_from_slice(text);
        Ok(vec![Value::String(self.lua.create_string(out)?)])
    }

    /// What `string.gmatch` continues with: text, pattern, and where to begin.
    fn gmatch(&self) -> Results {
        let (text, pattern) = (self.text(0)?, self.text(1)?);
        let from = self.from(&text.as_bytes())?;
        let from = position(from + 1);
        Ok(vec![Value::String(text), Value::String(pattern), from])
    }

    /// The next match: where it begins, where the text continues after it, and the captures. The arguments are the
    /// prelude's: a text, a pattern, where to begin, where the text continued after the last match, whether this one is to
    /// begin right there, and whether the first capture will do.
    fn scan(&self) -> Results {
        let args = MultiValue::from_vec(self.args.clone());
        type Args = (LuaString, LuaString, usize, Option<usize>, bool, bool);
        let (text, pattern, from, last, anchored, first): Args = self.lua.unpack_multi(args)?;
        let (text, pattern) = (&*text.as_bytes(), &*pattern.as_bytes());
        let found = self.spending(text, |budget| {
            let mut matcher = Matcher::new(text, pattern, budget);
            let Some(whole) = matcher.find(from - 1, anchored, last.map(|last| last - 1))? else {
                return Ok(None);
            };
            let captures = if first {
                vec![matcher.capture(0, whole)?]
            } else {
                matcher.captured(whole)?
            };
            Ok(Some((whole, captures)))
        });
        let Some(((at, end), captures)) = found? else {
            return Ok(Vec::new());
        };
        let mut results = vec![position(at + 1), position(end + 1)];
        results.extend(self.values(captures)?);
        Ok(results)
    }

    /// `string.gsub`: its results, where a text takes the matches' place. Where a function or a table says what does, what the
    /// prelude needs for asking it: the text, the pattern without its anchor, whether there was one, and how many matches to replace.
    fn gsub(&self) -> Results {
        let (subject, pattern) = (self.text(0)?, self.text(1)?);
        let most = self.integer(3)?;
        let most =
            most.unwrap_or_else(|| i64::try_from(subject.as_bytes().len() + 1).unwrap_or(i64::MAX));
        let by = self.args.get(2).cloned().unwrap_or(Value::Nil);
        let (text, bytes) = (&*subject.as_bytes(), &*pattern.as_bytes());
        let anchored = bytes.first() == Some(&b'^');
        let bytes = &bytes[usize::from(anchored)..];
        let by = match by {
            Value::Function(_) | Value::Table(_) => {
                let pattern = self.lua.create_string(bytes)?;
                return Ok(vec![
                    Value::String(subject.clone()),
                    Value::String(pattern),
                    Value::Boolean(anchored),
                    Value::Integer(most),
                ]);
            }
            Value::String(_) | Value::Integer(_) | Value::Number(_) => self.text(2)?,
            _ => return Err(self.unexpected(2, "string/function/table")),
        };
        let by = &*by.as_bytes();
        let replaced = self.spending(text, |budget| {
            let mut matcher = Matcher::new(text, bytes, budget);
            let (mut out, mut count, mut from, mut last) = (Vec::new(), 0, 0, None);
            while count < most {
                let Some((at, end)) = matcher.find(from, anchored, last)? else {
                    break;
                };
                out.extend_from_slice(&text[from..at]);
                matcher.replace((at, end), by, &mut out)?;
                if out.len() > MEMORY {
                    return Err(Stop::Wrong(too_much_memory()));
                }
                (count, from, last) = (count + 1, end, Some(end));
                if anchored {
                    break;
                }
            }
            out.extend_from_slice(&text[from..]);
            Ok((out, count))
        });
        let (out, count) = replaced?;
        let out = self.lua.create_string(out)?;
        Ok(vec![Value::String(out), Value::Integer(count)])
    }

    /// Lets `work` have what is left of the strand's budget.
    fn spending<T>(
        &self,
        text: &[u8],
        work: impl FnOnce(&mut u64) -> Result<T, Stop>,
    ) -> Result<T, Trouble> {
        let (before, all) = {
            let shared = self.shared.borrow();
            (shared.left(), shared.budget)
        };
        let mut left = before;
        let done = work(&mut left);
        self.shared.borrow_mut().spend(before - left);
        let complaint = |stop| match stop {
            Stop::Wrong(complaint) => complaint,
            // Others before it may have used up nearly all of it.
            Stop::TooLong if before < all / 2 => {
                "all patterns since the last step together take too long".to_owned()
            }
            Stop::TooLong => format!(
                "this pattern takes too long on {} bytes of text: anchor it, let its parts match less (\"[^=]*\" for \".-\"), \
                 or use find with plain = true",
                text.len()
            ),
        };
        done.map_err(|stop| Trouble::Complaint(complaint(stop)))
    }

    fn values(&self, captures: Vec<Captured<'_>>) -> mlua::Result<Vec<Value>> {
        let value = |captured| match captured {
            Captured::Text(text) => self.lua.create_string(text).map(Value::String),
            Captured::Position(at) => Ok(position(at)),
        };
        captures.into_iter().map(value).collect()
    }

    /// An argument that is a text, or a number as one.
    fn text(&self, i: usize) -> Result<LuaString, Trouble> {
        let value = self.args.get(i).cloned().unwrap_or(Value::Nil);
        let text = match value {
            Value::String(text) => Some(text),
            Value::Integer(_) | Value::Number(_) => self.lua.coerce_string(value)?,
            _ => None,
        };
        text.ok_or_else(|| self.unexpected(i, "string"))
    }

    /// An argument that is a whole number, or left out.
    fn integer(&self, i: usize) -> Result<Option<i64>, Trouble> {
        let value = match self.args.get(i) {
            None | Some(Value::Nil) => return Ok(None),
            Some(value) => value,
        };
        if let Some(integer) = self.lua.coerce_integer(value.clone())? {
            return Ok(Some(integer));
        }
        Err(match self.lua.coerce_number(value.clone())? {
            Some(_) => self.bad(i, "number has no integer representation"),
            None => self.unexpected(i, "number"),
        })
    }

    /// Where the third argument says to begin, counted from 0; after the end is all the same.
    fn from(&self, text: &[u8]) -> Result<usize, Trouble> {
        let from = self.integer(2)?.unwrap_or(1);
        let magnitude = usize::try_from(from.unsigned_abs()).unwrap_or(usize::MAX);
        Ok(if from < 0 {
            text.len().saturating_sub(magnitude)
        } else {
            magnitude.saturating_sub(1).min(text.len() + 1)
        })
    }

    fn unexpected(&self, i: usize, expected: &str) -> Trouble {
        let got = match self.args.get(i) {
            None => "no value".to_owned(),
            Some(Value::Table(table)) => {
                let name = table.metatable().and_then(|mt| mt.raw_get("__name").ok());
                name.and_then(|name: Value| Some(name.as_string()?.to_string_lossy()))
                    .unwrap_or_else(|| "table".to_owned())
            }
            Some(Value::Integer(_)) => "number".to_owned(),
            Some(other) => other.type_name().to_owned(),
        };
        self.bad(i, &format!("{expected} expected, got {got}"))
    }

    /// Lua's words for an argument that doesn't fit. The text that a method is called on isn't counted.
    fn bad(&self, i: usize, what: &str) -> Trouble {
        let called = self.lua.inspect_stack(usize::from(!self.direct), |frame| {
            let names = frame.names();
            let name = names.name.map(std::borrow::Cow::into_owned);
            name.map(|name| (name, names.name_what == Some("method")))
        });
        Trouble::Complaint(match called.flatten() {
            Some((name, true)) if i == 0 => format!("calling '{name}' on bad self ({what})"),
            Some((name, true)) => format!("bad argument #{i} to '{name}' ({what})"),
            Some((name, false)) => format!("bad argument #{} to '{name}' ({what})", i + 1),
            None => format!("bad argument #{} to '{}' ({what})", i + 1, self.name),
        })
    }
}

/// A position in a text, as Lua has it.
fn position(at: usize) -> Value {
    Value::Integer(i64::try_from(at).unwrap_or(i64::MAX))
}
