//! `fleet rollout`: the clusters through a playbook, ring by ring.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};

use super::exec::playbook_of;
use super::named::{begun, rollouts};
use crate::bundle::Main;
use crate::cli::app::App;
use crate::cli::commands::playbook::main_of;
use crate::cli::exit::{Exit, Fault};
use crate::cli::fleets::read;
use crate::cli::front::{Front, Waits, runtime, tell, who};
use crate::cli::params::Params;
use crate::cli::shown::Shown;
use crate::cli::table::table;
use crate::cli::{modules, print, target};
use crate::fleet::{Entry, Fleet, PLAYBOOK, Rollout, Selector};
use crate::runs::{Runs, is_job};
use crate::secret::{Secrets, anchored};
use crate::session::{Begin, Draft};
use crate::target::Target;

/// What is rolled out, and to whom.
#[derive(Args)]
pub(crate) struct RolloutArgs {
    /// Playbook: a Lua file, or the name of a shipped one
    playbook: String,
    #[command(flatten)]
    params: Params,
    /// Only these clusters, for example country=de,tier!=1 or name=berlin-*
    #[arg(long, short = 'l', value_name = "SELECTOR")]
    select: Option<String>,
    /// Show the rings and check everything, but start nothing
    #[arg(long)]
    dry_run: bool,
    /// Where nothing is left but to wait for a window or a soak, end with code 5, and say when to continue
    #[arg(long)]
    no_wait: bool,
    /// Answer yes to every prompt: start rings that need approval, and leave behind clusters that are not done
    #[arg(long)]
    yes: bool,
}

pub(crate) fn rollout(
    app: &App<'_>,
    file: Option<&Path>,
    args: &RolloutArgs,
) -> Result<Exit, Fault> {
    let (path, fleet) = read(file)?;
    let main = main_of(app.global, &args.playbook)?;
    let chosen =
        Selector::parse(args.select.as_deref().unwrap_or_default()).map_err(Fault::usage)?;
    let playbook = match main.site {
        true => anchored(Path::new(&args.playbook), Path::new(""))
            .display()
            .to_string(),
        false => args.playbook.clone(),
    };
    let typed: Map<String, Value> = args.params.typed().iter().cloned().collect();
    let absolute = |folder: &PathBuf| anchored(folder, Path::new(""));
    let mut rollout = Rollout {
        playbooks: app.global.playbooks.as_ref().map(absolute),
        modules: app.global.modules.as_ref().map(absolute),
        ssh_config: app
            .global
            .ssh_config
            .as_ref()
            .map(|file| absolute(&PathBuf::from(file))),
        ..Rollout::of(&fleet, &playbook, &main.name, &typed, &chosen)?
    };
    rollout.fingerprint = check(app, &rollout)?;
    let draft = drafted(app, path, fleet, &rollout)?;
    if args.dry_run {
        show(app, &rollout);
        return Ok(Exit::Done);
    }
    let runs = app.runs()?;
    // Nobody else looks between our look and our start.
    let claim = runs.one_at_a_time()?;
    unclaimed(&runs, &rollout)?;
    let runtime = runtime()?;
    let _within = runtime.enter();
    let session = draft.begin(Begin {
        who: who(),
        runs: Some(&runs),
        way: None,
        secrets: Secrets::default(),
        plan: None,
    })?;
    drop(claim);
    let front = Front {
        shown: Shown::of_run(app.global),
        yes: args.yes,
        deliver_failures: false,
        waits: match args.no_wait {
            true => Waits::Elsewhere,
            false => Waits::Here,
        },
        speed: None,
    };
    let played = runtime.block_on(front.play(session))?;
    Ok(tell(&played, app.global))
}

/// The rollout's own run: the shipped playbook, or the site's version of it.
fn drafted(app: &App<'_>, path: PathBuf, fleet: Fleet, rollout: &Rollout) -> Result<Draft, Fault> {
    let mut target = Target::fleet(path, rollout, &fleet.notify, fleet.machines);
    target::with_ssh_config(&mut target.config.cluster, app.global);
    let (main, registry) = match fleet.hooks {
        None => (
            Main::shipped(app.global.playbooks(), PLAYBOOK),
            app.registry.clone(),
        ),
        Some(hooks) => {
            let main = main_of(app.global, &hooks.display().to_string())?;
            let beside = [hooks.as_path()];
            let registry = modules::of_site(app.registry, rollout.modules.as_deref(), &beside)?;
            (main, registry)
        }
    };
    Ok(Draft::rollout(&registry, main, &target, rollout)?)
}

