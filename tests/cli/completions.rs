//! What completes lockstep's words in a shell.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::process::{Command, Output, Stdio};

use lockstep_tests::desk::{Desk, lockstep};
use lockstep_tests::lab::write;

/// What a shell is given when it asks for the last of these words.
fn asked(desk: &Desk, words: &[&str]) -> Output {
    let mut command = Command::new(lockstep());
    command.arg("--").arg("lockstep").args(words);
    command
        .env("LOCKSTEP_COMPLETE", "fish")
        .env("XDG_STATE_HOME", desk.path("home"))
        .env_remove("LOCKSTEP_CLUSTER")
        .env_remove("LOCKSTEP_STATE")
        .current_dir(desk.path(""));
    command.output().unwrap()
}

/// The values that are offered, without what is shown beside them.
fn offered(desk: &Desk, words: &[&str]) -> String {
    let output = asked(desk, words);
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let values: Vec<&str> = text
        .lines()
        .map(|l| l.split('\t').next().unwrap())
        .collect();
    values.join(" ")
}

const HELD: &str = "return { api = 1, run = function()\n\
    snap.hold { member = 'micro01', snap = 'lxd' }\n\
    snap.info { member = 'micro01', snap = 'nosuch' }\nend }\n";

const DRAIN: &str = "return { api = 1, params = {\n\
    pool = { type = 'string', one_of = { 'blue', 'green' } } }, run = function() end }\n";

#[test]
fn what_is_offered_is_what_there_is_at_the_moment() {
    let desk = Desk::new();
    assert_eq!(desk.play(HELD).code, Some(4));
    write(&desk.path("drain.lua"), DRAIN);
    write(
        &desk.path("lab.toml"),
        "name = \"lab\"\n[[members]]\nname = \"alpha\"\n[[members]]\nname = \"beta\"\n",
    );
    let cases: [&[&str]; 20] = [
        &["prefl"],
        &["update", "--ev"],
        &["op", "snap.re"],
        &["op", "snap.list", "-c", "lab.toml", "-m", ""],
        &[
            "op",
            "snap.list",
            "--cluster=twin:2",
            "--member",
            "micro01,",
        ],
        &["op", "snap.info", "--snap", "micro"],
        &["-c", "l"],
        &["-c", "twin:"],
        &["--state", "state", "show", ""],
        &["--state", "state", "resume", "site-1", "--retry", ""],
        &["--state", "state", "abort", "site-1", "--assume-done", ""],
        &["rehearse", "update", "--fault", "no-"],
        &[
            "rehearse",
            "update",
            "--members",
            "2",
            "--fault",
            "no-return:lxd,",
        ],
        &["run", ""],
        &["run", "drain.lua", "--po"],
        &["run", "drain.lua", "--pool", ""],
        &["update", "-p", "o"],
        &["preflight", "--accept", "d"],
        &["doc", "lock"],
        &["help", "prefl"],
    ];
    let reported = cases.map(|words| format!("{words:?}\n  {}\n", offered(&desk, words)));
    insta::assert_snapshot!(reported.join(""));
}

#[test]
fn whatever_is_wrong_the_answer_is_empty_and_nothing_written() {
    let desk = Desk::new();
    write(&desk.path("cluster.toml"), "name = 3\n");
    write(&desk.path("bad.lua"), "return {{{\n");
    assert_eq!(offered(&desk, &["op", "snap.list", "-m", ""]), "");
    assert_eq!(offered(&desk, &["show", "nosuch-"]), "");
    assert_eq!(offered(&desk, &["resume", "nosuch-1", "--retry", ""]), "");
    assert_eq!(offered(&desk, &["rehearse", "x", "--fault", "nosuch:"]), "");
    assert_eq!(
        offered(&desk, &["run", "bad.lua", "--on-f"]),
        "--on-failure"
    );
    assert_eq!(offered(&desk, &["nosuch", "x"]), "");
    assert!(!asked(&desk, &[""]).stdout.is_empty());
    let mut there: Vec<_> = fs::read_dir(desk.path("")).unwrap().collect();
    there.retain(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name != "cluster.toml" && name != "bad.lua"
    });
    assert!(there.is_empty(), "{there:?}");
}

/// A desk with `lockstep` on the path, a held run, and the shell's script.
fn at_a_prompt(shell: &str) -> (Desk, String) {
    let desk = Desk::new();
    assert_eq!(desk.play(HELD).code, Some(4));
    fs::create_dir(desk.path("bin")).unwrap();
    symlink(lockstep(), desk.path("bin/lockstep")).unwrap();
    let script = desk.run(&["completions", shell]).exits(0);
    (desk, script)
}

