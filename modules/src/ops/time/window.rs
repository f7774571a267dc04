//! `time.window`: the hours in which a site lets itself be changed.

use std::time::Duration;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::near;
use crate::contract::op::{Effect, Op};
use crate::contract::schema::Span;

/// Wait until a maintenance window is open. Where it is open already, continue at once.
///
/// The hours are those of the given time zone, also over a change to or from daylight saving time. A window from 22:00 to 04:00
/// belongs to the day on which it opens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    /// The days on which it opens: mon, tue, wed, thu, fri, sat, sun. Every day if none is given.
    #[serde(default)]
    pub days: Vec<String>,
    /// From when to when, for example "01:00-05:00".
    #[schemars(example = "01:00-05:00")]
    pub hours: String,
    /// The time zone, for example Europe/Berlin.
    #[serde(default = "utc")]
    pub zone: String,
    /// Days on which it doesn't open, for example 2026-12-24.
    #[serde(default)]
    pub not_on: Vec<String>,
    /// What is to begin may take this long: the window has to stay open for it, if it ever is that long.
    #[serde(default)]
    pub room: Option<Span>,
}

fn utc() -> String {
    "UTC".to_owned()
}

/// An open window.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WindowOut {
    /// When it closes, as RFC 3339.
    closes: String,
}

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// As far ahead as an opening is looked for: a window on one weekday with a year of exceptions never opens.
const AHEAD: i64 = 370;

/// A window that makes sense.
struct Parsed {
    days: Vec<Weekday>,
    from: Time,
    to: Time,
    zone: TimeZone,
    not_on: Vec<Date>,
    room: Duration,
}

/// When a window is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// From when.
    pub opens: Timestamp,
    /// Until when.
    pub closes: Timestamp,
}

impl Hours {
    /// Reads what the texts say.
    fn parsed(&self) -> Result<Parsed, String> {
        let day = |text: &String| {
            let names = DAYS.map(|(name, _)| name);
            let known = DAYS.iter().find(|(name, _)| name == text);
            known.map(|(_, day)| *day).ok_or_else(|| {
                let hint = near::hint(text, &names);
                format!(
                    "there is no day {text:?}{hint}; the days are {}",
                    names.join(", ")
                )
            })
        };
        let time = |text: &str| {
            let complain = || {
                format!(
                    "{:?} are no hours: write for example \"01:00-05:00\"",
                    self.hours
                )
            };
            match text.trim().split_once(':') {
                Some((hour, minute)) if minute.len() == 2 => {
                    let number = |text: &str| text.parse::<i8>().map_err(|_| complain());
                    Time::new(number(hour)?, number(minute)?, 0, 0).map_err(|_| complain())
                }
                _ => Err(complain()),
            }
        };
        let (from, to) = self.hours.split_once('-').unwrap_or((&self.hours, ""));
        let date = |text: &String| {
            let date = text.parse::<Date>();
            date.map_err(|_| format!("{text:?} is not a day: write for example 2026-12-24"))
        };
        Ok(Parsed {
            days: self.days.iter().map(day).collect::<Result<_, _>>()?,
            from: time(from)?,
            to: time(to)?,
            zone: TimeZone::get(&self.zone).map_err(|_| {
                format!(
                    "there is no time zone {:?}; one is Europe/Berlin",
                    self.zone
                )
            })?,
            not_on: self.not_on.iter().map(date).collect::<Result<_, _>>()?,
            room: self.room.map_or(Duration::ZERO, |span| span.0),
        })
    }

    /// When the window is open next, or is now; none if it isn't within a year.
    ///
    /// # Errors
    /// With a sentence about what doesn't make sense.
    pub fn next(&self, now: Timestamp) -> Result<Option<Opening>, String> {
        let window = self.parsed()?;
        let today = now.to_zoned(window.zone.clone()).date();
        // The one that opened yesterday may still be open.
        let openings =
            (-1..=AHEAD).filter_map(|day| window.opening(today.checked_add(day.days()).ok()?));
        let mut openings = openings.filter(|opening| now < opening.closes);
        Ok(openings.find(|opening| {
            let left = opening
                .closes
                .duration_since(now.max(opening.opens))
                .unsigned_abs();
            let whole = opening.closes.duration_since(opening.opens).unsigned_abs();
            window.room > whole || left >= window.room
        }))
    }

