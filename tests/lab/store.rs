//! Runs of several machines in a real PostgreSQL.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use lockstep::store::{Had, Store, StoreError};
use lockstep_tests::desk::Desk;
use lockstep_tests::lab::{pause, read, wait_until, write};
use lockstep_tests::postgres::{Machine, Postgres};
use lockstep_tests::receiver::{Manner, Receiver, SECRET};
use serde_json::json;

/// A server with the tables.
pub(crate) fn ready() -> Postgres {
    let server = Postgres::begin();
    Store::init(&server.url("lockstep")).unwrap();
    server
}

/// A playbook of three steps in real time, each of which writes its name down; the second one waits for the file `go`.
pub(crate) fn site(desk: &Desk) {
    let text = "return { api = 1, run = function(cluster)
        for _, name in ipairs { 'one', 'two', 'three' } do
            section(name, function() mark.set { member = cluster.members[1], name = name } end)
        end
    end }";
    write(&desk.path("site.lua"), text);
    fs::create_dir(desk.path("modules")).unwrap();
    let description = json!({"module": {"protocol": 1, "about": "Marks.", "ops": {"set": {
        "doc": "Set a mark.", "effect": "converge", "args": {"type": "object", "properties": {
            "member": {"type": "string", "format": "member"}, "name": {"type": "string"}}}}}}});
    let marks = desk.path("marks").display().to_string();
    let go = desk.path("go").display().to_string();
    let program = format!(
        "#!/bin/sh\nread -r request\ncase $request in\n\
         *'\"describe\"'*) echo '{description}'; exit ;;\n\
         *'\"one\"'*) echo one >>'{marks}' ;;\n\
         *'\"two\"'*) echo two >>'{marks}'; while [ ! -e '{go}' ]; do sleep 0.05; done ;;\n\
         *) echo three >>'{marks}' ;;\n\
         esac\necho '{{\"done\":{{}}}}'\n"
    );
    write(&desk.path("modules/mark"), &program);
    fs::set_permissions(desk.path("modules/mark"), fs::Permissions::from_mode(0o755)).unwrap();
    write(&desk.path("marks"), "");
}

pub(crate) fn marks(desk: &Desk) -> Vec<String> {
    let marks = read(&desk.path("marks"));
    marks.lines().map(str::to_owned).collect()
}

/// How often each step of a run is done by its journal in the database.
fn done(server: &Postgres, run: &str) -> String {
    server.sql(&format!(
        "select count(*) || ' ' || count(distinct line::jsonb #>> '{{record,done,path}}') from lockstep.records
         where run = '{run}' and line::jsonb #> '{{record,done}}' is not null"
    ))
}

pub(crate) const RUN: &[&str] = &["run", "site.lua", "--cluster", "twin:1", "--quiet"];

#[test]
fn a_run_killed_on_one_machine_continues_on_another() {
    let (server, desk) = (ready(), Desk::new());
    site(&desk);
    let [a, b] = ["a", "b"].map(|name| server.machine(&desk, name, "lockstep"));
    let process = a.begin(RUN);
    wait_until("the run gets nowhere", || marks(&desk).len() == 2);
    // Everybody sees it, and nobody else has it.
    assert_eq!(b.json(&["runs", "--json"])[0]["state"], "running");
    let taken = b.run(&["resume", "site-1"]);
    assert_eq!(taken.code, Some(6), "{}", taken.stderr);
    let by = "in use by another process: ";
    assert!(taken.stderr.contains(by), "{}", taken.stderr);
    assert!(taken.stderr.contains(" on "), "{}", taken.stderr);
    process.signal("-KILL");
    assert_eq!(process.ends().code, None);
    wait_until("the lock outlives its process", || {
        b.json(&["runs", "--json"])[0]["state"] == "broken off"
    });
    write(&desk.path("go"), "");
    let said = b.run(&["resume", "site-1", "--quiet"]).exits(0);
    assert!(said.contains("site-1: done"), "{said}");
    // The step that was under way has no harm from being done again, and no other was.
    assert_eq!(marks(&desk), ["one", "two", "two", "three"]);
    assert_eq!(done(&server, "site-1"), "3 3");
    let shown = a.json(&["show", "site-1", "--json"]);
    assert_eq!(shown["state"], "done", "{shown}");
    let _ = b.run(&["show", "site-1"]).exits(0);
    for file in ["journal.jsonl", "events.jsonl", "twin.json"] {
        assert!(!a.copy("site-1", file).is_empty(), "{file}");
        assert_eq!(a.copy("site-1", file), b.copy("site-1", file), "{file}");
    }
}

