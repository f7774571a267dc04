//! What roles see and may do in a database that has the runs of several machines.

use std::fs;

use lockstep_tests::desk::Desk;
use lockstep_tests::lab::{read, write};
use lockstep_tests::postgres::Postgres;

use crate::store::{FLEET, ready, states};

/// What the book tells the database's owner to run for a region's operators.
const REGION: &str = "
    create role region_de login;
    grant usage on schema lockstep to region_de;
    grant select on all tables in schema lockstep to region_de;
    grant insert (id, labels), update (sitting, holder, records, bytes, written) on lockstep.runs to region_de;
    grant insert on lockstep.records to region_de;
    grant insert, delete on lockstep.events to region_de;
    grant insert, update, delete on lockstep.files to region_de;
    insert into lockstep.readers values ('region_de', 'country', 'de')";

#[test]
fn a_regions_operators_see_their_clusters_runs() {
    let (server, desk) = (ready(), Desk::new());
    write(
        &desk.path("fleet.toml"),
        &FLEET.replacen("twin:1", "twin:3", 1).replacen(
            "labels",
            "faults = [\"refresh-fails:microovn,micro02\"]\nlabels",
            1,
        ),
    );
    server.sql(REGION);
    let book = read(&lockstep_tests::root().join("docs/fleets.md"));
    let lines = REGION.lines().map(|line| line.trim().trim_end_matches(';'));
    for line in lines.filter(|line| !line.is_empty()) {
        assert!(book.contains(line), "the book lacks: {line}");
    }
    let all = server.machine(&desk, "a", "lockstep");
    let _ = all.run(&["fleet", "rollout", "update", "--quiet"]).exits(4);
    let begun = states(&all);
    assert!(begun.iter().any(|(run, _)| run == "rollout-1"), "{begun:?}");
    let region = server.machine(&desk, "b", "region_de");
    let seen = states(&region);
    assert!(!seen.is_empty());
    assert!(
        seen.iter()
            .all(|(run, _)| run == "rollout-1.berlin" || run == "rollout-1.bonn"),
        "{seen:?}"
    );
    let missing = region.run(&["show", "rollout-1"]);
    assert_eq!(missing.code, Some(2), "{}", missing.stderr);
    // What they see they can continue.
    let _ = region
        .run(&["resume", "rollout-1.berlin", "--mend", "--quiet"])
        .exits(0);
    assert_eq!(
        all.json(&["show", "rollout-1.berlin", "--json"])["state"],
        "done"
    );
    // What they begin is theirs, and those who have the tables see it as well.
    let own = ["update", "--cluster", "twin:3", "--quiet"];
    let _ = region.run(&own).exits(0);
    for machine in [&region, &all] {
        let seen = states(machine);
        assert!(seen.iter().any(|(run, _)| run == "update-1"), "{seen:?}");
    }
    server.sql("delete from lockstep.readers");
    assert_eq!(states(&region).len(), 1, "{:?}", states(&region));
}

#[test]
fn a_regions_machine_begins_what_somebody_else_approved() {
    let (server, desk) = (ready(), Desk::new());
    let approved = FLEET.replace("limit = 2", "limit = 2\napprove_plans = true");
    write(&desk.path("fleet.toml"), &approved);
    server.sql(REGION);
    let all = server.machine(&desk, "a", "lockstep");
    let _ = all.run(&["fleet", "rollout", "update", "--quiet"]).exits(4);
    let region = server.machine(&desk, "b", "region_de");
    let exec = ["fleet", "exec", "rollout-1.berlin"];
    assert_eq!(region.json(&exec)["state"], "refused");
    let plans = all.json(&["fleet", "plan", "update", "--json"]);
    let plan = plans["plans"][0]["plan"].as_str().unwrap();
    let approve = ["fleet", "approve", plan, "-r", "rollout-1"];
    // Whoever doesn't see the rollout approves nothing for it.
    assert_eq!(region.run(&approve).code, Some(2));
    assert_eq!(region.json(&exec)["state"], "refused");
    let _ = all.run(&approve).exits(0);
    assert_eq!(region.json(&exec)["state"], "done");
}

