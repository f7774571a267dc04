//! The parameters of a playbook, as flags of the commands that play it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use lockstep_modules::contract::near::hint;
use lockstep_modules::contract::op::Registry;
use serde_json::{Value, json};

use super::exit::Fault;
use super::typed::Typed;
use crate::bundle::{Main, Playbooks};
use crate::script::{Param, ParamKind, Playbook, Script};
use crate::secret::{Secrets, Source};

/// The commands that play a playbook, each with the one that it always plays.
const PLAYERS: [(&str, Option<&str>); 8] = [
    ("update", Some("update")),
    ("upgrade", Some("upgrade")),
    ("stage", Some("stage")),
    ("preflight", Some("preflight")),
    ("run", None),
    ("plan", None),
    ("rehearse", None),
    ("check", None),
];

/// What the ids of flags that are parameters begin with.
pub(super) const PREFIX: &str = "param:";

/// The parameters that were given, by flags and as `-p NAME=VALUE`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params(Vec<(String, Value)>);

impl Params {
    /// The parameters, as they were typed.
    pub(super) fn typed(&self) -> &[(String, Value)] {
        &self.0
    }
}

impl Args for Params {
    fn augment_args(command: Command) -> Command {
        command.arg(
            Arg::new("param")
                .long("param")
                .short('p')
                .value_name("NAME=VALUE")
                .help("A parameter of the playbook, same as its flag; can be repeated")
                .value_parser(pair)
                .action(ArgAction::Append),
        )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Params {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let pairs = matches.get_many::<(String, String)>("param");
        let pairs = pairs.into_iter().flatten();
        let mut all: Vec<(String, Value)> = pairs
            .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
            .collect();
        for id in matches.ids() {
            if let Some(name) = id.as_str().strip_prefix(PREFIX) {
                let values = matches.get_many::<String>(id.as_str());
                let values: Vec<&str> = values.into_iter().flatten().map(String::as_str).collect();
                all.push((name.to_owned(), Value::from(values.join(","))));
            }
        }
        Ok(Self(all))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} is not of the form NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Gives the command that `argv` names the parameters of its playbook as flags.
///
/// # Errors
/// Where the playbook can't be loaded, or has a parameter that a flag of ours has the name of.
pub(super) fn flags(
    command: Command,
    registry: &Registry,
    argv: &[OsString],
) -> Result<Command, Fault> {
    let Some(Asked {
        player,
        file,
        playbooks,
    }) = Asked::of(&Typed::of(argv))
    else {
        return Ok(command);
    };
    // That there is no such file is reported by the command itself.
    let Some(main) = Main::find(playbooks, &file) else {
        return Ok(command);
    };
    let script = Script::load(&main.main, Box::new(main.finder), registry, 1)?;
    let mut taken = ours(&command);
    let heading = format!("Parameters of {}", main.name);
    let mut flags = Vec::new();
    for (name, param) in &script.playbook().params {
        let long = name.replace('_', "-");
        if !taken.insert(long.clone()) {
            return Err(Fault::usage(format!(
                "{file}: the parameter {name:?} has the name of lockstep's own flag --{long}; rename it"
            )));
        }
        flags.push(flag(name, long, param).help_heading(heading.clone()));
    }
    Ok(command.mut_subcommand(player, |player| player.args(flags)))
}

/// What a command line asks to be played.
pub(super) struct Asked {
    player: &'static str,
    /// The playbook: a file, or the name of a shipped one.
    pub(super) file: String,
    playbooks: Playbooks,
}

impl Asked {
    /// Reads no more than it takes to find the playbook: what is wrong with the rest is reported once its flags are known.
    pub(super) fn of(typed: &Typed) -> Option<Self> {
        let command = typed.command.as_deref()?;
        let (player, always) = PLAYERS.into_iter().find(|(player, _)| *player == command)?;
        let folder = typed.flag("--playbooks");
        let playbooks = folder.map_or(Playbooks::Shipped, |f| Playbooks::Folder(PathBuf::from(f)));
        let is_playbook =
            |w: &String| w.ends_with(".lua") || Playbooks::NAMES.contains(&w.as_str());
        let named = || typed.arguments().into_iter().find(is_playbook);
        Some(Self {
            player,
            file: always.map(str::to_owned).or_else(named)?,
            playbooks,
        })
    }

    /// The playbook's file; none for one that is shipped.
    pub(super) fn site(&self) -> Option<&Path> {
        let file = Path::new(&self.file);
        (!self.has_shipped_name() && file.is_file()).then_some(file)
    }

    fn has_shipped_name(&self) -> bool {
        Playbooks::NAMES.contains(&self.file.as_str())
    }

    /// Whether it is among those in the binary, which need nothing else.
    pub(super) fn is_shipped(&self) -> bool {
        matches!(self.playbooks, Playbooks::Shipped) && self.has_shipped_name()
    }

    /// Whether it can be loaded with no more ops than these.
    pub(super) fn loads(&self, registry: &Registry) -> bool {
        let main = Main::find(self.playbooks.clone(), &self.file);
        main.is_some_and(|main| {
            Script::load(&main.main, Box::new(main.finder), registry, 1).is_ok()
        })
    }
}

/// The flags that are lockstep's own, in any command that plays a playbook: a playbook should fit all of them.
fn ours(command: &Command) -> BTreeSet<String> {
    let players = PLAYERS
        .iter()
        .filter_map(|(player, _)| command.find_subcommand(player));
    let flags = players
        .chain([command])
        .flat_map(Command::get_arguments)
        .filter_map(Arg::get_long);
    flags
        .chain(["help", "version"])
        .map(str::to_owned)
        .collect()
}

fn flag(name: &str, long: String, param: &Param) -> Arg {
    let default = match &param.default {
        Value::Null | Value::Bool(false) => String::new(),
        Value::String(text) => format!(" [default: {text}]"),
        list if *list == json!([]) => String::new(),
        other => format!(" [default: {other}]"),
    };
    let secret = if param.kind == ParamKind::Secret {
        " (a secret: env:NAME, file:PATH or ask)"
    } else {
        ""
    };
    let help = format!("{}{secret}{default}", param.about.trim_end_matches('.'));
    let flag = Arg::new(format!("{PREFIX}{name}")).long(long).help(help);
    let words = (!param.one_of.is_empty()).then(|| PossibleValuesParser::new(param.one_of.clone()));
    match (param.kind, words) {
        (ParamKind::Boolean, _) => flag
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_parser(["true", "false"])
            .hide_possible_values(true)
            .value_name("true|false"),
        (ParamKind::Integer, _) => flag.value_name("N"),
        // What is no source may be the secret itself, which a parser of clap's would print.
        (ParamKind::Secret, _) => flag.value_name("SOURCE"),
        (ParamKind::String, None) => flag.value_name("TEXT"),
        (ParamKind::String, Some(words)) => flag.value_name("NAME").value_parser(words),
        (ParamKind::List, words) => {
            let list = flag
                .action(ArgAction::Append)
                .value_delimiter(',')
                .value_name("NAME,…");
            match words {
                Some(words) => list.value_parser(words),
                None => list,
            }
        }
    }
}

/// Fetches the secrets of a run, before anything is done; a simulated cluster needs none. For a run that is continued with,
/// `elsewhere` says where some are found now, as NAME=SOURCE.
pub(super) fn secrets(
    playbook: &Playbook,
    params: &Value,
    simulated: bool,
    elsewhere: Option<&[String]>,
) -> Result<Secrets, Fault> {
    let mut sources = playbook.secrets(params)?;
    for given in elsewhere.into_iter().flatten() {
        let form = || Fault::usage("--secret takes NAME=SOURCE, for example token=env:TOKEN");
        let (name, source) = given.split_once('=').ok_or_else(form)?;
        let names: Vec<&str> = sources.iter().map(|(name, _)| name.as_str()).collect();
        let near = hint(name, &names);
        let Some((_, known)) = sources.iter_mut().find(|(known, _)| known == name) else {
            return Err(Fault::usage(format!(
                "--secret: this run has no secret {name:?}{near}"
            )));
        };
        let source: Source = source
            .parse()
            .map_err(|e| Fault::usage(format!("--secret {name}: {e}")))?;
        *known = source.anchored(Path::new(""));
    }
    if simulated {
        return Ok(Secrets::simulated(playbook.names_of_secrets()));
    }
    let mut opened = Vec::new();
    for (name, source) in sources {
        let param = playbook.params.iter().find(|(known, _)| *known == name);
        let about = param.map_or("", |(_, param)| param.about.trim_end_matches('.'));
        let what = match about {
            "" => name.clone(),
            about => format!("{about} ({name})"),
        };
        let flag = || match elsewhere {
            Some(_) => format!(
                "nothing was done; if it has moved: --secret {name}=env:NAME (or file:PATH, or ask)"
            ),
            None => format!(
                "nothing was done; say where it is: --{} env:NAME (or file:PATH, or ask)",
                name.replace('_', "-")
            ),
        };
        let secret = source
            .open(&what)
            .map_err(|why| Fault::usage(format!("the secret {name}: {why}")).help(flag()))?;
        if let Some(warning) = &secret.warning {
            err!("warning: {warning}");
        }
        opened.push((name, secret));
    }
    Secrets::of(opened).map_err(Fault::usage)
}