/// Refuses what no run could begin with: a cluster file or parameters that can't be used. What many clusters have in common is
/// looked at once. Returns the fingerprint of what is played.
fn check(app: &App<'_>, rollout: &Rollout) -> Result<String, Fault> {
    let mut fingerprint = String::new();
    let mut seen: BTreeMap<String, ()> = BTreeMap::new();
    for entry in rollout.clusters() {
        let target = target_of(app, entry)?;
        let same = json!([entry.params, target.config.params, target.config.channels]).to_string();
        if seen.insert(same, ()).is_none() {
            let typed: Vec<(String, Value)> = entry.params.clone().into_iter().collect();
            let (main, registry) = playbook_of(app.registry, app.global, &rollout.spec(entry))?;
            let draft = Draft::new(&registry, main, &target, &typed);
            let draft = draft.map_err(|failure| Fault::from(failure).within(&entry.name))?;
            fingerprint = draft.fingerprint();
        }
    }
    Ok(fingerprint)
}

fn target_of(app: &App<'_>, entry: &Entry) -> Result<Target, Fault> {
    target::of(&entry.cluster, app.global).map_err(|fault| fault.within(&entry.name))
}

/// Refuses clusters that another rollout has which isn't over.
fn unclaimed(runs: &Runs, rollout: &Rollout) -> Result<(), Fault> {
    let ids = runs.ids()?;
    let starting = |id: &&String| id.starts_with(PLAYBOOK) && !is_job(id) && runs.is_starting(id);
    if let Some(id) = ids.iter().find(starting) {
        let what = format!("{id} is just starting, and may have some of these clusters");
        return Err(Fault::new(Exit::Locked, what).help("run the command again"));
    }
    for id in rollouts(runs)? {
        // One that can't be read keeps nobody.
        let Ok(history) = runs.history(&id) else {
            continue;
        };
        if history.end.is_some() {
            continue;
        }
        let other = begun(runs, &id)?;
        let files: Vec<&str> = other
            .clusters()
            .filter(|e| !e.is_simulated())
            .map(|e| e.cluster.as_str())
            .collect();
        let same_fleet = other.fleet == rollout.fleet;
        let taken = |entry: &&Entry| {
            files.contains(&entry.cluster.as_str())
                || same_fleet && other.clusters().any(|e| e.name == entry.name)
        };
        if let Some(entry) = rollout.clusters().find(taken) {
            let what = format!("{} is in {id}, which is not over", entry.name);
            return Err(Fault::new(Exit::Locked, what).help(format!(
                "lockstep fleet continue -r {id}  continues it\nlockstep fleet abort -r {id}     ends it"
            )));
        }
    }
    Ok(())
}

fn show(app: &App<'_>, rollout: &Rollout) {
    if app.global.json {
        print::json(&json!(rollout));
        return;
    }
    out!(
        "{} on {}: {} clusters",
        rollout.playbook,
        rollout.fleet,
        rollout.clusters().count()
    );
    let mut table = table([
        "RING", "CLUSTERS", "AT ONCE", "BUDGET", "SOAK", "APPROVAL", "WHICH",
    ]);
    for ring in &rollout.rings {
        let names: Vec<&str> = ring
            .clusters
            .iter()
            .map(|entry| entry.name.as_str())
            .collect();
        let some = match names.as_slice() {
            [a, b, c, _, rest @ ..] => format!("{a}, {b}, {c} and {} more", rest.len() + 1),
            few => few.join(", "),
        };
        table.add_row([
            ring.name.clone(),
            ring.clusters.len().to_string(),
            ring.limit.to_string(),
            ring.budget.to_string(),
            ring.soak
                .map_or_else(|| "-".to_owned(), |soak| soak.to_string()),
            match (ring.approve, ring.clusters.iter().any(|c| c.approve_plan)) {
                (true, true) => "asked, plans",
                (true, false) => "asked",
                (false, true) => "plans",
                (false, false) => "-",
            }
            .to_owned(),
            some,
        ]);
    }
    out!("{}", table.trim_fmt());
}
