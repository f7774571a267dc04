//! `store`: the database that has the runs of several machines.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::exit::{Exit, Fault};
use crate::cli::global::Global;
use crate::cli::print;
use crate::store::Store;

/// What is done with the database.
#[derive(Args)]
pub(crate) struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Subcommand)]
enum StoreCommand {
    /// Make the tables in the database that --state names, or bring them up to date
    Init,
}

pub(crate) fn store(global: &Global, args: &StoreArgs) -> Result<Exit, Fault> {
    let StoreCommand::Init = args.command;
    let url = global.store().ok_or_else(|| {
        Fault::usage("no database is named")
            .help("name it: lockstep store init --state postgresql://USER@HOST/DATABASE")
    })?;
    let before = Store::init(url)?;
    let now = Store::VERSION;
    if global.json {
        print::json(&json!({"before": before, "version": now}));
        return Ok(Exit::Done);
    }
    match before {
        Some(before) if before == now => out!("the tables are up to date (version {now})"),
        Some(before) => out!("the tables were of version {before}, and are of version {now}"),
        None => out!("the tables are there (version {now})"),
    }
    Ok(Exit::Done)
}
