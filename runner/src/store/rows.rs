//! What is asked of the tables. Each function is fit to be called again where its answer was lost.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row};

use super::schema::LOCKS;

/// A run, as the list of all runs has it.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    /// Records of its journal, and their bytes.
    pub(crate) records: usize,
    pub(crate) bytes: u64,
    /// Process and machine that took it up last.
    pub(crate) holder: String,
    /// When its journal was last written to.
    pub(crate) written: SystemTime,
    /// Whether a process has it.
    pub(crate) running: bool,
}

/// All runs that this role sees, by name.
pub(crate) type Index = BTreeMap<String, Listed>;

/// Files of a run by name: their texts.
pub(crate) type Attached = BTreeMap<String, String>;

/// What becomes of somebody who wants a run.
pub(super) enum Claimed {
    /// It is theirs.
    Ours { number: i32, sitting: i64 },
    /// It is somebody else's: process and machine.
    Theirs(String),
    /// There is none.
    Nowhere,
}

fn count(row: &Row, column: usize) -> usize {
    usize::try_from(row.get::<_, i32>(column)).unwrap_or(0)
}

/// All runs. A run's lock tells whether it is running, and a lock ends with its holder's connection.
pub(super) async fn index(client: &Client) -> Result<Index, Error> {
    let query = "
        select r.id, r.records, r.bytes, r.holder, extract(epoch from r.written)::float8, l.number is not null
        from runs r left join (
            select distinct objid::bigint as number from pg_catalog.pg_locks
            where locktype = 'advisory' and classid::bigint = $1 and objsubid = 2 and granted
                and database = (select oid from pg_catalog.pg_database where datname = current_database())
        ) l on l.number = r.number";
    let rows = client.query(query, &[&i64::from(LOCKS)]).await?;
    let listed = |row: &Row| {
        let since = Duration::try_from_secs_f64(row.get(4)).unwrap_or_default();
        let listed = Listed {
            records: count(row, 1),
            bytes: u64::try_from(row.get::<_, i64>(2)).unwrap_or(0),
            holder: row.get(3),
            written: SystemTime::UNIX_EPOCH + since,
            running: row.get(5),
        };
        (row.get(0), listed)
    };
    Ok(rows.iter().map(listed).collect())
}

/// Takes a lock, if nobody has it; whether it is ours.
pub(super) async fn locked(client: &Client, number: i32) -> Result<bool, Error> {
    let lock = "select pg_try_advisory_lock($1, $2)";
    let row = client.query_one(lock, &[&LOCKS, &number]).await?;
    Ok(row.get(0))
}

/// Lets go of a lock.
pub(super) async fn unlock(client: &Client, number: i32) -> Result<(), Error> {
    let unlock = "select pg_advisory_unlock($1, $2)";
    client.query_one(unlock, &[&LOCKS, &number]).await.map(drop)
}

/// Takes the lock of whoever starts a rollout, if nobody has it.
pub(super) async fn claim(client: &Client) -> Result<bool, Error> {
    locked(client, 0).await
}

/// Begins a run of this name, unless one has begun. What an earlier process left of it before it had begun is removed.
pub(super) async fn begin(
    client: &Client,
    id: &str,
    labels: &str,
    holder: &str,
) -> Result<Claimed, Error> {
    let row =
        "insert into runs (id, labels) values ($1, given($2::text::jsonb)) on conflict do nothing";
    client.execute(row, &[&id, &labels]).await?;
    let found = "select number, holder from runs where id = $1 and records = 0";
    let Some(row) = client.query_opt(found, &[&id]).await? else {
        return Ok(Claimed::Nowhere);
    };
    let number: i32 = row.get(0);
    if !locked(client, number).await? {
        return Ok(Claimed::Theirs(row.get(1)));
    }
    let ours = "update runs set sitting = sitting + 1, holder = $2 where id = $1 and records = 0 returning sitting";
    let Some(row) = client.query_opt(ours, &[&id, &holder]).await? else {
        unlock(client, number).await?;
        return Ok(Claimed::Nowhere);
    };
    client
        .execute("delete from files where run = $1", &[&id])
        .await?;
    client
        .execute("delete from events where run = $1", &[&id])
        .await?;
    let sitting = row.get(0);
    Ok(Claimed::Ours { number, sitting })
}

