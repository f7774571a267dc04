//! `preflight`: whether a cluster is fit for what is to be done to it, as a table of named checks.
//!
//! All checks are made and all are reported. What isn't known is not passed. Some may be accepted by an operator who
//! knows better, by name; the others may not.

mod args;
mod checks;
mod facts;
mod hazards;
mod host;
mod moves;
mod path;
mod products;
pub mod tables;
mod verdict;
pub(crate) mod version;

use std::collections::BTreeMap;

use futures_util::future::{OptionFuture, join_all, join5};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use args::CheckArgs;
pub use checks::{CHECKS, CheckDef};
pub use verdict::{Check, Verdict};
pub(crate) use version::Version;

use crate::contract::component::Component;
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::near;
use crate::contract::op::{Effect, Module, Observation, Op};
use crate::contract::schema::{Member, Span};
use crate::contract::text::joined;
use crate::ops::snap::Update;
use crate::ops::status::{self, Health, Status};
use crate::products::snapd;
use facts::Facts;

/// A member's machine, as far as anything depends on it; what isn't known is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// The release of its system: `24.04`.
    pub os: String,
    /// The version of snapd.
    pub snapd: String,
    /// The version of the kernel.
    pub kernel: String,
}

/// The machines of all members that answer.
pub(crate) async fn machines(cx: &Cx) -> BTreeMap<Member, Machine> {
    let text = |version: Option<Version>| version.map(String::from).unwrap_or_default();
    let machine = |(member, host): (Member, Result<host::Host, OpError>)| {
        let host = host.ok()?;
        let machine = Machine {
            os: host.os.version_id,
            snapd: text(host.snapd),
            kernel: text(host.kernel),
        };
        Some((member, machine))
    };
    host::all(cx, cx.members())
        .await
        .into_iter()
        .filter_map(machine)
        .collect()
}

pub(crate) fn module() -> Module {
    Module::new(
        "preflight",
        "Whether a cluster is fit for what is to be done to it.",
    )
    .op::<Read>()
    .op::<Require>()
}

/// All checks.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Whether no check stops the run.
    pub ok: bool,
    /// The checks, in order.
    pub checks: Vec<Check>,
    /// The cluster that they were made on.
    pub(crate) status: Status,
    /// What the store has for members, in the channels that they follow: by member and snap.
    pub(crate) updates: BTreeMap<Member, BTreeMap<String, Update>>,
}

impl Report {
    fn brief(&self) -> String {
        let count = |verdict: Verdict| self.checks.iter().filter(|c| c.verdict == verdict).count();
        let counts = [Verdict::Fail, Verdict::Unknown, Verdict::Accepted].map(|v| (v, count(v)));
        let odd = counts.iter().filter(|(_, n)| *n > 0);
        let odd: String = odd.map(|(v, n)| format!(", {n} {}", v.word())).collect();
        format!(
            "{} checks{}",
            self.checks.len(),
            if odd.is_empty() { ", all pass" } else { &odd }
        )
    }

    /// Everything that speaks against continuing, a sentence each.
    fn reasons(&self) -> Vec<String> {
        let sentence = |check: &Check| {
            let evidence = if check.evidence.is_empty() {
                check.about.clone()
            } else {
                check.evidence.join("; ")
            };
            let unknown = if check.verdict == Verdict::Unknown {
                "unknown: "
            } else {
                ""
            };
            let link = check
                .link
                .as_ref()
                .map_or_else(String::new, |link| format!(", see {link}"));
            let accept = if check.may_accept {
                format!(" (to proceed anyway: --accept {})", check.name)
            } else {
                String::new()
            };
            format!("{}: {unknown}{evidence}{link}{accept}", check.name)
        };
        self.checks
            .iter()
            .filter(|check| check.is_against())
            .map(sentence)
            .collect()
    }
}

impl CheckArgs {
    /// Checks that exist and may be accepted, or a sentence.
    fn check_accepted(&self) -> Result<(), String> {
        let own = CHECKS.iter().map(|check| (check.name, check.may_accept));
        let hazards = self.hazards.iter().map(|h| (h.name.as_str(), h.accept));
        let together = self.together.iter().map(|t| (t.name.as_str(), t.accept));
        let known: Vec<(&str, bool)> = own.chain(together).chain(hazards).collect();
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        for accepted in &self.accept {
            match known.iter().find(|(name, _)| name == accepted) {
                None => {
                    let hint = near::hint(accepted, &names);
                    return Err(format!("there is no check {accepted:?}{hint}"));
                }
                Some((_, false)) => {
                    let may = known.iter().filter(|(_, may)| *may);
                    let may = joined(may.map(|(name, _)| name), ", ");
                    return Err(format!(
                        "the check {accepted:?} can't be accepted; these can: {may}"
                    ));
                }
                Some((_, true)) => {}
            }
        }
        Ok(())
    }
}

