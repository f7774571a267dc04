//! `update`, `upgrade` and `run`: a playbook from its beginning.

use std::path::{Path, PathBuf};

use clap::Args;
use lockstep_modules::contract::cluster::MemberConfig;

use crate::bundle::{Main, Playbooks};
use crate::cli::app::App;
use crate::cli::exit::{Exit, Fault};
use crate::cli::front::{Front, Waits, runtime_at, tell, who};
use crate::cli::global::Global;
use crate::cli::mistakes::near_file;
use crate::cli::params::{self, Params};
use crate::cli::shown::Shown;
use crate::cli::target::{self, machines};
use crate::plan::Plan;
use crate::session::{Begin, Draft, Played};
use crate::target::Target;

/// The other answer to what happens on a failure.
pub(crate) const DELIVER: &str = "deliver";

/// What every run takes.
#[derive(Args, Clone)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    params: Params,
    /// Follow this plan; hold at any step not in it
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Answer yes to every prompt
    #[arg(long)]
    yes: bool,
    /// On a failure: hold the run, or pass the failure to the playbook
    #[arg(long, value_name = "WHAT", value_parser = ["hold", DELIVER], default_value = "hold")]
    on_failure: String,
}

/// A site's own playbook.
#[derive(Args)]
pub(crate) struct FileArgs {
    /// Playbook: a Lua file, or the name of a shipped one
    file: String,
    #[command(flatten)]
    run: RunArgs,
}

/// A playbook with its parameters, for commands that don't touch a cluster.
#[derive(Args, Clone)]
pub(crate) struct Which {
    /// Playbook: a Lua file, or the name of a shipped one
    pub(crate) file: String,
    #[command(flatten)]
    pub(crate) params: Params,
}

impl Which {
    pub(crate) fn main(&self, global: &Global) -> Result<Main, Fault> {
        main_of(global, &self.file)
    }
}

/// The playbook of this name or file.
pub(crate) fn main_of(global: &Global, named: &str) -> Result<Main, Fault> {
    Main::find(global.playbooks(), named).ok_or_else(|| {
        let near = near_file(Path::new(named), &Playbooks::NAMES);
        Fault::usage(format!(
            "there is no playbook {named:?}, neither a file nor one of {}{near}",
            Playbooks::NAMES.join(", ")
        ))
    })
}

/// The machines beside a simulated cluster, as far as the playbook may need them.
pub(crate) fn machines_of(main: &Main, global: &Global) -> Result<Vec<MemberConfig>, Fault> {
    if main.site {
        machines(global)
    } else {
        Ok(Vec::new())
    }
}

/// Runs a playbook: a shipped one by its name, or a site's by its file.
pub(crate) fn named(app: &App<'_>, name: &str, args: &RunArgs) -> Result<Exit, Fault> {
    let mut target = target::named(app.global)?;
    let main = main_of(app.global, name)?;
    if target.is_simulated() {
        target.config.cluster.machines = machines_of(&main, app.global)?;
    }
    let played = play(app, main, &target, args, None)?;
    Ok(tell(&played, app.global))
}

pub(crate) fn file(app: &App<'_>, args: &FileArgs) -> Result<Exit, Fault> {
    named(app, &args.file, &args.run)
}

/// Plays a playbook on a target. `speed` is that of a simulated cluster's time, if it isn't to jump.
pub(crate) fn play(
    app: &App<'_>,
    main: Main,
    target: &Target,
    args: &RunArgs,
    speed: Option<f64>,
) -> Result<Played, Fault> {
    let draft = Draft::new(app.registry, main, target, args.params.typed())?;
    let plan = args.plan.as_ref();
    let plan = plan.map(|file| fitting(&draft, file)).transpose()?;
    let secrets = params::secrets(
        draft.playbook(),
        draft.params(),
        target.is_simulated(),
        None,
    )?;
    let speed = speed.or(app.global.pace);
    let runtime = runtime_at(target.is_simulated(), app.registry, speed)?;
    let _within = runtime.enter();
    let session = draft.begin(Begin {
        who: who(),
        runs: Some(&app.runs()?),
        way: None,
        secrets,
        plan,
    })?;
    let front = Front {
        shown: Shown::of_run(app.global),
        yes: args.yes,
        deliver_failures: args.on_failure == DELIVER,
        waits: Waits::Here,
        speed,
    };
    Ok(runtime.block_on(front.play(session))?)
}

/// The plan in a file, if the run can be the planned one.
fn fitting(draft: &Draft, file: &Path) -> Result<Plan, Fault> {
    let plan = Plan::read(file)?;
    let Some(why) = draft.misfit(&plan) else {
        return Ok(plan);
    };
    let text = format!("the plan {} is not for this run: {why}", file.display());
    Err(Fault::usage(text)
        .help("run it as the plan was made, or create the plan again: lockstep plan … -o FILE"))
}
