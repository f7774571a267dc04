//! `preflight`: whether an update, or an upgrade, could begin. It only looks.

use clap::Args;
use lockstep_modules::contract::op::Registry;
use lockstep_modules::contract::schema::coerce;
use lockstep_modules::ops::preflight::{CHECKS, Check, Report, Verdict};
use serde::Deserialize;
use serde_json::Value;

use super::playbook::main_of;
use crate::cli::app::App;
use crate::cli::exit::{Exit, Fault};
use crate::cli::front::{Front, runtime_at, tell, who};
use crate::cli::params::{self, Params};
use crate::cli::print;
use crate::cli::shown::Shown;
use crate::cli::table::checks_table;
use crate::cli::target;
use crate::engine::Finish;
use crate::session::{Begin, Draft};

const PLAYBOOK: &str = "preflight";

/// What would be done.
#[derive(Args)]
pub(crate) struct PreflightArgs {
    #[command(flatten)]
    params: Params,
}

/// Makes all checks and shows what each came to. Exits with 0 only if nothing speaks against continuing.
pub(crate) fn preflight(app: &App<'_>, args: &PreflightArgs) -> Result<Exit, Fault> {
    let target = target::named(app.global)?;
    let main = main_of(app.global, PLAYBOOK)?;
    let draft = Draft::new(app.registry, main, &target, args.params.typed())?;
    let secrets = params::secrets(
        draft.playbook(),
        draft.params(),
        target.is_simulated(),
        None,
    )?;
    let runtime = runtime_at(target.is_simulated(), app.registry, None)?;
    let _within = runtime.enter();
    let session = draft.begin(Begin {
        who: who(),
        // A look leaves nothing to be resumed.
        runs: None,
        way: None,
        secrets,
        plan: None,
    })?;
    let played = runtime.block_on(Front::of_op(Shown::of_op(app.global)).play(session))?;
    let Finish::Done(value) = played.finish else {
        return Ok(tell(&played, app.global));
    };
    let report = report(app.registry, value)?;
    if app.global.json {
        print::json(&report);
    } else {
        print(&report, app.global.verbose);
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
