//! Labels of clusters, and what selects by them.

use std::collections::BTreeMap;

use lockstep_modules::contract::near;

/// The labels of a cluster.
pub type Labels = BTreeMap<String, String>;

/// Which clusters are meant: `country=de,tier!=1`, all of which must hold. `name` is the cluster's own; `*` in a value stands
/// for any text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Term>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    label: String,
    value: String,
    is: bool,
}

/// The label that every cluster has.
const NAME: &str = "name";

impl Selector {
    /// Reads one. An empty text selects everything.
    ///
    /// # Errors
    /// With a sentence about what isn't one.
    pub fn parse(text: &str) -> Result<Self, String> {
        let term = |term: &str| {
            let (label, value) = term.split_once('=').ok_or_else(|| {
                format!("{term:?} selects nothing: write LABEL=VALUE or LABEL!=VALUE")
            })?;
            let (label, is) = match label.strip_suffix('!') {
                Some(label) => (label, false),
                None => (label, true),
            };
            Ok(Term {
                label: label.trim().to_owned(),
                value: value.trim().to_owned(),
                is,
            })
        };
        let terms = text
            .split(',')
            .map(str::trim)
            .filter(|term| !term.is_empty());
        terms.map(term).collect::<Result<_, _>>().map(Self)
    }

    /// Whether it selects a cluster.
    #[must_use]
    pub fn selects(&self, name: &str, labels: &Labels) -> bool {
        self.0.iter().all(|term| {
            let value = match term.label.as_str() {
                NAME => Some(name),
                label => labels.get(label).map(String::as_str),
            };
            value.is_some_and(|value| matches(&term.value, value)) == term.is
        })
    }

    /// Why it can't be meant: a label or a value that no cluster has.
    #[must_use]
    pub fn complaint<'a>(
        &self,
        all: &(impl Iterator<Item = (&'a str, &'a Labels)> + Clone),
    ) -> Option<String> {
        self.0.iter().find_map(|term| {
            let mut values: Vec<&str> = match term.label.as_str() {
                NAME => all.clone().map(|(name, _)| name).collect(),
                label => all
                    .clone()
                    .filter_map(|(_, labels)| labels.get(label))
                    .map(String::as_str)
                    .collect(),
            };
            values.sort_unstable();
            values.dedup();
            if values.is_empty() {
                let mut labels: Vec<&str> = all
                    .clone()
                    .flat_map(|(_, labels)| labels.keys())
                    .map(String::as_str)
                    .collect();
                labels.push(NAME);
                labels.sort_unstable();
                labels.dedup();
                let hint = near::hint(&term.label, &labels);
                return Some(format!("no cluster has a label {:?}{hint}", term.label));
            }
            let none = !values.iter().any(|value| matches(&term.value, value));
            (none && term.is).then(|| {
                let hint = near::hint(&term.value, &values);
                format!("no cluster has {}={}{hint}", term.label, term.value)
            })
        })
    }
}

/// Whether a value is as a pattern has it, in which `*` stands for any text.
fn matches(pattern: &str, value: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == value;
    };
    let Some(mut value) = value.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match value.find(part) {
            Some(at) => value = &value[at + part.len()..],
            None => return false,
        }
    }
    value.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Labels {
        let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
        pairs
            .map(|(label, value)| (label.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn clusters_are_selected_by_labels_and_by_name() {
        let berlin = labels("country=de,tier=2");
        for (selector, selects) in [
            ("", true),
            ("country=de", true),
            ("country=de,tier=1", false),
            ("country!=fr, tier=2", true),
            ("canary=true", false),
            ("canary!=true", true),
            ("name=berlin-*", true),
            ("name=*-012", true),
            ("name=b*n-*2", true),
            ("name=berlin", false),
            ("name=*x*", false),
        ] {
            let parsed = Selector::parse(selector).unwrap();
            assert_eq!(parsed.selects("berlin-012", &berlin), selects, "{selector}");
        }
        assert!(
            Selector::parse("country")
                .unwrap_err()
                .contains("LABEL=VALUE")
        );
    }

    #[test]
    fn what_no_cluster_has_is_named() {
        let berlin = labels("country=de,tier=2");
        let all = [("berlin-012", &berlin)];
        let complaint = |text: &str| {
            Selector::parse(text)
                .unwrap()
                .complaint(&all.iter().copied())
        };
        assert_eq!(complaint("country=de"), None);
        assert_eq!(complaint("country!=fr"), None);
        let near = "no cluster has a label \"contry\" (did you mean \"country\"?)";
        assert_eq!(complaint("contry=de"), Some(near.to_owned()));
        assert_eq!(
            complaint("tier=7"),
            Some("no cluster has tier=7".to_owned())
        );
    }
}
