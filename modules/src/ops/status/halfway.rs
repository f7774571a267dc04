//! A component of which members have different revisions, whoever left it so: by hand, by snapd, by a run that was broken
//! off, by a member that was away.
//!
//! What stands still because of that is no reason to refuse what cures it. microcluster's daemons compare schemas when they
//! start: one that is ahead of others waits, one that is behind exits and is started again for ever ("This node's version is
//! behind, please upgrade", microcluster `internal/db/db.go`). LXD waits on both sides (`lxd/db/cluster/open.go`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::health::{Health, Judged};
use crate::contract::cx::Unmet;
use crate::contract::error::{Kind, OpError};
use crate::contract::schema::Member;
use crate::ops::lxd;
use crate::ops::preflight::version::Version;
use crate::ops::snap::Installed;
use crate::products::microcluster::{self, Row, State, Views};
use crate::products::snapd::{Presence, Revision};

/// Who is ahead of whom, and who waits for whom, where members have different revisions of a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Halfway {
    /// The newest revision that any member has.
    pub(crate) newest: Revision,
    /// The members that have it.
    pub(crate) ahead: Vec<Member>,
    /// The members that have an older one.
    pub behind: Vec<Member>,
    /// Members whose daemon waits until those that are behind have it too.
    pub waiting: Vec<Member>,
    /// Members that are behind and whose daemon doesn't serve until they have it too.
    pub stopped: Vec<Member>,
}

impl Halfway {
    /// How members stand that have these revisions; none where they have the same.
    pub(super) fn of(installed: &[(&Member, &Installed)]) -> Option<Self> {
        let mut newest = installed.first()?.1;
        for (_, other) in installed {
            if is_newer(other, newest) {
                newest = other;
            }
        }
        let (ahead, behind): (Vec<_>, Vec<_>) = installed
            .iter()
            .partition(|(_, has)| has.revision == newest.revision);
        let names =
            |of: Vec<&(&Member, &Installed)>| of.iter().map(|(m, _)| (*m).clone()).collect();
        (!behind.is_empty()).then(|| Self {
            newest: newest.revision.clone(),
            ahead: names(ahead),
            behind: names(behind),
            waiting: Vec::new(),
            stopped: Vec::new(),
        })
    }

    /// In sentences, for people.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let (newest, behind) = (&self.newest, self.behind.join(", "));
        let mut all = Vec::new();
        if !self.waiting.is_empty() {
            let (waits, have) = (
                if self.waiting.len() == 1 {
                    "waits"
                } else {
                    "wait"
                },
                if self.behind.len() == 1 {
                    "has"
                } else {
                    "have"
                },
            );
            let who = self.waiting.join(", ");
            all.push(format!("{who} {waits} until {behind} {have} {newest} too"));
        }
        if !self.stopped.is_empty() {
            let (serves, it) = match self.stopped.len() {
                1 => ("doesn't serve", "it has"),
                _ => ("don't serve", "they have"),
            };
            let who = self.stopped.join(", ");
            all.push(format!("{who} {serves} until {it} {newest}"));
        }
        all
    }

    /// Whether a member's daemon doesn't serve because releases differ.
    pub(crate) fn stands_still(&self, member: &Member) -> bool {
        self.waiting.contains(member) || self.stopped.contains(member)
    }

    fn is_behind(&self, member: &Member) -> bool {
        self.behind.contains(member)
    }

    /// Whether enough daemons that are behind don't serve that the database has no majority.
    fn lacks_majority(&self) -> bool {
        2 * self.stopped.len() >= self.ahead.len() + self.behind.len()
    }
}

/// By version, and where that tells nothing by revision: numbers of revisions say nothing across tracks.
fn is_newer(one: &Installed, other: &Installed) -> bool {
    match (Version::parse(&one.version), Version::parse(&other.version)) {
        (Some(a), Some(b)) if b.is_below(&a) => true,
        (Some(a), Some(b)) if a.is_below(&b) => false,
        _ => one.revision.number() > other.revision.number(),
    }
}

