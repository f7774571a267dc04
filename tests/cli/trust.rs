//! A current folder that isn't the operator's own: nothing that lies there is used without being named, and nothing that is
//! written there goes elsewhere.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use lockstep::bundle::digest;
use lockstep_tests::desk::Desk;
use lockstep_tests::lab::{Ran, read, write};

/// What is reported of a file that isn't used.
const UNUSED: &str = "isn't used: it wasn't named explicitly";

/// What a command does where the folder may be anybody's.
#[derive(Clone, Copy, PartialEq)]
enum Does {
    /// It needs nothing of what lies there, and says nothing about it.
    Unmoved,
    /// It continues without, and says so.
    Without,
    /// It needs that, and does nothing.
    Refuses,
}

use Does::{Refuses, Unmoved, Without};

const COMMANDS: [(&str, Does); 42] = [
    ("status", Refuses),
    ("unlock --yes", Refuses),
    ("preflight", Refuses),
    ("update", Refuses),
    ("run update", Refuses),
    ("plan update", Refuses),
    ("op exec -m micro01 --effect read /bin/true", Refuses),
    ("run p.lua", Refuses),
    ("plan p.lua", Refuses),
    ("check p.lua", Refuses),
    ("rehearse p.lua", Refuses),
    ("-c twin:3 run p.lua", Refuses),
    ("op evil.do", Without),
    ("doc evil", Without),
    ("doc", Without),
    ("types .", Without),
    ("-c twin:3 doc evil", Without),
    ("doc snap.info", Unmoved),
    ("doc snap", Unmoved),
    ("doc --help", Unmoved),
    ("op", Unmoved),
    ("op --help", Unmoved),
    ("op snap.info --help", Unmoved),
    ("types --help", Unmoved),
    ("help doc", Unmoved),
    ("help op", Unmoved),
    ("show doc", Unmoved),
    ("show op", Unmoved),
    ("report types", Unmoved),
    ("run p.lua --help", Unmoved),
    ("check p.lua --help", Unmoved),
    ("plan p.lua -h", Unmoved),
    ("update --help", Unmoved),
    ("-c twin:1 update -p only=microcloud", Unmoved),
    ("-c twin:3 status", Unmoved),
    ("-c twin:3 op snap.info --snap lxd --all", Unmoved),
    ("-c twin:3 doc snap.info", Unmoved),
    ("rehearse update --members 1 -p only=microcloud", Unmoved),
    (
        "check update --tries 1 --no-kills --members 1 -p only=microcloud",
        Unmoved,
    ),
    ("runs", Unmoved),
    ("man", Unmoved),
    ("completions bash", Unmoved),
];

