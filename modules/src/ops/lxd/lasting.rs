//! What of LXD must be the same after a run.

use std::collections::BTreeMap;

use futures_util::future::{join_all, join5};
use serde::Deserialize;

use super::{TIMEOUT, query};
use crate::contract::cmd::Cmd;
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::schema::Member;

#[derive(Deserialize)]
struct Server {
    config: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct Peer {
    server_name: String,
    url: String,
}

#[derive(Deserialize)]
struct Network {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    managed: bool,
    #[serde(default)]
    config: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Pool {
    name: String,
    driver: String,
    #[serde(default)]
    config: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Profile {
    name: String,
    /// Where LXD lists those of all projects.
    #[serde(default)]
    project: Option<String>,
    #[serde(default)]
    config: BTreeMap<String, String>,
    #[serde(default)]
    devices: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    project: String,
    #[serde(default)]
    config: BTreeMap<String, String>,
}

/// What there is, by what it is about.
pub(crate) async fn lasting(
    cx: &Cx,
    members: &[Member],
) -> Result<BTreeMap<String, String>, OpError> {
    let mut facts = BTreeMap::new();
    // Side by side and first: where LXD waits for another version, each answer takes its whole time.
    let cmd = Cmd::root(["/snap/bin/lxc", "query", "/1.0"]).timeout(TIMEOUT);
    let answers = join_all(members.iter().map(|member| cx.cmd(member, &cmd))).await;
    for (member, answer) in members.iter().zip(answers) {
        let server: Server = answer?.json(&cmd, member)?;
        let address = server.config.get("core.https_address");
        let address = address
            .and_then(|value| value.as_str())
            .unwrap_or("not set");
        facts.insert(
            format!("core.https_address of {member}"),
            address.to_owned(),
        );
    }
    let (peers, networks, pools, profiles, instances) = join5(
        query(cx, "/1.0/cluster/members?recursion=1"),
        query(cx, "/1.0/networks?recursion=1"),
        query(cx, "/1.0/storage-pools?recursion=1"),
        query(cx, "/1.0/profiles?recursion=1&all-projects=true"),
        query(cx, "/1.0/instances?recursion=1&all-projects=true"),
    )
    .await;
    let peers: Vec<Peer> = peers?;
    if peers.is_empty() {
        return Err(OpError::command("LXD lists no members"));
    }
    facts.extend(
        peers
            .into_iter()
            .map(|peer| (format!("LXD's member {}", peer.server_name), peer.url)),
    );
    let networks: Vec<Network> = networks?;
    for network in networks.into_iter().filter(|network| network.managed) {
        let title = format!("LXD's network {}", network.name);
        settings(&mut facts, &title, &network.config);
        facts.insert(title, network.kind);
    }
    let pools: Vec<Pool> = pools?;
    for pool in pools {
        let title = format!("LXD's pool {}", pool.name);
        settings(&mut facts, &title, &pool.config);
        facts.insert(title, pool.driver);
    }
    let profiles: Vec<Profile> = profiles?;
    for profile in profiles {
        let project = profile.project.unwrap_or_else(|| "default".to_owned());
        let title = format!(
            "LXD's profile {}",
            super::detail::title(&project, &profile.name)
        );
        settings(&mut facts, &title, &profile.config);
        for (name, device) in &profile.devices {
            settings(&mut facts, &format!("{title}: {name}"), device);
        }
        facts.insert(title, "there".to_owned());
    }
    let instances: Vec<Listed> = instances?;
    for instance in instances {
        let title = super::detail::title(&instance.project, &instance.name);
        if let Some(uuid) = instance.config.get("volatile.uuid") {
            facts.insert(format!("the identity of {title}"), uuid.clone());
        }
    }
    Ok(facts)
}

/// What somebody has set. LXD's own notes (`volatile.`) come and go; a value may be a secret, and is only known from another
/// one.
fn settings(facts: &mut BTreeMap<String, String>, title: &str, config: &BTreeMap<String, String>) {
    let set = config
        .iter()
        .filter(|(key, _)| !key.starts_with("volatile."));
    facts.extend(set.map(|(key, value)| (format!("{title}: {key}"), mark(value))));
}

/// FNV-1a: the same in every build, so that a run may be resumed by another one.
fn mark(value: &str) -> String {
    let mix = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    format!("#{:08x}", value.bytes().fold(0x811c_9dc5, mix))
}