/// How a database of microcluster's stands, by what each member says of it.
pub(super) fn database(
    views: &Views,
    presence: &Presence,
    halfway: Option<&mut Halfway>,
) -> Result<Judged, OpError> {
    let app = views.app;
    let Some(halfway) = halfway else {
        return match views.state(presence) {
            Ok(State::Online) => Ok((Health::Ok, Vec::new())),
            Ok(State::Waiting) => {
                let waits = format!("{} waits for members without the release", app.title);
                Ok((Health::Waiting, vec![waits]))
            }
            Err(Unmet::NotYet(missing)) => Ok((Health::Bad, vec![missing])),
            Err(Unmet::Failed(error)) => Err(error),
        };
    };
    let judge = |rows: &[Row]| microcluster::judge(app, presence, rows);
    for (member, view) in &views.each {
        match view {
            Ok(rows) if judge(rows) == Ok(State::Waiting) => {
                halfway.waiting.push(member.clone());
            }
            Err(error) if error.kind == Kind::Unreachable => return Err(error.clone()),
            Err(error) if halfway.is_behind(member) && failed(error) => {
                halfway.stopped.push(member.clone());
            }
            Ok(_) | Err(_) => {}
        }
    }
    let mut problems = Vec::new();
    for (member, view) in &views.each {
        match view {
            Ok(rows) => {
                // One that waits or doesn't serve isn't there for the others.
                let mut rows = rows.clone();
                for row in &mut rows {
                    if row.status == "UNREACHABLE" && halfway.stands_still(&row.name) {
                        "ONLINE".clone_into(&mut row.status);
                    }
                }
                if let Err(missing) = judge(&rows) {
                    problems.push(missing);
                }
            }
            Err(_) if halfway.stands_still(member) => {}
            Err(error) if failed(error) && halfway.lacks_majority() => {}
            Err(error) => problems.push(format!(
                "{} on {member}: {error}; on that member, see: sudo snap logs {}.daemon",
                app.title, app.snap
            )),
        }
    }
    problems.dedup();
    Ok(judged(halfway, problems))
}

/// How LXD stands, by what each member says of it.
pub(super) fn lxd(seen: &lxd::Seen, halfway: Option<&mut Halfway>) -> Result<Judged, OpError> {
    let is_blocked = |m: &lxd::LxdMember| m.status == "Blocked";
    let fine = |m: &lxd::LxdMember| m.status == "Online" || is_blocked(m);
    let Some(halfway) = halfway else {
        return match seen.silent.first() {
            Some((_, error)) if seen.members.is_empty() => Err(error.clone()),
            _ if seen.problems.is_empty() => Ok((Health::Ok, Vec::new())),
            _ => {
                let waits = |(_, error): &(_, OpError)| lxd::waits(error);
                let waiting = seen.members.iter().any(is_blocked)
                    && seen.members.iter().all(fine)
                    && seen.silent.iter().all(waits);
                let health = if waiting {
                    Health::Waiting
                } else {
                    Health::Bad
                };
                Ok((health, seen.problems.clone()))
            }
        };
    };
    let mut problems = Vec::new();
    for (member, error) in &seen.silent {
        if halfway.is_behind(member) && failed(error) {
            halfway.stopped.push(member.clone());
        } else if lxd::waits(error) {
            halfway.waiting.push(member.clone());
        } else {
            problems.push(format!(
                "{member}: {error}; on that member, see: sudo snap logs lxd"
            ));
        }
    }
    let still = |m: &lxd::LxdMember| halfway.stands_still(&m.name);
    let odd = seen.members.iter().filter(|m| !fine(m) && !still(m));
    problems.extend(odd.map(|m| format!("{} is {} ({})", m.name, m.status, m.message)));
    let (health, sentences) = judged(halfway, problems);
    // All serve as yet, and know who will hold whom.
    if health == Health::Ok && !seen.problems.is_empty() {
        return Ok((Health::Waiting, seen.problems.clone()));
    }
    Ok((health, sentences))
}

/// Whether a program failed or gave no answer: one that says that all is well and prints something else than it should
/// isn't explained by anything.
fn failed(error: &OpError) -> bool {
    error.kind == Kind::Timeout || error.detail.get("end").is_some_and(|end| end != "exit 0")
}

