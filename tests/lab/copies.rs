//! This machine's copies of runs in a database, and what becomes of runs that are moved.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

use lockstep::store::Store;
use lockstep_tests::desk::Desk;
use lockstep_tests::lab::{pause, read, wait_until, write};

use crate::store::{RUN, marks, ready, site};

#[test]
fn a_copy_that_is_ahead_is_kept_and_can_be_moved_back() {
    let (server, desk) = (ready(), Desk::new());
    let a = server.machine(&desk, "a", "lockstep");
    let update = ["update", "--cluster", "twin:1", "--yes", "--quiet"];
    for _ in 0..2 {
        let _ = a.run(&update).exits(0);
    }
    // The database is set back to before the second one.
    server.sql("delete from lockstep.runs where id = 'update-2'");
    let copy = a.copy("update-2", "journal.jsonl");
    let begun = a.run(&update);
    assert_eq!(begun.code, Some(7), "{}", begun.stderr);
    assert!(
        begun.stderr.contains("the database was set back"),
        "{}",
        begun.stderr
    );
    assert_eq!(a.copy("update-2", "journal.jsonl"), copy);
    // The list has it, and all others.
    let listed = a.json(&["runs", "--json"]);
    let found = |run: &str| {
        let mut all = listed.as_array().unwrap().iter();
        all.find(|listed| listed["run"] == run).unwrap()
    };
    assert_eq!(found("update-1")["state"], "done", "{listed}");
    let error = found("update-2")["error"].as_str().unwrap();
    assert!(error.contains("set back"), "{error}");
    // It is saved as that says, and moved back.
    let hints: Vec<&str> = begun.stderr.lines().collect();
    let typed = |begin: &str| {
        let hint = hints
            .iter()
            .find_map(|line| line.split_once(begin))
            .unwrap();
        let line = format!("{begin}{}", hint.1);
        let line = line.replacen(
            "lockstep ",
            &format!("{} ", lockstep_tests::desk::lockstep()),
            1,
        );
        let ran = Command::new("sh")
            .args(["-c", &line])
            .current_dir(desk.path(""))
            .status();
        assert!(ran.unwrap().success(), "{line}");
    };
    typed("lockstep runs export update-2 ");
    typed("mv ");
    server.sql("delete from lockstep.runs where id = 'update-2'");
    let imported = a.run(&["runs", "import", "update-2.tar"]).exits(0);
    assert!(imported.contains("imported update-2"), "{imported}");
    assert_eq!(a.copy("update-2", "journal.jsonl"), copy);
    assert_eq!(a.json(&["show", "update-2", "--json"])["state"], "done");
}

#[test]
fn a_copy_of_another_past_is_never_continued() {
    let (server, desk) = (ready(), Desk::new());
    site(&desk);
    let [a, b] = ["a", "b"].map(|name| server.machine(&desk, name, "lockstep"));
    let process = a.begin(RUN);
    wait_until("the run gets nowhere", || marks(&desk).len() == 2);
    process.signal("-KILL");
    let _ = process.ends();
    wait_until("the lock outlives its process", || {
        b.json(&["runs", "--json"])[0]["state"] == "broken off"
    });
    // A server that lacks the last records takes over, and the run goes on there.
    server.sql(
        "delete from lockstep.records where n > (
             select max(n) from lockstep.records
             where n < (select max(n) from lockstep.records) and line not like '%\"more\":true%'
         );
         update lockstep.runs set (records, bytes) = (select count(*), sum(length(line) + 1) from lockstep.records)",
    );
    fs::remove_dir_all(desk.path("b")).unwrap();
    write(&desk.path("go"), "");
    let _ = b.run(&["resume", "site-1", "--quiet"]).exits(0);
    let copy = a.copy("site-1", "journal.jsonl");
    for command in ["show", "resume"] {
        let said = a.run(&[command, "site-1"]);
        assert_eq!(said.code, Some(7), "{command}: {}", said.stderr);
        assert!(said.stderr.contains("set back"), "{}", said.stderr);
    }
    assert_eq!(a.copy("site-1", "journal.jsonl"), copy);
    let _ = a.run(&["runs"]).exits(0);
    // What is right is decided: the database.
    let folder = desk.path("a/lockstep/stores");
    fs::remove_dir_all(folder).unwrap();
    assert_eq!(a.json(&["show", "site-1", "--json"])["state"], "done");
}

