//! OVN's databases as a raft of servers: what `cluster/status` prints, and when all is well with it.
//!
//! There is no JSON. `Status: cluster member` alone says little: a server prints it with no leader too, and a dead peer
//! stays listed while only its `last msg` grows. So every server is asked, and the answers are held against each other.

use std::collections::BTreeSet;

/// One server's view of one database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// `cluster member`, or why it isn't one.
    pub status: String,
    /// The raft it belongs to.
    pub cluster: String,
    /// Its own short id.
    pub server: String,
    /// `leader`, `follower` or `candidate`.
    pub role: String,
    /// The term it knows of.
    pub term: u64,
    /// Milliseconds without a leader after which an election begins.
    pub election_timer: u64,
    /// Entries that aren't committed, and not applied.
    pub pending: (u64, u64),
    /// Connections that stand, both ways.
    pub connections: usize,
    /// Connections that are broken, as printed.
    pub broken: Vec<String>,
    /// The servers it knows: short id, and milliseconds since it last heard of each (none for itself).
    pub servers: Vec<(String, Option<u64>)>,
}

impl View {
    /// Reads `ovn-appctl … cluster/status`.
    ///
    /// # Errors
    /// With the name of the line that is missing or unreadable.
    pub fn parse(text: &str) -> Result<Self, String> {
        let field = |name: &str| {
            let prefix = format!("{name}: ");
            let found = text.lines().find_map(|line| line.strip_prefix(&prefix));
            found
                .map(|value| value.trim().to_owned())
                .ok_or_else(|| format!("cluster/status has no line {name:?}"))
        };
        let number = |name: &str| {
            let value = field(name)?;
            value
                .parse::<u64>()
                .map_err(|_| format!("cluster/status has {value:?} as {name:?}"))
        };
        let first_word = |value: String| {
            value
                .split_whitespace()
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        // A single server has no connections, and the line is empty.
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("Connections:"))
            .unwrap_or_default();
        let (broken, standing): (Vec<&str>, Vec<&str>) =
            line.split_whitespace().partition(|c| c.starts_with('('));
        let servers = text
            .lines()
            .skip_while(|line| *line != "Servers:")
            .skip(1)
            .map(str::trim);
        Ok(Self {
            status: field("Status")?,
            cluster: first_word(field("Cluster ID")?),
            server: first_word(field("Server ID")?),
            role: field("Role")?,
            term: number("Term")?,
            election_timer: number("Election timer")?,
            pending: (
                number("Entries not yet committed")?,
                number("Entries not yet applied")?,
            ),
            connections: standing.len(),
            broken: broken.into_iter().map(str::to_owned).collect(),
            servers: servers
                .filter(|line| !line.is_empty())
                .map(server)
                .collect(),
        })
    }
}

/// `f080 (f080 at ssl:10.0.0.2:6643) next_index=12512 match_index=12511 last msg 63 ms ago`
fn server(line: &str) -> (String, Option<u64>) {
    let id = line
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned();
    let heard = line
        .split_once("last msg ")
        .and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
    (id, heard)
}

