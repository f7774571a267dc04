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

/// What is played.
struct Main(&'static str);

impl Sources for Main {
    fn find(&self, name: &str) -> Result<Source, String> {
        if name != "main" {
            return Finder::shipped(Playbooks::Shipped).find(name);
        }
        Ok(Source {
            chunk: "main.lua".to_owned(),
            text: self.0.to_owned(),
        })
    }
}

/// The steps of a rollout over one ring, which ends well.
fn steps(
    text: &'static str,
    ring: &Value,
    answer: impl FnMut(&Call) -> Result<Value, Failure>,
) -> Vec<String> {
    let registry = fleet::registry(&lockstep_modules::registry());
    let script = Script::load("main", Box::new(Main(text)), &registry, 7).unwrap();
    let (trace, outcome) = play_with(script, &json!({"rings": [ring]}), answer);
    assert_eq!(outcome.unwrap()["clusters"], 1);
    let first = |line: &String| line.split_whitespace().next().map(str::to_owned);
    trace.iter().filter_map(first).collect()
}

#[test]
fn a_hook_is_not_called_where_its_window_shut_meanwhile() {
    let hours = json!({"hours": "01:00-05:00", "zone": "UTC", "days": [], "not_on": []});
    let ring = json!({
        "name": "all", "limit": 1, "budget": 0,
        "clusters": [{"name": "m1", "window": hours}],
    });
    // It was open when the cluster had waited, and shut before it had a place; and so once more.
    let mut looks = [false, false, true].into_iter();
    let steps = steps(HOOKS, &ring, |call| match call.op.as_str() {
        "cluster.state" => Ok(json!({"outcome": "did not begin", "open": looks.next().unwrap()})),
        "cluster.window" => Ok(json!({"outcome": "did not begin", "open": true})),
        "cluster.run" => Ok(json!({"outcome": "done", "run": "rollout-1.m1", "seconds": 5})),
        _ => Ok(json!({"wrong": [], "components": {}})),
    });
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
        ]
    );
}

#[test]
fn a_cluster_is_looked_at_where_something_may_come_first() {
    let ring = json!({"name": "all", "limit": 1, "budget": 0, "clusters": [{"name": "m1"}]});
    let answer = |call: &Call| match call.op.as_str() {
        "cluster.state" => Ok(json!({"outcome": "did not begin", "open": true})),
        "cluster.run" => Ok(json!({"outcome": "done", "run": "rollout-1.m1", "seconds": 5})),
        _ => Ok(json!({"wrong": [], "components": {}})),
    };
    let plain = r#"return require "playbooks.rollout""#;
    assert_eq!(steps(plain, &ring, answer), ["all/m1/cluster.run#1"]);
    let hooked = [
        "all/m1/cluster.state#1",
        "all/m1/before_cluster/cluster.look#1",
        "all/m1/cluster.run#1",
    ];
    assert_eq!(steps(HOOKS, &ring, answer), hooked);
}
