//! `op`: one op, on one, several or all members. It is a run of one step: the same engine, and no second path.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use lockstep_modules::contract::cluster::Cluster;
use lockstep_modules::contract::error::Kind;
use lockstep_modules::contract::op::{Effect, OpDef, Registry};
use lockstep_modules::contract::schema::{Member, required, types_of, words};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::cli::app::App;
use crate::cli::exit::{Exit, Fault};
use crate::cli::front::{Front, runtime_at, tell, who};
use crate::cli::print;
use crate::cli::shown::Shown;
use crate::cli::target::{self, machines};
use crate::engine::Finish;
use crate::generate::{doc, properties};
use crate::programs;
use crate::runs::Runs;
use crate::secret::Secrets;
use crate::session::{Begin, Once, Session, results};
use crate::target::{Target, Way};

/// The command `op`, with a subcommand for every op where somebody has typed it.
pub(crate) fn command(registry: &Registry, is_typed: bool) -> Command {
    let mut command = Command::new("op")
        .about("Run one op on one, several, or all members")
        .subcommand_required(true)
        .subcommand_value_name("MODULE.OP")
        .subcommand_help_heading("Ops")
        .arg_required_else_help(true);
    for op in registry.ops().filter(|_| is_typed) {
        command = command.subcommand(op_command(op));
    }
    command
}

/// An op's own command, read off its schema.
fn op_command(op: &OpDef) -> Command {
    let mut command = Command::new(op.name.clone())
        .about(op.about().trim_end_matches('.').to_owned())
        .long_about(op.doc.to_string());
    let is_required = |name: &str| required(&op.args).any(|r| r == name);
    let (of_member, mut others): (Vec<_>, Vec<_>) =
        properties(&op.args).partition(|(name, _)| *name == "member");
    others.sort_by_key(|(name, _)| (!is_required(name), name.as_str()));
    for (name, schema) in others {
        command = command.arg(argument(name, schema, is_required(name)));
    }
    if !of_member.is_empty() {
        let all = Arg::new("all")
            .long("all")
            .action(ArgAction::SetTrue)
            .help("On all members");
        let member = Arg::new("member")
            .long("member")
            .short('m')
            .action(ArgAction::Append)
            .value_delimiter(',');
        let member = member
            .value_name("MEMBER")
            .help("On these members, separated by commas")
            .conflicts_with("all");
        command = command.arg(member).arg(all);
    }
    command.arg(
        Arg::new("timeout")
            .long("timeout")
            .value_name("SPAN")
            .help(format!("Time limit [default: {}]", op.timeout)),
    )
}

fn argument(name: &str, schema: &Value, is_required: bool) -> Arg {
    let default = schema
        .get("default")
        .filter(|d| !d.is_null() && **d != json!([]) && **d != json!(false));
    let default = default.map_or_else(String::new, |d| {
        format!(
            " [default: {}]",
            d.as_str().map_or(d.to_string(), str::to_owned)
        )
    });
    let help = format!(
        "{}{default}",
        doc(schema)
            .lines()
            .next()
            .unwrap_or_default()
            .trim_end_matches('.')
    );
    let arg = Arg::new(name.to_owned()).help(help).required(is_required);
    let kinds = types_of(schema);
    // A program and its arguments come last, as they would be typed.
    if name == "argv" {
        return arg
            .num_args(1..)
            .trailing_var_arg(true)
            .allow_hyphen_values(true)
            .value_name("PROGRAM");
    }
    let arg = arg.long(name.replace('_', "-"));
    if kinds.contains(&"boolean") {
        let switch = arg
            .value_parser(["true", "false"])
            .hide_possible_values(true)
            .value_name("true|false");
        if is_required {
            return switch;
        }
        return switch
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true");
    }
    if let Some(words) = words(schema) {
        let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        return arg
            .value_parser(PossibleValuesParser::new(words))
            .value_name("NAME");
    }
    if kinds.contains(&"array") {
        return arg.action(ArgAction::Append).value_name("VALUE");
    }
    let what = schema
        .get("x-lockstep")
        .and_then(Value::as_str)
        .map(str::to_uppercase);
    arg.value_name(what.unwrap_or_else(|| {
        if kinds.contains(&"integer") {
            "N"
        } else {
            "TEXT"
        }
        .to_owned()
    }))
}

