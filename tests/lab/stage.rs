//! What the script of `snap.stage` does with real files.

use lockstep_tests::lab::SshLab;
use lockstep_twin::Scenario;
use serde_json::Value;

/// Stages LXD on micro01.
fn stage(lab: &SshLab) -> Value {
    let args = [
        "op",
        "snap.stage",
        "-m",
        "micro01",
        "--snap",
        "lxd",
        "--json",
    ];
    let ran = lab.run(&args);
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:?}"))
}

/// Runs a line of the shell as root on micro01, and returns what it prints.
fn sh(lab: &SshLab, line: &str) -> String {
    let args = [
        "op", "exec", "-m", "micro01", "--root", "--effect", "once", "--json",
    ];
    let args = [&args[..], &["/bin/sh", "-c", line]].concat();
    let out: Value = serde_json::from_str(&lab.run(&args).exits(0)).unwrap();
    out["micro01"]["value"]["stdout"]
        .as_str()
        .unwrap()
        .trim()
        .to_owned()
}

/// The only file in snapd's cache, with its mode, digest and text.
fn cached(lab: &SshLab) -> String {
    let line = "cd /var/lib/snapd/cache && for f in *; do stat -c %a $f; \
        python3 -c 'import hashlib, sys; print(hashlib.sha3_384(open(sys.argv[1], \"rb\").read()).hexdigest() == sys.argv[1])' $f; \
        cat $f; done; ls /var/lib/snapd";
    sh(lab, line)
}

const STAGED: &str = "600\nTrue\nlxd 33110\ncache\nsnaps";

#[test]
fn a_file_has_its_name_only_with_its_own_bytes() {
    let lab = SshLab::up(&Scenario::of(1));
    sh(&lab, "mkdir -p /var/lib/snapd/snaps");
    let value = |out: &Value| out["micro01"]["value"].clone();
    let out = value(&stage(&lab));
    assert_eq!(
        (&out["changed"], &out["removed"]),
        (&true.into(), &false.into()),
        "{out}"
    );
    assert_eq!(cached(&lab), STAGED);
    let out = value(&stage(&lab));
    assert_eq!(
        (&out["changed"], &out["removed"]),
        (&false.into(), &false.into()),
        "{out}"
    );

    for place in ["cache/*", "snaps/lxd_33110.snap"] {
        sh(
            &lab,
            &format!("for f in /var/lib/snapd/{place}; do echo wrong > $f; done"),
        );
        let out = value(&stage(&lab));
        assert_eq!(out["removed"], Value::from(true), "{place}: {out}");
        assert_eq!(cached(&lab), STAGED, "{place}");
    }
    // The bytes that a refresh left are as good as the store's.
    sh(
        &lab,
        "mv /var/lib/snapd/cache/* /var/lib/snapd/snaps/lxd_33110.snap",
    );
    let out = value(&stage(&lab));
    assert_eq!(
        (&out["changed"], &out["removed"]),
        (&false.into(), &false.into()),
        "{out}"
    );
    assert_eq!(cached(&lab), STAGED);
}

#[test]
fn what_can_not_be_staged_leaves_nothing_and_says_why() {
    let lab = SshLab::up(&Scenario::of(1));
    sh(&lab, "mkdir -p /var/lib/snapd/snaps");
    let refused = |words: &str| {
        let out = stage(&lab);
        let message = out["micro01"]["error"]["message"].as_str();
        assert!(message.is_some_and(|m| m.contains(words)), "{out}");
    };
    let left = "ls -A /var/lib/snapd /var/lib/snapd/cache";
    let nothing = "/var/lib/snapd:\ncache\nsnaps\n\n/var/lib/snapd/cache:";

    // No room: a disk of its own, with less than the file needs.
    sh(
        &lab,
        "mkdir -p /var/lib/snapd/cache && mount -t tmpfs -o size=64k tmpfs /var/lib/snapd && mkdir /var/lib/snapd/snaps /var/lib/snapd/cache",
    );
    refused("are free in /var/lib/snapd, but");
    assert_eq!(sh(&lab, left), nothing);
    sh(&lab, "umount /var/lib/snapd");

    // Other bytes than the store's.
    sh(
        &lab,
        "mv /usr/bin/curl /usr/bin/curl.shim && printf '#!/bin/sh\\ncase $* in *resume-token*) echo other;; *) exec -a /usr/bin/curl /usr/bin/curl.shim \"$@\";; esac\\n' | sed '1s/sh/bash/' > /usr/bin/curl && chmod 755 /usr/bin/curl",
    );
    refused("has another digest than the store's");
    assert_eq!(sh(&lab, left), nothing);
    sh(&lab, "mv /usr/bin/curl.shim /usr/bin/curl");

    // Somebody else fetches it.
    let hold =
        "exec 9>>/var/lib/snapd/lockstep-lxd.part; flock 9; echo $$ >/run/holder; exec sleep 600";
    sh(
        &lab,
        &format!(
            "sh -c '{hold}' >/dev/null 2>&1 & while ! test -s /run/holder; do sleep 0.1; done"
        ),
    );
    refused("another process is fetching");
    sh(&lab, "kill $(cat /run/holder)");
    let _ = stage(&lab);
    assert_eq!(cached(&lab), STAGED);
}
