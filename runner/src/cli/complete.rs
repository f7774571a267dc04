//! Completions: what completes the words of lockstep in a shell.
//!
//! The script that `lockstep completions` prints asks lockstep itself at every press of the key, so that members, runs and
//! parameters are those of the moment. An answer looks at files and at nothing else; it writes nothing, and whatever is wrong
//! makes it an empty one.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::Arc;

use clap::{Arg, ArgMatches, Command, FromArgMatches};
use clap_complete::engine::{
    ArgValueCandidates, ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter,
};
use lockstep_modules::contract::component::Component;
use lockstep_modules::contract::op::Registry;
use lockstep_modules::contract::schema::Member;
use lockstep_modules::ops::preflight::CHECKS;
use lockstep_twin::{Arg as FaultArg, KINDS, SEVERITIES, Set};

use crate::bundle::Playbooks;
use crate::cli::commands::completions::ASKED;
use crate::cli::front::runs;
use crate::cli::global::Global;
use crate::cli::line;
use crate::cli::print;
use crate::cli::target;
use crate::journal::Phase;
use crate::report::harmless;
use crate::runs::Runs;
use crate::target::Made;

/// Which word of those that follow is to be completed, counted from 0.
const INDEX: &str = "_CLAP_COMPLETE_INDEX";

/// Answers a shell, if it is one that asks.
pub(crate) fn answered(registry: &Registry, argv: &[OsString]) -> bool {
    let Some(shell) = env::var(ASKED).ok().filter(|shell| !shell.is_empty()) else {
        return false;
    };
    let words = argv.iter().skip_while(|word| *word != "--").skip(1);
    let mut words: Vec<OsString> = words.cloned().collect();
    let index = env::var(INDEX).ok().and_then(|index| index.parse().ok());
    let mut index = index.unwrap_or(words.len().saturating_sub(1));
    let mut typed = 0;
    if shell == "bash" {
        (words, index, typed) = whole_words(
            &words,
            index,
            &env::var("LOCKSTEP_COMPLETE_WORD").unwrap_or_default(),
        );
    }
    words.truncate(index + 1);
    words.resize(index + 1, OsString::new());
    for (value, help) in answer(registry, words) {
        let value = harmless(value.get(typed..).unwrap_or_default());
        let help = harmless(&help);
        print::styled(&match shell.as_str() {
            "zsh" => format!(
                "{}:{}\n",
                value.replace('\\', r"\\").replace(':', r"\:"),
                help.replace('\\', r"\\")
            ),
            "fish" => format!("{value}\t{help}\n"),
            _ => format!("{value}\n"),
        });
    }
    true
}

/// The words as they were typed, where bash has taken them apart at `:` and `=`; which of them is to be completed; and how
/// many bytes of it bash doesn't want to hear again.
fn whole_words(words: &[OsString], index: usize, current: &str) -> (Vec<OsString>, usize, usize) {
    let breaks = |word: &str| !word.is_empty() && word.chars().all(|c| ":=".contains(c));
    let mut whole: Vec<String> = Vec::new();
    let mut joins = false;
    for (at, word) in words.iter().take(index + 1).enumerate() {
        let mut word = word.to_string_lossy().into_owned();
        let broken = breaks(&word);
        if at == index && !broken {
            current.clone_into(&mut word);
        }
        match whole.last_mut() {
            Some(last) if joins || broken => last.push_str(&word),
            _ => whole.push(word),
        }
        joins = broken;
    }
    let last = whole.last().map_or("", String::as_str);
    let typed = last.rfind([':', '=']).map_or(0, |at| at + 1);
    let index = whole.len().saturating_sub(1);
    (
        whole.into_iter().map(OsString::from).collect(),
        index,
        typed,
    )
}

/// What the last of the words can become, with what it is.
fn answer(registry: &Registry, words: Vec<OsString>) -> Vec<(String, String)> {
    let index = words.len() - 1;
    // A playbook with a mistake has no flags; its name can be completed all the same.
    let Ok(command) = line::command(registry, &words).or_else(|_| line::command(registry, &[]))
    else {
        return Vec::new();
    };
    let context = Arc::new(Context::of(registry, &command, &words[..index]));
    let mut command = complete(command, "", &context);
    let dashed = words[index].to_string_lossy().starts_with('-');
    let found = clap_complete::engine::complete(
        &mut command,
        words,
        index,
        env::current_dir().ok().as_deref(),
    );
    let found = found.unwrap_or_default().into_iter().map(|candidate| {
        let help = candidate
            .get_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        let help = help.lines().next().unwrap_or_default().to_owned();
        (candidate.get_value().to_string_lossy().into_owned(), help)
    });
    let (flags, others): (Vec<_>, Vec<_>) = found.partition(|(value, _)| value.starts_with('-'));
    // Flags are shown when they are asked for, or when there is nothing else.
    if dashed || others.is_empty() {
        flags
    } else {
        others
    }
}