/// The arguments that were given, as the op takes them.
fn arguments(op: &OpDef, given: &ArgMatches) -> Result<Value, Fault> {
    let mut args = Map::new();
    for (name, schema) in properties(&op.args).filter(|(name, _)| *name != "member") {
        let Some(values) = given.get_many::<String>(name) else {
            continue;
        };
        let read = |text: &String| read(name, schema, text);
        let value = if types_of(schema).contains(&"array") {
            let each = schema.get("items").unwrap_or(&Value::Null);
            values
                .map(|text| self::read(name, each, text))
                .collect::<Result<Value, _>>()?
        } else {
            values
                .into_iter()
                .next_back()
                .map_or(Ok(Value::Null), read)?
        };
        args.insert(name.clone(), value);
    }
    if let Some(timeout) = given.get_one::<String>("timeout") {
        args.insert("timeout".to_owned(), Value::from(timeout.as_str()));
    }
    Ok(Value::Object(args))
}

/// A value from the command line, as its schema has it.
fn read(name: &str, schema: &Value, text: &str) -> Result<Value, Fault> {
    let kinds = types_of(schema);
    if kinds.contains(&"string") || kinds.is_empty() {
        return Ok(Value::from(text));
    }
    serde_json::from_str(text).map_err(|_| {
        Fault::usage(format!(
            "--{}: {text:?} can't be read",
            name.replace('_', "-")
        ))
    })
}

pub(crate) fn run(app: &App<'_>, given: &ArgMatches) -> Result<Exit, Fault> {
    let (name, given) = given
        .subcommand()
        .ok_or_else(|| Fault::usage("which op?"))?;
    let op = app.registry.op(name).map_err(Fault::usage)?;
    let mut target = target::named(app.global)?;
    let args = arguments(op, given)?;
    if target.is_simulated() && names_others(app.registry, op, given, &target.config.cluster) {
        target.config.cluster.machines = machines(app.global)?;
    }
    let call = Once {
        op: name.to_owned(),
        args,
        members: members(op, given, &target.config.cluster)?,
    };
    let runs = app.runs()?;
    // A read leaves nothing to be resumed.
    let runs = (call.effect(op) != Effect::Read).then_some(&runs);
    let runtime = runtime_at(target.is_simulated(), app.registry, None)?;
    let _within = runtime.enter();
    let session = begin(app.registry, &target, &call, runs, None)?;
    let played = runtime.block_on(Front::of_op(Shown::of_op(app.global)).play(session))?;
    let Finish::Done(value) = played.finish else {
        return Ok(tell(&played, app.global));
    };
    Ok(print(op, &call, value, app.global.json))
}

fn begin(
    registry: &Registry,
    target: &Target,
    call: &Once,
    runs: Option<&Runs>,
    way: Option<&Way>,
) -> Result<Session, Fault> {
    let session = call.draft(registry, target)?.begin(Begin {
        who: who(),
        runs,
        way: way.cloned(),
        secrets: Secrets::default(),
        plan: None,
    })?;
    Ok(session)
}

/// Runs an op that only reads, and returns its result.
pub(crate) async fn read_once(
    registry: &Registry,
    target: &Target,
    way: &Way,
    call: Once,
    shown: Shown,
) -> Result<Value, Fault> {
    let session = begin(registry, target, &call, None, Some(way))?;
    the_result(
        registry,
        &call,
        Front::of_op(shown).play(session).await?.finish,
    )
}

/// Runs an op that changes something, as a run of its own.
pub(crate) async fn change_once(
    registry: &Registry,
    target: &Target,
    way: &Way,
    call: Once,
    runs: &Runs,
) -> Result<Value, Fault> {
    let session = begin(registry, target, &call, Some(runs), Some(way))?;
    let front = Front::of_op(Shown::Nothing);
    the_result(registry, &call, front.play(session).await?.finish)
}

/// What an op returned that was called for no member in particular.
fn the_result(registry: &Registry, call: &Once, finish: Finish) -> Result<Value, Fault> {
    let failed = |what: String| Err(Fault::new(Exit::Failed, what));
    match finish {
        Finish::Done(value) => {
            let op = registry.op(&call.op).map_err(Fault::usage)?;
            let mut result = results(op, value).pop().unwrap_or_default();
            if let Some(value) = result.get_mut("value") {
                return Ok(value.take());
            }
            let error = &result["error"];
            let message = error["message"].as_str().unwrap_or("it failed");
            Err(Fault::new(failure_of(error), message))
        }
        Finish::Failed(failure) => failed(failure.to_string()),
        Finish::Held(held) | Finish::Refused(held) => {
            failed(held.iter().map(|h| h.failure.to_string()).collect())
        }
        Finish::Suspended(why) => failed(why.to_string()),
        Finish::Aborted => failed("it was aborted".to_owned()),
    }
}

