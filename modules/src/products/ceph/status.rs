//! `ceph -s`, and what in it speaks against continuing.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::codes::{self, Check, Class, Codes, Raised, Verdict};
use super::maps::{PgCount, PgStat, PgSummary};
use crate::contract::error::OpError;

/// `ceph -s -f json`, as far as it matters. Parsed leniently: releases add fields.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    pub(super) health: Health,
    /// Grows by two with every election of the monitors, and is odd during one (`mon/Elector.cc`).
    #[serde(default)]
    pub(crate) election_epoch: u64,
    quorum_names: Vec<String>,
    monmap: MonMap,
    osdmap: OsdMap,
    pub(super) pgmap: PgMap,
    mgrmap: MgrMap,
    /// Why the manager gave no answer of its own.
    #[serde(skip)]
    silent: Option<String>,
    /// Why a question about a daemon was refused, and with it all that the manager would have said.
    #[serde(skip)]
    refused: Option<String>,
    /// Whether the placement groups are as the manager has them.
    #[serde(skip)]
    groups_are_new: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Health {
    #[serde(default)]
    pub(super) checks: BTreeMap<String, Check>,
}

#[derive(Clone, Debug, Deserialize)]
struct MonMap {
    num_mons: usize,
}

#[derive(Clone, Debug, Deserialize)]
struct OsdMap {
    num_osds: u64,
    num_up_osds: u64,
    num_in_osds: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct PgMap {
    #[serde(default)]
    pub(super) pgs_by_state: Vec<PgState>,
    pub(super) num_pgs: u64,
    #[serde(default)]
    num_pools: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct PgState {
    pub(super) state_name: String,
    pub(super) count: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct MgrMap {
    available: bool,
    #[serde(default)]
    num_standbys: u64,
}

/// States of a placement group that don't hinder anything.
const FINE: [&str; 6] = [
    "active",
    "clean",
    "scrubbing",
    "deep",
    "snaptrim",
    "snaptrim_wait",
];

/// Figures of a cluster's storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Monitors in quorum, by name.
    pub(crate) quorum: Vec<String>,
    /// Monitors in all.
    pub(crate) mons: usize,
    /// OSDs in all, up, and in.
    pub(crate) osds: (u64, u64, u64),
    /// Placement groups in all.
    pub(crate) pgs: u64,
    pub(crate) standby_mgrs: u64,
}

/// What is left aside in a judgement, because it is down on the very member that the judgement is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Aside {
    /// Monitors out of quorum.
    pub(crate) mons: usize,
    /// OSDs that are down.
    pub(crate) down: u64,
    /// OSDs that are out.
    pub(crate) out: u64,
}

impl Aside {
    fn anything(self) -> bool {
        self != Self::default()
    }
}

impl Status {
    /// Takes the placement groups as the manager has them.
    pub(super) fn update(&mut self, stat: PgStat) {
        let PgSummary {
            num_pg_by_state,
            num_pgs,
        } = stat.pg_summary;
        let states = num_pg_by_state.into_iter();
        self.pgmap.pgs_by_state = states
            .map(|PgCount { name, num }| PgState {
                state_name: name,
                count: num,
            })
            .collect();
        self.pgmap.num_pgs = num_pgs;
        self.groups_are_new = true;
    }

    /// Keeps why the manager gave no answer: what is known of placement groups may be old.
    pub(super) fn manager_is_silent(&mut self, why: &OpError) {
        self.silent = Some(why.message.clone());
    }

    /// Keeps why a question was refused, for example for an OSD that is down: what is known of placement groups may be old.
    pub(super) fn is_refused(&mut self, why: &OpError) {
        self.refused = Some(why.message.clone());
    }

    /// Why it isn't known how placement groups are, where there is no other sign of it.
    pub(crate) fn silence(&self) -> Option<String> {
        let silent = self.silent.as_ref().filter(|_| self.mgrmap.available);
        let why = silent.or(self.refused.as_ref())?;
        Some(format!(
            "the manager doesn't report how placement groups are: {why}"
        ))
    }

    pub(crate) fn figures(&self) -> Figures {
        let osds = &self.osdmap;
        Figures {
            quorum: self.quorum_names.clone(),
            mons: self.monmap.num_mons,
            osds: (osds.num_osds, osds.num_up_osds, osds.num_in_osds),
            pgs: self.pgmap.num_pgs,
            standby_mgrs: self.mgrmap.num_standbys,
        }
    }

    /// The codes that are raised, muted ones left out.
    pub(crate) fn codes(&self) -> Codes {
        self.unmuted()
            .map(|(code, check)| (code.clone(), check.summary.count))
            .collect()
    }