/// What has been typed, as far as candidates depend on it.
struct Context {
    global: Global,
    /// The run that the command is about.
    run: Option<String>,
    /// What a simulated cluster is to be like.
    made: Made,
    params: Vec<String>,
    /// Modules and ops.
    names: Vec<(String, String)>,
}

impl Context {
    fn of(registry: &Registry, command: &Command, typed: &[OsString]) -> Self {
        // What is asked for help has no other words that count.
        let lenient = command.clone().ignore_errors(true);
        let matches = lenient.try_get_matches_from(typed).ok();
        let named = matches.as_ref().and_then(ArgMatches::subcommand);
        let text = |id: &str| {
            let given = named.and_then(|(_, given)| given.try_get_one::<String>(id).ok().flatten());
            given.cloned()
        };
        let made = named.and_then(|(_, given)| given.try_get_one::<Made>("members").ok().flatten());
        let player = named.and_then(|(name, _)| command.find_subcommand(name));
        let flags = player.into_iter().flat_map(Command::get_arguments);
        let flags = flags.filter_map(|arg| {
            arg.get_id()
                .as_str()
                .strip_prefix(crate::cli::params::PREFIX)
        });
        let modules = registry.modules().iter().flat_map(|module| {
            let ops = module
                .ops
                .iter()
                .map(|op| (op.name.clone(), op.about().to_owned()));
            [(module.name.clone(), module.about.clone())]
                .into_iter()
                .chain(ops)
        });
        Self {
            global: matches
                .as_ref()
                .and_then(|matches| Global::from_arg_matches(matches).ok())
                .unwrap_or_default(),
            run: text("run"),
            made: made.copied().unwrap_or_default(),
            params: flags.map(str::to_owned).collect(),
            names: modules.collect(),
        }
    }

    /// The members of the cluster that is named, or of the simulated one.
    fn member_names(&self) -> Vec<Member> {
        target::named(&self.global)
            .map(|target| target.config.cluster.names())
            .unwrap_or_default()
    }

    /// The runs of this machine. Nobody waits for a database while typing.
    fn here(&self) -> Option<Runs> {
        match self.global.store() {
            Some(_) => None,
            None => runs(&self.global).ok(),
        }
    }

    /// The runs, the newest first.
    fn runs(&self) -> Vec<CompletionCandidate> {
        let mut ids = self
            .here()
            .and_then(|runs| runs.ids().ok())
            .unwrap_or_default();
        ids.reverse();
        ids.into_iter().map(CompletionCandidate::new).collect()
    }

    /// The steps at which the run is held, each with what comes after it.
    fn held(&self, end: &str) -> Vec<CompletionCandidate> {
        let history = self
            .run
            .as_ref()
            .and_then(|run| self.here()?.history(run).ok());
        let steps = history.into_iter().flat_map(|history| history.steps);
        let held = steps.filter_map(|(path, step)| match step.phase {
            Phase::Held { failure, .. } => Some((path, failure.message)),
            Phase::Running => Some((path, "its end is not known".to_owned())),
            _ => None,
        });
        held.map(|(path, why)| candidate(&format!("{path}{end}"), &why))
            .collect()
    }

    /// A fault: its name, then its arguments.
    fn faults(&self, current: &str) -> Vec<CompletionCandidate> {
        let Some((name, args)) = current.split_once(':') else {
            let named = KINDS.iter().map(|kind| {
                let colon = if kind.args.is_empty() { "" } else { ":" };
                candidate(&format!("{}{colon}", kind.name), kind.about)
            });
            return named.filter(|c| begins(c, current)).collect();
        };
        let Some(kind) = KINDS.iter().find(|kind| kind.name == name) else {
            return Vec::new();
        };
        let given = args.rfind(',').map_or("", |at| &args[..=at]);
        let values = match kind.args.get(given.matches(',').count()) {
            Some(FaultArg::Snap) => Component::ALL.map(|c| c.snap().to_owned()).to_vec(),
            Some(FaultArg::Member) => self.made.scenario().names(),
            Some(FaultArg::Severity) => SEVERITIES.map(str::to_owned).to_vec(),
            _ => Vec::new(),
        };
        let more = given.matches(',').count() + 1 < kind.args.len();
        let comma = if more { "," } else { "" };
        let whole = values
            .into_iter()
            .map(|value| candidate(&format!("{name}:{given}{value}{comma}"), kind.about));
        whole.filter(|c| begins(c, current)).collect()
    }
}

fn candidate(value: &str, help: &str) -> CompletionCandidate {
    CompletionCandidate::new(value).help(Some(help.to_owned().into()))
}

fn begins(candidate: &CompletionCandidate, current: &str) -> bool {
    candidate.get_value().to_string_lossy().starts_with(current)
}