/// What speaks against the raft of `database`, as all servers that answered see it. Nothing does if it is empty.
#[must_use]
pub fn problems(database: &str, views: &[(String, View)]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut add = |problem: String| problems.push(format!("{database}: {problem}"));
    let known = views
        .iter()
        .map(|(_, view)| view.servers.len())
        .max()
        .unwrap_or(0);
    if known != views.len() || views.is_empty() {
        add(format!("{} of {known} servers answer", views.len()));
    }
    let leaders: Vec<&str> = views
        .iter()
        .filter(|(_, v)| v.role == "leader")
        .map(|(member, _)| member.as_str())
        .collect();
    match leaders.as_slice() {
        [] => add("there is no leader".to_owned()),
        [_] => {}
        several => add(format!("{} say that they lead", several.join(", "))),
    }
    if views
        .iter()
        .map(|(_, v)| v.cluster.as_str())
        .collect::<BTreeSet<_>>()
        .len()
        > 1
    {
        add("the servers belong to different clusters".to_owned());
    }
    if views
        .iter()
        .map(|(_, v)| v.term)
        .collect::<BTreeSet<_>>()
        .len()
        > 1
    {
        add("the servers are in different terms".to_owned());
    }
    for (member, view) in views {
        if view.status != "cluster member" {
            add(format!("{member} is {}", view.status));
        }
        if view.pending != (0, 0) {
            add(format!(
                "{member} has {} entries not committed, {} not applied",
                view.pending.0, view.pending.1
            ));
        }
        if !view.broken.is_empty() || view.connections != 2 * (view.servers.len().saturating_sub(1))
        {
            let broken = if view.broken.is_empty() {
                String::new()
            } else {
                format!(", broken: {}", view.broken.join(" "))
            };
            add(format!(
                "{member} has {} connections to {} servers{broken}",
                view.connections,
                view.servers.len()
            ));
        }
        let silent = |(id, heard): &(String, Option<u64>)| {
            let late = heard.is_none_or(|ms| ms >= view.election_timer);
            (view.role == "leader" && *id != view.server && late).then(|| id.clone())
        };
        for id in view.servers.iter().filter_map(silent) {
            add(format!(
                "{member} has not heard of {id} for longer than an election takes"
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The `cluster/status` of a database in a file of what real servers printed.
    fn sample(file: &str, database: &str) -> View {
        let path = format!(
            "{}/tests/transcripts/ovn/{file}.txt",
            env!("CARGO_MANIFEST_DIR")
        );
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let from = text.find(&format!("cluster/status {database}\n")).unwrap();
        let body = &text[from..];
        View::parse(&body[..body.find("\n[rc=").unwrap()]).unwrap()
    }

    fn three() -> Vec<(String, View)> {
        let leader = sample("status", "OVN_Northbound");
        let follower = sample("follower", "OVN_Northbound");
        let third = View {
            server: "d7d7".to_owned(),
            ..follower.clone()
        };
        // The follower's transcript was taken while its connections were still being made.
        let settled = |view: View| View {
            connections: 4,
            ..view
        };
        vec![
            ("m1".to_owned(), leader),
            ("m2".to_owned(), settled(follower)),
            ("m3".to_owned(), settled(third)),
        ]
    }

    #[test]
    fn what_a_leader_prints_is_read() {
        let view = sample("status", "OVN_Northbound");
        let expected = View {
            status: "cluster member".to_owned(),
            cluster: "c7a4".to_owned(),
            server: "e654".to_owned(),
            role: "leader".to_owned(),
            term: 1,
            election_timer: 4000,
            pending: (0, 0),
            connections: 4,
            broken: vec![],
            servers: vec![
                ("f1e3".to_owned(), Some(19)),
                ("d7d7".to_owned(), Some(18)),
                ("e654".to_owned(), None),
            ],
        };
        assert_eq!(view, expected);
    }

    #[test]
    fn what_a_follower_prints_is_read() {
        let view = sample("follower", "OVN_Northbound");
        assert_eq!(
            (view.role.as_str(), view.server.as_str(), view.servers.len()),
            ("follower", "f1e3", 3)
        );
    }

    #[test]
    fn a_whole_raft_has_no_problems() {
        assert!(problems("NB", &three()).is_empty());
    }

    fn with(change: impl FnOnce(&mut Vec<(String, View)>)) -> String {
        let mut views = three();
        change(&mut views);
        problems("NB", &views).join("\n")
    }

    #[test]
    fn everything_that_can_be_wrong_is_named() {
        insta::assert_snapshot!(
            [
                with(|v| v.truncate(2)),
                with(|v| v[0].1.role = "follower".to_owned()),
                with(|v| v[1].1.role = "leader".to_owned()),
                with(|v| v[1].1.term = 2),
                with(|v| v[1].1.cluster = "ffff".to_owned()),
                with(|v| v[2].1.status =
                    "disconnected from the cluster (election timeout)".to_owned()),
                with(|v| v[1].1.pending = (3, 1)),
                with(|v| {
                    v[0].1.connections = 3;
                    v[0].1.broken = vec!["(->f080)".to_owned()];
                }),
                with(|v| v[0].1.servers[0].1 = Some(9000)),
                problems("NB", &[]).join("\n"),
            ]
            .join("\n--\n")
        );
    }

    #[test]
    fn garbage_is_refused_by_the_name_of_the_missing_line() {
        assert_eq!(
            View::parse("unknown cluster\n").unwrap_err(),
            "cluster/status has no line \"Status\""
        );
    }
}