    /// Whether the window is open.
    ///
    /// # Errors
    /// With a sentence about what doesn't make sense.
    pub fn is_open(&self, now: Timestamp) -> Result<bool, String> {
        Ok(self.next(now)?.is_some_and(|next| next.opens <= now))
    }

    /// When the window opens next, or has opened.
    ///
    /// # Errors
    /// With a sentence about what doesn't make sense, or that it doesn't open within a year.
    pub(crate) fn opens(&self, now: Timestamp) -> Result<Timestamp, String> {
        Ok(self.opening(now)?.opens)
    }

    fn opening(&self, now: Timestamp) -> Result<Opening, String> {
        let next = self.next(now)?;
        next.ok_or_else(|| "the window doesn't open within a year".to_owned())
    }

    /// Whether it makes sense.
    ///
    /// # Errors
    /// With a sentence about what doesn't.
    pub fn accepted(&self) -> Result<(), String> {
        self.parsed().map(drop)
    }

    /// Whether it makes sense, and ever opens.
    ///
    /// # Errors
    /// With a sentence about what doesn't.
    pub fn check(&self, now: Timestamp) -> Result<(), String> {
        self.opening(now).map(drop)
    }
}

impl Parsed {
    /// The opening that belongs to a day.
    fn opening(&self, day: Date) -> Option<Opening> {
        let on = self.days.is_empty() || self.days.contains(&day.weekday());
        if !on || self.not_on.contains(&day) {
            return None;
        }
        let until = if self.to > self.from {
            day
        } else {
            day.tomorrow().ok()?
        };
        let at = |day: Date, time: Time| {
            let zoned: Zoned = day.to_datetime(time).to_zoned(self.zone.clone()).ok()?;
            Some(zoned.timestamp())
        };
        Some(Opening {
            opens: at(day, self.from)?,
            closes: at(until, self.to)?,
        })
    }
}

/// `time.window`
pub struct Window;

impl Op for Window {
    const NAME: &'static str = "time.window";
    const EFFECT: Effect = Effect::Read;
    /// A window once a month, missed once.
    const TIMEOUT: Span = Span::secs(62 * 24 * 3600);
    type Args = Hours;
    type Out = WindowOut;

    fn check(args: &Hours) -> Result<(), String> {
        args.accepted()
    }

    fn headline(args: &Hours) -> String {
        let days = if args.days.is_empty() {
            String::new()
        } else {
            format!("{} ", args.days.join(","))
        };
        format!("{days}{} {}", args.hours, args.zone)
    }

    fn summary(out: &WindowOut) -> String {
        format!("open until {}", out.closes)
    }

