//! Tables on a terminal.

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use console::Term;
use lockstep_modules::ops::preflight::Check;

use super::shown::is_screen;

/// A table without lines, no wider than the terminal that it is for.
pub(crate) fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let size = is_screen().then(|| Term::stdout().size_checked()).flatten();
    if let Some((_, columns)) = size {
        table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(columns);
    }
    table
}

/// Checks as a table, each with its evidence and with what can be typed.
pub(crate) fn checks_table(checks: &[Check]) -> Table {
    let mut table = table(["CHECK", "", "EVIDENCE"]);
    for check in checks {
        let mut evidence = check.evidence.join("\n");
        if check.is_against() {
            if let Some(link) = &check.link {
                evidence.push_str(&format!("\n{link}"));
            }
            if check.may_accept {
                evidence.push_str(&format!("\nto proceed anyway: --accept {}", check.name));
            }
        }
        table.add_row([check.name.as_str(), check.verdict.word(), &evidence]);
    }
    table
}
