//! `fleet report`: a rollout as a page, and as pages that are written again as it goes on.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

use lockstep_tests::lab::{read, wait_until};

use crate::fleet::{desk, fleet};

/// A fault that holds an update of three members.
const FAULT: &str = "refresh-fails:microovn,micro02";

/// What a page that is loaded again has.
const REFRESH: &str = "http-equiv=\"refresh\"";

#[test]
fn a_rollouts_pages_are_written_until_it_ends() {
    let desk = desk(&fleet(&["paris"], "", &[FAULT]));
    let _ = desk.run(&["fleet", "rollout", "update"]).exits(4);
    let mut watch = desk.command(&["fleet", "report", "--watch", "web"]);
    let mut watch = watch.stdout(Stdio::null()).spawn().unwrap();
    let index = desk.path("web/index.html");
    let berlin = desk.path("web/rollout-1.berlin.html");
    let linked = "href=\"rollout-1.berlin.html\"";
    wait_until("no page is written", || {
        index.exists() && read(&index).contains(linked)
    });
    let page = read(&index);
    for shown in [
        "<h2>Held</h2>",
        "lockstep fleet resume berlin",
        "snapd undid the refresh",
        REFRESH,
        "default-src 'none'",
    ] {
        assert!(page.contains(shown), "{shown}\n{page}");
    }
    assert!(!page.contains("rollout-1.paris.html"), "{page}");
    assert!(!read(&berlin).contains(REFRESH));
    let _ = desk.run(&["fleet", "resume", "berlin", "--mend"]).exits(0);
    let _ = desk.run(&["fleet", "continue"]).exits(0);
    assert_eq!(watch.wait().unwrap().code(), Some(0));
    let page = read(&index);
    assert!(
        page.contains("2 of 2 clusters done") && page.contains("href=\"rollout-1.paris.html\""),
        "{page}"
    );
    assert!(!page.contains(REFRESH), "{page}");
    // What hasn't changed isn't written again.
    let file = |name: &str| fs::metadata(desk.path("web").join(name)).unwrap().ino();
    let before = file("rollout-1.paris.html");
    let _ = desk.run(&["fleet", "report", "--watch", "web"]).exits(0);
    assert_eq!(file("rollout-1.paris.html"), before);
}

#[test]
fn a_page_of_somebody_elses_is_not_written_over() {
    let desk = desk(&fleet(&[], "", &[]).replace("\n[[rollout.rings]]\nname = \"rest\"\n", ""));
    let _ = desk.run(&["fleet", "rollout", "update"]).exits(0);
    fs::create_dir(desk.path("web")).unwrap();
    let theirs = b"<p>unsere, in Latin-1: \xe4</p>";
    fs::write(desk.path("web/index.html"), theirs).unwrap();
    for words in [["--watch", "web"], ["-o", "web/index.html"]] {
        let ran = desk.run(&[&["fleet", "report"][..], &words].concat());
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains("overwrite it with --force"), "{ran:?}");
    }
    assert_eq!(fs::read(desk.path("web/index.html")).unwrap(), theirs);
    assert_eq!(fs::read_dir(desk.path("web")).unwrap().count(), 1);
    let forced = ["fleet", "report", "--watch", "web", "--force"];
    assert_eq!(desk.run(&forced).exits(0), "web/index.html\n");
    // One that was made here is made again, under whatever name.
    for _ in 0..2 {
        let _ = desk.run(&["fleet", "report", "-o", "x.html"]).exits(0);
    }
    // A page that can't be written is no reason not to write the others.
    fs::remove_file(desk.path("web/rollout-1.berlin.html")).unwrap();
    std::os::unix::fs::symlink("/dev/null", desk.path("web/rollout-1.berlin.html")).unwrap();
    fs::remove_file(desk.path("web/index.html")).unwrap();
    let again = desk.run(&["fleet", "report", "--watch", "web"]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.stderr.contains("rollout-1.berlin.html"), "{again:?}");
    assert!(read(&desk.path("web/index.html")).contains("1 of 1 cluster done"));
    // One page by itself links what lies beside it.
    let alone = desk.run(&["fleet", "report"]).exits(0);
    assert_eq!(alone, "rollout-1.html\n");
    assert!(!read(&desk.path("rollout-1.html")).contains("href=\"rollout"));
    let _ = desk.run(&["report", "rollout-1.berlin"]).exits(0);
    let _ = desk.run(&["fleet", "report"]).exits(0);
    assert!(read(&desk.path("rollout-1.html")).contains("href=\"rollout-1.berlin.html\""));
}
