//! `[notify]`: who gets to know what a run comes to. In a cluster file it is for the runs on that cluster, in `fleet.toml` for the
//! rollouts of the fleet and for the runs of its clusters.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockstep_modules::contract::schema::Span;
use serde::{Deserialize, Serialize};

use crate::secret::anchored;

/// The table, as it is written; in a run's folder with paths that are absolute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notify {
    /// What is sent events, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub webhook: BTreeMap<String, Webhook>,
    /// Where alerts are silenced while steps run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<Silence>,
    /// The folder that node_exporter's textfile collector reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<PathBuf>,
    /// Also of runs on simulated clusters.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub simulated: bool,
}

/// A receiver of events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where they are posted.
    pub url: String,
    /// The file with the secret that they are signed with.
    pub secret: PathBuf,
    /// Which ones it gets.
    #[serde(default = "Topic::all")]
    pub events: Vec<Topic>,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topic {
    /// The run was started or resumed.
    Begin,
    /// It is held at a step, or was suspended.
    Hold,
    /// It has nothing to do before a time, and no process waits for that.
    Wait,
    /// It waits for an answer.
    Question,
    /// A ring of a rollout has begun or ended.
    Ring,
    /// The run has ended.
    End,
}

impl Topic {
    fn all() -> Vec<Self> {
        vec![
            Self::Begin,
            Self::Hold,
            Self::Wait,
            Self::Question,
            Self::Ring,
            Self::End,
        ]
    }
}

/// A silence in an Alertmanager, for as long as it is extended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Silence {
    /// Where the Alertmanager is.
    pub alertmanager: String,
    /// The alerts that are meant. `{cluster}` is the cluster's name.
    pub matchers: Vec<Matcher>,
    /// How long it lasts without being extended.
    #[serde(default = "lease")]
    pub span: Span,
}

/// Longer than what goes on between two looks of a person, and short enough to page them after a crash.
fn lease() -> Span {
    Span::secs(25 * 60)
}

/// What a label of an alert must be: `LABEL=VALUE`, `!=`, `=~` or `!~`, as Alertmanager writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Matcher {
    /// The label.
    pub label: String,
    /// The value that it is compared with.
    pub value: String,
    /// The value is a regular expression.
    pub is_regex: bool,
    /// It must be so, and not otherwise.
    pub is_equal: bool,
}

impl TryFrom<String> for Matcher {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let end = text.find(['=', '!']).unwrap_or(text.len());
        let (label, rest) = text.split_at(end);
        let label = label.trim();
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let operators = [
            ("=~", true, true),
            ("!~", true, false),
            ("!=", false, false),
            ("=", false, true),
        ];
        let known = operators
            .iter()
            .find_map(|(word, regex, equal)| Some((rest.strip_prefix(word)?, *regex, *equal)));
        match known {
            Some((value, is_regex, is_equal)) if !label.is_empty() && label.chars().all(plain) => {
                let value = value.trim();
                let unquoted = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
                Ok(Self {
                    label: label.to_owned(),
                    value: unquoted.unwrap_or(value).to_owned(),
                    is_regex,
                    is_equal,
                })
            }
            _ => Err(format!(
                "{text:?} is not a matcher: write for example \"site=berlin\" or \"alertname=~Ceph.*\""
            )),
        }
    }
}

impl From<Matcher> for String {
    fn from(matcher: Matcher) -> Self {
        let operator = match (matcher.is_regex, matcher.is_equal) {
            (false, true) => "=",
            (false, false) => "!=",
            (true, true) => "=~",
            (true, false) => "!~",
        };
        format!("{}{operator}{}", matcher.label, matcher.value)
    }
}

/// The bounds of a silence's span.
const SPANS: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(24 * 3600)];