/// Takes a run up: from now on nobody else's records are taken.
pub(super) async fn take_up(client: &Client, id: &str, holder: &str) -> Result<Claimed, Error> {
    let found = "select number, holder from runs where id = $1";
    let Some(row) = client.query_opt(found, &[&id]).await? else {
        return Ok(Claimed::Nowhere);
    };
    let number: i32 = row.get(0);
    if !locked(client, number).await? {
        return Ok(Claimed::Theirs(row.get(1)));
    }
    let ours = "update runs set sitting = sitting + 1, holder = $2 where id = $1 returning sitting";
    let row = client.query_one(ours, &[&id, &holder]).await?;
    let sitting = row.get(0);
    Ok(Claimed::Ours { number, sitting })
}

/// What became of records.
pub(super) enum Appended {
    /// They are there.
    There,
    /// The run is somebody else's: process and machine.
    Theirs(String),
    /// The journal has other records than its writer thinks.
    Others,
}

/// Appends lines to a run's journal, of which `before` are there, if the run is still in this sitting.
///
/// One statement: it locks the run's row, so that whoever takes the run up meanwhile waits for it, and it waits for them.
pub(super) async fn append(
    client: &Client,
    (id, sitting): (&str, i64),
    before: i32,
    lines: &[String],
) -> Result<Appended, Error> {
    let append = "
        with mine as (
            update runs set records = records + $3, bytes = bytes + $4, written = clock_timestamp()
            where id = $1 and sitting = $2 and records = $5 returning id
        )
        insert into records (run, n, line)
        select mine.id, $5 + t.n::integer, t.line from mine, unnest($6) with ordinality t (line, n)";
    let more = i32::try_from(lines.len()).unwrap_or(i32::MAX);
    let bytes: i64 = lines.iter().map(|line| line.len() as i64 + 1).sum();
    // With its types it is one way there and back.
    let given: [(&(dyn ToSql + Sync), Type); 6] = [
        (&id, Type::TEXT),
        (&sitting, Type::INT8),
        (&more, Type::INT4),
        (&bytes, Type::INT8),
        (&before, Type::INT4),
        (&lines, Type::TEXT_ARRAY),
    ];
    let written = client.execute_typed(append, &given).await?;
    if written > 0 {
        return Ok(Appended::There);
    }
    let found = "select sitting, holder from runs where id = $1";
    let Some(row) = client.query_opt(found, &[&id]).await? else {
        return Ok(Appended::Others);
    };
    if row.get::<_, i64>(0) != sitting {
        return Ok(Appended::Theirs(row.get(1)));
    }
    // They are ours, and only the answer was lost.
    let there = "select line from records where run = $1 and n > $2 order by n";
    let there = client.query(there, &[&id, &before]).await?;
    let there: Vec<String> = there.iter().map(|row| row.get(0)).collect();
    Ok(if there == lines {
        Appended::There
    } else {
        Appended::Others
    })
}

