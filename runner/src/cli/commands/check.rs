//! `check`: a playbook tried out on simulated clusters.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};

use clap::Args;
use lockstep_modules::contract::cmd::quote;
use serde_json::json;

use super::playbook::{Which, machines_of};
use crate::bundle::Finder;
use crate::check::{Check, Finding, Report};
use crate::cli::app::App;
use crate::cli::exit::{Exit, Fault};
use crate::cli::global::Global;
use crate::cli::print;
use crate::cli::target::simulated;
use crate::fleet::{self, FleetCheck};
use crate::report::excerpt::Ink;
use crate::report::failure::Teller;
use crate::report::harmless::harmless;
use crate::script::Source;
use crate::target::Made;
use crate::trial::Piece;

/// What a check takes.
#[derive(Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    which: Which,
    /// Members of the simulated cluster, and the MicroCloud that it was installed as; can be repeated
    /// [default: 3@2]
    #[arg(long, value_name = "N[@SET]")]
    members: Vec<Made>,
    /// How many random faults to try
    #[arg(long, value_name = "N", default_value_t = 500)]
    tries: usize,
    /// Seed of the random faults: the same seed tries the same ones
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Don't kill and resume the run at every step
    #[arg(long)]
    no_kills: bool,
    /// Run only the random try with this number, as named by a finding
    #[arg(long = "try", value_name = "N")]
    only: Option<usize>,
}

pub(crate) fn check(app: &App<'_>, args: &CheckArgs) -> Result<Exit, Fault> {
    if args.which.file == fleet::PLAYBOOK {
        return rollout(app, args);
    }
    let main = args.which.main(app.global)?;
    let given = args.which.params.typed().iter().cloned().collect();
    let machines = machines_of(&main, app.global)?;
    let mut piece = Piece::load(&main.main, Box::new(main.finder), app.registry, &given)?;
    piece.machines = machines;
    let members = if args.members.is_empty() {
        vec![simulated(app.global)?]
    } else {
        args.members.clone()
    };
    let check = Check {
        scenarios: members.iter().map(Made::scenario).collect(),
        tries: args.tries,
        seed: args.seed,
        only: args.only,
        kills: !args.no_kills,
    };
    let shown = std::io::stderr().is_terminal() && !app.global.json;
    let report = check.run(&piece, &|done, of| {
        if shown && done % 50 == 0 {
            let _ = write!(std::io::stderr(), "\r{done} of {of} ");
        }
    });
    if shown {
        let _ = write!(std::io::stderr(), "\r                    \r");
    }
    if app.global.json {
        print::json(
            &json!({"kills": report.kills, "tries": report.tries, "findings": report.findings}),
        );
    } else {
        let again = again(&main.main, app.global, args);
        print(&main.main, args, &again, &report, &piece.bundle);
    }
    Ok(if report.findings.is_empty() {
        Exit::Done
    } else {
        Exit::Found
    })
}

/// The playbook of rollouts, on simulated fleets: as many clusters as a cluster would have members.
fn rollout(app: &App<'_>, args: &CheckArgs) -> Result<Exit, Fault> {
    let check = FleetCheck {
        clusters: args.members.first().map_or(12, Made::count),
        tries: args.tries,
        seed: args.seed,
        only: args.only,
        kills: !args.no_kills,
    };
    let report = check.run(app.registry, &|| Finder::shipped(app.global.playbooks()))?;
    if app.global.json {
        print::json(
            &json!({"kills": report.kills, "tries": report.tries, "findings": report.findings}),
        );
    } else {
        for (case, what) in &report.findings {
            out!("{case}: {what}");
        }
        let rules = match report.findings.len() {
            0 => "no rule is broken".to_owned(),
            1 => "1 rule is broken".to_owned(),
            n => format!("{n} rules are broken"),
        };
        out!(
            "rollout of {} clusters: {rules}; kills and resumes: {}; random tries: {} (seed {})",
            check.clusters,
            report.kills,
            report.tries,
            args.seed
        );
    }
    Ok(if report.findings.is_empty() {
        Exit::Done
    } else {
        Exit::Found
    })
}

/// What is typed to check the same again, but for the number of the try.
fn again(main: &str, global: &Global, args: &CheckArgs) -> String {
    let folders = [
        ("--playbooks", &global.playbooks),
        ("--modules", &global.modules),
    ];
    let folders = folders.into_iter().filter_map(|(flag, folder)| {
        let folder = folder.as_ref()?.display().to_string();
        Some(format!(" {flag} {}", quote(&folder)))
    });
    let params = args.which.params.typed().iter().map(|(name, value)| {
        let value = value.as_str().unwrap_or_default().to_owned();
        format!(" -p {}", quote(&format!("{name}={value}")))
    });
    let members = args.members.iter().map(|n| format!(" --members {n}"));
    let flags: String = folders.chain(params).chain(members).collect();
    format!("lockstep check {main}{flags} --seed {}", args.seed)
}

fn print(
    main: &str,
    args: &CheckArgs,
    again: &str,
    report: &Report,
    sources: &BTreeMap<String, Source>,
) {
    let teller = Teller::of(sources, Ink::stdout());
    for finding in &report.findings {
        let excerpt = teller.excerpt(&finding.site, &finding.what, finding.step.is_none());
        let excerpt = excerpt.map_or_else(String::new, |excerpt| excerpt + "\n");
        let (head, rest) = text(again, finding);
        print::styled(&format!(
            "{}\n{excerpt}{}\n",
            harmless(&head),
            harmless(&rest)
        ));
    }
    let tried = format!(
        "kills and resumes: {}; tries with random faults: {} (seed {})",
        report.kills, report.tries, args.seed
    );
    match report.findings.len() {
        0 => out!("{main}: no rule is broken; {tried}"),
        1 => out!("{main}: 1 rule is broken; {tried}"),
        n => out!("{main}: {n} rules are broken; {tried}"),
    }
}

/// A finding in full: the rule, the line, what it takes, and how it comes about.
fn text(again: &str, finding: &Finding) -> (String, String) {
    let Finding {
        rule,
        what,
        step,
        site,
        ..
    } = finding;
    let place = if site.is_empty() {
        String::new()
    } else {
        format!("{site}: ")
    };
    let head = format!("{place}{rule}: {what}");
    let mut text = String::new();
    if let Some(step) = step {
        text.push_str(&format!("  step     {step}\n"));
    }
    for (i, disturbance) in finding.disturbed.iter().enumerate() {
        let head = if i == 0 { "when" } else { "and" };
        text.push_str(&format!("  {head:<7}  {disturbance}\n"));
    }
    const SHOWN: usize = 12;
    let history = &finding.history;
    if history.len() > SHOWN {
        text.push_str(&format!(
            "  {} commands, the last {SHOWN} of them:\n",
            history.len()
        ));
    } else if !history.is_empty() {
        text.push_str("  commands:\n");
    }
    for line in &history[history.len().saturating_sub(SHOWN)..] {
        text.push_str(&format!("    {line}\n"));
    }
    if let Some(number) = finding.number {
        text.push_str(&format!("  again    {again} --try {number}\n"));
    }
    (head, text)
}
