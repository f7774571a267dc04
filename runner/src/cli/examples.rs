//! The commands in the order in which they are read about, with examples of what can be typed.

/// What is typed, and what for.
pub(crate) type Example = (&'static str, &'static str);

/// Commands with their examples, which stand beside their options.
type Commands = &'static [(&'static str, &'static [Example])];

/// The commands in the order in which they are read about.
pub(super) const GROUPS: [(&str, Commands); 7] = [
    (
        "Inspect a cluster",
        &[
            (
                "status",
                &[
                    ("lockstep status", "the cluster of cluster.toml"),
                    ("lockstep status --watch", "again every five seconds"),
                    ("lockstep status --json", "for programs"),
                ],
            ),
            (
                "preflight",
                &[
                    ("lockstep preflight", "can an update start?"),
                    ("lockstep preflight --to 3", "can an upgrade?"),
                    (
                        "lockstep preflight --accept disk",
                        "accept this check even if it fails",
                    ),
                ],
            ),
        ],
    ),
    (
        "Change a cluster",
        &[
            (
                "update",
                &[
                    ("lockstep update", "the cluster of cluster.toml"),
                    ("lockstep update --cluster twin:4", "a simulated one"),
                    ("lockstep update --only lxd,microcloud", "some components"),
                    (
                        "lockstep update --plan update.plan",
                        "only what is in the plan",
                    ),
                ],
            ),
            (
                "upgrade",
                &[
                    ("lockstep upgrade --to 3", "a set of channels"),
                    ("lockstep upgrade --lxd 6/stable", "one component"),
                    (
                        "lockstep upgrade --lxd 6/stable --cluster twin:4",
                        "simulated",
                    ),
                ],
            ),
            (
                "stage",
                &[
                    ("lockstep stage", "before the maintenance window"),
                    ("lockstep stage --to 3", "for an upgrade"),
                    ("lockstep stage --only microceph,lxd", "some components"),
                ],
            ),
            (
                "run",
                &[
                    ("lockstep run site/update.lua", "a playbook from a file"),
                    ("lockstep run site/update.lua --help", "what it takes"),
                    (
                        "lockstep run site/update.lua --cluster twin:4",
                        "on a simulated cluster",
                    ),
                ],
            ),
            (
                "op",
                &[
                    ("lockstep op snap.info --snap lxd --all", "on all members"),
                    ("lockstep op microovn.timers --help", "what an op takes"),
                    (
                        "lockstep op exec -m micro01 --effect read /usr/bin/uptime",
                        "any program",
                    ),
                ],
            ),
        ],
    ),
    (
        "Runs",
        &[
            (
                "runs",
                &[
                    ("lockstep runs", "all runs and their state"),
                    ("lockstep runs --json", "for programs"),
                    (
                        "lockstep runs export update-14 -o update-14.tar",
                        "to a file",
                    ),
                    ("lockstep runs import update-14.tar", "from one, elsewhere"),
                ],
            ),
            (
                "show",
                &[
                    ("lockstep show update-14", "its steps and state"),
                    ("lockstep show update-14 --json", "for programs"),
                ],
            ),
            (
                "watch",
                &[
                    ("lockstep watch update-14", "from another terminal"),
                    (
                        "lockstep watch update-14 --json",
                        "its events, as they come",
                    ),
                ],
            ),
            (
                "report",
                &[
                    ("lockstep report update-14 -o report.html", "to look at"),
                    (
                        "lockstep report update-14 --format markdown",
                        "for a ticket",
                    ),
                    (
                        "lockstep report update-14 --format otlp",
                        "its trace, for OpenTelemetry",
                    ),
                ],
            ),
            (
                "notify",
                &[
                    ("lockstep notify update-14", "send what was missed"),
                    ("lockstep notify", "the same, for all runs"),
                    ("lockstep notify --test", "try the receivers out"),
                ],
            ),
            (
                "resume",
                &[
                    ("lockstep resume update-14", "try the held steps again"),
                    (
                        "lockstep resume update-14 --assume-done STEP=RESULT",
                        "you did it by hand",
                    ),
                    (
                        "lockstep resume update-14 --deliver",
                        "let it clean up and end",
                    ),
                    (
                        "lockstep resume update-14 --mend",
                        "rehearsal: clear the faults",
                    ),
                ],
            ),
            (
                "abort",
                &[
                    ("lockstep abort update-14", "restore settings, and end"),
                    (
                        "lockstep abort update-14 --assume-done STEP=RESULT",
                        "you restored it by hand",
                    ),
                ],
            ),
            (
                "unlock",
                &[
                    ("lockstep unlock", "show who holds the lock, and ask"),
                    ("lockstep unlock --yes", "don't ask"),
                ],
            ),
        ],
    ),
    (
        "Many clusters",
        &[
            (
                "fleet",
                &[
                    (
                        "lockstep fleet rollout update --dry-run",
                        "show the rings of fleet.toml",
                    ),
                    ("lockstep fleet rollout update", "ring by ring"),
                    ("lockstep fleet status --watch", "from another terminal"),
                    (
                        "lockstep fleet resume berlin-012",
                        "a cluster's run that was held",
                    ),
                ],
            ),
            (
                "store",
                &[(
                    "lockstep store init --state postgresql://me@db/runs",
                    "make its tables",
                )],
            ),
        ],
    ),
    (
        "Before a change",
        &[
            (
                "plan",
                &[
                    ("lockstep plan update", "what an update will do"),
                    ("lockstep plan upgrade --to 3 -v", "with every step"),
                    (
                        "lockstep plan site/update.lua -o update.plan",
                        "for run --plan",
                    ),
                ],
            ),
            (
                "rehearse",
                &[
                    ("lockstep rehearse update --members 5", "see how it goes"),
                    (
                        "lockstep rehearse update --fault refresh-fails:lxd,micro02",
                        "practice a hold",
                    ),
                    (
                        "lockstep rehearse update --fault cut:micro03@microceph/micro03+5m --speed 60",
                        "watch it",
                    ),
                ],
            ),
            (
                "check",
                &[
                    ("lockstep check site/update.lua", "three members"),
                    (
                        "lockstep check site/update.lua --members 1 --members 5",
                        "one, and five",
                    ),
                    (
                        "lockstep check site/update.lua --try 214",
                        "repeat one finding",
                    ),
                ],
            ),
        ],
    ),
    (
        "Write playbooks",
        &[
            (
                "new",
                &[
                    ("lockstep new site/drain.lua", "a standalone playbook"),
                    (
                        "lockstep new site/update.lua --extends update",
                        "the shipped one plus your additions",
                    ),
                ],
            ),
            (
                "types",
                &[
                    ("lockstep types site", "for the playbooks in site/"),
                    ("lockstep types .", "for those here"),
                ],
            ),
            (
                "playbooks",
                &[
                    (
                        "lockstep playbooks",
                        "shipped ones, and those here and in site/",
                    ),
                    (
                        "lockstep playbooks ops/lua --json",
                        "of another folder, for programs",
                    ),
                ],
            ),
            (
                "doc",
                &[
                    ("lockstep doc", "all modules"),
                    ("lockstep doc snap", "a module"),
                    ("lockstep doc snap.refresh", "an op"),
                ],
            ),
        ],
    ),
    (
        "Set up",
        &[
            (
                "init",
                &[
                    ("lockstep init ubuntu@micro01", "write cluster.toml"),
                    (
                        "lockstep init ubuntu@micro01 --name lab -o lab.toml",
                        "more than one cluster",
                    ),
                ],
            ),
            (
                "completions",
                &[
                    ("eval \"$(lockstep completions bash)\"", "in ~/.bashrc"),
                    (
                        "eval \"$(lockstep completions zsh)\"",
                        "in ~/.zshrc, after compinit",
                    ),
                    ("lockstep completions fish | source", "in config.fish"),
                ],
            ),
            (
                "man",
                &[
                    ("lockstep man | man -l -", "read it"),
                    (
                        "lockstep man ~/.local/share/man/man1",
                        "for man lockstep-update, and the others",
                    ),
                ],
            ),
        ],
    ),
];

/// What `lockstep` itself is typed for.
const FIRST: &[Example] = &[
    (
        "lockstep update --cluster twin:4",
        "update a simulated cluster",
    ),
    ("lockstep init ubuntu@micro01", "write cluster.toml"),
    ("lockstep plan update", "show what an update will do"),
];

/// The examples of a command, or of lockstep as a whole.
pub(super) fn examples(name: &str) -> &'static [Example] {
    let mut commands = GROUPS.into_iter().flat_map(|(_, commands)| commands);
    let found = commands.find(|(command, _)| *command == name);
    match found {
        Some((_, examples)) => examples,
        None if name == "lockstep" => FIRST,
        None => &[],
    }
}
