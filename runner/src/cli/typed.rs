//! A command line, read as far as it can be before its ops and its playbook's flags are known.

use std::ffi::OsString;

use clap::{Args, Command};

use super::global::Global;

/// What stands on a command line.
pub(super) struct Typed {
    /// The command; none where none is named.
    pub(super) command: Option<String>,
    /// The words after it.
    rest: Vec<OsString>,
    /// All words up to `--`.
    words: Vec<String>,
}

impl Typed {
    /// Finds the command as clap will: flags that every command takes may stand before it, with their values.
    pub(super) fn of(argv: &[OsString]) -> Self {
        let line = Global::augment_args(Command::new("lockstep"))
            .allow_external_subcommands(true)
            .disable_help_flag(true)
            .disable_help_subcommand(true)
            .ignore_errors(true);
        let matches = line.try_get_matches_from(argv).unwrap_or_default();
        let (command, rest) = matches.subcommand().unzip();
        let rest = rest.and_then(|rest| rest.get_many::<OsString>(""));
        let words = argv.iter().skip(1).take_while(|word| *word != "--");
        Self {
            command: command.map(str::to_owned),
            rest: rest.into_iter().flatten().cloned().collect(),
            words: words
                .map(|word| word.to_string_lossy().into_owned())
                .collect(),
        }
    }

    /// The command with the words after it, as a command line of its own.
    fn inner(&self) -> Self {
        let first = self.command.as_deref().unwrap_or_default().into();
        let argv: Vec<OsString> = [first].into_iter().chain(self.rest.clone()).collect();
        Self::of(&argv)
    }

    /// The first word after the command that is no flag of every command, and no value of one: an op, a name, a folder.
    pub(super) fn what(&self) -> Option<String> {
        self.inner().command
    }

    /// The words after the command, up to `--`.
    pub(super) fn arguments(&self) -> Vec<String> {
        self.inner().words
    }

    /// Whether the command is asked for its help, and won't do anything else.
    pub(super) fn asks_for_help(&self) -> bool {
        self.words
            .iter()
            .any(|word| word == "--help" || word == "-h")
    }

    /// The value of a flag: as `--flag value` or `--flag=value`, of a short one also as `-fvalue`.
    pub(super) fn flag(&self, name: &str) -> Option<&str> {
        let short = !name.starts_with("--");
        let words = self.words.iter().enumerate();
        let mut values = words.filter_map(|(i, word)| match word.strip_prefix(name)? {
            "" => self.words.get(i + 1).map(String::as_str),
            rest => rest.strip_prefix('=').or(short.then_some(rest)),
        });
        values.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Typed {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        Typed::of(&words)
    }

    #[test]
    fn the_command_is_found_after_flags_and_their_values() {
        for (line, command, what) in [
            ("lockstep doc", Some("doc"), None),
            ("lockstep doc snap", Some("doc"), Some("snap")),
            ("lockstep show doc", Some("show"), Some("doc")),
            ("lockstep help op", Some("help"), Some("op")),
            (
                "lockstep -v -c doc op --json snap.info -m x",
                Some("op"),
                Some("snap.info"),
            ),
            (
                "lockstep --state=op types -c twin:3 site",
                Some("types"),
                Some("site"),
            ),
            ("lockstep --help doc", None, None),
            ("lockstep", None, None),
        ] {
            let typed = typed(line);
            assert_eq!(typed.command.as_deref(), command, "{line}");
            assert_eq!(typed.what().as_deref(), what, "{line}");
        }
    }

    #[test]
    fn flags_are_found_wherever_they_stand_but_after_two_dashes() {
        let line = typed("lockstep -ctwin:3 run --modules=m x.lua --playbooks p -- --state s -h");
        assert_eq!(line.flag("-c"), Some("twin:3"));
        assert_eq!(line.flag("--modules"), Some("m"));
        assert_eq!(line.flag("--playbooks"), Some("p"));
        assert_eq!(line.flag("--state"), None);
        assert_eq!(
            line.arguments(),
            ["--modules=m", "x.lua", "--playbooks", "p"]
        );
        assert!(!line.asks_for_help());
        assert!(typed("lockstep run x.lua -h").asks_for_help());
    }
}
