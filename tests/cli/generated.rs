//! What is generated is committed, and is what it is made from.

use std::path::PathBuf;

use lockstep_tests::generated::{self, File};

fn stale(files: Vec<File>) -> Vec<PathBuf> {
    let stale = files.into_iter().filter(File::is_stale);
    stale.map(|file| file.path).collect()
}

#[test]
fn what_is_generated_is_what_it_is_made_from() {
    let stale = stale(generated::files());
    assert!(stale.is_empty(), "stale; run cargo generate: {stale:?}");
}

#[test]
fn lua_is_formatted() {
    let stale = stale(generated::lua());
    assert!(
        stale.is_empty(),
        "not formatted; run cargo generate: {stale:?}"
    );
}
