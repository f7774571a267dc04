//! What `--help` says beside what the commands declare: their topics, and what all of them have in common.

use std::fmt::Write;

use clap::{Command, ValueEnum};

use super::examples::{GROUPS, examples};
use super::exit::Exit;

/// Something that `lockstep help` knows beside the commands.
struct Topic {
    name: &'static str,
    about: &'static str,
    text: fn() -> String,
}

const TOPICS: [Topic; 3] = [
    Topic {
        name: "exit-codes",
        about: "Exit codes of commands",
        text: exit_codes,
    },
    Topic {
        name: "environment",
        about: "Environment variables that lockstep reads",
        text: || columns(&ENVIRONMENT),
    },
    Topic {
        name: "files",
        about: "Files that lockstep reads and writes",
        text: || columns(&FILES),
    },
];

pub(super) const ENVIRONMENT: [(&str, &str); 9] = [
    ("LOCKSTEP_CLUSTER", "The cluster, if --cluster isn't given"),
    ("LOCKSTEP_FLEET", "The fleet's file, if --fleet isn't given"),
    (
        "LOCKSTEP_STATE",
        "Where runs are stored, if --state isn't given",
    ),
    (
        "XDG_STATE_HOME",
        "Runs are stored in its lockstep/; if unset, ~/.local/state",
    ),
    (
        "XDG_RUNTIME_DIR",
        "Holds ssh control sockets; if unset, /tmp",
    ),
    ("PGPASSWORD", "The password of the database with runs"),
    (
        "PGPASSFILE",
        "A file with such passwords; if unset, ~/.pgpass",
    ),
    ("NO_COLOR", "No colors, if set"),
    ("TERM", "Plain lines instead of a live view, if dumb"),
];

pub(super) const FILES: [(&str, &str); 7] = [
    (
        "cluster.toml",
        "The cluster, if no other is named; lockstep init writes it",
    ),
    ("fleet.toml", "The fleet, if no other is named"),
    (
        "STATE/runs/RUN/journal.jsonl",
        "What a run did; resume relies on it",
    ),
    (
        "STATE/runs/RUN/events.jsonl",
        "The events of a run, as shown to those who watched",
    ),
    (
        "STATE/runs/RUN/bundle/",
        "The Lua modules that a run was started with",
    ),
    (
        "/var/lib/lockstep/",
        "On each member: the lock, and copies of the control plane",
    ),
    ("~/.ssh/config", "How members are reached: ssh reads it"),
];

/// The groups of the commands that there are, with their names.
pub(super) fn groups(command: &Command) -> impl Iterator<Item = (&'static str, Vec<&Command>)> {
    GROUPS.into_iter().map(|(title, commands)| {
        let there = commands
            .iter()
            .filter_map(|(name, _)| command.find_subcommand(name));
        (title, there.collect())
    })
}

/// The commands below a command. Those of `op` are ops, which have a reference of their own.
pub(super) fn subcommands(command: &Command) -> impl Iterator<Item = &Command> {
    let own = command.get_name() != "op";
    let below = command
        .get_subcommands()
        .filter(move |below| own && !below.is_hide_set());
    below.filter(|below| below.get_name() != "help")
}

/// What a command's help ends with beside its examples.
pub(super) fn notes(command: &Command) -> Option<String> {
    let text = command.get_after_help()?.to_string();
    let notes = text.split("Examples:").next().unwrap_or_default().trim();
    (!notes.is_empty()).then(|| notes.to_owned())
}

/// Puts groups, examples and topics into the help of the command line.
pub(super) fn dress(command: Command) -> Command {
    let heading = *command.get_styles().get_header();
    let name = *command.get_styles().get_literal();
    let mut overview = String::new();
    for (title, commands) in groups(&command) {
        let _ = writeln!(overview, "{heading}{title}:{heading:#}");
        for command in commands {
            let about = command.get_about().map(ToString::to_string);
            let _ = writeln!(
                overview,
                "  {name}{:<11}{name:#}  {}",
                command.get_name(),
                about.unwrap_or_default()
            );
        }
        overview.push('\n');
    }
    let topics = TOPICS.map(|topic| topic.name).join(", ");
    let command = command.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{overview}{heading}Options:{heading:#}\n{{options}}\n\n\
         {heading}More:{heading:#} lockstep help COMMAND, or one of: {topics}{{after-help}}"
    ));
    let command = with_examples(command);
    let command = command.mut_subcommands(with_examples);
    command.subcommands(TOPICS.map(|topic| {
        Command::new(topic.name)
            .about(topic.about)
            .after_help((topic.text)())
            .hide(true)
            .disable_help_flag(true)
            .help_template("{about}{after-help}")
    }))
}

/// Puts its examples below what else a command's help ends with.
fn with_examples(command: Command) -> Command {
    let examples = examples(command.get_name());
    if examples.is_empty() {
        return command;
    }
    let heading = *command.get_styles().get_header();
    let before = command.get_after_help().map(|text| format!("{text}\n\n"));
    let text = format!(
        "{}{heading}Examples:{heading:#}\n{}",
        before.unwrap_or_default(),
        columns(examples)
    );
    command.after_help(text)
}

pub(super) fn topic(name: &str) -> Option<String> {
    let topic = TOPICS.into_iter().find(|topic| topic.name == name)?;
    Some(format!("{}\n\n{}", topic.about, (topic.text)()))
}

/// What each exit code means.
pub(super) fn codes() -> impl Iterator<Item = (u8, String)> {
    Exit::value_variants().iter().map(|exit| {
        let meaning = exit.to_possible_value();
        let meaning = meaning.as_ref().and_then(|value| value.get_help());
        (
            *exit as u8,
            meaning.map(ToString::to_string).unwrap_or_default(),
        )
    })
}

fn exit_codes() -> String {
    let line = |(code, meaning): (u8, String)| format!("  {code:>2}  {meaning}\n");
    codes().map(line).collect::<String>().trim_end().to_owned()
}

/// Lines of two columns, indented.
pub(super) fn columns<A: AsRef<str>, B: AsRef<str>>(rows: &[(A, B)]) -> String {
    const WIDEST: usize = 62;
    let widths = rows.iter().map(|(left, _)| left.as_ref().chars().count());
    let width = widths.filter(|width| *width <= WIDEST).max().unwrap_or(0);
    let line = |(left, right): &(A, B)| format!("  {:width$}  {}", left.as_ref(), right.as_ref());
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
