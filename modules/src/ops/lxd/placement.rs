//! Where LXD lets an instance go: its project's cluster groups, and its placement group.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::detail::Detailed;
use super::{LxdMember, query};
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::schema::Member;

#[derive(Deserialize)]
struct Project {
    name: String,
    #[serde(default)]
    config: BTreeMap<String, String>,
}

/// A placement group (`doc/explanation/clusters.md`; LXD has them from 6.6 on).
#[derive(Deserialize)]
struct Group {
    name: String,
    project: String,
    config: BTreeMap<String, String>,
}

/// What limits the choice of a member.
#[derive(Default)]
pub(super) struct Limits {
    projects: Vec<Project>,
    groups: Vec<Group>,
}

/// Asks for what limits these instances.
pub(super) async fn limits(cx: &Cx, instances: &[Detailed]) -> Result<Limits, OpError> {
    let placed = instances.iter().any(|i| i.set("placement.group").is_some());
    Ok(Limits {
        projects: query(cx, "/1.0/projects?recursion=1").await?,
        groups: match placed {
            true => query(cx, "/1.0/placement-groups?recursion=1&all-projects=true").await?,
            false => Vec::new(),
        },
    })
}

impl Limits {
    /// Those of `candidates` to which an instance may go, when `instances` are where they are by then, and its own member is
    /// `away` (`evacuateClusterSelectTarget` in `lxd/api_cluster_member.go`, `lxd/placement/filtering.go`).
    pub(super) fn allowed<'a>(
        &self,
        instance: &Detailed,
        candidates: Vec<&'a LxdMember>,
        instances: &[(&Detailed, Member)],
        away: &Member,
    ) -> Vec<&'a LxdMember> {
        let mut allowed = candidates;
        let project = self.projects.iter().find(|p| p.name == instance.project);
        let groups = project.and_then(|p| p.config.get("restricted.cluster.groups"));
        if let Some(groups) = groups.filter(|groups| !groups.is_empty()) {
            let groups: Vec<&str> = groups.split(',').map(str::trim).collect();
            allowed.retain(|m| {
                m.groups
                    .iter()
                    .any(|group| groups.contains(&group.as_str()))
            });
        }
        let Some(name) = instance.set("placement.group") else {
            return allowed;
        };
        let group = self
            .groups
            .iter()
            .find(|g| (&g.project, g.name.as_str()) == (&instance.project, name));
        let key = |key: &str| group.and_then(|g| g.config.get(key)).map(String::as_str);
        if key("rigor") != Some("strict") {
            // It prefers some, and takes any.
            return allowed;
        }
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let of_group =
            |i: &Detailed| i.project == instance.project && i.set("placement.group") == Some(name);
        for (_, place) in instances
            .iter()
            .filter(|(i, place)| of_group(i) && place != away)
        {
            *counts.entry(place.as_str()).or_default() += 1;
        }
        match key("policy") {
            Some("spread") => allowed.retain(|m| !counts.contains_key(m.name.as_str())),
            Some("compact") => {
                if let Some(most) = counts.values().max() {
                    allowed.retain(|m| counts.get(m.name.as_str()) == Some(most));
                }
            }
            _ => {}
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn member(name: &str, groups: &[&str]) -> LxdMember {
        let text = json!({"name": name, "status": "Online", "message": "", "groups": groups});
        serde_json::from_value(text).unwrap()
    }

    fn instance(name: &str, project: &str, group: Option<&str>) -> Detailed {
        let config = group.map_or(json!({}), |group| json!({"placement.group": group}));
        let text = json!({"name": name, "project": project, "location": "m1", "status": "Running", "type": "container",
            "architecture": "x86_64", "ephemeral": false, "config": config, "state": null});
        serde_json::from_value(text).unwrap()
    }

    /// Where `new` may go from m1 while another instance of its group is on m2.
    fn allowed(new: &Detailed, policy: &str, rigor: &str) -> Vec<Member> {
        let limits = json!([{"name": "g", "project": "default", "config": {"policy": policy, "rigor": rigor}}]);
        let projects = json!([{"name": "default", "config": {}}, {"name": "shop", "config": {"restricted.cluster.groups": "a, b"}}]);
        let limits = Limits {
            projects: serde_json::from_value(projects).unwrap(),
            groups: serde_json::from_value(limits).unwrap(),
        };
        let members = [member("m2", &["b"]), member("m3", &["c"])];
        let other = instance("other", "default", Some("g"));
        let places = [(&other, "m2".into()), (new, "m1".into())];
        let allowed = limits.allowed(new, members.iter().collect(), &places, &"m1".into());
        allowed.iter().map(|m| m.name.clone()).collect()
    }

    #[test]
    fn a_strict_placement_group_leaves_only_what_it_allows() {
        let of_group = instance("new", "default", Some("g"));
        assert_eq!(allowed(&of_group, "spread", "strict"), ["m3"]);
        assert_eq!(allowed(&of_group, "compact", "strict"), ["m2"]);
        assert_eq!(allowed(&of_group, "spread", "permissive"), ["m2", "m3"]);
        let free = instance("new", "default", None);
        assert_eq!(allowed(&free, "spread", "strict"), ["m2", "m3"]);
    }

    #[test]
    fn a_project_may_be_kept_to_cluster_groups() {
        let shop = instance("new", "shop", None);
        assert_eq!(allowed(&shop, "spread", "strict"), ["m2"]);
    }
}
