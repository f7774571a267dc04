//! The programs `lxc` and `lxd`.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

use super::api::{Answer, Request, answer};
use super::members::{has_quorum, runs, unserved};
use super::operation;
use crate::dialects::Trait;
use crate::world::{Proc, Reply, World};

pub(crate) fn lxc(world: &mut World, proc: &Proc, args: &[&str]) -> Reply {
    match args {
        ["query", rest @ ..] => query(world, proc, rest),
        ["cluster", verb @ ("evacuate" | "restore"), rest @ ..] => {
            evacuate(world, proc, verb, rest)
        }
        _ => error("unknown command"),
    }
}

fn error(text: &str) -> Reply {
    Reply::fail(1, format!("Error: {text}\n"))
}

/// What one can't get past: a daemon that doesn't serve, a database without quorum.
fn closed(world: &World, proc: &Proc, prefix: &str) -> Option<Reply> {
    if let Some(why) = unserved(world, &proc.member) {
        return Some(error(&format!("{prefix}{why}")));
    }
    (!has_quorum(world)).then_some(Reply::Hang)
}

/// `lxc query [-X METHOD] [-d JSON] [--wait] [--raw] PATH`
fn query(world: &mut World, proc: &Proc, args: &[&str]) -> Reply {
    let (mut method, mut data, mut path) = ("GET", "", None);
    let (mut wait, mut raw) = (false, false);
    let mut args = args.iter().copied();
    while let Some(arg) = args.next() {
        match arg {
            "-X" | "--request" => method = args.next().unwrap_or_default(),
            "-d" | "--data" => data = args.next().unwrap_or_default(),
            "--wait" => wait = true,
            "--raw" => raw = true,
            flag if flag.starts_with('-') => {
                return error(&format!("unknown shorthand flag: {flag}"));
            }
            other => path = Some(other),
        }
    }
    let Some(path) = path else {
        return error("Invalid number of arguments");
    };
    if let Some(closed) = closed(world, proc, "") {
        return closed;
    }
    let request = match Request::new(method, path, data) {
        Ok(request) => request,
        Err(why) => return error(&why),
    };
    match ask(world, proc, &request) {
        Answer::Later(after) => Reply::Again(after),
        Answer::Error(why) => error(&why),
        Answer::Sync(metadata) if raw => pretty(
            &json!({"error": "", "error_code": 0, "metadata": metadata, "operation": "", "status": "Success",
            "status_code": 200, "type": "sync"}),
        ),
        Answer::Sync(metadata) if metadata == json!({}) => Reply::out(""),
        Answer::Sync(metadata) => pretty(&metadata),
        Answer::Async(id) => background(world, &id, wait, raw),
    }
}

/// Asks, unless this very command has asked already and waits for its operation.
fn ask(world: &mut World, proc: &Proc, request: &Request<'_>) -> Answer {
    let operations = &world.lxd.operations;
    let own = operations.iter().find(|op| op.asked_by == proc.id);
    match own {
        Some(op) if request.method != "GET" => Answer::Async(op.id.clone()),
        _ => answer(world, proc, request),
    }
}

fn background(world: &World, id: &str, wait: bool, raw: bool) -> Reply {
    let Some(op) = operation::find(world, id) else {
        return error("Operation not found");
    };
    if wait && op.runs() {
        return Reply::Again(200);
    }
    if wait && let Some(why) = op.ended.as_deref().filter(|why| !why.is_empty()) {
        return error(why);
    }
    let metadata = op.json(world);
    if raw {
        return pretty(
            &json!({"error": "", "error_code": 0, "metadata": metadata, "operation": format!("/1.0/operations/{id}"),
            "status": "Operation created", "status_code": 100, "type": "async"}),
        );
    }
    pretty(&metadata)
}

/// JSON as `lxc query` prints it: indented with tabs, and an empty line behind it.
fn pretty(value: &Value) -> Reply {
    let mut text = Vec::new();
    let format = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut writer = serde_json::Serializer::with_formatter(&mut text, format);
    match value.serialize(&mut writer) {
        Ok(()) => Reply::out(String::from_utf8_lossy(&text).into_owned() + "\n\n"),
        Err(e) => error(&e.to_string()),
    }
}

/// `lxc cluster evacuate|restore NAME`, whose flag `--force` means another thing from 6.9 on.
fn evacuate(world: &mut World, proc: &Proc, verb: &str, args: &[&str]) -> Reply {
    let (flags, names): (Vec<&str>, Vec<&str>) = args.iter().partition(|a| a.starts_with("--"));
    let [name] = names.as_slice() else {
        return error("Invalid number of arguments");
    };
    let recent = world.has(&proc.member, Trait::LxdEvacuationForce);
    let unasked = if recent && verb == "evacuate" {
        flags.contains(&"--yes")
    } else {
        flags.contains(&"--force")
    };
    if !unasked {
        let mut question = String::new();
        let _ = write!(
            question,
            "Are you sure you want to {verb} cluster member \"{name}\"? (yes/no) [default=no]: "
        );
        return Reply::Exit(lockstep_modules::contract::cmd::Output::exit(
            1,
            question,
            "Error: EOF\n",
        ));
    }
    if let Some(closed) = closed(world, proc, "LXD unix socket not accessible: ") {
        return closed;
    }
    let path = format!("/1.0/cluster/members/{name}/state");
    let body = json!({"action": verb}).to_string();
    let Ok(request) = Request::new("POST", &path, &body) else {
        return error("Bad request");
    };
    match ask(world, proc, &request) {
        Answer::Later(after) => Reply::Again(after),
        Answer::Error(why) => error(&format!("Failed updating cluster member state: {why}")),
        Answer::Sync(_) => Reply::out(""),
        // Progress is drawn on terminals only.
        Answer::Async(id) => match background(world, &id, true, false) {
            Reply::Exit(output) if output.success() => Reply::out(""),
            other => other,
        },
    }
}

