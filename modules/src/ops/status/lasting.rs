//! What must be the same after a run as before: what MicroCloud's own upgrade test compares (`test/suites/upgrade.sh`,
//! `validate_system_*` in `test/includes/microcloud.sh`), as far as it can be read from outside of guests.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::{join_all, join3, join5};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::member::{self, MemberStatus};
use crate::contract::cmd::Cmd;
use crate::contract::component::Component;
use crate::contract::cx::{Cx, Unmet};
use crate::contract::error::{Kind, OpError};
use crate::contract::op::{Effect, Op};
use crate::contract::schema::{Member, Span};
use crate::ops::lxd;
use crate::products::ceph;

/// Pause between two looks.
const EVERY: Duration = Duration::from_secs(10);

const TIMEOUT: Duration = Duration::from_secs(60);

/// Record what must be the same after a run: disks and their keys, pools, file systems and networks of storage, the network's tunnels,
/// LXD's members, addresses, networks, pools and profiles, and which instances there are. It changes nothing.
///
/// What can't be read is reported, and left out.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LastingArgs {}

/// What must be the same after a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LastingOut {
    /// Each area by itself.
    pub(crate) areas: Vec<Area>,
}

/// An area, and what was read of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Area {
    /// Its name, as people write it.
    pub(crate) name: String,
    /// What was read, by what it is about. Of what somebody has set, only a mark: it may be a secret.
    pub(crate) facts: BTreeMap<String, String>,
    /// Why it could not be read.
    pub(crate) unread: Option<String>,
}

/// `status.lasting`
pub struct Lasting;

impl Op for Lasting {
    const NAME: &'static str = "status.lasting";
    const EFFECT: Effect = Effect::Read;
    const TIMEOUT: Span = Span::secs(5 * 60);
    type Args = LastingArgs;
    type Out = LastingOut;

    fn headline(_: &LastingArgs) -> String {
        "what must stay the same".to_owned()
    }

    fn summary(out: &LastingOut) -> String {
        let facts: usize = out.areas.iter().map(|area| area.facts.len()).sum();
        let unread = unread(&out.areas);
        if unread.is_empty() {
            return format!("{facts} facts");
        }
        format!("{facts} facts; not read: {}", unread.join("; "))
    }

    async fn run(cx: &Cx, _: LastingArgs) -> Result<LastingOut, OpError> {
        Ok(LastingOut {
            areas: look(cx).await,
        })
    }
}

/// Check that everything is as it was before a run. Fails otherwise, and names what differs.
///
/// Additions do no harm. What can't be read is tried again; what could not be read before is reported.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnharmedArgs {
    /// What `status.lasting` returned before.
    pub(crate) since: LastingOut,
}

/// Everything is as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnharmedOut {
    /// How much was compared.
    #[serde(default)]
    pub(crate) same: usize,
    /// What was not compared, and why.
    #[serde(default)]
    pub(crate) unread: Vec<String>,
}

/// `status.unharmed`
pub struct Unharmed;

impl Op for Unharmed {
    const NAME: &'static str = "status.unharmed";
    const EFFECT: Effect = Effect::Read;
    const TIMEOUT: Span = Span::secs(5 * 60);
    type Args = UnharmedArgs;
    type Out = UnharmedOut;

    fn headline(_: &UnharmedArgs) -> String {
        "everything is unchanged".to_owned()
    }

    fn summary(out: &UnharmedOut) -> String {
        let same = format!("{} facts are the same", out.same);
        if out.unread.is_empty() {
            return same;
        }
        format!("{same}; not compared: {}", out.unread.join("; "))
    }

    async fn run(cx: &Cx, args: UnharmedArgs) -> Result<UnharmedOut, OpError> {
        let since = &args.since.areas;
        cx.until(EVERY, async || {
            let now = look(cx).await;
            let read_before = |area: &&Area| {
                let mut before = since.iter();
                before.any(|was| was.name == area.name && was.unread.is_none())
            };
            let lost: Vec<Area> = now
                .iter()
                .filter(|area| area.unread.is_some())
                .filter(read_before)
                .cloned()
                .collect();
            if !lost.is_empty() {
                return Err(Unmet::NotYet(format!(
                    "it can't be determined whether everything is unchanged: {}",
                    unread(&lost).join("; ")
                )));
            }
            let differences = differences(since, &now);
            if differences.is_empty() {
                let read = since.iter().filter(|area| area.unread.is_none());
                return Ok(UnharmedOut {
                    same: read.map(|area| area.facts.len()).sum(),
                    unread: unread(since),
                });
            }
            Err(OpError::refused(format!(
                "not everything is as it was before the run: {}. Fix that, then resume; or if it is intended: lockstep resume {} --assume-done '{}'",
                differences.join("; "),
                cx.run().id,
                cx.path()
            ))
            .with("differences", differences)
            .into())
        })
        .await
    }
}