    fn unmuted(&self) -> impl Iterator<Item = (&String, &Check)> {
        self.health.checks.iter().filter(|(_, check)| !check.muted)
    }

    /// The codes that are raised, muted ones too, and what each means.
    pub(crate) fn raised(&self) -> Vec<Raised> {
        let raised = self.health.checks.iter().map(|(code, check)| {
            let (class, about) = codes::known(code);
            Raised {
                code: code.clone(),
                severity: check.severity,
                message: check.summary.message.clone(),
                count: check.summary.count,
                muted: check.muted,
                class,
                about: about.to_owned(),
            }
        });
        raised.collect()
    }

    /// The states of the placement groups, with how many are in each.
    pub(crate) fn pg_states(&self) -> BTreeMap<String, u64> {
        self.pgmap
            .pgs_by_state
            .iter()
            .map(|state| (state.state_name.clone(), state.count))
            .collect()
    }

    /// Everything that speaks against taking a member down, or against continuing after one came back. `since` are the codes
    /// that were raised before: without them, a code that isn't about data doesn't count.
    pub(crate) fn problems(&self, since: Option<&Codes>, aside: Aside) -> Vec<String> {
        let mut problems = self.missing_daemons(aside);
        let unclean = self.unclean(aside);
        // What the monitors conclude from placement groups is from before what the manager has of those.
        let outdated = self.groups_are_new && unclean.is_empty();
        problems.extend(unclean);
        for (code, check) in self.unmuted() {
            if outdated && codes::is_of_groups(code) {
                continue;
            }
            let message = format!("{code}: {}", check.summary.message);
            let (class, about) = codes::known(code);
            let way_on = match codes::verdict(code, check, since) {
                Verdict::Wait if aside.anything() => continue,
                Verdict::Fine => continue,
                Verdict::Wait => String::new(),
                Verdict::Stop if class == Class::Data => format!(" ({about})"),
                Verdict::Stop => format!(
                    " ({about}, and an error to Ceph; if it does no harm to data, mute it: {})",
                    codes::mute(code)
                ),
                Verdict::New => {
                    let remedy = codes::remedy(code).map_or_else(String::new, |r| format!("; {r}"));
                    format!(
                        " (new since the wave began: {about}{remedy}; if it does no harm, mute it: {})",
                        codes::mute(code)
                    )
                }
            };
            problems.push(message + &way_on);
        }
        // Else what is wrong with the daemon is among them.
        if problems.is_empty() {
            problems.extend(self.silence());
        }
        problems
    }

    fn missing_daemons(&self, aside: Aside) -> Vec<String> {
        let mut problems = Vec::new();
        let (quorum, mons) = (self.quorum_names.len(), self.monmap.num_mons);
        if quorum + aside.mons != mons {
            problems.push(format!(
                "{quorum} of {mons} monitors are in quorum ({})",
                self.quorum_names.join(", ")
            ));
        }
        if !self.mgrmap.available {
            problems.push(
                "no manager is active, so what Ceph says of placement groups may be old".to_owned(),
            );
        }
        problems.extend(self.silence().filter(|_| self.refused.is_none()));
        let OsdMap {
            num_osds,
            num_up_osds,
            num_in_osds,
        } = self.osdmap;
        let up = num_up_osds.saturating_add(aside.down);
        let within = num_in_osds.saturating_add(aside.out);
        if up != num_osds || within != num_osds {
            problems.push(format!(
                "of {num_osds} OSDs {num_up_osds} are up and {num_in_osds} in"
            ));
        }
        problems
    }

    /// Whether placement groups aren't clean, as far as is known.
    pub(super) fn has_unclean_groups(&self) -> bool {
        !self.unclean(Aside::default()).is_empty()
    }

    fn unclean(&self, aside: Aside) -> Vec<String> {
        let mut problems = Vec::new();
        let pgmap = &self.pgmap;
        let counts = pgmap.pgs_by_state.iter().map(|state| state.count);
        let counted = counts.fold(0, u64::saturating_add);
        if counted != pgmap.num_pgs || (pgmap.num_pgs == 0 && pgmap.num_pools > 0) {
            problems.push(format!(
                "the states of {counted} of {} placement groups are known",
                pgmap.num_pgs
            ));
        }
        if aside.down > 0 {
            return problems;
        }
        for state in &pgmap.pgs_by_state {
            let clean = state.state_name.split('+').any(|word| word == "clean");
            if !clean || !state.state_name.split('+').all(|word| FINE.contains(&word)) {
                let groups = match state.count {
                    1 => "placement group is",
                    _ => "placement groups are",
                };
                problems.push(format!("{} {groups} {}", state.count, state.state_name));
            }
        }
        problems
    }
}
