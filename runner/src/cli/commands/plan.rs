//! `plan`: what a playbook will do on a cluster, without doing it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use lockstep_modules::contract::cmd::quote;
use lockstep_modules::contract::op::{Effect, Op, Registry};
use lockstep_modules::contract::schema::Span;
use lockstep_modules::ops::confirm::Confirm;
use lockstep_modules::ops::status::SnapshotOut;
use lockstep_twin::Scenario;
use serde::Deserialize;
use serde_json::{Value, json};

use super::op;
use super::playbook::{Which, machines_of};
use crate::bundle::Main;
use crate::cli::app::App;
use crate::cli::exit::{Exit, Fault};
use crate::cli::front::runtime;
use crate::cli::global::Global;
use crate::cli::print;
use crate::cli::shown::Shown;
use crate::cli::target;
use crate::foreseen;
use crate::plan::{End, Plan, Step, make};
use crate::report::excerpt::Ink;
use crate::report::failure::Teller;
use crate::script::Source;
use crate::session::{Once, given};
use crate::target::Target;
use crate::trial::Piece;

/// What a plan takes.
#[derive(Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    which: Which,
    /// Write the plan to a file, for lockstep run --plan FILE
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Looks at the cluster that the command line names, and describes one like it.
pub(crate) fn look(app: &App<'_>) -> Result<(Target, Scenario), Fault> {
    let target = target::named(app.global)?;
    let scenario = look_at(app, &target)?;
    Ok((target, scenario))
}

/// Looks at a cluster, and describes one like it.
pub(crate) fn look_at(app: &App<'_>, target: &Target) -> Result<Scenario, Fault> {
    if let Some(scenario) = &target.twin {
        return Ok(scenario.clone());
    }
    let runtime = runtime()?;
    let _within = runtime.enter();
    let (way, read) = (target.way(None)?, Once::of("status.snapshot", json!({})));
    let value = runtime.block_on(op::read_once(
        app.registry,
        target,
        &way,
        read,
        Shown::of_op(app.global),
    ))?;
    let seen = SnapshotOut::deserialize(&value).map_err(|e| Fault::new(Exit::Failed, e))?;
    Scenario::like(&seen).map_err(|unknown| {
        let text = format!(
            "not everything about the cluster can be seen: {}",
            unknown.join("; ")
        );
        Fault::new(Exit::Refused, text)
            .help("a plan from an incomplete picture would be wrong; see: lockstep status")
    })
}

/// Plans a playbook for a cluster, of which `scenario` describes one that is like it. Returns the sources too.
pub(crate) fn made(
    registry: &Registry,
    main: Main,
    target: &Target,
    scenario: &Scenario,
    typed: &[(String, Value)],
) -> Result<(Plan, BTreeMap<String, Source>), Fault> {
    let mut piece = Piece::load(
        &main.main,
        Box::new(main.finder),
        registry,
        &Default::default(),
    )?;
    let given = given(target, &piece.takes()?, &main.name, typed);
    piece.give(&given)?;
    piece.machines.clone_from(&target.config.cluster.machines);
    let plan = make(&piece, &target.config.cluster.name, scenario)?;
    Ok((plan, piece.bundle))
}

/// Shows a plan, and writes it down if that is asked for.
pub(crate) fn plan(app: &App<'_>, args: &PlanArgs) -> Result<Exit, Fault> {
    let main = args.which.main(app.global)?;
    let (mut target, scenario) = look(app)?;
    if target.twin.is_some() {
        target.config.cluster.machines = machines_of(&main, app.global)?;
    }
    let typed = args.which.params.typed();
    let (mut plan, sources) = made(app.registry, main, &target, &scenario, typed)?;
    if target.twin.is_none() {
        let snaps: Vec<&str> = plan.windows.iter().map(|w| w.snap.as_str()).collect();
        let past = foreseen::remembered(&app.runs()?, &plan.cluster, &snaps);
        for window in &mut plan.windows {
            let known = past.iter().find(|known| known.snap == window.snap);
            *window = known.unwrap_or(window).clone();
        }
    }
    if let Some(file) = &args.output {
        plan.write(file)?;
    }
    if app.global.json {
        print::json(&json!(plan));
    } else {
        print(&plan, app.global.verbose);
        end(&plan.end, &sources);
        if let Some(file) = &args.output {
            out!(
                "To run exactly this plan: {}",
                command(app.global, args, file)
            );
        }
    }
    Ok(match plan.end {
        End::Done | End::Open { .. } => Exit::Done,
        End::Stops { refused: true, .. } => Exit::Refused,
        End::Stops { .. } => Exit::Failed,
    })
}