fn unread(areas: &[Area]) -> Vec<String> {
    let why = |area: &Area| Some(format!("{}: {}", area.name, area.unread.as_ref()?));
    areas.iter().filter_map(why).collect()
}

fn differences(since: &[Area], now: &[Area]) -> Vec<String> {
    let mut differences = Vec::new();
    for was in since {
        let is = now.iter().find(|area| area.name == was.name);
        for (about, before) in &was.facts {
            match is.and_then(|area| area.facts.get(about)) {
                Some(after) if after == before => {}
                // A value that isn't shown.
                Some(_) if before.starts_with('#') => {
                    differences.push(format!("{about} was changed"))
                }
                Some(after) => differences.push(format!("{about} is {after} and was {before}")),
                None => differences.push(format!("{about} is gone")),
            }
        }
    }
    differences
}

const FILESYSTEMS: &str = "Ceph's file systems";

const ENCRYPTION: &str = "MicroCeph's encryption";

type Facts = Result<BTreeMap<String, String>, OpError>;

/// Reads all areas of the components that are there.
pub(super) async fn look(cx: &Cx) -> Vec<Area> {
    let names = cx.members();
    let members = join_all(names.iter().map(|member| member::status(cx, member))).await;
    let mut areas = Vec::new();
    let mut add = |name: &str, facts: Facts| {
        let (facts, unread) = match facts {
            // There needn't be a file system, nor an encrypted disk; of the rest there is always something.
            Ok(facts) if facts.is_empty() && ![FILESYSTEMS, ENCRYPTION].contains(&name) => {
                (facts, Some("nothing is listed".to_owned()))
            }
            Ok(facts) => (facts, None),
            Err(error) => (BTreeMap::new(), Some(error.to_string())),
        };
        areas.push(Area {
            name: name.to_owned(),
            facts,
            unread,
        });
    };
    let [storage, network, instances] = [Component::Microceph, Component::Microovn, Component::Lxd]
        .map(|component| having(&members, component));
    let of_storage = join5(
        disks(cx, &storage),
        encryption(cx, &storage),
        pools(cx, &storage),
        filesystems(cx, &storage),
        networks(cx, &storage),
    );
    let (of_storage, of_network, of_instances) = join3(
        maybe(&storage, of_storage),
        maybe(&network, tunnels(cx, &network)),
        maybe(&instances, lxd::lasting(cx, &instances)),
    )
    .await;
    if let Some((disks, encryption, pools, filesystems, networks)) = of_storage {
        add("MicroCeph's disks", disks);
        add(ENCRYPTION, encryption);
        add("Ceph's pools", pools);
        add(FILESYSTEMS, filesystems);
        add("Ceph's networks", networks);
    }
    if let Some(tunnels) = of_network {
        add("OVN's tunnels", tunnels);
    }
    if let Some(instances) = of_instances {
        add("LXD", instances);
    }
    areas
}

/// What is read of a component, if any member has it.
async fn maybe<T>(members: &[Member], read: impl Future<Output = T>) -> Option<T> {
    match members {
        [] => None,
        _ => Some(read.await),
    }
}

fn having(members: &[MemberStatus], component: Component) -> Vec<Member> {
    let has = members
        .iter()
        .filter(|m| m.snaps.contains_key(component.snap()));
    has.map(|m| m.name.clone()).collect()
}

/// What isn't there is not the same as nothing.
fn missing(what: &str) -> OpError {
    OpError::new(Kind::Command, format!("the answer has no {what}"))
}

async fn disks(cx: &Cx, members: &[Member]) -> Facts {
    #[derive(Deserialize)]
    struct Disk {
        osd: i64,
        path: String,
        location: String,
    }
    #[derive(Deserialize)]
    struct List {
        // `null` where there are none; an answer without it is none.
        #[serde(rename = "ConfiguredDisks", deserialize_with = "Option::deserialize")]
        configured: Option<Vec<Disk>>,
    }
    // Before 2024 it had no such flag; then this isn't read.
    let cmd = Cmd::root(["/snap/bin/microceph", "disk", "list", "--json"]).timeout(TIMEOUT);
    let (_, list): (_, List) = cx.ask_json(members, &cmd).await?;
    let disks = list.configured.unwrap_or_default().into_iter();
    Ok(disks
        .map(|disk| {
            let about = format!("the disk of osd.{}", disk.osd);
            (about, format!("{} of {}", disk.path, disk.location))
        })
        .collect())
}

