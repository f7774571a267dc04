//! The tables that upgrades are judged by: which tracks follow which, and what is known to go wrong. They are files beside
//! the playbooks, so that a site can have its own.

pub(crate) mod rows;
mod rules;

use serde_json::Value;

use crate::contract::near;

pub use rows::Set;

/// The tables, by the stem of their file.
const TABLES: [&str; 2] = ["compatibility", "hazards"];

/// Reads the table `name` from the text of its file.
///
/// # Errors
/// With the line and what is wrong there; and for a table that doesn't exist.
pub fn read(name: &str, text: &str) -> Result<Value, (usize, String)> {
    match name {
        "compatibility" => rules::read::<rules::Compatibility>(text),
        "hazards" => rules::read::<rules::Hazards>(text),
        other => Err((
            1,
            format!("there is no table {other:?}{}", near::hint(other, &TABLES)),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_table_is_reported_with_its_line() {
        let row = |change: &str| {
            let text = format!(
                "# a site's own\n[[hazard]]\nname = \"x\"\ncomponent = \"lxd\"\nto = \"6\"\nwhat = \"y\"\naccept = true\n{change}\n"
            );
            read("hazards", &text).map_or_else(
                |(line, what)| format!("{line}: {what}"),
                |_| "fine".to_owned(),
            )
        };
        let cases = [
            row("link = \"https://example.org\""),
            row("link = \"nowhere\""),
            row("link = \"https://example.org\"\nsnpad = \"2.75\""),
            row("link = \"https://example.org\"\nsnapd = \"new\""),
            row("link = "),
            row(""),
        ];
        insta::assert_snapshot!(cases.join("\n---\n"));
    }

    #[test]
    fn rows_that_contradict_are_reported_with_their_line() {
        let link = "link = \"https://example.org\"\n";
        let hazard = |name: &str, rest: &str| {
            format!(
                "[[hazard]]\nname = \"{name}\"\ncomponent = \"lxd\"\nwhat = \"y\"\naccept = true\n{link}{rest}\n"
            )
        };
        let path =
            |rest: &str| format!("[[path]]\ncomponent = \"lxd\"\nfrom = \"5.0\"\n{link}{rest}\n");
        let cases = [
            ("hazards", hazard("x", "")),
            ("hazards", hazard("x", "since = \"6.8\"\nbelow = \"6.8.0\"")),
            (
                "hazards",
                hazard(
                    "x",
                    "since = \"6.8\"\nwith = { component = \"microceph\", since = \"20\", below = \"19\" }",
                ),
            ),
            ("hazards", hazard("disk", "since = \"6.8\"")),
            (
                "hazards",
                hazard("x", "since = \"6.8\"") + &hazard("x", "to = \"6\""),
            ),
            (
                "hazards",
                hazard("x", "since = \"6.8\"\nknown = \"rumoured\""),
            ),
            ("hazards", hazard("x", "since = \"~6.8\"")),
            ("compatibility", path("")),
            (
                "compatibility",
                path("to = [\"5.21\"]") + &path("to = [\"6\"]"),
            ),
            ("compatibility", path("to = [\"5.0\"]")),
            (
                "compatibility",
                format!(
                    "[[together]]\nname = \"x\"\nof = {{ component = \"lxd\" }}\nwith = {{ component = \"lxd\", since = \"6\" }}\nwhat = \"y\"\naccept = true\n{link}"
                ),
            ),
            (
                "compatibility",
                format!(
                    "[[track]]\ncomponent = \"microceph\"\nname = \"reef\"\nversion = \"\"\n{link}"
                ),
            ),
        ];
        let reported = cases.map(|(table, text)| {
            read(table, &text).map_or_else(
                |(line, what)| format!("{line}: {what}"),
                |_| format!("fine: {text}"),
            )
        });
        insta::assert_snapshot!(reported.join("\n---\n"));
    }

    #[test]
    fn a_table_with_fewer_conditions_is_read_as_before() {
        let text = "[[hazard]]\nname = \"x\"\ncomponent = \"lxd\"\nto = \"6\"\nkernel = \"6.8\"\nwhat = \"y\"\naccept = true\nlink = \"https://example.org\"\n";
        let row = &read("hazards", text).unwrap()["hazard"][0];
        let fields: Vec<&String> = row
            .as_object()
            .unwrap()
            .iter()
            .filter(|(_, v)| !v.is_null())
            .map(|(k, _)| k)
            .collect();
        assert_eq!(
            fields,
            [
                "accept",
                "component",
                "kernel",
                "link",
                "name",
                "to",
                "what"
            ]
        );
    }

    #[test]
    fn the_shipped_tables_are_in_order() {
        for (name, text) in [
            (
                "compatibility",
                include_str!("../../../../playbooks/data/compatibility.toml"),
            ),
            (
                "hazards",
                include_str!("../../../../playbooks/data/hazards.toml"),
            ),
        ] {
            read(name, text).unwrap_or_else(|(line, what)| panic!("{name}.toml:{line}: {what}"));
        }
        assert!(
            read("hazard", "")
                .unwrap_err()
                .1
                .contains("did you mean \"hazards\"?")
        );
    }
}