/// The command that runs what was planned, as it is typed: with the parameters that the plan was made with.
fn command(global: &Global, args: &PlanArgs, file: &Path) -> String {
    let mut words = vec![
        "lockstep".to_owned(),
        "run".to_owned(),
        args.which.file.clone(),
    ];
    let given: BTreeMap<String, Value> = args.which.params.typed().iter().cloned().collect();
    for (name, value) in given {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        words.extend(["-p".to_owned(), format!("{name}={value}")]);
    }
    let folder = |path: &PathBuf| path.display().to_string();
    let flags = [
        ("--cluster", global.cluster.clone()),
        ("--state", global.state.as_ref().map(folder)),
        ("--playbooks", global.playbooks.as_ref().map(folder)),
        ("--modules", global.modules.as_ref().map(folder)),
        ("--plan", Some(file.display().to_string())),
    ];
    for (flag, value) in flags {
        words.extend(value.into_iter().flat_map(|value| [flag.to_owned(), value]));
    }
    let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
    words.join(" ")
}

/// Minutes and seconds.
fn clock(millis: u64) -> String {
    let seconds = millis / 1000;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// The stage of a step, which is its wave.
fn wave(step: &Step) -> &str {
    step.path.stage().unwrap_or_default()
}

fn print(plan: &Plan, verbose: bool) {
    let members = match plan.members.len() {
        1 => "1 member".to_owned(),
        n => format!("{n} members"),
    };
    out!("{} on {}: {members}\n", plan.playbook, plan.cluster);
    let mut shown: Option<&str> = None;
    let mut messages = plan.messages.iter().peekable();
    let changing = plan.steps.iter().filter(|s| {
        // A question is shown: a run stops there until somebody has answered.
        verbose || s.effect != Effect::Read || s.takes >= 1000 || s.op == Confirm::NAME
    });
    for step in changing {
        if shown != Some(wave(step)) {
            shown = Some(wave(step));
            let own = plan.steps.iter().filter(|s| wave(s) == wave(step));
            let (begins, ends) = own.fold((u64::MAX, 0), |(b, e), s| {
                (b.min(s.begins), e.max(s.begins + s.takes))
            });
            let title = if wave(step).is_empty() {
                "outside the waves"
            } else {
                wave(step)
            };
            out!(
                "{title}  (about {})",
                Span(std::time::Duration::from_secs(
                    ends.saturating_sub(begins) / 1000
                ))
            );
            while let Some((_, message)) =
                messages.next_if(|(scope, _)| scope.split('/').next() == shown)
            {
                out!("         {message}");
            }
        }
        let member = step.member.as_deref().unwrap_or("");
        let arrow = if step.summary.is_empty() {
            String::new()
        } else {
            format!(": {}", step.summary)
        };
        let what = format!("{} {}", step.op, step.headline);
        let (begins, what) = (clock(step.begins), what.trim_end());
        out!("  {begins:>6}  {member:<10}  {what}{arrow}");
    }
    let reads = plan
        .steps
        .iter()
        .filter(|s| s.effect == Effect::Read)
        .count();
    let ends = plan
        .steps
        .iter()
        .map(|s| s.begins + s.takes)
        .max()
        .unwrap_or(0);
    out!(
        "\n{} step{}, {reads} of them read-only; about {}",
        plan.steps.len(),
        if plan.steps.len() == 1 { "" } else { "s" },
        Span(std::time::Duration::from_secs(ends / 1000))
    );
    for window in &plan.windows {
        out!("Window: {window}");
    }
    if plan.instances.is_empty() {
        out!("Instances: none are affected");
    }
    for line in &plan.instances {
        out!("Instances: {line}");
    }
    for setting in &plan.settings {
        let back = if setting.restored {
            "changed, then restored"
        } else {
            "changed, and NOT restored"
        };
        out!("Setting: {} is {back}", setting.name);
    }
}

/// How a plan ends, where that isn't with the playbook: with the line.
fn end(end: &End, sources: &BTreeMap<String, Source>) {
    let (site, why) = match end {
        End::Done => return,
        End::Stops {
            step, why, site, ..
        } => {
            let at = step.as_ref().map(|step| format!(", at {step}"));
            out!(
                "The run would stop: {why}{}{}",
                place(site),
                at.unwrap_or_default()
            );
            (site, why)
        }
        End::Open { site, why } => {
            out!("The plan is exact up to {site}, and open after that: {why}");
            (site, why)
        }
    };
    let teller = Teller::of(sources, Ink::stdout());
    if let Some(excerpt) = teller.excerpt(site, why, false) {
        print::styled(&format!("{excerpt}\n"));
    }
    if matches!(end, End::Open { .. }) {
        out!(
            "Declare what to expect of the command, and the plan continues: plan = {{ code = 0, stdout = \"…\" }}"
        );
    }
}

fn place(site: &str) -> String {
    if site.is_empty() {
        String::new()
    } else {
        format!(" ({site})")
    }
}
