//! What a held run needs a person for: what to type next, in the order in which one would try them.

use lockstep_modules::contract::cmd::quote;
use lockstep_modules::ops::cluster::STOPPED;
use serde_json::Value;

use super::failure::{Teller, head};
use super::harmless::harmless;
use crate::account::is_gate;
use crate::engine::Held;

/// Something to type, and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Suggestion {
    /// What it means, in a few words.
    pub(crate) what: &'static str,
    /// What to type.
    pub(crate) command: String,
}

impl Suggestion {
    pub(crate) fn new(what: &'static str, command: String) -> Self {
        Self { what, command }
    }
}

/// What can be typed about the run `id`, which is held at these steps.
///
/// `simulated` says that the cluster is, so that what was made to go wrong there can be ended.
pub(crate) fn suggestions(id: &str, held: &[Held], simulated: bool) -> Vec<Suggestion> {
    if let Some(clusters) = held.iter().find_map(stopped) {
        return of_rollout(id, &clusters);
    }
    let mut suggestions = Vec::new();
    if simulated {
        let command = format!("lockstep resume {id} --mend");
        suggestions.push(Suggestion::new(
            "clear the injected faults and retry",
            command,
        ));
    }
    let again = if held.iter().any(|step| step.in_doubt) {
        "check what became of it, then continue"
    } else {
        "retry once the cause is fixed"
    };
    suggestions.push(Suggestion::new(again, format!("lockstep resume {id}")));
    for step in held {
        let command = format!("lockstep resume {id} --assume-done {}", assumed(step));
        suggestions.push(Suggestion::new(
            "mark it done (you did it by hand)",
            command,
        ));
        if step.in_doubt {
            let command = format!("lockstep resume {id} --retry '{}'", step.path);
            suggestions.push(Suggestion::new("run it again regardless", command));
        }
    }
    let command = format!("lockstep resume {id} --deliver");
    suggestions.push(Suggestion::new(
        "let the playbook clean up and end",
        command,
    ));
    let command = format!("lockstep abort {id}");
    suggestions.push(Suggestion::new(
        "restore what it changed, and stop",
        command,
    ));
    suggestions
}

/// The clusters whose runs stopped, where that is why a rollout is held.
fn stopped(held: &Held) -> Option<Vec<&str>> {
    let clusters = held.failure.detail.get(STOPPED)?.as_array()?;
    Some(clusters.iter().filter_map(Value::as_str).collect())
}

/// What can be typed about a rollout that is held because of these clusters.
fn of_rollout(id: &str, clusters: &[&str]) -> Vec<Suggestion> {
    let first = clusters.first().copied().unwrap_or("CLUSTER");
    let typed =
        |what, words: &str| Suggestion::new(what, format!("lockstep fleet {words} -r {id}"));
    vec![
        typed("see why each of them stopped", "held"),
        typed(
            "fix a cluster's cause, then continue its run",
            &format!("resume {}", quote(first)),
        ),
        typed(
            "or take the cluster out of the rollout",
            &format!("skip {} --why TEXT", quote(first)),
        ),
        typed("then continue the rollout", "continue"),
        typed("or end it; runs of clusters stay as they are", "abort"),
    ]
}

/// How a cluster without a majority is recovered, which is nothing that lockstep does.
const RECOVER: &str = "https://canonical.com/microcloud/docs/latest/how-to/recover/";

fn at_a_gate(held: &Held) -> bool {
    held.failure.op.as_deref().is_some_and(is_gate)
}

/// What a person reads about a hold: where, what to type, and last, above the prompt, why.
///
/// `simulated` is as in [`suggestions`], `width` as in [`table`].
pub(crate) fn message(
    id: &str,
    held: &[Held],
    simulated: bool,
    teller: &Teller<'_>,
    width: usize,
) -> String {
    let places: Vec<_> = held
        .iter()
        .map(|step| harmless(step.path.as_str()))
        .collect();
    let places = places.join("\n  and at ");
    let suggestions = table(&suggestions(id, held, simulated), width);
    let recover = if held.iter().any(at_a_gate) {
        format!("If a majority of the members is lost for good, see {RECOVER}\n")
    } else {
        String::new()
    };
    let reasons = reasons(held, teller);
    let left = match held.iter().find_map(stopped) {
        Some(_) => "No more clusters are started.",
        None => "The cluster is left as it is; nothing was undone.",
    };
    format!("{id} is held at {places}\n{left} What you can do:\n{suggestions}{recover}{reasons}")
}

/// Why: for each step its failure in full.
fn reasons(held: &[Held], teller: &Teller<'_>) -> String {
    let mut text = String::new();
    for step in held {
        match held.len() {
            1 => text.push_str("Why:\n"),
            _ => text.push_str(&format!("Why at {}:\n", harmless(step.path.as_str()))),
        }
        let why = head(&step.failure).replace('\n', "\n  ");
        text.push_str(&format!("  {why}\n{}", teller.details(&step.failure)));
        if step.in_doubt {
            text.push_str("  It is not known whether this was done.\n");
        }
    }
    text
}

/// Suggestions as lines: what they mean in a column, then what to type. Where `width` columns have no room for that, what to
/// type stands in a line of its own.
pub(crate) fn table(suggestions: &[Suggestion], width: usize) -> String {
    let length = |text: &str| text.chars().count();
    let longest = |text: fn(&Suggestion) -> &str| {
        suggestions
            .iter()
            .map(|suggestion| length(text(suggestion)))
            .max()
    };
    let what = longest(|suggestion| suggestion.what).unwrap_or(0);
    let beside = what + longest(|suggestion| &suggestion.command).unwrap_or(0) + 4 <= width;
    let line = |Suggestion {
                    what: text,
                    command,
                }: &Suggestion| {
        if beside {
            format!("  {text:what$}  {command}\n")
        } else {
            format!("  {text}\n      {command}\n")
        }
    };
    suggestions.iter().map(line).collect()
}

/// The columns of the terminal at standard output; no end of them where there is none.
pub(crate) fn columns() -> usize {
    let size = console::Term::stdout().size_checked();
    size.map_or(usize::MAX, |(_, columns)| columns.into())
}

/// A step as it is named where it is taken as done.
pub(crate) fn assumed(step: &Held) -> String {
    let result = if step.needs_result { "=RESULT" } else { "" };
    format!("'{}{result}'", step.path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Failure;

    fn held(path: &str, in_doubt: bool) -> Held {
        Held {
            path: path.into(),
            failure: Failure::script("why"),
            in_doubt,
            needs_result: !in_doubt,
        }
    }

    #[test]
    fn suggestions_for_each_kind_of_hold() {
        let steps = [held("LXD/lxd.unharmed#1", false), held("A/m/exec#2", true)];
        let cases = [
            ("one step", suggestions("update-1", &steps[..1], false), 100),
            ("in doubt", suggestions("update-1", &steps[1..], true), 120),
            ("two, narrow", suggestions("update-1", &steps, false), 60),
        ];
        let shown = cases
            .map(|(name, suggestions, width)| format!("{name}\n{}", table(&suggestions, width)));
        insta::assert_snapshot!(shown.join("\n"));
    }
}
