//! The reference of the command line, as a page of the book.

use std::fmt::Write;

use clap::{Arg, Command};
use lockstep_modules::contract::op::Registry;

use super::examples::examples;
use super::exit::Fault;
use super::help::{self, ENVIRONMENT, FILES};
use super::line;

/// All commands with what they take, exit codes, environment and files, as Markdown.
///
/// # Errors
/// Where a shipped playbook can't be loaded: its parameters belong to the page.
pub fn reference(registry: &Registry) -> Result<String, Fault> {
    let (overview, commands) = line::all(registry)?;
    let mut page = "# Commands\n\n\
        <!-- Generated from the declarations of the commands. Edit those. -->\n\n\
        `lockstep COMMAND --help` prints the same text; `lockstep man DIR` writes it as manual pages. The ops that\n\
        `lockstep op` runs have a [reference of their own](ops.md).\n"
        .to_owned();
    for (title, group) in help::groups(&overview) {
        let _ = writeln!(page, "\n## {title}");
        for command in commands
            .iter()
            .filter(|c| group.iter().any(|g| g.get_name() == c.get_name()))
        {
            page.push_str(&about(command, command.get_name()));
            for below in help::subcommands(command) {
                let name = format!("{} {}", command.get_name(), below.get_name());
                page.push_str(&about(below, &name));
            }
        }
    }
    page.push_str("\n## Global options\n\nEvery command takes them.\n\n");
    page.push_str(&table(
        "option",
        overview.get_arguments().filter(|arg| arg.is_global_set()),
    ));
    let codes = help::codes().map(|(code, meaning)| (code.to_string(), meaning));
    page.push_str(&pairs("Exit codes", "code", codes));
    let own = |rows: &[(&str, &str)]| {
        rows.iter()
            .map(|(name, about)| (format!("`{name}`"), (*about).to_owned()))
            .collect::<Vec<_>>()
    };
    page.push_str(&pairs("Environment", "variable", own(&ENVIRONMENT)));
    page.push_str(&pairs("Files", "file", own(&FILES)));
    Ok(page)
}

/// The part of the page that is about one command, by the name under which it is typed.
fn about(command: &Command, name: &str) -> String {
    let about = command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    let usage = usage
        .trim()
        .strip_prefix("Usage: ")
        .unwrap_or_default()
        .to_owned();
    let level = if name.contains(' ') { "####" } else { "###" };
    let mut text = format!("\n{level} {name}\n\n{about}: `{usage}`\n");
    let own: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| {
            !arg.is_global_set()
                && !arg.is_hide_set()
                && !["help", "version"].contains(&arg.get_id().as_str())
        })
        .collect();
    let (params, own): (Vec<&Arg>, Vec<&Arg>) = own
        .into_iter()
        .partition(|arg| arg.get_help_heading().is_some());
    if !own.is_empty() {
        let _ = write!(text, "\n{}", table("argument", own.into_iter()));
    }
    if !params.is_empty() {
        let _ = write!(text, "\n{}", table("parameter", params.into_iter()));
    }
    if let Some(notes) = help::notes(command) {
        let _ = write!(text, "\n```text\n{notes}\n```\n");
    }
    let examples = examples(name);
    if !examples.is_empty() {
        text.push_str("\n```sh\n");
        for (line, what) in examples {
            let _ = writeln!(text, "{line}  # {what}");
        }
        text.push_str("```\n");
    }
    text
}

fn table<'a>(title: &str, args: impl Iterator<Item = &'a Arg>) -> String {
    let mut text = format!("| {title} | |\n|---|---|\n");
    for arg in args {
        let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let takes_value = arg.get_action().takes_values();
        let words: Vec<String> = arg
            .get_possible_values()
            .iter()
            .map(|v| format!("`{}`", v.get_name()))
            .collect();
        if takes_value && !words.is_empty() {
            let _ = write!(help, ": {}", words.join(", "));
        }
        let defaults: Vec<_> = arg
            .get_default_values()
            .iter()
            .map(|v| v.to_string_lossy())
            .collect();
        if takes_value && !defaults.is_empty() {
            let _ = write!(help, " [default: {}]", defaults.join(","));
        }
        if let Some(variable) = arg.get_env() {
            let _ = write!(help, " [env: {}]", variable.to_string_lossy());
        }
        let _ = writeln!(
            text,
            "| `{}` | {} |",
            typed(arg).replace('|', r"\|"),
            help.replace('|', r"\|")
        );
    }
    text
}

/// As it is typed: `-p, --param NAME=VALUE`.
fn typed(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let value = names
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ");
    let Some(long) = arg.get_long() else {
        return value;
    };
    let short = arg
        .get_short()
        .map_or_else(String::new, |short| format!("-{short}, "));
    match (arg.get_action().takes_values(), arg.is_require_equals_set()) {
        (true, true) => format!("{short}--{long}[={value}]"),
        (true, false) => format!("{short}--{long} {value}"),
        (false, _) => format!("{short}--{long}"),
    }
}

fn pairs(title: &str, first: &str, rows: impl IntoIterator<Item = (String, String)>) -> String {
    let mut text = format!("\n## {title}\n\n| {first} | |\n|---|---|\n");
    for (name, about) in rows {
        let _ = writeln!(text, "| {name} | {about} |");
    }
    text
}
