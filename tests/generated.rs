//! What is made from the registry is committed, and is what the registry says.

use std::fs;
use std::path::Path;

use lockstep::event::reference;
use lockstep::generate;
use lockstep_tests::root;

/// Writes the file if it isn't as it should be, and says so: the second run is green.
fn keep(path: &Path, text: &str) -> bool {
    let fits = fs::read_to_string(path).unwrap_or_default() == text;
    if !fits {
        fs::write(path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
    fits
}

const STALE: &str =
    "it was not what the ops' declarations make of it, and is written anew: commit it";

#[test]
fn the_reference_is_what_the_declarations_say() {
    let text = generate::reference(&lockstep_modules::registry());
    assert!(keep(&root().join("docs/ops.md"), &text), "{STALE}");
}

#[test]
fn the_type_stubs_are_what_the_declarations_say() {
    let folder = root().join("playbooks/types");
    let stubs = generate::stubs(&lockstep_modules::registry());
    let stale: Vec<&String> = stubs
        .iter()
        .filter(|(name, text)| !keep(&folder.join(name), text))
        .map(|(name, _)| name)
        .collect();
    assert!(stale.is_empty(), "{stale:?}: {STALE}");
    // Nothing is left of an op that is gone. The stubs of flow and of the tables are written by hand.
    let by_hand = ["flow.lua", "data"];
    let known = |name: &str| by_hand.contains(&name) || stubs.iter().any(|(stub, _)| stub == name);
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(known(&name), "playbooks/types/{name} belongs to no module");
    }
}

#[test]
fn luacheck_knows_what_playbooks_see() {
    let text = generate::luacheckrc(&lockstep_modules::registry());
    assert!(
        keep(&root().join("playbooks/.luacheckrc"), &text),
        "{STALE}"
    );
}

#[test]
fn the_event_stream_is_described_as_its_types_say() {
    let schema = serde_json::to_string_pretty(&reference::schema()).unwrap() + "\n";
    let book = root().join("docs");
    let kept = [
        keep(&book.join("events.schema.json"), &schema),
        keep(&book.join("events.md"), &reference::page()),
    ];
    assert_eq!(kept, [true, true], "{STALE}");
}

#[test]
fn the_commands_of_the_book_are_those_of_the_command_line() {
    let text = lockstep::cli::reference(&lockstep_modules::registry());
    let text = text.unwrap_or_else(|fault| panic!("{fault:?}"));
    let page = root().join("docs/commands.md");
    assert!(keep(&page, &text), "{STALE}");
}

#[test]
fn the_versions_and_health_codes_of_the_book_are_those_of_the_tables() {
    let page = root().join("docs/versions.md");
    assert!(keep(&page, &generate::versions()), "{STALE}");
    let page = root().join("docs/health.md");
    assert!(keep(&page, &generate::health()), "{STALE}");
}