/// Tells each argument of a command and of those below it where its values come from. `of` is the command of the first
/// level.
fn complete(command: Command, of: &str, context: &Arc<Context>) -> Command {
    let of_args = of.to_owned();
    let command = command.mut_args(|arg| with_values(arg, &of_args, context));
    let first = of.to_owned();
    command.mut_subcommands(|sub| {
        let of = if first.is_empty() {
            sub.get_name().to_owned()
        } else {
            first.clone()
        };
        complete(sub, &of, context)
    })
}

fn with_values(arg: Arg, of: &str, context: &Arc<Context>) -> Arg {
    let list = |values: fn(&Context) -> Vec<CompletionCandidate>| {
        let context = Arc::clone(context);
        ArgValueCandidates::new(move || values(&context))
    };
    let id = arg.get_id().as_str().to_owned();
    match (of, id.as_str()) {
        (_, "cluster" | "like") => arg.add(ArgValueCompleter::new(clusters)),
        (_, "run") => arg.add(list(Context::runs)),
        (_, "retry") => arg.add(list(|c| c.held(""))),
        (_, "assume_done") => arg.add(list(|c| c.held("="))),
        ("run" | "plan" | "rehearse" | "check", "file") | ("resume" | "abort", "playbook") => {
            arg.add(ArgValueCompleter::new(playbooks))
        }
        ("rehearse", "faults") => {
            let context = Arc::clone(context);
            arg.add(ArgValueCompleter::new(move |current: &OsStr| {
                context.faults(&current.to_string_lossy())
            }))
        }
        ("op", "member") => arg.add(list(|c| {
            c.member_names()
                .iter()
                .map(|member| CompletionCandidate::new(member.as_str()))
                .collect()
        })),
        ("op", "snap") => arg.add(list(|_| {
            let all = Component::ALL.iter();
            all.map(|c| candidate(c.snap(), c.title())).collect()
        })),
        ("doc", "name") => arg.add(list(|c| {
            c.names
                .iter()
                .map(|(name, about)| candidate(name, about.trim_end_matches('.')))
                .collect()
        })),
        (_, "param") => arg.add(list(|c| {
            c.params
                .iter()
                .map(|name| CompletionCandidate::new(format!("{name}=")))
                .collect()
        })),
        (_, "param:accept") => arg.add(list(|_| {
            CHECKS
                .iter()
                .filter(|check| check.may_accept)
                .map(|check| candidate(check.name, check.about))
                .collect()
        })),
        _ => arg,
    }
}

/// Cluster files, and simulated clusters.
fn clusters(current: &OsStr) -> Vec<CompletionCandidate> {
    let sizes = ["twin:1", "twin:3", "twin:5"].map(str::to_owned);
    let sets = Set::ALL.map(|set| format!("twin:3@{}", set.name()));
    let simulated = sizes.iter().chain(&sets);
    let simulated = simulated.map(|name| candidate(name, "A simulated cluster"));
    let simulated = simulated.filter(|c| begins(c, &current.to_string_lossy()));
    files("toml", current).chain(simulated).collect()
}

/// Shipped playbooks by name, and files.
fn playbooks(current: &OsStr) -> Vec<CompletionCandidate> {
    let shipped = Playbooks::NAMES.into_iter().map(CompletionCandidate::new);
    let shipped = shipped.filter(|c| begins(c, &current.to_string_lossy()));
    shipped.chain(files("lua", current)).collect()
}

/// Files with this ending, and the folders on the way to them.
fn files(ending: &'static str, current: &OsStr) -> impl Iterator<Item = CompletionCandidate> {
    let fits = move |path: &Path| path.is_dir() || path.extension().is_some_and(|e| e == ending);
    let found = PathCompleter::any().filter(fits).complete(current);
    found.into_iter().filter(|c| c.get_value() != ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_bash_took_apart_are_whole_again() {
        let whole = |words: &[&str], current: &str| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            let (words, index, typed) = whole_words(&words, words.len() - 1, current);
            let last = words[index].to_string_lossy().into_owned();
            (words.len(), last, typed)
        };
        let is = |n: usize, last: &str, typed: usize| (n, last.to_owned(), typed);
        assert_eq!(whole(&["lockstep", "sho"], "sho"), is(2, "sho", 0));
        assert_eq!(
            whole(&["lockstep", "-c", "twin", ":"], ""),
            is(3, "twin:", 5)
        );
        assert_eq!(
            whole(&["lockstep", "-c", "twin", ":", "1"], "1"),
            is(3, "twin:1", 5)
        );
        assert_eq!(
            whole(&["lockstep", "--only", "=", "lx"], "lx"),
            is(2, "--only=lx", 7)
        );
        assert_eq!(
            whole(&["lockstep", "-c", "twin", ":", "3", "op", ""], ""),
            is(5, "", 0)
        );
    }
}