impl Notify {
    /// Whether nobody gets to know anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.webhook.is_empty() && self.silence.is_none() && self.metrics.is_none()
    }

    /// Has its relative paths begin in this folder.
    pub(crate) fn anchor(&mut self, folder: &Path) {
        let secrets = self.webhook.values_mut().map(|webhook| &mut webhook.secret);
        for path in secrets.chain(&mut self.metrics) {
            *path = anchored(path, folder);
        }
    }

    /// With what another one has and this one hasn't.
    #[must_use]
    pub(crate) fn or(mut self, other: &Self) -> Self {
        for (name, webhook) in &other.webhook {
            self.webhook
                .entry(name.clone())
                .or_insert_with(|| webhook.clone());
        }
        self.silence = self.silence.or_else(|| other.silence.clone());
        self.metrics = self.metrics.or_else(|| other.metrics.clone());
        self.simulated |= other.simulated;
        self
    }

    /// What of it is for a run on a cluster, which may be simulated.
    #[must_use]
    pub(crate) fn on(&self, simulated: bool) -> Self {
        match simulated && !self.simulated {
            true => Self::default(),
            false => self.clone(),
        }
    }

    /// What the types can't say: the text to be found in the file, and what is wrong there.
    pub(crate) fn check(&self) -> Result<(), (String, String)> {
        for (name, webhook) in &self.webhook {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if name.is_empty() || !name.chars().all(plain) {
                let what = format!(
                    "{name:?} can't be the name of a webhook: only a-z, 0-9 and '-' can be in one"
                );
                return Err((name.clone(), what));
            }
            url(&webhook.url)?;
            if webhook.events.is_empty() {
                let what =
                    format!("the webhook {name:?} gets no events: leave `events` out for all");
                return Err((format!("notify.webhook.{name}"), what));
            }
        }
        let Some(silence) = &self.silence else {
            return Ok(());
        };
        url(&silence.alertmanager)?;
        let wrong = |key: &str, what: &str| Err((key.to_owned(), what.to_owned()));
        if silence.matchers.is_empty() {
            return wrong(
                "matchers",
                "a silence without matchers would be one for every alert",
            );
        }
        let [shortest, longest] = SPANS;
        if !(shortest..=longest).contains(&silence.span.0) {
            return wrong(
                "notify.silence",
                "the span of a silence is at least 1m and at most 24h",
            );
        }
        Ok(())
    }
}

/// Refuses what is no address of a web server.
fn url(text: &str) -> Result<(), (String, String)> {
    let rest = ["http://", "https://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let odd = |c: char| c.is_whitespace() || c.is_control();
    match rest {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') && !text.contains(odd) => Ok(()),
        _ => Err((
            text.to_owned(),
            format!("{text:?} is not a URL that begins with http:// or https://"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notify(text: &str) -> Notify {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_matcher_is_written_as_alertmanager_does() {
        for (text, regex, equal, value) in [
            ("site=berlin", false, true, "berlin"),
            ("site = \"a b\"", false, true, "a b"),
            ("site!=x=y", false, false, "x=y"),
            ("site=~a|b", true, true, "a|b"),
            ("site!~", true, false, ""),
        ] {
            let matcher = Matcher::try_from(text.to_owned()).unwrap();
            let expected = ("site", value, regex, equal);
            let found = (matcher.label.as_str(), matcher.value.as_str());
            assert_eq!(
                (found.0, found.1, matcher.is_regex, matcher.is_equal),
                expected
            );
            assert_eq!(
                Matcher::try_from(String::from(matcher.clone())),
                Ok(matcher)
            );
        }
        for text in ["", "site", "=x", "a b=c", "site~x"] {
            assert!(Matcher::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn what_a_cluster_has_itself_wins() {
        let own =
            notify("metrics = \"own\"\nwebhook.chat = { url = \"http://own\", secret = \"s\" }");
        let fleet = notify(
            "metrics = \"fleet\"\nsilence = { alertmanager = \"http://am\", matchers = [\"a=b\"] }\n\
             webhook.chat = { url = \"http://fleet\", secret = \"s\" }\n\
             webhook.pager = { url = \"http://pager\", secret = \"s\", events = [\"hold\"] }",
        );
        let both = own.or(&fleet);
        assert_eq!(both.metrics.as_deref(), Some(Path::new("own")));
        assert_eq!(both.webhook["chat"].url, "http://own");
        assert_eq!(both.webhook["pager"].events, [Topic::Hold]);
        assert_eq!(both.silence, fleet.silence);
        assert_eq!(
            both.on(true),
            Notify::default(),
            "nobody asked for simulated ones"
        );
    }
}
