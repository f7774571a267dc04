//! `preflight`: whether an update, or an upgrade, could begin. It only looks.

use std::rc::Rc;

use clap::Args;
use comfy_table::Table;
use lockstep_modules::contract::op::Registry;
use lockstep_modules::contract::reach::Transport;
use lockstep_modules::contract::schema::coerce;
use lockstep_modules::ops::preflight::{CHECKS, Check, Report, Verdict};
use serde::Deserialize;
use serde_json::Value;

use super::playbook::given_by;
use super::status::table;
use crate::bundle::Finder;
use crate::cli::exit::{Exit, Fault};
use crate::cli::global::Global;
use crate::cli::params::{self, Params};
use crate::cli::print;
use crate::cli::session::{self, Session, runtime, tell};
use crate::cli::shown::Shown;
use crate::cli::target::{Target, simulation, ssh};
use crate::clock::Clock;
use crate::engine::{Finish, Start};
use crate::journal::{FORMAT, Head, MemoryJournal};
use crate::script::Script;

/// The playbook that looks.
const PLAYBOOK: &str = "preflight";

/// What would be done.
#[derive(Args)]
pub(crate) struct PreflightArgs {
    #[command(flatten)]
    params: Params,
}

/// Makes all checks and shows what each came to. Exits with 0 only if nothing speaks against going on.
pub(crate) fn preflight(
    registry: &Registry,
    global: &Global,
    args: &PreflightArgs,
) -> Result<Exit, Fault> {
    let target = Target::of(global)?;
    let finder = Finder::shipped(global.playbooks());
    let mut script = Script::load(PLAYBOOK, Box::new(finder), registry, 1)?;
    let params = script.playbook().params(&given_by(
        &target,
        &script.playbook().names(),
        PLAYBOOK,
        args.params.typed(),
    ))?;
    let secrets = params::secrets(script.playbook(), &params, target.twin.is_some(), None)?;
    let cluster = target.config.cluster.clone();
    script.start(&cluster, &params)?;
    let head = Head {
        format: FORMAT,
        id: PLAYBOOK.to_owned(),
        playbook: PLAYBOOK.to_owned(),
        params,
        lockstep: env!("CARGO_PKG_VERSION").to_owned(),
        target: target.name.clone(),
        cluster: cluster.clone(),
        seed: 1,
        bundle: Default::default(),
        programs: None,
        who: session::who(),
    };
    let runtime = runtime(target.twin.is_some())?;
    let outcome = runtime.block_on(async {
        let transport: Rc<dyn Transport> = match &target.twin {
            Some(scenario) => Rc::new(simulation(scenario.build(), None)),
            None => ssh(&cluster)?,
        };
        let session = Session {
            registry,
            cluster,
            transport,
            folder: None,
            shown: Shown::of_op(global),
            simulated: target.twin.is_some(),
            clock: Clock::system(),
            yes: false,
            deliver_failures: true,
            approved: None,
            secrets,
            speed: None,
        };
        // A look leaves nothing to be resumed.
        let journal = Box::new(MemoryJournal::default());
        let start = Start::Fresh(Box::new(head));
        session
            .play(script, journal, start)
            .await
            .map_err(Fault::from)
    })?;
    let Finish::Done(value) = outcome.finish else {
        return Ok(tell(PLAYBOOK, &outcome, global.json));
    };
    let report = report(registry, value)?;
    if global.json {
        print::json(&report);
    } else {
        print(&report, global.verbose);
    }
    Ok(if report.ok { Exit::Done } else { Exit::Refused })
}

/// The result has been through Lua, where an empty list and an empty record are the same.
fn report(registry: &Registry, value: Value) -> Result<Report, Fault> {
    let op = registry.op("preflight.read").map_err(Fault::usage)?;
    let value = coerce(&op.out, value).map_err(|e| Fault::new(Exit::Failed, e))?;
    Report::deserialize(&value).map_err(|e| Fault::new(Exit::Failed, e))
}

/// Whether a check is one of lockstep's own, and not a row of a table.
fn is_own(name: &str) -> bool {
    CHECKS.iter().any(|own| own.name == name)
}

/// Checks as a table, each with its evidence and with what can be typed.
pub(crate) fn checks_table(checks: &[Check]) -> Table {
    let mut table = table(["CHECK", "", "EVIDENCE"]);
    for check in checks {
        let mut evidence = check.evidence.join("\n");
        if check.is_against() {
            if let Some(link) = &check.link {
                evidence.push_str(&format!("\n{link}"));
            }
            if check.may_accept {
                evidence.push_str(&format!("\nto proceed anyway: --accept {}", check.name));
            }
        }
        table.add_row([check.name.as_str(), check.verdict.word(), &evidence]);
    }
    table
}

fn print(report: &Report, verbose: bool) {
    // Most rows of the tables are about other versions than these.
    let matters = |check: &&Check| {
        verbose
            || is_own(&check.name)
            || check.verdict != Verdict::Pass
            || !check.evidence.is_empty()
    };
    let shown: Vec<Check> = report.checks.iter().filter(matters).cloned().collect();
    out!("{}", checks_table(&shown).trim_fmt());
    let rest = report.checks.len() - shown.len();
    if rest > 0 {
        out!("{rest} known hazards of other versions don't apply here: show them with --verbose");
    }
    out!(
        "{}",
        if report.ok {
            "ready: no check would stop it"
        } else {
            "not ready: it would be refused; nothing was changed"
        }
    );
}