/// A disk that is encrypted can be opened only as long as the monitors keep its key (`microceph/ceph/osd.go`). Only the names
/// of keys are asked for.
async fn encryption(cx: &Cx, members: &[Member]) -> Facts {
    let (_, keys): (_, Vec<String>) = ceph::ask(cx, members, &["config-key", "ls"]).await?;
    // Managers keep theirs there too: none at all is no answer.
    if keys.is_empty() {
        return Err(missing("key"));
    }
    let osd = |key: &String| {
        let osd = key.strip_prefix("microceph:")?.strip_suffix("/key")?;
        Some((format!("the key of {osd}"), "there".to_owned()))
    };
    Ok(keys.iter().filter_map(osd).collect())
}

async fn pools(cx: &Cx, members: &[Member]) -> Facts {
    #[derive(Deserialize)]
    struct Pool {
        pool_name: String,
        size: u64,
        min_size: u64,
    }
    let words = ["osd", "pool", "ls", "detail"];
    let (_, pools): (_, Vec<Pool>) = ceph::ask(cx, members, &words).await?;
    Ok(pools
        .into_iter()
        .map(|pool| {
            let copies = format!("{} copies, at least {}", pool.size, pool.min_size);
            (format!("the pool {}", pool.pool_name), copies)
        })
        .collect())
}

async fn filesystems(cx: &Cx, members: &[Member]) -> Facts {
    #[derive(Deserialize)]
    struct Filesystem {
        name: String,
        metadata_pool: String,
        data_pools: Vec<String>,
    }
    let (_, all): (_, Vec<Filesystem>) = ceph::ask(cx, members, &["fs", "ls"]).await?;
    Ok(all
        .into_iter()
        .map(|fs| {
            let pools = format!("in {} and {}", fs.metadata_pool, fs.data_pools.join(", "));
            (format!("the file system {}", fs.name), pools)
        })
        .collect())
}

/// As its first OSD has them: MicroCeph keeps one of them in a file of its own.
async fn networks(cx: &Cx, members: &[Member]) -> Facts {
    let (asked, osds): (_, Vec<i64>) = ceph::ask(cx, members, &["osd", "ls"]).await?;
    let Some(first) = osds.iter().min() else {
        return Ok(BTreeMap::new());
    };
    let mut facts = BTreeMap::new();
    for key in ["cluster_network", "public_network"] {
        let osd = format!("osd.{first}");
        let words = ["config", "show", osd.as_str(), key];
        let head = ["/snap/bin/microceph.ceph", "--connect-timeout", "15"];
        let cmd = Cmd::root(head.iter().chain(&words).copied()).timeout(TIMEOUT);
        let output = cx.cmd(&asked, &cmd).await?;
        let value = match output.text(&cmd, &asked)?.trim() {
            "" => "not set",
            value => value,
        };
        facts.insert(format!("{key} of {osd}"), value.to_owned());
    }
    Ok(facts)
}

/// OVS' own JSON (`ovs/lib/db-ctl-base.c`): a row is a list in the order of the headings.
async fn tunnels(cx: &Cx, members: &[Member]) -> Facts {
    #[derive(Deserialize)]
    struct Table {
        headings: Vec<String>,
        data: Vec<Vec<Value>>,
    }
    let cmd = Cmd::root([
        "/snap/bin/microovn.ovn-sbctl",
        "--timeout=30",
        "--format=json",
        "--columns=chassis_name,type,ip",
        "list",
        "Encap",
    ])
    .timeout(TIMEOUT);
    let (_, table): (_, Table) = cx.ask_json(members, &cmd).await?;
    let at = |name: &str| {
        let at = table.headings.iter().position(|heading| heading == name);
        at.ok_or_else(|| missing(&format!("column {name}")))
    };
    let (chassis, kind, ip) = (at("chassis_name")?, at("type")?, at("ip")?);
    let text = |row: &[Value], at: usize| {
        let value = row.get(at).and_then(Value::as_str);
        value.map(str::to_owned).ok_or_else(|| missing("such row"))
    };
    let rows = table.data.iter().map(|row| {
        let about = format!("the {} tunnel of {}", text(row, kind)?, text(row, chassis)?);
        Ok((about, text(row, ip)?))
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area(name: &str, facts: &[(&str, &str)]) -> Area {
        let own = |(about, is): &(&str, &str)| ((*about).to_owned(), (*is).to_owned());
        Area {
            name: name.to_owned(),
            facts: facts.iter().map(own).collect(),
            unread: None,
        }
    }

    #[test]
    fn what_differs_or_is_gone_is_named_and_what_is_new_is_not() {
        let before = [area(
            "Ceph's pools",
            &[
                ("the pool a", "3"),
                ("the pool b", "3"),
                ("the pool c", "3"),
            ],
        )];
        let after = [area(
            "Ceph's pools",
            &[
                ("the pool a", "3"),
                ("the pool b", "2"),
                ("the pool d", "3"),
            ],
        )];
        assert_eq!(
            differences(&before, &after),
            ["the pool b is 2 and was 3", "the pool c is gone"]
        );
        assert!(differences(&before, &before).is_empty());
    }
}
