//! What real programs printed: the files under `modules/tests/transcripts`. For tests.

/// What a command printed when it was given for the `nth` time, from 0.
pub(crate) fn printed(file: &str, command: &str, nth: usize) -> String {
    let path = format!(
        "{}/../tests/transcripts/{file}.txt",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let text = format!("\n{text}");
    let given = text
        .split("\n$ ")
        .filter_map(|part| part.strip_prefix(command)?.strip_prefix('\n'));
    let printed = given
        .into_iter()
        .nth(nth)
        .unwrap_or_else(|| panic!("{path} has no {command}"));
    let end = printed.find("[rc=").unwrap_or(printed.len());
    printed[..end].to_owned()
}
