//! Runs on disk: their names, their locks, and what they captured.

use super::names::BUNDLE;
use super::*;
use crate::bundle::digest;
use crate::source::Source;

#[test]
fn runs_are_numbered_by_playbook() {
    let state = tempfile::tempdir().unwrap();
    let runs = Runs::in_state(state.path());
    let ids: Vec<String> = ["update", "update", "upgrade"]
        .map(|p| runs.create(p).unwrap().id)
        .to_vec();
    assert_eq!(ids, ["update-1", "update-2", "upgrade-1"]);
    for _ in 0..9 {
        runs.create("update").unwrap();
    }
    assert_eq!(runs.ids().unwrap().last().unwrap(), "upgrade-1");
    assert_eq!(runs.ids().unwrap()[10], "update-11");
}

#[test]
fn a_run_is_taken_up_by_one_process() {
    let state = tempfile::tempdir().unwrap();
    let runs = Runs::in_state(state.path());
    let run = runs.create("update").unwrap();
    assert!(runs.is_running("update-1"));
    assert!(matches!(
        runs.take_up("update-1"),
        Err(RunsError::Locked { .. })
    ));
    drop(run);
    assert!(!runs.is_running("update-1"));
    runs.take_up("update-1").unwrap();
}

#[test]
fn a_run_of_which_nothing_was_recorded_can_begin() {
    let state = tempfile::tempdir().unwrap();
    let runs = Runs::in_state(state.path());
    let begin = || runs.create_named("rollout-1.a", &BTreeMap::new());
    let left: [&[(&str, &str)]; 4] = [
        &[("bundle", "")],
        &[(JOURNAL, "")],
        &[(JOURNAL, ""), (EVENTS, "")],
        &[(JOURNAL, "{\"n\":1,\"at\":\"2026-"), (EVENTS, "")],
    ];
    for files in left {
        let run = begin().unwrap();
        assert!(matches!(begin(), Err(RunsError::Locked { .. })));
        for (name, text) in files {
            fs::write(run.file(name), text).unwrap();
        }
    }
    fs::write(begin().unwrap().file(EVENTS), "{}").unwrap();
    let error = begin().unwrap_err().to_string();
    insta::assert_snapshot!(error, @"there is a run rollout-1.a already");
}

#[test]
fn a_name_that_is_nearly_right_is_recognised() {
    let state = tempfile::tempdir().unwrap();
    let runs = Runs::in_state(state.path());
    runs.create("update").unwrap();
    let error = runs.take_up("updaet-1").unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no run \"updaet-1\" (did you mean \"update-1\"?)"
    );
}

fn head(bundle: BTreeMap<String, (String, String)>) -> Head {
    Head {
        format: crate::journal::FORMAT,
        id: "update-1".to_owned(),
        playbook: "site/update.lua".to_owned(),
        params: serde_json::json!({}),
        lockstep: "0.1.0".to_owned(),
        target: crate::journal::ClusterRef::Twin(":1".to_owned()),
        cluster: lockstep_modules::contract::cluster::Cluster {
            name: "lab".to_owned(),
            members: Vec::new(),
            machines: Vec::new(),
            ssh: lockstep_modules::contract::cluster::SshConfig::default(),
        },
        seed: 1,
        bundle,
        programs: None,
        who: "me@here".to_owned(),
    }
}

fn modules(texts: &[(&str, &str)]) -> BTreeMap<String, Source> {
    let source = |(name, text): &(&str, &str)| {
        let (chunk, text) = (format!("{name} of mine"), (*text).to_owned());
        ((*name).to_owned(), Source { chunk, text })
    };
    texts.iter().map(source).collect()
}

#[test]
fn modules_with_nearly_the_same_names_are_captured_each() {
    let state = tempfile::tempdir().unwrap();
    let run = Runs::in_state(state.path()).create("update").unwrap();
    let modules = modules(&[
        ("site/main", "return 1"),
        ("site_main", "return 2"),
        ("site_main.lua", "return 3"),
    ]);
    let head = head(run.capture(&modules).unwrap());
    assert_eq!(run.captured(&head).unwrap().0, modules);
}

#[test]
fn a_captured_playbook_that_was_edited_is_refused() {
    let state = tempfile::tempdir().unwrap();
    let run = Runs::in_state(state.path()).create("update").unwrap();
    let modules = modules(&[("site/update.lua", "return 1")]);
    let head = head(run.capture(&modules).unwrap());
    let file = format!("bundle/{}.lua", digest("return 1"));
    fs::write(run.file(&file), "return 2").unwrap();
    let error = run.captured(&head).err().map(|error| error.to_string());
    let message = "the captured module site/update.lua of update-1 was changed or is missing";
    assert_eq!(
        error,
        Some(format!("{message}: {file} has another content"))
    );
    // The run of a lockstep that named its files otherwise.
    fs::write(run.file("bundle/site_update.lua"), "return 1").unwrap();
    assert_eq!(run.captured(&head).unwrap().0, modules);
}

#[test]
fn what_is_shipped_is_there_whatever_became_of_its_copy() {
    let state = tempfile::tempdir().unwrap();
    let run = Runs::in_state(state.path()).create("update").unwrap();
    let flow = crate::bundle::shipped("flow.lua").unwrap();
    let hazards = crate::bundle::shipped("data/hazards.toml").unwrap();
    let modules = modules(&[("flow", flow), ("playbooks.data.hazards", hazards)]);
    let head = head(run.capture(&modules).unwrap());
    fs::remove_dir_all(run.file(BUNDLE)).unwrap();
    assert_eq!(run.captured(&head).unwrap().0, modules);
}
