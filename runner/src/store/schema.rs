//! The tables, as numbered files. They are made by `lockstep store init` and by nothing else.

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

/// What was done to the tables since there are any, in order.
const STEPS: [&str; 1] = [include_str!("schema/0001.sql")];

/// The version of the tables that this lockstep works with.
pub(super) const VERSION: i32 = STEPS.len() as i32;

/// The first key of all our advisory locks: "lock", in ASCII. The second is a run's number, or 0 for whoever starts a rollout.
pub(super) const LOCKS: i32 = 0x6c6f_636b;

/// The second key of the lock under which tables are changed.
const CHANGE: i32 = -1;

/// What is in a database.
pub(super) enum Found {
    /// Tables of this version.
    Version(i32),
    /// None of our tables.
    Nothing,
    /// A schema of ours that this role may not use.
    Closed,
}

/// What is in the database. From here on, names are those of our schema.
pub(super) async fn found(client: &Client) -> Result<Found, Error> {
    client
        .batch_execute("set search_path to lockstep, pg_temp")
        .await?;
    match client.query_opt("select version from store", &[]).await {
        Ok(row) => Ok(row.map_or(Found::Nothing, |row| Found::Version(row.get(0)))),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => {
            let closed = "select from pg_catalog.pg_namespace where nspname = 'lockstep' and not has_schema_privilege(oid, 'usage')";
            let closed = client.query_opt(closed, &[]).await?;
            Ok(closed.map_or(Found::Nothing, |_| Found::Closed))
        }
        Err(error) => Err(error),
    }
}

/// Brings the tables to this lockstep's version, unless they are newer. Returns the version that they had.
pub(super) async fn init(client: &mut Client) -> Result<Option<i32>, Error> {
    // Nobody else is at it at the same time; and all of it is done, or nothing.
    let change = client.transaction().await?;
    // What stands in the tables' functions means what PostgreSQL means by it.
    change
        .batch_execute("set local search_path to pg_catalog, pg_temp")
        .await?;
    change
        .execute("select pg_advisory_xact_lock($1, $2)", &[&LOCKS, &CHANGE])
        .await?;
    let there = "select to_regclass('lockstep.store') is not null";
    let mut found: Option<i32> = None;
    if change.query_one(there, &[]).await?.get(0) {
        let row = change.query_opt("select version from lockstep.store", &[]);
        found = row.await?.map(|row| row.get(0));
    } else {
        change
            .batch_execute("create schema if not exists lockstep")
            .await?;
    }
    let done = usize::try_from(found.unwrap_or(0)).unwrap_or(0);
    for step in STEPS.iter().skip(done) {
        change.batch_execute(step).await?;
    }
    if found.is_none_or(|found| found < VERSION) {
        let now = "insert into lockstep.store (version) values ($1) on conflict (one) do update set version = $1";
        change.execute(now, &[&VERSION]).await?;
    }
    change.commit().await?;
    Ok(found)
}