/// Lines of journals: the last one that each of the runs has here, and those after it, in order.
pub(super) async fn lines(
    client: &Client,
    runs: &[String],
    have: &[i32],
) -> Result<Vec<(String, String)>, Error> {
    let query = "
        select r.run, r.line from unnest($1::text[], $2::integer[]) h (run, have)
        join records r on r.run = h.run and r.n >= h.have order by r.run, r.n";
    let rows = client.query(query, &[&runs, &have]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// A file of a run.
pub(super) struct StoredFile {
    pub(super) name: String,
    pub(super) version: i64,
    pub(super) executable: bool,
    pub(super) content: Vec<u8>,
}

/// The files of a run that differ from the versions that are known; those of a rollout's clusters only where they are wanted.
pub(super) async fn files(
    client: &Client,
    id: &str,
    names: &[String],
    versions: &[i64],
    clusters: bool,
) -> Result<Vec<StoredFile>, Error> {
    let query = "
        select f.name, f.version, f.executable, f.content from files f
        where f.run = $1 and ($4 or not starts_with(f.name, 'clusters/')) and not exists (
            select from unnest($2::text[], $3::bigint[]) k (name, version) where k.name = f.name and k.version = f.version
        )";
    let rows = client
        .query(query, &[&id, &names, &versions, &clusters])
        .await?;
    let file = |row: &Row| StoredFile {
        name: row.get(0),
        version: row.get(1),
        executable: row.get(2),
        content: row.get(3),
    };
    Ok(rows.iter().map(file).collect())
}

/// Puts a file of a run in place, if the run is still in this sitting. Returns its version.
pub(super) async fn put(
    client: &Client,
    (id, sitting): (&str, i64),
    name: &str,
    executable: bool,
    content: &[u8],
) -> Result<Option<i64>, Error> {
    let put = "
        insert into files (run, name, executable, content)
        select mine.id, $3, $4, $5 from (select id from runs where id = $1 and sitting = $2 for share) mine
        on conflict (run, name) do update
        set version = files.version + 1, executable = excluded.executable, content = excluded.content
        returning version";
    let row = client
        .query_opt(put, &[&id, &sitting, &name, &executable, &content])
        .await?;
    Ok(row.map(|row| row.get(0)))
}

/// Events of a run that were added together.
pub(super) struct StoredEvents {
    /// Where in the file they begin and end.
    pub(super) start: u64,
    pub(super) end: u64,
    /// They themselves; none where the copy has all of them.
    pub(super) content: Option<Vec<u8>>,
}

/// The events of a run from the last ones on that begin within these bytes, in order.
pub(super) async fn events(
    client: &Client,
    id: &str,
    have: i64,
) -> Result<Vec<StoredEvents>, Error> {
    let query = "
        select start, e.end, case when e.end > $2 then content end
        from (select *, start + length(content) as end from events where run = $1) e
        where start >= coalesce((select max(start) from events where run = $1 and start < $2), 0) order by start";
    let rows = client.query(query, &[&id, &have]).await?;
    let at = |row: &Row, column: usize| u64::try_from(row.get::<_, i64>(column)).unwrap_or(0);
    let events = |row: &Row| StoredEvents {
        start: at(row, 0),
        end: at(row, 1),
        content: row.get(2),
    };
    Ok(rows.iter().map(events).collect())
}

/// Adds to the events of a run, if it is still in this sitting. Returns where they end by now; none where it is not.
pub(super) async fn add_events(
    client: &Client,
    (id, sitting): (&str, i64),
    start: i64,
    content: &[u8],
) -> Result<Option<i64>, Error> {
    let add = "
        insert into events (run, start, content)
        select mine.id, $3, $4 from (select id from runs where id = $1 and sitting = $2 for share) mine
        on conflict (run, start) do nothing returning start + length(content)";
    let row = client
        .query_opt(add, &[&id, &sitting, &start, &content])
        .await?;
    if let Some(row) = row {
        return Ok(Some(row.get(0)));
    }
    // Where they are there already, only the answer was lost, and there may have been fewer of them then.
    let end = "
        select (select max(start + length(content)) from events where run = id) from runs
        where id = $1 and sitting = $2";
    let row = client.query_opt(end, &[&id, &sitting]).await?;
    Ok(row.and_then(|row| row.get(0)))
}

/// Puts a file of a rollout's cluster in place, for whoever sees clusters with these labels.
pub(super) async fn attach(
    client: &Client,
    (id, name): (&str, &str),
    labels: &str,
    content: &[u8],
) -> Result<(), Error> {
    let put = "
        insert into files (run, name, labels, content) values ($1, $2, given($3::text::jsonb), $4)
        on conflict (run, name) do update
        set version = files.version + 1, labels = excluded.labels, content = excluded.content";
    client
        .execute(put, &[&id, &name, &labels, &content])
        .await
        .map(drop)
}

/// The files of a run whose names begin and end so.
pub(super) async fn attached(
    client: &Client,
    id: &str,
    begin: &str,
    end: &str,
) -> Result<Attached, Error> {
    let query = "
        select name, convert_from(content, 'UTF8') from files
        where run = $1 and starts_with(name, $2) and right(name, length($3)) = $3";
    let rows = client.query(query, &[&id, &begin, &end]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// The runs of the cluster of this name, the one that was last written to first.
pub(super) async fn newest_of(client: &Client, cluster: &str) -> Result<Vec<String>, Error> {
    let query = "
        select r.id from runs r join records head on head.run = r.id and head.n = 1
        where head.line::jsonb #>> '{record,run,cluster,name}' = $1 order by r.written desc";
    let rows = client.query(query, &[&cluster]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Which database it is.
pub(super) async fn id(client: &Client) -> Result<String, Error> {
    let row = client.query_one("select id::text from store", &[]).await?;
    Ok(row.get(0))
}
