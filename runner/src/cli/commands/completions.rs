//! `completions`: the script that has a shell ask lockstep what completes its words.

use std::io::Write;

use clap::{Args, ValueEnum};
use clap_complete::env::{EnvCompleter, Fish, Zsh};

use crate::cli::exit::{Exit, Fault};
use crate::cli::print;

/// The variable that asks for an answer instead of a command: the shell's name.
pub(crate) const ASKED: &str = "LOCKSTEP_COMPLETE";

/// Which shell.
#[derive(Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Shells whose completions are known.
#[derive(Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// In bash a word ends at `:` and `=`, and what is completed is what comes after. The words are put together again by
/// lockstep, which answers with the same end.
const BASH: &str = r#"_lockstep() {
    mapfile -t COMPREPLY < <(
        LOCKSTEP_COMPLETE=bash _CLAP_COMPLETE_INDEX=$COMP_CWORD LOCKSTEP_COMPLETE_WORD="$2" \
            lockstep -- "${COMP_WORDS[@]}" 2>/dev/null
    )
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[/=:,] ]]; then
        compopt -o nospace
    fi
}
complete -o nosort -F _lockstep lockstep"#;

/// Prints the script of a shell.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<Exit, Fault> {
    let mut script = Vec::new();
    let written = match args.shell {
        Shell::Bash => writeln!(script, "{BASH}"),
        Shell::Zsh => Zsh
            .write_registration(ASKED, "lockstep", "lockstep", "lockstep", &mut script)
            // As a file that zsh loads when it is first needed, it has to answer at once.
            .and_then(|()| {
                writeln!(
                    script,
                    "[[ $funcstack[1] != _lockstep ]] || _clap_dynamic_completer_lockstep"
                )
            }),
        Shell::Fish => {
            Fish.write_registration(ASKED, "lockstep", "lockstep", "lockstep", &mut script)
        }
    };
    written.map_err(|e| Fault::new(Exit::Failed, e))?;
    print::styled(&format!("{}\n", String::from_utf8_lossy(&script).trim()));
    Ok(Exit::Done)
}