/// A database in which a rollout of all regions is done, and a region has a role.
fn rolled_out(desk: &Desk) -> Postgres {
    let server = ready();
    write(&desk.path("fleet.toml"), FLEET);
    server.sql(REGION);
    server.sql(&REGION.replace("_de", "_fr").replace("'de'", "'fr'"));
    let all = server.machine(desk, "a", "lockstep");
    let _ = all.run(&["fleet", "rollout", "update", "--quiet"]).exits(0);
    server
}

#[test]
fn a_region_writes_to_nothing_but_its_clusters() {
    let desk = Desk::new();
    let server = rolled_out(&desk);
    let refused = |sql: &str, why: &str| {
        let said = server.tried("region_de", sql);
        assert_ne!(said.code, Some(0), "{sql}");
        assert!(said.stderr.contains(why), "{sql}: {}", said.stderr);
    };
    let (policy, check, denied) = (
        "row-level security",
        "check constraint",
        "permission denied",
    );
    for id in ["/tmp/victim", "..", "", "a/b"] {
        let run = format!("insert into lockstep.runs (id) values ('{id}')");
        refused(&run, "violates");
    }
    for (id, labels) in [
        ("rollout-1.paris", "{}"),
        ("rollout-1.paris+2", "{}"),
        ("rollout-1.nosuch", "{}"),
        ("rollout-2.berlin", "{}"),
        ("update-9", r#"{"country": "fr"}"#),
    ] {
        let run = format!("insert into lockstep.runs (id, labels) values ('{id}', '{labels}')");
        refused(&run, policy);
    }
    for set in ["owner = 'region_de'", "labels = '{}'", "id = 'mine'"] {
        refused(&format!("update lockstep.runs set {set}"), denied);
    }
    refused(
        "insert into lockstep.runs (id, owner) values ('update-9', 'lockstep')",
        denied,
    );
    refused("delete from lockstep.runs", denied);
    // Nor does it learn what others see.
    refused(
        "select 1 / lockstep.entrusted('lockstep', 'rollout-1', 'paris')::int",
        "division by zero",
    );
    refused("update lockstep.records set line = ''", denied);
    let file = |run: &str, name: &str, labels: &str| {
        format!(
            "insert into lockstep.files (run, name, labels, content) values ('{run}', '{name}', '{labels}', '[]')
             on conflict (run, name) do update set content = excluded.content"
        )
    };
    let german = r#"{"country": "de"}"#;
    for name in [
        "plans.approved",
        "berlin.skip",
        "berlin.json",
        "paris.skip",
        "paris.log",
        "x.refused",
    ] {
        refused(
            &file("rollout-1", &format!("clusters/{name}"), german),
            policy,
        );
    }
    refused(&file("rollout-1.paris", "plan.json", german), policy);
    for name in [
        "journal.jsonl",
        "events.jsonl",
        "lock",
        "lock/x",
        "copy.json",
        "../x",
        "/x",
        "a//b",
        "a/..",
        "",
    ] {
        refused(&file("rollout-1.berlin", name, "{}"), check);
    }
    // What is theirs to write.
    let allowed = |sql: &str| {
        let _ = server.tried("region_de", sql).exits(0);
    };
    allowed("insert into lockstep.runs (id) values ('update-9')");
    allowed(
        r#"insert into lockstep.runs (id, labels) values ('rollout-1.berlin+2', '{"country": "de"}')"#,
    );
    for name in ["berlin.log", "berlin.refused", "bonn.log"] {
        allowed(&file("rollout-1", &format!("clusters/{name}"), german));
        allowed(&file("rollout-1", &format!("clusters/{name}"), german));
    }
    allowed(&file("rollout-1.berlin", "out/x", "{}"));
}

#[test]
fn operators_of_a_role_show_it_no_more() {
    let desk = Desk::new();
    let server = rolled_out(&desk);
    server.sql("grant create on database lockstep to region_de");
    let made = "create schema mine;
        create function mine.says(jsonb, text) returns text language sql as $$ select 'de'::text $$;
        create operator mine.->> (leftarg = jsonb, rightarg = text, function = mine.says);";
    let _ = server.tried("region_de", made).exits(0);
    let count = "set search_path to mine, pg_catalog; select count(*) from lockstep.runs";
    assert_eq!(server.tried("region_de", count).exits(0).trim(), "2");
}

#[test]
fn a_region_sees_its_clusters_of_an_imported_rollout() {
    let desk = Desk::new();
    let server = ready();
    write(&desk.path("fleet.toml"), FLEET);
    server.sql(REGION);
    let _ = desk
        .run(&["fleet", "rollout", "update", "--quiet"])
        .exits(0);
    let export = ["runs", "export", "rollout-1", "-o", "rollout.tar"];
    let _ = desk.run(&export).exits(0);
    let all = server.machine(&desk, "a", "lockstep");
    let _ = all.run(&["runs", "import", "rollout.tar"]).exits(0);
    let region = server.machine(&desk, "b", "region_de");
    assert_eq!(states(&region).len(), 2);
    let specs = "select count(*) from lockstep.files where name like 'clusters/%.json'";
    assert_eq!(server.tried("region_de", specs).exits(0).trim(), "2");
}

#[test]
fn labels_that_a_role_lacks_show_its_runs_to_nobody() {
    let desk = Desk::new();
    let server = ready();
    write(&desk.path("fleet.toml"), FLEET);
    server.sql(REGION);
    let visitor = REGION.replace("region_de", "visitor");
    let (visitor, _) = visitor.split_once("insert into lockstep.readers").unwrap();
    server.sql(visitor.trim().trim_end_matches(';'));
    let visitor = server.machine(&desk, "a", "visitor");
    let rollout = ["fleet", "rollout", "update", "--quiet"];
    let _ = visitor.run(&rollout).exits(0);
    assert_eq!(states(&visitor).len(), 5);
    assert_eq!(states(&server.machine(&desk, "b", "region_de")), []);
}

#[test]
fn no_name_in_the_database_leads_out_of_the_state_folder() {
    let desk = Desk::new();
    let server = rolled_out(&desk);
    let victim = desk.path("victim");
    fs::create_dir(&victim).unwrap();
    // Whatever the database lets in, by mistake or by its owner.
    let evil = victim.display();
    server.sql(&format!(
        "alter table lockstep.runs drop constraint runs_id_check;
         alter table lockstep.files drop constraint files_name_check;
         insert into lockstep.runs (id, records, bytes) values ('{evil}', 1, 2);
         insert into lockstep.records values ('{evil}', 1, 'x');
         insert into lockstep.files (run, name, content) values ('{evil}', 'authorized_keys', 'x');
         insert into lockstep.files (run, name, content) select 'rollout-1.berlin', name, 'x'
         from unnest(array['journal.jsonl', 'events.jsonl', 'lock', 'copy.json', '../x', '{evil}/x']) name"
    ));
    let machine = server.machine(&desk, "b", "lockstep");
    let listed = states(&machine);
    assert_eq!(listed.len(), 5, "{listed:?}");
    for command in ["show", "watch", "resume", "report"] {
        let said = machine.run(&[command, &evil.to_string()]);
        assert_eq!(said.code, Some(2), "{command}: {}", said.stderr);
    }
    let shown = machine.json(&["show", "rollout-1.berlin", "--json"]);
    assert_eq!(shown["state"], "done", "{shown}");
    assert!(machine.copy("rollout-1.berlin", "journal.jsonl").len() > 1);
    assert!(machine.copy("", "x").is_empty());
    assert_eq!(fs::read_dir(&victim).unwrap().count(), 0);
}