fn judged(halfway: &Halfway, problems: Vec<String>) -> Judged {
    match (problems.is_empty(), halfway.sentences()) {
        (false, sentences) => (Health::Bad, [problems, sentences].concat()),
        (true, sentences) if sentences.is_empty() => (Health::Ok, sentences),
        (true, sentences) => (Health::Waiting, sentences),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::cmd::{Cmd, Output};
    use crate::products::microcluster::MICROCEPH;

    fn installed(revision: &str, version: &str) -> Installed {
        Installed {
            revision: revision.into(),
            version: version.to_owned(),
            channel: "squid/stable".to_owned(),
            cohort: "+".to_owned(),
            held: true,
            active: true,
        }
    }

    /// What a member prints, read as `microceph cluster list` is.
    fn view(member: &str, output: &Output) -> (Member, Result<Vec<Row>, OpError>) {
        let cmd = Cmd::root(["/snap/bin/microceph", "cluster", "list"]).private();
        let member = Member::from(member);
        let rows = output.json(&cmd, &member);
        (member, rows)
    }

    fn rows(statuses: [&str; 3]) -> Output {
        let rows = statuses.iter().zip(1..).map(|(status, i)| {
            let address = "10.0.0.1:7443";
            serde_json::json!({"name": format!("m{i}"), "address": address, "role": "voter", "status": status})
        });
        Output::exit(0, serde_json::Value::from_iter(rows).to_string(), "")
    }

    fn judge(each: Vec<(Member, Result<Vec<Row>, OpError>)>, newest_on: &str) -> String {
        let (old, new) = (installed("1500", "19.2.0"), installed("1501", "19.2.3"));
        let members = ["m1", "m2", "m3"].map(Member::from);
        let has = members
            .each_ref()
            .map(|m| (m, if *m == *newest_on { &new } else { &old }));
        let mut halfway = Halfway::of(&has);
        let views = Views {
            app: MICROCEPH,
            each,
        };
        let presence = Presence {
            with: ["m1", "m2", "m3"].map(Member::from).into(),
            without: Vec::new(),
        };
        let (health, problems) = database(&views, &presence, halfway.as_mut()).unwrap();
        format!("{}: {}", health.word(), problems.join("; "))
    }

    #[test]
    fn newer_is_known_by_the_version_and_then_by_the_revision() {
        let newest = |a: &Installed, b: &Installed| {
            let halfway = Halfway::of(&[(&"m1".into(), a), (&"m2".into(), b)]);
            halfway.map(|halfway| halfway.ahead.join(", "))
        };
        let one = installed("40585", "5.21.7-1018661");
        assert_eq!(newest(&one, &installed("40585", "5.21.7-1018661")), None);
        let other_track = installed("40100", "6.9-ab8fad2");
        assert_eq!(newest(&one, &other_track).unwrap(), "m2");
        let unread = installed("40586", "git-main");
        assert_eq!(newest(&one, &unread).unwrap(), "m2");
    }

    #[test]
    fn only_what_differing_releases_explain_is_waiting() {
        let refused = Output::exit(1, "", "Error: connect: connection refused\n");
        let waits = rows(["NEEDS UPGRADE", "UPGRADING", "NEEDS UPGRADE"]);
        let old = rows(["UNREACHABLE", "UNREACHABLE", "ONLINE"]);
        let reported = |a, b, c| judge(vec![view("m1", a), view("m2", b), view("m3", c)], "m2");
        assert_eq!(
            reported(&refused, &waits, &old),
            "waiting: m2 waits until m1, m3 have 1501 too; m1 doesn't serve until it has 1501"
        );
        // Two of three don't run, so that the third has no database.
        assert_eq!(
            reported(&refused, &refused, &refused),
            "waiting: m1, m3 don't serve until they have 1501"
        );
        // One that is ahead and doesn't run: the same would become of the others.
        let online = rows(["ONLINE", "UNREACHABLE", "ONLINE"]);
        let bad = reported(&online, &refused, &online);
        assert!(
            bad.starts_with("bad: ") && bad.contains("MicroCeph on m2: microceph failed"),
            "{bad}"
        );
        let garbage = Output::exit(0, "[", "");
        assert!(reported(&garbage, &waits, &old).starts_with("bad: MicroCeph on m1: "));
        let distrusts = rows(["UNREACHABLE", "NOT TRUSTED", "ONLINE"]);
        assert!(
            reported(&refused, &waits, &distrusts).starts_with("bad: MicroCeph: m2 is NOT TRUSTED")
        );
    }
}
