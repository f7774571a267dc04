//! What is reported of mistakes on the command line, where clap says less than it could.

use std::path::Path;
use std::process::ExitCode;

use clap::Command;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use lockstep_modules::contract::near::{hint, near};
use lockstep_modules::contract::op::Registry;

use super::exit::Exit;
use crate::private::folder_of;

/// Prints what clap has to say, help or a mistake, and tells how the process ends.
pub(super) fn report(command: &Command, registry: &Registry, mut error: Error) -> ExitCode {
    let context = |kind: ContextKind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    match error.kind() {
        // A variable that gives an option its value makes clap think that something was typed.
        ErrorKind::MissingSubcommand => {
            let of = context(ContextKind::InvalidSubcommand).unwrap_or_default();
            let of = of.strip_prefix("lockstep ").unwrap_or_default();
            let mut command = command.find_subcommand(of).unwrap_or(command).clone();
            err!("{}", command.render_long_help());
            return Exit::Usage.into();
        }
        ErrorKind::InvalidSubcommand => {
            let word = context(ContextKind::InvalidSubcommand).unwrap_or_default();
            let commands = command.get_subcommands().map(Command::get_name);
            let ops = registry.ops().map(|op| op.name.as_str());
            let known: Vec<&str> = commands.chain(ops).collect();
            if let Some(best) = near(&word, &known) {
                // Its ops are commands of `op` where that was typed, and of nothing else.
                let op = command.find_subcommand("op");
                let beside = !op.is_some_and(Command::has_subcommands) && registry.op(best).is_ok();
                let best = if beside {
                    format!("op {best}")
                } else {
                    best.to_owned()
                };
                let best = ContextValue::Strings(vec![best]);
                error.insert(ContextKind::SuggestedSubcommand, best);
            }
        }
        ErrorKind::UnknownArgument => {
            let word = context(ContextKind::InvalidArg).unwrap_or_default();
            if word == "true" || word == "false" {
                let tip = StyledStr::from(format!(
                    "write the value after an equals sign: --FLAG={word}"
                ));
                error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
            }
        }
        _ => {}
    }
    // Somebody who has stopped listening is no reason to fail.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage as u8))
}

/// " (did you mean …?)" for a file that isn't there, by the files of its kind beside it and what else could be meant.
pub(super) fn near_file(file: &Path, others: &[&str]) -> String {
    let entries = std::fs::read_dir(folder_of(file))
        .into_iter()
        .flatten()
        .flatten();
    let beside = entries.filter(|entry| entry.path().extension() == file.extension());
    let beside: Vec<String> = beside
        .map(|entry| file.with_file_name(entry.file_name()).display().to_string())
        .collect();
    let known: Vec<&str> = others
        .iter()
        .copied()
        .chain(beside.iter().map(String::as_str))
        .collect();
    hint(&file.display().to_string(), &known)
}
