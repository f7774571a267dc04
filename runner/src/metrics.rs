//! Figures in files, for the textfile collector of Prometheus' node_exporter.

use std::fmt::Write;
use std::path::Path;

use crate::private::{self, Over, SHARED};

/// Labels with their values.
pub(crate) type Labels<'a> = Vec<(&'a str, &'a str)>;

/// What is measured.
pub(crate) struct Metric<'a> {
    pub(crate) name: &'a str,
    pub(crate) help: &'a str,
    /// What it was, by labels beside those that all metrics have.
    pub(crate) rows: Vec<(Labels<'a>, i64)>,
}

/// Writes figures to a file. A reader finds the old file or the new one, and never half of one.
pub(crate) fn write(
    file: &Path,
    about: &Labels<'_>,
    metrics: &[Metric<'_>],
) -> std::io::Result<()> {
    private::place(file, text(about, metrics), SHARED, Over::Anything)
}

/// Figures in Prometheus' exposition format.
fn text(about: &Labels<'_>, metrics: &[Metric<'_>]) -> String {
    let mut text = String::new();
    for Metric { name, help, rows } in metrics {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in rows {
            let labels: Vec<String> = about
                .iter()
                .chain(labels)
                .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
                .collect();
            let _ = writeln!(text, "{name}{{{}}} {value}", labels.join(","));
        }
    }
    text
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', r"\n")
}