/// Whether an op may be about more than the members: one of its arguments names something else, or it is a program's, which
/// gives commands to whomever it likes.
fn names_others(registry: &Registry, op: &OpDef, given: &ArgMatches, cluster: &Cluster) -> bool {
    let names = properties(&op.args)
        .filter(|(_, schema)| schema.get("x-lockstep").and_then(Value::as_str) == Some("Member"));
    let mut named =
        names.flat_map(|(name, _)| given.get_many::<String>(name).into_iter().flatten());
    let members = cluster.names();
    programs::is_of_program(registry, &op.name)
        || named.any(|name| !members.iter().any(|member| member == name))
}

fn members(op: &OpDef, given: &ArgMatches, cluster: &Cluster) -> Result<Vec<Member>, Fault> {
    if op.args.pointer("/properties/member").is_none() {
        return Ok(Vec::new());
    }
    if given.get_flag("all") {
        return Ok(cluster.names());
    }
    let named: Vec<Member> = given
        .get_many::<String>("member")
        .into_iter()
        .flatten()
        .map(|name| name.as_str().into())
        .collect();
    let known: Vec<&str> = cluster.reachable().map(|m| m.name.as_str()).collect();
    if let Some(unknown) = named.iter().find(|name| !known.contains(&name.as_str())) {
        let hint = lockstep_modules::contract::near::hint(unknown, &known);
        return Err(Fault::usage(format!(
            "there is no member {unknown:?}{hint}"
        )));
    }
    let optional = !required(&op.args).any(|name| name == "member");
    match (named.is_empty(), known.as_slice()) {
        (false, _) => Ok(named),
        (true, _) if optional => Ok(Vec::new()),
        (true, [only]) => Ok(vec![(*only).into()]),
        (true, _) => Err(
            Fault::usage(format!("on which member? {}", known.join(", ")))
                .help("--member NAME, or --all"),
        ),
    }
}

/// Prints what each member returned. The exit code says whether all of them succeeded, and if not, whether it was only that
/// they can't be reached.
fn print(op: &OpDef, call: &Once, value: Value, as_json: bool) -> Exit {
    let results = results(op, value);
    let names: Vec<&str> = if call.members.is_empty() {
        vec![""]
    } else {
        call.members.iter().map(Member::as_str).collect()
    };
    let pairs = || names.iter().zip(&results);
    if as_json {
        let all: Map<String, Value> = pairs()
            .map(|(name, r)| ((*name).to_owned(), (*r).clone()))
            .collect();
        let alone = all.get("").cloned();
        print::json(&alone.unwrap_or(Value::Object(all)));
    } else {
        for (name, result) in pairs() {
            let who = if name.is_empty() {
                String::new()
            } else {
                format!("{name}: ")
            };
            let before = if names.len() > 1 { who.as_str() } else { "" };
            let printed = op.call.prints() && Printed::of(result).tell(&who, before);
            match result.get("value") {
                Some(_) if printed => {}
                Some(value) => out!("{who}{}", op.call.summary(value)),
                None => out!(
                    "{who}failed: {}",
                    result["error"]["message"].as_str().unwrap_or_default()
                ),
            }
        }
    }
    let failed = |result: &&Value| result["ok"] != json!(true);
    let kinds = results
        .iter()
        .filter(failed)
        .map(|r| failure_of(&r["error"]));
    // One that failed is worse than any number that weren't there.
    kinds.fold(Exit::Done, |all, exit| match all {
        Exit::Failed => all,
        _ => exit,
    })
}

/// How a command ends for which an op failed.
fn failure_of(error: &Value) -> Exit {
    match Kind::deserialize(&error["kind"]) {
        Ok(Kind::Unreachable) => Exit::Unreachable,
        _ => Exit::Failed,
    }
}

/// What a program printed, as far as it was kept.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Printed {
    code: i32,
    stdout: String,
    stderr: String,
    cut: bool,
}

impl Printed {
    fn of(result: &Value) -> Self {
        let fields = result.get("value").unwrap_or(&result["error"]["detail"]);
        Self::deserialize(fields).unwrap_or_default()
    }

    /// Prints each line on the stream that it was printed on, after the member where there are several. Returns whether
    /// anything was printed.
    fn tell(&self, who: &str, before: &str) -> bool {
        if self.cut {
            err!("{who}only the end of its output was kept");
        }
        self.stdout.lines().for_each(|line| out!("{before}{line}"));
        self.stderr.lines().for_each(|line| err!("{before}{line}"));
        let printed = !self.stdout.is_empty() || !self.stderr.is_empty();
        if printed && self.code != 0 {
            err!("{who}exit {}", self.code);
        }
        printed
    }
}
