//! Benchmarks: lockstep beside what does the same without it, the two in turn in one run.
//!
//! ```sh
//! cargo bench -p lockstep-tests --bench lockstep                    # `ssh` and `twin`
//! cargo bench -p lockstep-tests --bench lockstep -- ssh --json      # one, as JSON
//! ```
//!
//! | group | what is measured |
//! |---|---|
//! | `ssh` | one command on all members, commands on one member after the other, and a warm step, beside OpenSSH, and beside pyinfra and ansible where they are installed |
//! | `twin` | plans, rehearsals, checks, and lists of runs: seconds, and memory at its highest |
//! | `store` | an append to a PostgreSQL on this machine, beside a synced file, and a list of runs |
//! | `hand` | an update of three members beside the commands that an operator types, over SSH, on simulated products that take their real time: four minutes a round |
//!
//! Nothing here is a test: what is slow on one machine isn't wrong.

mod figures;
mod hand;
mod ssh;
mod store;
mod twin;

use std::io::Write;

use figures::Figure;

/// A name, and what measures it.
type Group = (&'static str, fn() -> Vec<Figure>);

const GROUPS: [Group; 4] = [
    ("ssh", ssh::figures),
    ("twin", twin::figures),
    ("store", store::figures),
    ("hand", hand::figures),
];

fn main() {
    // Cargo adds `--bench`.
    let args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let (options, mut names): (Vec<String>, Vec<String>) = args.partition(|a| a.starts_with('-'));
    if names.is_empty() {
        names = vec!["ssh".to_owned(), "twin".to_owned()];
    }
    let groups: Vec<_> = names
        .iter()
        .filter_map(|name| GROUPS.iter().find(|(known, _)| known == name))
        .collect();
    let known = options.iter().all(|option| option == "--json");
    let mut out = std::io::stdout();
    if groups.len() < names.len() || !known {
        let usage = "usage: cargo bench -p lockstep-tests --bench lockstep [-- [ssh] [twin] [store] [hand] [--json]]";
        writeln!(out, "{usage}").unwrap_or_default();
        std::process::exit(2);
    }
    let json = !options.is_empty();
    let mut all = Vec::new();
    for (_, measured) in groups {
        let figures = measured();
        if !json {
            writeln!(out, "{}", figures::table(&figures)).unwrap_or_default();
        }
        all.extend(figures);
    }
    if json {
        let text = serde_json::to_string_pretty(&all).unwrap();
        writeln!(out, "{text}").unwrap_or_default();
    }
}
