//! What is measured, and how it is shown.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use lockstep_tests::lab::{now, pause};
use serde::Serialize;

/// One row: lockstep's median, and that of what stands beside it.
#[derive(Serialize)]
pub(crate) struct Figure {
    /// What is done.
    what: String,
    /// What it is measured in.
    unit: &'static str,
    /// How often; the values are medians.
    rounds: usize,
    lockstep: f64,
    /// The other one's name and value, where there is one.
    beside: Option<(String, f64)>,
}

impl Figure {
    /// A value of lockstep's own.
    pub(crate) fn alone(what: impl Into<String>, unit: &'static str, values: Vec<f64>) -> Self {
        Self {
            what: what.into(),
            unit,
            rounds: values.len(),
            lockstep: median(values),
            beside: None,
        }
    }

    /// A value beside another one's.
    pub(crate) fn beside(self, name: &str, values: Vec<f64>) -> Self {
        Self {
            beside: Some((name.to_owned(), median(values))),
            ..self
        }
    }

    fn line(&self) -> String {
        let (what, unit, own) = (&self.what, self.unit, self.lockstep);
        match &self.beside {
            Some((name, other)) => format!(
                "| {what} | {own:.3} {unit} | {other:.3} {unit} ({name}) | {:.2} |",
                own / other
            ),
            None => format!("| {what} | {own:.3} {unit} | | |"),
        }
    }
}

/// The rows as a table.
pub(crate) fn table(figures: &[Figure]) -> String {
    let head = "| | lockstep | beside | ratio |\n|---|---|---|---|";
    let rows = figures.iter().map(Figure::line);
    let lines: Vec<String> = std::iter::once(head.to_owned()).chain(rows).collect();
    lines.join("\n")
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// How many seconds a program takes.
///
/// # Panics
/// Where it fails: what was measured then isn't what was meant.
pub(crate) fn seconds(command: &mut Command) -> f64 {
    let began = now();
    let out = command.stdin(Stdio::null()).output().unwrap();
    let took = began.elapsed();
    let printed = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{command:?}: {printed}");
    took.as_secs_f64()
}

/// How many seconds a program takes, and how many MiB of memory it has at most.
///
/// # Panics
/// As [`seconds`].
pub(crate) fn seconds_and_memory(command: &mut Command) -> (f64, f64) {
    let began = now();
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = quiet.stderr(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0.0;
    loop {
        most = f64::max(most, peak(Path::new(&status)).unwrap_or(0.0));
        if let Some(ended) = child.try_wait().unwrap() {
            assert!(ended.success(), "{command:?}: {ended}");
            return (began.elapsed().as_secs_f64(), most);
        }
        pause(Duration::from_millis(2));
    }
}

/// The most memory that a process has had so far, in MiB.
fn peak(status: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}
