//! Figures for Prometheus, and the dashboard that shows them.

use std::collections::BTreeSet;
use std::fs;

use lockstep_tests::lab::{read, write};
use lockstep_tests::root;
use regex::Regex;
use serde_json::Value;

use crate::notify::{REHEARSE, desk};

/// The metrics that a file of figures has.
fn named(figures: &str) -> BTreeSet<String> {
    let lines = figures
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    lines
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect()
}

#[test]
fn figures_of_a_run_are_written_as_it_goes() {
    let desk = desk("[notify]\nmetrics = \"collected\"\n");
    fs::create_dir(desk.path("collected")).unwrap();
    let fault = ["--fault", "refresh-fails:lxd,micro02"];
    let _ = desk.run(&[&REHEARSE[..], &fault].concat()).exits(4);
    let files = fs::read_dir(desk.path("collected")).unwrap().flatten();
    let files: Vec<_> = files.map(|file| file.path()).collect();
    let [file] = files.as_slice() else {
        panic!("{files:?}")
    };
    let figures = read(file);
    let about = r#"cluster="twin of 3",run="update-1",playbook="update""#;
    for row in [
        format!("lockstep_run_state{{{about},state=\"held\"}} 1\n"),
        format!("lockstep_run_steps_held{{{about}}} 1\n"),
        // One member has the new LXD, the other hasn't.
        format!("lockstep_run_window_open_timestamp_seconds{{{about},component=\"lxd\"}} "),
    ] {
        assert!(figures.contains(&row), "{row}\n{figures}");
    }
    let _ = desk.run(&["resume", "update-1", "--mend"]).exits(0);
    let figures = read(file);
    let row = format!("lockstep_run_state{{{about},state=\"done\"}} 1\n");
    assert!(figures.contains(&row), "{figures}");
    assert!(!figures.contains("component="), "{figures}");
}

#[test]
fn the_dashboard_asks_for_metrics_that_there_are() {
    let desk = desk("[notify]\nmetrics = \"collected\"\n");
    fs::create_dir(desk.path("collected")).unwrap();
    let _ = desk.run(&REHEARSE).exits(0);
    let fleet = crate::fleet::fleet(&["paris"], "", &[]);
    let notify = "[notify]\nsimulated = true\nmetrics = \"collected\"\n";
    write(&desk.path("fleet.toml"), &format!("{fleet}{notify}"));
    let _ = desk.run(&["fleet", "rollout", "update"]).exits(0);
    let files = fs::read_dir(desk.path("collected")).unwrap().flatten();
    let there: BTreeSet<String> = files.flat_map(|file| named(&read(&file.path()))).collect();
    let board = read(&root().join("docs/grafana.json"));
    let board: Value = serde_json::from_str(&board).unwrap();
    for (field, is) in [
        ("title", board["title"].is_string()),
        ("schemaVersion", board["schemaVersion"].is_u64()),
        ("templating", board["templating"]["list"].is_array()),
    ] {
        assert!(is, "{field}");
    }
    let word = Regex::new(r"\blockstep_\w+").unwrap();
    let mut asked = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in board["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        assert!(
            panel["title"].is_string() && panel["type"].is_string(),
            "{panel}"
        );
        for side in ["x", "y", "w", "h"] {
            assert!(panel["gridPos"][side].is_u64(), "{panel}");
        }
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        assert!(panel["type"] == "row" || !targets.is_empty(), "{panel}");
        for target in targets {
            let expr = target["expr"].as_str().unwrap().to_owned();
            let names: Vec<_> = word
                .find_iter(&expr)
                .map(|n| n.as_str().to_owned())
                .collect();
            assert!(!names.is_empty(), "{expr}");
            asked.extend(names);
        }
    }
    let unknown: Vec<&String> = asked.difference(&there).collect();
    assert!(unknown.is_empty(), "{unknown:?} of {there:?}");
    let unseen: Vec<&String> = there.difference(&asked).collect();
    assert!(unseen.is_empty(), "on no panel: {unseen:?}");
}