async fn report(cx: &Cx, args: &CheckArgs) -> Result<Report, OpError> {
    let status = status::read(cx).await;
    // Who gives no answer has been waited for, and "reachable" tells of it.
    let there = status.members.iter().filter(|m| m.reachable);
    let there = there.map(|m| m.name.clone()).collect();
    let chosen = |snap: &&String| match Component::of_snap(snap) {
        Some(component) => args.chosen(component),
        None => args.components.is_empty(),
    };
    let released = args.channels.keys().filter(chosen).map(async |snap| {
        let channels = snapd::channels(cx, snap).await.map_err(|e| e.message);
        (snap.clone(), channels)
    });
    // Members that are blocked or away can't be asked; that they are is reported by another check.
    let well = |component: Component| {
        let mut all = status.components.iter();
        all.find(|c| c.name == component && c.health == Health::Ok)
    };
    let work = OptionFuture::from(well(Component::Lxd).map(|_| crate::ops::lxd::work(cx)));
    // In the middle of a wave releases expect different schemas, and that is how it has to be.
    let network = well(Component::Microovn).filter(|c| c.in_step);
    let network = OptionFuture::from(network.map(|_| crate::ops::microovn::outlook(cx)));
    let mut all = status.components.iter();
    let storage = all
        .find(|c| c.name == Component::Microceph)
        .filter(|storage| unnamed(&status, storage.name));
    let ceph = OptionFuture::from(storage.map(|s| facts::ceph_version(cx, &s.members)));
    let (hosts, released, work, network, ceph) = join5(
        host::all(cx, there),
        join_all(released),
        work,
        network,
        ceph,
    )
    .await;
    let released = released.into_iter().collect();
    let work = work.map(|work| work.map_err(|e| e.message));
    let network = network.map(|network| network.map_err(|e| e.message));
    let seen = checks::Seen {
        run: cx.run(),
        args,
        status: &status,
        hosts: &hosts,
        released: &released,
        work: work.as_ref(),
        network: network.as_ref(),
        ceph: ceph.as_ref(),
    };
    let facts = Facts::ask(cx, &seen.possible()).await;
    let mut checks = seen.all(&facts);
    for check in &mut checks {
        let accepted = check.may_accept && args.accept.contains(&check.name);
        if accepted && check.verdict != Verdict::Pass {
            check.verdict = Verdict::Accepted;
        }
    }
    let updates = hosts.iter().filter_map(|(member, host)| {
        let offers = host.as_ref().ok()?.offers.as_ref().ok()?;
        let update = |o: &host::Offer| Update {
            revision: o.revision.clone(),
            version: o.version.clone(),
        };
        let offers = offers
            .iter()
            .map(|(snap, offer)| (snap.clone(), update(offer)));
        Some((member.clone(), offers.collect()))
    });
    Ok(Report {
        ok: !checks.iter().any(Check::is_against),
        updates: updates.collect(),
        checks,
        status,
    })
}

/// Whether the version of a component's snap tells nothing anywhere.
fn unnamed(status: &Status, component: Component) -> bool {
    let members = status.members.iter();
    let mut installed = members.filter_map(|m| m.snaps.get(component.snap()));
    installed.any(|i| Version::parse(&i.version).is_none())
}

fn headline(args: &CheckArgs) -> String {
    if args.channels.is_empty() {
        return "within the channels".to_owned();
    }
    let moves = args.channels.iter();
    joined(moves.map(|(snap, c)| format!("{snap} to {c}")), ", ")
}

/// `preflight.read`
pub struct Read;

impl Op for Read {
    const NAME: &'static str = "preflight.read";
    const EFFECT: Effect = Effect::Read;
    const TIMEOUT: Span = Span::secs(10 * 60);
    type Args = CheckArgs;
    type Out = Report;

    fn check(args: &CheckArgs) -> Result<(), String> {
        args.check_accepted()
    }

    fn headline(args: &CheckArgs) -> String {
        headline(args)
    }

    fn summary(out: &Report) -> String {
        out.brief()
    }

    fn observed(_: &CheckArgs, out: &Report) -> Observation {
        out.status.observation()
    }

    async fn run(cx: &Cx, args: CheckArgs) -> Result<Report, OpError> {
        report(cx, &args).await
    }
}

/// Continue only if all checks pass, or are accepted.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct RequireArgs {
    /// What is to be done.
    pub(crate) check: CheckArgs,
}

pub(crate) struct Require;

impl Op for Require {
    const NAME: &'static str = "preflight.require";
    const EFFECT: Effect = Effect::Read;
    const TIMEOUT: Span = Span::secs(10 * 60);
    type Args = RequireArgs;
    type Out = Report;

    fn check(args: &RequireArgs) -> Result<(), String> {
        args.check.check_accepted()
    }

    fn headline(args: &RequireArgs) -> String {
        headline(&args.check)
    }

    fn summary(out: &Report) -> String {
        out.brief()
    }

    fn observed(_: &RequireArgs, out: &Report) -> Observation {
        out.status.observation()
    }

    async fn run(cx: &Cx, args: RequireArgs) -> Result<Report, OpError> {
        let report = report(cx, &args.check).await?;
        let reasons = report.reasons();
        if reasons.is_empty() {
            return Ok(report);
        }
        let failed = report.checks.into_iter().filter(Check::is_against);
        let failed = serde_json::to_value(failed.collect::<Vec<_>>()).unwrap_or_default();
        Err(OpError::refused(reasons.join("\n  "))
            .with("reasons", reasons)
            .with("checks", failed))
    }
}