#[test]
fn events_whose_answer_was_lost_are_sent_once() {
    let (server, desk) = (ready(), Desk::new());
    let store = Store::at(&server.url("lockstep")).unwrap();
    let folder = desk.path("copy");
    fs::create_dir(&folder).unwrap();
    let begun = store.begin("run-1", &BTreeMap::new(), &folder).unwrap();
    let had = begun.unwrap();
    server.sql("insert into lockstep.events values ('run-1', 0, E'a\\n')");
    write(&folder.join("events.jsonl"), "a\nb\n");
    had.append(0, vec!["x".to_owned()]).unwrap();
    drop(had);
    let there =
        "select string_agg(convert_from(content, 'UTF8'), '' order by start) from lockstep.events";
    assert_eq!(server.sql(there), "a\nb");
}

#[test]
fn an_exported_run_is_the_same_wherever_it_goes() {
    let (server, desk) = (ready(), Desk::new());
    let [a, b] = ["a", "b"].map(|name| server.machine(&desk, name, "lockstep"));
    let export = |mut command: Command| {
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    };
    // From a folder to the database, and from there to another folder.
    let _ = desk
        .run(&["update", "--cluster", "twin:3", "--quiet"])
        .exits(0);
    let first = export(desk.command(&["runs", "export", "update-1"]));
    fs::write(desk.path("first.tar"), &first).unwrap();
    let _ = a.run(&["runs", "import", "first.tar"]).exits(0);
    assert_eq!(export(b.command(&["runs", "export", "update-1"])), first);
    let again = a.run(&["runs", "import", "first.tar"]).exits(0);
    assert!(again.contains("nothing is new"), "{again}");
    assert_eq!(b.json(&["show", "update-1", "--json"])["state"], "done");
    // Another run of that name is left alone.
    let other = Desk::new();
    let _ = other.run(&["update", "--cluster", "twin:1", "--yes", "--quiet"]);
    fs::copy(desk.path("first.tar"), other.path("first.tar")).unwrap();
    let refused = other.run(&["runs", "import", "first.tar"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("differs"), "{}", refused.stderr);
    // What isn't one, or was changed, is refused.
    let mut damaged = first.clone();
    let at = damaged.len() / 2;
    damaged[at] ^= 1;
    fs::write(desk.path("damaged.tar"), &damaged).unwrap();
    let refused = a.run(&["runs", "import", "damaged.tar"]);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    write(&desk.path("no.tar"), "no archive");
    assert_ne!(a.run(&["runs", "import", "no.tar"]).code, Some(0));
}

#[test]
fn events_of_a_database_that_was_set_back_are_its_own() {
    let (server, desk) = (ready(), Desk::new());
    let machine = server.machine(&desk, "a", "lockstep");
    let update = ["update", "--cluster", "twin:1", "--yes", "--quiet"];
    let _ = machine.run(&update).exits(0);
    let whole = machine.copy("update-1", "events.jsonl");
    let last = "start = (select max(start) from lockstep.events)";
    // It lacks the last ones, and has others in their place.
    server.sql(&format!(
        "insert into lockstep.events select run, start + 5, E'other\\nones\\n' from lockstep.events where {last};
         update lockstep.events set content = substring(content for 5)
         where start = (select max(start) from lockstep.events where start < (select max(start) from lockstep.events))"
    ));
    let _ = machine.run(&["show", "update-1"]).exits(0);
    let there = "select md5(string_agg(content, ''::bytea order by start)) from lockstep.events";
    let there = server.sql(there);
    let sum = |bytes: Vec<u8>| {
        let file = desk.path("events");
        fs::write(&file, bytes).unwrap();
        let sum = Command::new("md5sum").arg(file).output().unwrap();
        String::from_utf8(sum.stdout).unwrap()[..32].to_owned()
    };
    assert_eq!(sum(machine.copy("update-1", "events.jsonl")), there);
    assert_ne!(sum(whole), there);
}

#[test]
fn what_an_earlier_sitting_left_here_is_not_sent() {
    let (server, desk) = (ready(), Desk::new());
    let store = Store::at(&server.url("lockstep")).unwrap();
    let folder = desk.path("copy");
    fs::create_dir(&folder).unwrap();
    let begun = store.begin("run-1", &BTreeMap::new(), &folder).unwrap();
    begun.unwrap().append(0, vec!["x".to_owned()]).unwrap();
    server.sql(
        "insert into lockstep.files (run, name, content) values ('run-1', 'twin.json', 'new')",
    );
    write(&folder.join("twin.json"), "old");
    write(&folder.join("events.jsonl"), "old\n");
    // Whoever takes it up waits for its copy first, or ends there.
    let had = store.take_up("run-1", &folder).unwrap();
    pause(Duration::from_millis(2500));
    drop(had);
    let left = "select convert_from(content, 'UTF8') from lockstep.files";
    assert_eq!(server.sql(left), "new");
    assert_eq!(server.sql("select count(*) from lockstep.events"), "0");
}

/// A desk with a run that is done, and its archive, but for the last bytes of its journal.
fn torn(desk: &Desk, bytes: usize) {
    let update = ["update", "--cluster", "twin:1", "--yes", "--quiet"];
    let _ = desk.run(&update).exits(0);
    let journal = desk.path("state/runs/update-1/journal.jsonl");
    let text = read(&journal);
    write(&journal, &text[..text.len() - bytes]);
    let _ = desk
        .run(&["runs", "export", "update-1", "-o", "torn.tar"])
        .exits(0);
}

#[test]
fn a_journal_with_a_torn_end_is_moved_without_it() {
    for bytes in [1, 5] {
        let (server, desk) = (ready(), Desk::new());
        torn(&desk, bytes);
        let machine = server.machine(&desk, "a", "lockstep");
        for _ in 0..2 {
            let _ = machine.run(&["runs", "import", "torn.tar"]).exits(0);
            let _ = desk.run(&["runs", "import", "torn.tar"]).exits(0);
        }
        if bytes > 1 {
            let _ = machine.run(&["resume", "update-1", "--quiet"]).exits(0);
        }
        assert_eq!(
            machine.json(&["show", "update-1", "--json"])["state"],
            "done"
        );
    }
}

#[test]
fn an_archive_that_was_cut_is_refused() {
    let (desk, other) = (Desk::new(), Desk::new());
    torn(&desk, 0);
    let whole = fs::read(desk.path("torn.tar")).unwrap();
    // Within a file, between two of them, and within the end.
    for cut in [whole.len() / 2, whole.len() - 1024, whole.len() - 512] {
        fs::write(other.path("cut.tar"), &whole[..cut]).unwrap();
        let said = other.run(&["runs", "import", "cut.tar"]);
        assert_ne!(said.code, Some(0), "{cut}");
        assert!(!other.path("state/runs/update-1").exists(), "{cut}");
    }
    // What an interrupted import left is no run.
    fs::create_dir_all(other.path("state/runs/update-1/bundle")).unwrap();
    fs::write(other.path("whole.tar"), &whole).unwrap();
    let _ = other.run(&["runs", "import", "whole.tar"]).exits(0);
    assert_eq!(other.json(&["show", "update-1", "--json"])["state"], "done");
    // A run that can't be exported leaves what was there.
    let said = other.run(&["runs", "export", "nosuch", "-o", "whole.tar"]);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    assert_eq!(fs::read(other.path("whole.tar")).unwrap(), whole);
    let _ = other.run(&["runs", "export", "nosuch", "-o", "new.tar"]);
    assert!(!other.path("new.tar").exists());
}
