//! The playbook of rollouts, where its clusters and their windows stand as the test says.

use super::*;
use crate::bundle::{Finder, Playbooks};
use crate::fleet;

const HOOKS: &str = r#"
    local rollout = require "playbooks.rollout"
    return rollout:extend {
        before_cluster = function(e) cluster.look { member = e.cluster } end,
    }
"#;

struct Hooked;

impl Sources for Hooked {
    fn find(&self, name: &str) -> Result<Source, String> {
        if name != "main" {
            return Finder::shipped(Playbooks::Shipped).find(name);
        }
        Ok(Source {
            chunk: "main.lua".to_owned(),
            text: HOOKS.to_owned(),
        })
    }
}

#[test]
fn a_hook_is_not_called_where_its_window_shut_meanwhile() {
    let registry = fleet::registry(&lockstep_modules::registry());
    let script = Script::load("main", Box::new(Hooked), &registry, 7).unwrap();
    let hours = json!({"hours": "01:00-05:00", "zone": "UTC", "days": [], "not_on": []});
    let ring = json!({
        "name": "all", "limit": 1, "budget": 0,
        "clusters": [{"name": "m1", "window": hours}],
    });
    // It was open when the cluster had waited, and shut before it had a place; and so once more.
    let mut looks = [false, false, true].into_iter();
    let answer = |call: &Call| match call.op.as_str() {
        "cluster.state" => Ok(json!({"outcome": "did not begin", "open": looks.next().unwrap()})),
        "cluster.window" => Ok(json!({"outcome": "did not begin", "open": true})),
        "cluster.run" => Ok(json!({"outcome": "done", "run": "rollout-1.m1", "seconds": 5})),
        _ => Ok(json!({"wrong": [], "components": {}})),
    };
    let (trace, outcome) = play_with(script, &json!({"rings": [ring]}), answer);
    let steps: Vec<&str> = trace
        .iter()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(
        steps,
        [
            "all/m1/cluster.state#1",
            "all/m1/cluster.window#1",
            "all/m1/cluster.state#2",
            "all/m1/cluster.window#2",
            "all/m1/cluster.state#3",
            "all/m1/before_cluster/cluster.look#1",
            "all/m1/cluster.run#1",
        ],
        "{trace:?}"
    );
    assert_eq!(outcome.unwrap()["clusters"], 1);
}