/// A desk with a cluster file, a playbook and a module program, of which the first and the last leave a mark.
fn trap() -> Desk {
    let desk = Desk::new();
    let mark = desk.path("started").display().to_string();
    let cluster = format!(
        "name = \"lab\"\n[ssh]\noptions = [\"ProxyCommand=touch {mark}\"]\n[[members]]\nname = \"micro01\"\n"
    );
    write(&desk.path("cluster.toml"), &cluster);
    write(
        &desk.path("p.lua"),
        "return { api = 1, about = \"Nothing.\", run = function() end }\n",
    );
    fs::create_dir(desk.path("modules")).unwrap();
    let program = desk.path("modules/evil.sh");
    write(&program, &format!("#!/bin/sh\ntouch {mark}\n"));
    mode(&program, 0o755);
    desk
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn run(desk: &Desk, line: &str) -> Ran {
    desk.run(&line.split(' ').collect::<Vec<_>>())
}

/// Plays the whole table at a desk, and asserts that nothing was started there.
fn nothing_is_started(desk: &Desk) {
    for (line, does) in COMMANDS {
        let ran = run(desk, line);
        assert!(!desk.path("started").exists(), "{line}: {ran:?}");
        assert_eq!(
            ran.stderr.contains(UNUSED),
            does != Unmoved,
            "{line}: {ran:?}"
        );
        let mut lines = ran.stderr.lines();
        let refused = lines.any(|line| line.starts_with("error: ") && line.contains(UNUSED));
        assert_eq!(refused, does == Refuses, "{line}: {ran:?}");
        if does == Refuses {
            assert_eq!(ran.code, Some(2), "{line}: {ran:?}");
            assert!(
                ran.stderr.contains("if you trust it, name it: --"),
                "{line}: {ran:?}"
            );
        }
    }
}

#[test]
fn nothing_is_started_in_a_folder_where_others_may_write() {
    let desk = trap();
    mode(&desk.path(""), 0o1777);
    nothing_is_started(&desk);
    let listed = run(&desk, "playbooks").exits(0);
    assert!(listed.contains(UNUSED), "{listed}");
    let named = run(&desk, "playbooks .").exits(0);
    assert!(
        named.contains("Nothing.") && !named.contains(UNUSED),
        "{named}"
    );
    // Each of these names what is used, and so is what the marks are for.
    for line in ["-c cluster.toml status", "--modules modules doc"] {
        let _ = run(&desk, line);
        fs::remove_file(desk.path("started")).unwrap_or_else(|e| panic!("{line}: {e}"));
    }
}

#[test]
fn nothing_is_started_in_a_folder_that_belongs_to_somebody_else() {
    let desk = trap();
    let me = fs::metadata(desk.path("")).unwrap().uid();
    // Only root can give a folder away; for everybody else it is the program that others may write.
    if me == 0 {
        chown(desk.path(""), Some(65534), None).unwrap();
        nothing_is_started(&desk);
        chown(desk.path(""), Some(0), None).unwrap();
        chown(desk.path("cluster.toml"), Some(65534), None).unwrap();
        chown(desk.path("modules"), Some(65534), None).unwrap();
    } else {
        mode(&desk.path("cluster.toml"), 0o666);
        mode(&desk.path("modules/evil.sh"), 0o777);
    }
    for line in ["status", "plan p.lua", "doc", "types ."] {
        let ran = run(&desk, line);
        assert!(ran.stderr.contains(UNUSED), "{line}: {ran:?}");
        assert!(!desk.path("started").exists(), "{line}: {ran:?}");
    }
}

#[test]
fn what_the_user_owns_is_found_without_being_named() {
    let desk = trap();
    for line in ["status", "doc", "types ."] {
        let ran = run(&desk, line);
        assert!(!ran.stderr.contains(UNUSED), "{line}: {ran:?}");
        fs::remove_file(desk.path("started")).unwrap_or_else(|e| panic!("{line}: {e}"));
    }
}

#[test]
fn what_is_written_follows_no_link_and_is_private() {
    let desk = Desk::new();
    let _ = run(&desk, "-c twin:1 update -p only=microcloud").exits(0);
    write(&desk.path("victim"), "precious");
    fs::create_dir(desk.path("types")).unwrap();
    for (name, line) in [
        ("update-1.html", "report update-1"),
        ("update-1.md", "report update-1 --format markdown"),
        ("cluster.toml", "init nobody@localhost:1"),
        ("drain.lua", "new drain.lua"),
        ("types/snap.lua", "types ."),
        ("lockstep.1", "man ."),
    ] {
        for target in ["victim", "nothing"] {
            symlink(desk.path(target), desk.path(name)).unwrap();
            let ran = run(&desk, line);
            assert!(ran.code.is_some_and(|code| code != 0), "{line}: {ran:?}");
            assert_eq!(read(&desk.path("victim")), "precious", "{line}");
            assert!(!desk.path("nothing").exists(), "{line}");
            fs::remove_file(desk.path(name)).unwrap();
        }
    }
    for (name, line) in [
        ("update-1.html", "report update-1"),
        ("update-1.md", "report update-1 --format markdown"),
        ("update.plan", "-c twin:1 plan update -o update.plan"),
    ] {
        write(&desk.path(name), "as an older lockstep wrote it");
        mode(&desk.path(name), 0o644);
        for _ in 0..2 {
            let _ = run(&desk, line).exits(0);
            let made = fs::metadata(desk.path(name)).unwrap().mode() & 0o777;
            assert_eq!(made, 0o600, "{line}");
            let _ = fs::remove_file(desk.path(name));
        }
    }
    // What types may remove is named by a file that anybody may have written.
    let record = format!("{{\"../victim\":\"{}\"}}", digest("precious"));
    fs::create_dir_all(desk.path("site/types")).unwrap();
    write(&desk.path("site/types/lockstep.json"), &record);
    let _ = run(&desk, "types site").exits(0);
    assert_eq!(read(&desk.path("victim")), "precious");
}
