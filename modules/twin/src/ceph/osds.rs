//! The maps with a line for each OSD. Gates ask for them again and again, so they are written as they are read, by field.
//! Ceph's client prints keys in its own order, and the twin by the alphabet.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::seen;
use super::state::Osd;
use crate::world::World;

/// `{}`
#[derive(Serialize)]
struct Nothing {}

/// `ceph osd dump`
#[derive(Serialize)]
pub(super) struct Dump<'a> {
    crush_node_flags: &'a BTreeMap<String, BTreeSet<String>>,
    device_class_flags: Nothing,
    epoch: u64,
    flags: String,
    flags_set: Vec<&'a str>,
    fsid: &'static str,
    osds: Vec<State>,
    pools: [Pool; 1],
    require_osd_release: &'a str,
}

#[derive(Serialize)]
struct State {
    #[serde(rename = "in")]
    inside: u8,
    osd: u32,
    up: u8,
    up_from: u64,
    uuid: String,
    weight: u8,
}

#[derive(Serialize)]
struct Pool {
    min_size: usize,
    pg_num: u64,
    pool: u8,
    pool_name: &'static str,
    size: usize,
}

pub(super) fn dump(world: &World) -> Dump<'_> {
    let ceph = &world.ceph;
    let standing = [
        "pglog_hardlimit",
        "purged_snapdirs",
        "recovery_deletes",
        "sortbitwise",
    ];
    let own = ceph.flags.iter().map(String::as_str);
    let mut flags: Vec<&str> = own.chain(standing).collect();
    flags.sort_unstable();
    let state = |(id, osd): (&u32, &Osd)| State {
        inside: 1,
        osd: *id,
        up: osd.up.into(),
        up_from: osd.up_from,
        uuid: format!("00000000-0000-0000-0000-{id:012}"),
        weight: 1,
    };
    Dump {
        crush_node_flags: &ceph.host_flags,
        device_class_flags: Nothing {},
        epoch: ceph.epoch,
        flags: flags.join(","),
        flags_set: flags,
        fsid: seen::FSID,
        osds: ceph.osds.iter().map(state).collect(),
        pools: [Pool {
            min_size: ceph.size() - ceph.can_lose(),
            pg_num: ceph.pgs,
            pool: 1,
            pool_name: "rbd",
            size: ceph.size(),
        }],
        require_osd_release: &ceph.require_osd_release,
    }
}

/// `ceph osd tree`
#[derive(Serialize)]
pub(super) struct Tree<'a> {
    nodes: Vec<Node<'a>>,
    stray: [Nothing; 0],
}

#[derive(Serialize)]
#[serde(untagged)]
enum Node<'a> {
    Bucket {
        children: Vec<i64>,
        id: i64,
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        pool_weights: Option<Nothing>,
        #[serde(rename = "type")]
        kind: &'static str,
        type_id: u8,
    },
    Osd {
        crush_weight: f64,
        depth: u8,
        device_class: &'static str,
        exists: u8,
        id: u32,
        name: String,
        pool_weights: Nothing,
        primary_affinity: u8,
        reweight: u8,
        status: &'static str,
        #[serde(rename = "type")]
        kind: &'static str,
        type_id: u8,
    },
}

pub(super) fn tree(world: &World) -> Tree<'_> {
    let mut hosts: BTreeMap<&str, Vec<(u32, &Osd)>> = BTreeMap::new();
    for (id, osd) in &world.ceph.osds {
        hosts.entry(&osd.host).or_default().push((*id, osd));
    }
    let bucket = |i: usize| -(i64::try_from(i).unwrap_or(0)) * 2 - 3;
    let mut nodes = vec![Node::Bucket {
        children: (0..hosts.len()).map(bucket).collect(),
        id: -1,
        name: "default",
        pool_weights: None,
        kind: "root",
        type_id: 11,
    }];
    for (i, (host, own)) in hosts.into_iter().enumerate() {
        nodes.push(Node::Bucket {
            children: own.iter().map(|(id, _)| i64::from(*id)).collect(),
            id: bucket(i),
            name: host,
            pool_weights: Some(Nothing {}),
            kind: "host",
            type_id: 1,
        });
        nodes.extend(own.into_iter().map(|(id, osd)| Node::Osd {
            crush_weight: 0.001,
            depth: 2,
            device_class: "hdd",
            exists: 1,
            id,
            name: format!("osd.{id}"),
            pool_weights: Nothing {},
            primary_affinity: 1,
            reweight: 1,
            status: if osd.up { "up" } else { "down" },
            kind: "osd",
            type_id: 0,
        }));
    }
    Tree { nodes, stray: [] }
}
