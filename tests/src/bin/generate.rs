//! Writes the files that are generated, and formats Lua: `cargo generate`.

use std::io::Write as _;

use lockstep_tests::generated;

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout();
    // What is generated is formatted after it was written.
    for files in [generated::files, generated::lua] {
        for file in files().into_iter().filter(generated::File::is_stale) {
            file.write()?;
            let verb = if file.text.is_some() {
                "wrote"
            } else {
                "removed"
            };
            writeln!(out, "{verb} {}", file.path.display())?;
        }
    }
    Ok(())
}
