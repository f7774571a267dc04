//! Which command was typed, and what becomes of it.

use super::app::App;
use super::commands::{
    Command, abort, check, completions, doc, fleet, init, man, new, notify, plan, playbook,
    playbooks, preflight, rehearse, report, resume, runs, show, stage, status, store, types,
    unlock, watch,
};
use super::exit::{Exit, Fault};
use super::line;

/// Carries out a command.
pub(super) fn dispatch(app: &App<'_>, command: Command) -> Result<Exit, Fault> {
    match command {
        Command::Status(args) => status::status(app, &args),
        Command::Preflight(args) => preflight::preflight(app, &args),
        Command::Update(args) => playbook::named(app, "update", &args),
        Command::Upgrade(args) => playbook::named(app, "upgrade", &args),
        Command::Stage(args) => stage::stage(app, &args),
        Command::Run(args) => playbook::file(app, &args),
        Command::Runs(args) => runs::runs(app, &args),
        Command::Show(args) => show::show(app, &args),
        Command::Watch(args) => watch::watch(app, &args),
        Command::Report(args) => report::report(app, &args),
        Command::Notify(args) => notify::notify(app, &args),
        Command::Resume(args) => resume::resume(app, &args),
        Command::Abort(args) => abort::abort(app, &args),
        Command::Unlock(args) => unlock::unlock(app, &args),
        Command::Plan(args) => plan::plan(app, &args),
        Command::Rehearse(args) => rehearse::rehearse(app, &args),
        Command::Check(args) => check::check(app, &args),
        Command::Fleet(args) => fleet::fleet(app, &args),
        Command::Store(args) => store::store(app.global, &args),
        Command::New(args) => new::new(app.global, &args),
        Command::Types(args) => types::types(app, &args),
        Command::Playbooks(args) => playbooks::playbooks(app, &args),
        Command::Doc(args) => doc::doc(app, &args),
        Command::Init(args) => init::init(app.global, &args),
        Command::Man(args) => man::man(&line::all(app.registry)?, &args),
        Command::Completions(args) => completions::completions(&args),
    }
}
