//! The list of members as a table: what MicroCeph prints before it could print JSON.
//!
//! `lxd/shared/cmd/table.go` draws it: a header, a border below every row, nothing wrapped. Columns are found by their names,
//! and whatever isn't drawn so is refused with its line: a member that is misread is worse than none.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::schema::Member;

/// A member, as the database knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Row {
    /// Its name.
    pub(crate) name: Member,
    /// Its address and port.
    pub(crate) address: String,
    /// `voter`, `stand-by`, `spare`, or `PENDING` until the next heartbeat.
    pub(crate) role: String,
    /// `ONLINE`, `UNREACHABLE`, `UPGRADING` or `NEEDS UPGRADE`, as the member that was asked sees it.
    pub(crate) status: String,
}

/// What `cluster list` has had for columns in every release that prints nothing else (`cmd/microceph/cluster_list.go`).
const COLUMNS: [&str; 5] = ["NAME", "ADDRESS", "ROLE", "FINGERPRINT", "STATUS"];

/// Reads the table.
pub(super) fn rows(text: &str) -> Result<Vec<Row>, String> {
    let mut lines = text.lines().map(str::trim_end).enumerate();
    let mut columns: Option<Vec<&str>> = None;
    let mut rows = Vec::new();
    border(lines.next())?;
    while let Some((number, line)) = lines.next() {
        let at = |what: &str| format!("line {}: {what}", number + 1);
        let cells = cells(line).ok_or_else(|| at("neither a row nor a border"))?;
        border(lines.next())?;
        match &columns {
            None => columns = Some(header(cells).map_err(|what| at(&what))?),
            Some(columns) => rows.push(row(columns, &cells).map_err(|what| at(&what))?),
        }
    }
    columns
        .map(|_| rows)
        .ok_or_else(|| "it has no header".to_owned())
}

/// A row is one line between two borders: a second line would be the rest of a wrapped one.
fn border(line: Option<(usize, &str)>) -> Result<(), String> {
    match line {
        Some((_, line)) if line.starts_with('+') && line.chars().all(|c| "+-".contains(c)) => {
            Ok(())
        }
        Some((number, _)) => Err(format!("line {}: a border was expected", number + 1)),
        None => Err("it ends without a border".to_owned()),
    }
}

fn cells(line: &str) -> Option<Vec<&str>> {
    let inside = line.strip_prefix('|')?.strip_suffix('|')?;
    Some(inside.split('|').map(str::trim).collect())
}

fn header(cells: Vec<&str>) -> Result<Vec<&str>, String> {
    if let Some(odd) = cells.iter().find(|name| !COLUMNS.contains(name)) {
        return Err(format!("the column {odd:?} isn't known"));
    }
    match COLUMNS
        .iter()
        .find(|name| cells.iter().filter(|cell| cell == name).count() != 1)
    {
        Some(name) => Err(format!("there must be one column {name:?}")),
        None => Ok(cells),
    }
}

fn row(columns: &[&str], cells: &[&str]) -> Result<Row, String> {
    if cells.len() != columns.len() {
        return Err(format!(
            "{} cells below {} columns",
            cells.len(),
            columns.len()
        ));
    }
    let cell = |name: &str| {
        let found = columns
            .iter()
            .zip(cells)
            .find(|(column, _)| **column == name);
        let text = found.map_or("", |(_, text)| *text);
        if text.is_empty() {
            return Err(format!("nothing below {name:?}"));
        }
        Ok(text.to_owned())
    };
    Ok(Row {
        name: cell("NAME")?.into(),
        address: cell("ADDRESS")?,
        role: cell("ROLE")?,
        status: cell("STATUS")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REEF: &str = include_str!("../../../tests/transcripts/microcluster/list-of-reef.txt");

    #[test]
    fn the_list_of_reef_is_read_by_its_columns() {
        let rows = rows(REEF).unwrap();
        let shown: Vec<String> = rows
            .iter()
            .map(|r| format!("{} {} {} {}", r.name, r.address, r.role, r.status))
            .collect();
        let expected = [
            "micro01 10.77.0.11:7443 voter ONLINE",
            "micro02 10.77.0.12:7443 voter ONLINE",
            "micro03 10.77.0.13:7443 voter ONLINE",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_table_drawn_otherwise_is_refused_with_the_place() {
        let without = |line: usize| {
            let lines = REEF.lines().enumerate().filter(|(i, _)| *i != line);
            lines
                .map(|(_, line)| format!("{line}\n"))
                .collect::<String>()
        };
        let header = REEF.lines().nth(1).unwrap();
        let cases = [
            (String::new(), "it ends without a border"),
            ("[]".to_owned(), "line 1: a border was expected"),
            ("+--+\n".to_owned(), "it has no header"),
            (
                REEF.replace("STATUS", "STATE "),
                "line 2: the column \"STATE\" isn't known",
            ),
            (
                REEF.replace(header, "| NAME | ADDRESS | ROLE | STATUS |"),
                "line 2: there must be one column \"FINGERPRINT\"",
            ),
            (
                REEF.replace(header, &format!("{header} SCHEMA |")),
                "line 2: the column \"SCHEMA\" isn't known",
            ),
            (
                REEF.replace("| micro02 | 10.77.0.12:7443 |", "| micro02 |"),
                "line 6: 4 cells below 5 columns",
            ),
            (
                REEF.replace("| micro02 |", "|         |"),
                "line 6: nothing below \"NAME\"",
            ),
            // A wrapped line: its rest stands where the border should.
            (without(4), "line 5: a border was expected"),
            (without(8), "it ends without a border"),
            (
                format!("{REEF}Aviso: algo\n"),
                "line 10: neither a row nor a border",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(rows(&text).unwrap_err(), expected, "{text}");
        }
    }
}