    async fn run(cx: &Cx, args: Hours) -> Result<WindowOut, OpError> {
        loop {
            let now = cx.now();
            let next = args.opening(now).map_err(OpError::refused)?;
            if next.opens <= now {
                return Ok(WindowOut {
                    closes: format!("{:.0}", next.closes),
                });
            }
            cx.progress(0, None, format!("opens at {:.0}", next.opens));
            cx.waits(next.opens);
            // The clock may be set meanwhile: it is looked at again within the hour.
            let left = next.opens.duration_since(now).unsigned_abs();
            tokio::time::sleep(left.min(Duration::from_secs(3600))).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(days: &[&str], hours: &str, zone: &str) -> Hours {
        Hours {
            days: days.iter().map(|day| (*day).to_owned()).collect(),
            hours: hours.to_owned(),
            zone: zone.to_owned(),
            not_on: Vec::new(),
            room: None,
        }
    }

    fn next(hours: &Hours, now: &str) -> String {
        match hours.next(now.parse().unwrap()) {
            Ok(Some(Opening { opens, closes })) => format!("{opens} to {closes}"),
            Ok(None) => "never".to_owned(),
            Err(why) => why,
        }
    }

    #[test]
    fn a_window_opens_by_the_clock_of_its_zone() {
        // A Friday, in winter: Berlin is an hour ahead.
        let night = hours(&["mon", "fri"], "01:00-05:00", "Europe/Berlin");
        for (now, opening) in [
            (
                "2026-11-26T23:00:00Z",
                "2026-11-27T00:00:00Z to 2026-11-27T04:00:00Z",
            ),
            (
                "2026-11-27T01:30:00Z",
                "2026-11-27T00:00:00Z to 2026-11-27T04:00:00Z",
            ),
            (
                "2026-11-27T04:00:00Z",
                "2026-11-30T00:00:00Z to 2026-11-30T04:00:00Z",
            ),
        ] {
            assert_eq!(next(&night, now), opening, "{now}");
        }
        // In the night in which summer time begins there is an hour less.
        let summer = hours(&["sun"], "01:00-05:00", "Europe/Berlin");
        let opening = "2026-03-29T00:00:00Z to 2026-03-29T03:00:00Z";
        assert_eq!(next(&summer, "2026-03-28T12:00:00Z"), opening);
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_opens() {
        let late = hours(&["sat"], "22:00-04:00", "UTC");
        let opening = "2026-11-28T22:00:00Z to 2026-11-29T04:00:00Z";
        assert_eq!(next(&late, "2026-11-29T03:59:00Z"), opening);
        assert_eq!(next(&late, "2026-11-27T22:30:00Z"), opening);
    }

    #[test]
    fn what_has_to_fit_waits_for_the_next_window() {
        let mut night = hours(&[], "01:00-05:00", "UTC");
        night.room = Some(Span::secs(2 * 3600));
        let tomorrow = "2026-11-29T01:00:00Z to 2026-11-29T05:00:00Z";
        assert_eq!(next(&night, "2026-11-28T03:30:00Z"), tomorrow);
        let today = "2026-11-28T01:00:00Z to 2026-11-28T05:00:00Z";
        assert_eq!(next(&night, "2026-11-28T03:00:00Z"), today);
        // What never fits may begin at any time of it.
        night.room = Some(Span::secs(9 * 3600));
        assert_eq!(next(&night, "2026-11-28T03:30:00Z"), today);
    }

    #[test]
    fn days_off_and_windows_that_never_open() {
        let mut night = hours(&["thu"], "01:00-05:00", "UTC");
        night.not_on = vec!["2026-12-24".to_owned(), "2026-12-31".to_owned()];
        let opening = "2027-01-07T01:00:00Z to 2027-01-07T05:00:00Z";
        assert_eq!(next(&night, "2026-12-18T00:00:00Z"), opening);
        let off = |day: i64| {
            let first: Date = "2026-11-01".parse().unwrap();
            first.checked_add(day.days()).unwrap().to_string()
        };
        night.not_on = (0..500).map(off).collect();
        assert_eq!(next(&night, "2026-12-18T00:00:00Z"), "never");
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        let now = "2026-11-28T00:00:00Z";
        for (given, complaint) in [
            (
                hours(&["monday"], "01:00-05:00", "UTC"),
                "there is no day \"monday\"",
            ),
            (hours(&[], "1-5", "UTC"), "\"1-5\" are no hours"),
            (
                hours(&[], "25:00-26:00", "UTC"),
                "\"25:00-26:00\" are no hours",
            ),
            (hours(&[], "01:00", "UTC"), "\"01:00\" are no hours"),
            (
                hours(&[], "01:00-05:00", "Europe/Berln"),
                "there is no time zone \"Europe/Berln\"",
            ),
        ] {
            let said = next(&given, now);
            assert!(said.starts_with(complaint), "{said}");
        }
    }
}
