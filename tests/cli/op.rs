//! `lockstep op`, and what a cluster file says of the way to its members: programs of this machine stand in for those of a
//! member.

use lockstep_tests::desk::Desk;
use lockstep_tests::lab::{read, write};
use serde_json::Value;

/// Members that are this machine, and one that nobody answers for.
const LOCAL: &str = "name = \"here\"
members = [
  { name = \"a\", local = true },
  { name = \"b\", local = true },
  { name = \"dark\", address = \"127.0.0.1\", port = 1 },
]
";

#[test]
fn all_that_is_printed_is_shown_and_a_read_leaves_nothing() {
    let desk = Desk::new();
    write(&desk.path("cluster.toml"), LOCAL);
    let exec = |flags: &str, script: &str| {
        let words = ["op", "exec"].into_iter().chain(flags.split(' '));
        let words = words.chain(["/bin/sh", "-c", script]);
        desk.run(&words.collect::<Vec<_>>())
    };
    let one = exec("-m a --effect read", "seq 1 3; printf '\\33[31mno\\n' >&2");
    assert_eq!((one.stderr.as_str(), one.code), ("␛[31mno\n", Some(0)));
    assert_eq!(one.stdout, "1\n2\n3\n");
    let both = exec("-m a,b --effect read", "seq 1 2; echo no >&2").exits(0);
    assert_eq!(both, "a: 1\na: 2\nb: 1\nb: 2\n");
    assert_eq!(exec("-m a --effect read", "true").exits(0), "a: exit 0\n");
    let failed = exec("-m a --effect read", "echo why; echo no >&2; exit 3");
    assert_eq!(failed.stdout, "why\na: failed: sh failed (exit 3): no\n");
    assert_eq!((failed.stderr.as_str(), failed.code), ("no\n", Some(1)));
    let allowed = exec("-m a --effect read --allow 3", "echo why; exit 3");
    assert_eq!(allowed.stderr, "a: exit 3\n");
    assert_eq!(allowed.exits(0), "why\n");
    for end in ["", "; exit 1"] {
        let long = exec("-m a --effect read", &format!("seq 1 9999{end}"));
        assert!(long.stdout.contains("\n9999\n"), "{end}");
        assert_eq!(long.stderr, "a: only the end of its output was kept\n");
    }
    assert!(!desk.path("state").exists(), "a read made a run");
    let _ = exec("-m a --effect once", "true").exits(0);
    assert!(desk.path("state/runs/op-1").exists());
}

#[test]
fn who_cannot_be_reached_has_an_exit_code_of_its_own() {
    let desk = Desk::new();
    write(&desk.path("cluster.toml"), LOCAL);
    let op = |effect: &str, program: &str| {
        desk.run(&["op", "exec", "--all", "--effect", effect, program])
    };
    // Nothing can have begun where there was no connection, so that nothing is in doubt.
    for effect in ["read", "once"] {
        let dark = op(effect, "/bin/pwd");
        assert!(dark.stdout.starts_with("a: /"), "{dark:?}");
        let why = "dark: failed: the connection was refused: ";
        assert!(dark.stdout.contains(why), "{dark:?}");
        assert_eq!(dark.code, Some(12), "{dark:?}");
    }
    assert_eq!(op("read", "/bin/false").code, Some(1));
    let ops = [
        "op", "exec", "--all", "--effect", "once", "--json", "/bin/pwd",
    ];
    let json: Value = serde_json::from_str(&desk.run(&ops).exits(12)).unwrap();
    assert_eq!(json["dark"]["error"]["kind"], "unreachable");
    assert_eq!(json["b"]["ok"], true);
}

/// A cluster file is used from many folders, and a run may be resumed from another one.
#[test]
fn paths_in_a_cluster_file_begin_in_its_folder() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("site")).unwrap();
    let mark = desk.path("mark");
    let config = format!("Host micro01\n  ProxyCommand touch {}\n", mark.display());
    write(&desk.path("site/ssh_config"), &config);
    write(&desk.path("site/token"), "correct horse battery staple\n");
    let cluster = "name = \"site\"\nmembers = [{ name = \"micro01\" }]\n[ssh]\nconfig = \"ssh_config\"\n\
                   [params.p]\ntoken = \"file:token\"\n";
    write(&desk.path("site/cluster.toml"), cluster);
    write(
        &desk.path("p.lua"),
        "return { api = 1, params = { token = { type = \"secret\" } }, run = function() return time.now {} end }\n",
    );
    let _ = desk.run(&["status", "-c", "site/cluster.toml"]).exits(10);
    std::fs::remove_file(&mark).unwrap();
    let folder = desk.path("site").canonicalize().unwrap();
    let folder = folder.display();
    // What is typed begins where it is typed.
    let typed = [
        "--ssh-config",
        "site/ssh_config",
        "--token",
        "file:site/token",
    ];
    for (run, typed) in [("p-1", &[][..]), ("p-2", &typed[..])] {
        let line = [&["run", "p.lua", "-c", "site/cluster.toml"], typed].concat();
        let _ = desk.run(&line).exits(0);
        let journal = read(&desk.path(&format!("state/runs/{run}/journal.jsonl")));
        for path in [
            format!("\"config\":\"{folder}/ssh_config\""),
            format!("\"token\":\"file:{folder}/token\""),
        ] {
            assert!(journal.contains(&path), "{path}\n{journal}");
        }
    }
}

/// Arguments reach an op as they were typed, whatever is in them. What carries them there can't be run by itself.
#[test]
fn arguments_are_what_was_typed() {
    let desk = Desk::new();
    write(&desk.path("cluster.toml"), LOCAL);
    let odd = "a \"b\" \\n 'c' ]] \u{1}\u{7f} ü\n\tend) os.exit() --";
    let exec = ["op", "exec", "-m", "a,b", "--effect", "once", "--json"];
    let printf = ["/usr/bin/printf", "%s|", odd, "", "{}", "nil"];
    let json = desk.json(&[&exec[..], &["--"], &printf].concat());
    for member in ["a", "b"] {
        let printed = json[member]["value"]["stdout"].as_str().unwrap();
        assert_eq!(printed, format!("{odd}||{{}}|nil|"));
    }
    let shown = desk.run(&["show", "op-1"]).exits(0);
    assert!(shown.contains("op=\"exec\""), "{shown}");
    let run = desk.run(&["run", "op"]);
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(
        run.stderr.contains("there is no playbook \"op\""),
        "{run:?}"
    );
}