/// `lxd waitready …` and `lxd sql global [--format=json] QUERY`
pub(crate) fn lxd(world: &World, proc: &Proc, args: &[&str]) -> Reply {
    match args {
        ["waitready", flags @ ..] => waitready(world, proc, flags),
        ["sql", "global", query] => sql(world, proc, query, false),
        ["sql", "global", "--format=json" | "-fjson", query]
        | ["sql", "global", "--format" | "-f", "json", query]
            if world.has(&proc.member, Trait::LxdSqlFormat) =>
        {
            sql(world, proc, query, true)
        }
        ["sql", .., flag, _] if flag.starts_with("--") => error(&unknown_flag(flag)),
        ["sql", flags @ ..] if flags.iter().any(|f| f.starts_with("-f")) => {
            error("unknown shorthand flag: 'f' in -f")
        }
        _ => error("unknown command"),
    }
}

/// As cobra says it.
fn unknown_flag(flag: &str) -> String {
    let name = flag.split('=').next().unwrap_or(flag);
    format!("unknown flag: {name}")
}

fn waitready(world: &World, proc: &Proc, flags: &[&str]) -> Reply {
    let parts = world.has(&proc.member, Trait::LxdWaitParts);
    let refused = |flag: &&&str| !parts && ["--network", "--storage"].contains(*flag);
    if let Some(flag) = flags.iter().find(refused) {
        return error(&unknown_flag(flag));
    }
    let Some(why) = unserved(world, &proc.member) else {
        return pools_ready(world, proc, flags);
    };
    let spent = world.now - proc.began;
    let daemon = world.lxd.nodes.get(&proc.member).map(|node| node.daemon);
    match limit(flags) {
        Some(limit) if spent < limit * 1000 => Reply::Again(500),
        Some(limit) if !parts => error(&format!(
            "LXD still not running after {limit}s timeout ({why})"
        )),
        Some(limit) if daemon.is_some_and(runs) => {
            error(&format!("LXD daemon not ready yet after {limit}s timeout"))
        }
        Some(limit) => error(&format!("LXD daemon not reachable after {limit}s timeout")),
        None => Reply::Again(500),
    }
}

/// `--timeout=SECONDS`
fn limit(flags: &[&str]) -> Option<u64> {
    let given = |flag: &&str| flag.strip_prefix("--timeout=")?.parse().ok();
    flags.iter().find_map(given)
}

/// With `--storage` it waits for the member's pools too.
fn pools_ready(world: &World, proc: &Proc, flags: &[&str]) -> Reply {
    let lacks = world.lxd.faults.lacks_pool(&proc.member);
    if !flags.contains(&"--storage") || !lacks {
        return Reply::out("");
    }
    match limit(flags) {
        Some(limit) if world.now - proc.began >= limit * 1000 => error(&format!(
            "Storage pools not ready yet after {limit}s timeout"
        )),
        _ => Reply::Again(500),
    }
}

/// What the queries ask that are asked: the members' versions, or the buckets that aren't Ceph's.
fn sql(world: &World, proc: &Proc, query: &str, json: bool) -> Reply {
    if let Some(closed) = closed(world, proc, "") {
        return closed;
    }
    let (columns, rows): (Vec<&str>, Vec<Vec<Value>>) = if query.contains("storage_buckets") {
        let driver = |pool: &str| world.lxd.pools.get(pool).map_or("", |p| p.driver.as_str());
        let buckets = world.lxd.buckets.iter();
        let local = buckets.filter(|b| driver(&b.pool) != "cephobject");
        if query.to_uppercase().contains("COUNT(") {
            (vec!["COUNT(*)"], vec![vec![json!(local.count())]])
        } else {
            let row = local.map(|b| vec![json!(b.name), json!(b.pool)]);
            (vec!["name", "name"], row.collect())
        }
    } else {
        let nodes = world.lxd.nodes.iter();
        let row = |(name, n): (&String, &super::Node)| {
            vec![json!(name), json!(n.version.0), json!(n.version.1)]
        };
        (
            vec!["name", "schema", "api_extensions"],
            nodes.map(row).collect(),
        )
    };
    if json {
        let select =
            json!({"type": "select", "columns": columns, "rows": rows, "rows_affected": 0});
        return Reply::json(&select);
    }
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(text).collect())
        .collect();
    let header: Vec<String> = columns.into_iter().map(str::to_owned).collect();
    Reply::out(crate::table::render(&header, &cells))
}