/// A program as somebody at this desk starts it.
fn started(desk: &Desk, argv: &[&str]) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(argv[0]);
    command
        .args(&argv[1..])
        .env("PATH", format!("{}:{path}", desk.path("bin").display()))
        .env("LOCKSTEP_STATE", desk.path("state"))
        .env("HOME", desk.path(""))
        .env("TERM", "dumb")
        .current_dir(desk.path(""));
    command
}

/// Presses keys at the prompt of an interactive shell, and returns the line as it is then.
fn line_after(desk: &Desk, shell: &str, keys: &str) -> String {
    let mut command = started(
        desk,
        &["timeout", "60", "script", "-qec", shell, "/dev/null"],
    );
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("script: {e}"));
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut printed = Vec::new();
    let mut until = |mark: &str| {
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&printed).contains(mark) {
            let n = stdout.read(&mut buffer).unwrap();
            assert!(
                n > 0,
                "{mark:?} never came; tests/run installs the shells: {}",
                String::from_utf8_lossy(&printed)
            );
            printed.extend(&buffer[..n]);
        }
        String::from_utf8_lossy(&printed).into_owned()
    };
    until("READY>");
    // The last key shows the line as the shell has it.
    write!(stdin, "{keys}\u{7}").unwrap();
    let shown = until(">>>");
    // Whoever killed `timeout` would leave the shell behind.
    writeln!(stdin, "\u{15}exit").unwrap();
    child.wait().unwrap();
    let line = shown
        .split("<<<")
        .nth(1)
        .unwrap()
        .split(">>>")
        .next()
        .unwrap();
    line.to_owned()
}

/// What is typed, and what it becomes, in shells that complete in the line.
const TYPED: [(&str, &str); 6] = [
    ("lockstep prefl\t", "lockstep preflight "),
    ("lockstep show s\t", "lockstep show site-1 "),
    (
        "lockstep op snap.info --snap=microo\t",
        "lockstep op snap.info --snap=microovn ",
    ),
    (
        "lockstep rehearse update --fault no-r\t",
        "lockstep rehearse update --fault no-return:",
    ),
    (
        "lockstep rehearse update --fault no-return:microo\t",
        "lockstep rehearse update --fault no-return:microovn,",
    ),
    (
        "lockstep update -c twin:3 --only lxd,microo\t",
        "lockstep update -c twin:3 --only lxd,microovn ",
    ),
];

#[test]
fn bash_completes_also_after_colons_and_equals_signs() {
    let (desk, script) = at_a_prompt("bash");
    let settings = "PS1='READY>'\nbind 'set bell-style none'\nbind 'set enable-bracketed-paste off'\n\
        bind -x '\"\\C-g\": printf \"<<<%s>>>\" \"$READLINE_LINE\"'\n";
    write(&desk.path("rc"), &format!("{settings}{script}"));
    let shell = "bash --noprofile --rcfile rc -i";
    for (keys, line) in TYPED {
        assert_eq!(line_after(&desk, shell, keys), line);
    }
    let held = "lockstep resume site-1 --assume-done sn\t";
    let line = "lockstep resume site-1 --assume-done snap.info#1=";
    assert_eq!(line_after(&desk, shell, held), line);
}

#[test]
fn zsh_completes() {
    let (desk, script) = at_a_prompt("zsh");
    let settings = "autoload -Uz compinit; compinit -u -D\nPS1='READY>'\n\
        show() { print -rn \"<<<$BUFFER>>>\" }\nzle -N show; bindkey '^G' show\n";
    write(&desk.path(".zshrc"), &format!("{settings}{script}"));
    for (keys, line) in TYPED {
        // Where more is to come, zsh waits for it after the word.
        let got = line_after(&desk, "zsh -i", keys);
        assert_eq!(got.trim_end(), line.trim_end());
    }
}

#[test]
fn fish_completes_and_says_what_is_what() {
    let (desk, script) = at_a_prompt("fish");
    write(&desk.path("lockstep.fish"), &script);
    let complete = |line: &str| {
        let script = format!("source lockstep.fish; complete -C '{line}'");
        let output = started(&desk, &["fish", "-N", "-c", &script]).output();
        let output =
            output.unwrap_or_else(|e| panic!("fish can't be started ({e}); tests/run installs it"));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(
        complete("lockstep prefl"),
        "preflight\tCheck whether an update or upgrade can start\n"
    );
    assert_eq!(complete("lockstep show "), "site-1\n");
    assert_eq!(complete("lockstep update --only=lx"), "--only=lxd\n");
    assert!(complete("lockstep resume site-1 --retry ").starts_with("snap.info#1\t"));
}