#[test]
fn a_process_that_was_displaced_records_nothing_more() {
    let (server, desk) = (ready(), Desk::new());
    site(&desk);
    let [a, b] = ["a", "b"].map(|name| server.machine(&desk, name, "lockstep"));
    let first = a.begin(RUN);
    wait_until("the first process gets nowhere", || marks(&desk).len() == 2);
    first.signal("-STOP");
    server.cut();
    let second = b.begin(&["resume", "site-1", "--quiet"]);
    wait_until("the second process gets nowhere", || {
        marks(&desk).len() == 3
    });
    write(&desk.path("go"), "");
    let _ = second.ends().exits(0);
    first.signal("-CONT");
    let first = first.ends();
    assert_eq!(first.code, Some(6), "{}", first.stderr);
    assert!(
        first.stderr.contains("site-1 was taken up by "),
        "{}",
        first.stderr
    );
    assert_eq!(marks(&desk), ["one", "two", "two", "three"]);
    assert_eq!(done(&server, "site-1"), "3 3");
    assert_eq!(a.json(&["runs", "--json"])[0]["state"], "done");
    for machine in [&a, &b] {
        let _ = machine.run(&["show", "site-1"]).exits(0);
    }
    for file in ["journal.jsonl", "events.jsonl"] {
        assert_eq!(a.copy("site-1", file), b.copy("site-1", file), "{file}");
    }
}

/// Somebody who believes to have the run, and what they believe to be in its journal.
struct Executor {
    store: Store,
    had: Option<(Had, usize)>,
    name: usize,
}

#[test]
fn no_order_of_takeovers_writes_a_record_twice() {
    let (server, desk) = (ready(), Desk::new());
    let folder = desk.path("copy");
    let mut lots = fastrand::Rng::with_seed(7);
    for round in 0..12 {
        let run = format!("run-{round}");
        let mut written: Vec<String> = Vec::new();
        let mut executors: Vec<Executor> = (0..3)
            .map(|name| Executor {
                store: Store::at(&server.url("lockstep")).unwrap(),
                had: None,
                name,
            })
            .collect();
        let begun: Vec<Option<Had>> = executors
            .iter()
            .map(|e| e.store.begin(&run, &BTreeMap::new(), &folder).unwrap())
            .collect();
        assert_eq!(begun.iter().flatten().count(), 1, "begun once");
        for (executor, had) in executors.iter_mut().zip(begun) {
            executor.had = had.map(|had| (had, 0));
        }
        for turn in 0..40 {
            let executor = &mut executors[lots.usize(..3)];
            match lots.u8(..10) {
                0 => server.cut(),
                1..=3 => {
                    let taken = executor.store.take_up(&run, &folder);
                    match taken {
                        Ok(had) => executor.had = Some((had, written.len())),
                        Err(StoreError::InUse { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                _ => {
                    let Some((had, before)) = &mut executor.had else {
                        continue;
                    };
                    let lines: Vec<String> = (0..=lots.usize(..3))
                        .map(|i| format!("{} {turn} {i} {}", had.sitting(), executor.name))
                        .collect();
                    let mut appended = had.append(*before, lines.clone());
                    while let Err(StoreError::Away { .. }) = appended {
                        pause(Duration::from_millis(5));
                        appended = had.append(*before, lines.clone());
                    }
                    match appended {
                        Ok(()) => {
                            assert_eq!(*before, written.len(), "nobody else wrote meanwhile");
                            *before += lines.len();
                            written.extend(lines);
                        }
                        Err(StoreError::TakenUp { .. }) => executor.had = None,
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        }
        let there = server.sql(&format!(
            "select line from lockstep.records where run = '{run}' order by n"
        ));
        assert_eq!(there.lines().collect::<Vec<_>>(), written, "round {round}");
        let sittings = written.iter().map(|line| line.split(' ').next().unwrap());
        let sittings: Vec<u64> = sittings.map(|sitting| sitting.parse().unwrap()).collect();
        assert!(sittings.is_sorted(), "{sittings:?}");
    }
}

pub(crate) const FLEET: &str = "name = \"stores\"\n\n[executor.default]\nkind = \"local\"\nlimit = 3\n\n\
    [[clusters]]\nname = \"berlin\"\nfile = \"twin:1\"\nyes = true\nlabels = { country = \"de\" }\n\n\
    [[clusters]]\nname = \"bonn\"\nfile = \"twin:1\"\nyes = true\nlabels = { country = \"de\" }\n\n\
    [[clusters]]\nname = \"paris\"\nfile = \"twin:1\"\nyes = true\nlabels = { country = \"fr\" }\n\n\
    [[clusters]]\nname = \"lyon\"\nfile = \"twin:1\"\nyes = true\nlabels = { country = \"fr\" }\n\n\
    [[rollout.rings]]\nname = \"all\"\nlimit = 2\n";

pub(crate) fn states(machine: &Machine<'_>) -> Vec<(String, String)> {
    let runs = machine.json(&["runs", "--all", "--json"]);
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let state = |run: &serde_json::Value| (text(&run["run"]), text(&run["state"]));
    let mut states: Vec<_> = runs.as_array().unwrap().iter().map(state).collect();
    states.sort();
    states
}

#[test]
fn a_rollout_survives_its_database() {
    let (mut server, desk) = (ready(), Desk::new());
    write(&desk.path("fleet.toml"), FLEET);
    let url = server.url("lockstep");
    let machine = server.machine(&desk, "a", "lockstep");
    let rollout = machine.begin(&["fleet", "rollout", "update", "--quiet"]);
    drop(machine);
    let ended = |server: &Postgres| {
        let query =
            "select count(*) from lockstep.records where line::jsonb #> '{record,end}' is not null";
        server.sql(query).parse::<u32>().unwrap()
    };
    wait_until("no cluster is done", || ended(&server) > 0);
    server.kill();
    pause(Duration::from_millis(1500));
    server.start();
    assert_eq!(server.url("lockstep"), url);
    let said = rollout.ends().exits(0);
    assert!(said.contains("rollout-1: done: 4 clusters"), "{said}");
    let machine = server.machine(&desk, "b", "lockstep");
    let status = machine.json(&["fleet", "status", "--json"]);
    assert_eq!(status["state"], "done", "{status}");
    let begun = "select count(*) from lockstep.records where line::jsonb #> '{record,run}' is not null and run like 'rollout-1.%'";
    assert_eq!(server.sql(begun), "4");
    for cluster in ["berlin", "bonn", "paris", "lyon"] {
        let run = format!("rollout-1.{cluster}");
        let counts = done(&server, &run);
        let (all, distinct) = counts.split_once(' ').unwrap();
        assert_eq!(all, distinct, "{run}: a step was done twice");
    }
}

#[test]
fn a_job_on_another_machine_begins_from_the_database() {
    let (server, desk) = (ready(), Desk::new());
    let [a, b] = ["a", "b"].map(|name| server.machine(&desk, name, "lockstep"));
    let elsewhere = desk.path("b").display().to_string();
    let client = format!(
        "#!/bin/sh\ncase $1 in submit)\n shift 2\n XDG_STATE_HOME='{elsewhere}' setsid \"$@\" >/dev/null 2>&1 </dev/null &\nesac\n"
    );
    write(&desk.path("client"), &client);
    fs::set_permissions(desk.path("client"), fs::Permissions::from_mode(0o755)).unwrap();
    let program = "kind = \"program\"\nprogram = [\"./client\"]";
    write(
        &desk.path("fleet.toml"),
        &FLEET.replacen("kind = \"local\"", program, 1),
    );
    let said = a
        .run(&["fleet", "rollout", "update", "--quiet", "-l", "country=de"])
        .exits(0);
    assert!(said.contains("done: 2 clusters"), "{said}");
    let run = "rollout-1.berlin";
    assert!(!b.copy(run, "events.jsonl").is_empty(), "it ran there");
    assert!(a.copy(run, "events.jsonl").is_empty(), "and not here");
    let _ = a.run(&["show", run]).exits(0);
    assert_eq!(a.copy(run, "events.jsonl"), b.copy(run, "events.jsonl"));
    // What a job complains of is read here: this one's playbook isn't what it was.
    server.sql(
        "update lockstep.files set content = convert_to(replace(convert_from(content, 'UTF8'), '\"fingerprint\":\"', '\"fingerprint\":\"0'), 'UTF8')
         where name = 'clusters/bonn.json'",
    );
    server.sql(
        "update lockstep.files set name = 'clusters/moved.json' where name = 'clusters/bonn.json'",
    );
    let refused = b.run(&["fleet", "exec", "rollout-1.moved"]);
    assert_eq!(refused.code, Some(8), "{}", refused.stderr);
    let log = "select convert_from(content, 'UTF8') from lockstep.files where name = 'clusters/moved.log'";
    let log = server.sql(log);
    assert!(
        log.contains("isn't what it was when the rollout began"),
        "{log}"
    );
}

#[test]
fn a_store_that_cannot_be_used_is_one_clear_error() {
    let (server, desk) = (Postgres::begin(), Desk::new());
    let said = |url: &str, code: i32| {
        let mut machine = server.machine(&desk, "a", "lockstep");
        machine.url = url.to_owned();
        let ran = machine.run(&["runs"]);
        assert_eq!(ran.code, Some(code), "{url}: {}", ran.stderr);
        ran.stderr
    };
    let url = server.url("lockstep");
    let answers = [
        (url.replace("lockstep@", "lockstep:pw@"), 2, "PGPASSFILE"),
        (
            "mysql://me@db/runs".to_owned(),
            2,
            "only PostgreSQL is known",
        ),
        (
            url.replace("/lockstep", "/nosuch"),
            7,
            "\"nosuch\" does not exist",
        ),
        (
            "postgresql://lockstep@127.0.0.1:1/lockstep".to_owned(),
            7,
            "can't be reached",
        ),
        (url.clone(), 7, "lockstep store init  makes them"),
    ];
    for (url, code, why) in &answers {
        let said = said(url, *code);
        assert!(said.contains(why), "{said}");
        assert!(!said.contains("pw@"), "{said}");
    }
    let machine = server.machine(&desk, "a", "lockstep");
    let made = machine.run(&["store", "init"]).exits(0);
    assert!(made.contains("the tables are there"), "{made}");
    let again = machine.run(&["store", "init"]).exits(0);
    assert!(again.contains("up to date"), "{again}");
    // By a password, and by a wrong one.
    server.sql("create role guarded login password 'right'; grant lockstep to guarded");
    let guarded = server.machine(&desk, "a", "guarded");
    let with = |password: &str| {
        let line = format!("127.0.0.1:*:lockstep:guarded:{password}\n");
        write(&desk.path("pgpass"), &line);
        fs::set_permissions(desk.path("pgpass"), fs::Permissions::from_mode(0o600)).unwrap();
        let mut command = guarded.command(&["runs"]);
        let ran = command.env("PGPASSFILE", desk.path("pgpass")).output();
        lockstep_tests::lab::Ran::of(ran.unwrap())
    };
    let _ = with("right").exits(0);
    let wrong = with("wrong");
    assert_eq!(wrong.code, Some(7));
    assert!(
        wrong.stderr.contains("password authentication failed"),
        "{}",
        wrong.stderr
    );
    // Over TLS to whoever can prove to be it.
    let certificate = server.path("server.crt").display().to_string();
    let tls = |host: &str| {
        let url = url.replace("127.0.0.1", host);
        format!("{url}?sslmode=verify-full&sslrootcert={certificate}")
    };
    let mut verified = server.machine(&desk, "a", "lockstep");
    verified.url = tls("localhost");
    let _ = verified.run(&["runs"]).exits(0);
    let false_name = said(&tls("127.0.0.1"), 7);
    assert!(false_name.contains("certificate"), "{false_name}");
    // Tables that a role may not use, and those of another lockstep.
    server.sql("create role stranger login");
    let closed = said(&server.url("stranger"), 7);
    assert!(closed.contains("this role may not use"), "{closed}");
    assert!(closed.contains("grant usage on schema"), "{closed}");
    server.sql("update lockstep.store set version = version + 1");
    let newer = said(&url, 7);
    assert!(newer.contains("or a newer one"), "{newer}");
}

#[test]
fn what_one_machine_left_undelivered_another_sends() {
    let (server, desk) = (ready(), Desk::new());
    let receiver = Receiver::new(Manner::Answers(503));
    write(&desk.path("secret"), SECRET);
    let hook = format!("url = {:?}\nsecret = \"secret\"", receiver.url);
    let file = format!(
        "name = \"lab\"\n[notify.webhook.pager]\n{hook}\n[[members]]\nname = \"micro01\"\n"
    );
    write(&desk.path("cluster.toml"), &file);
    write(
        &desk.path("small.lua"),
        "return { api = 1, run = function() snap.info { member = 'micro01', snap = 'lxd' } end }",
    );
    let [a, b] = ["a", "b"].map(|name| server.machine(&desk, name, "lockstep"));
    let _ = a
        .run(&["rehearse", "small.lua", "--notify", "cluster.toml"])
        .exits(0);
    receiver.behave(Manner::Answers(200));
    let timer = |machine: &Machine<'_>| machine.run(&["notify"]).exits(0);
    assert_eq!(timer(&b), "small-1: pager: 2 events delivered\n");
    assert_eq!(timer(&a), "", "it was sent");
    assert_eq!(receiver.taken().len(), 2);
}
