//! OVN's databases as a raft of servers: what `cluster/status` prints, and when all is well with it.
//!
//! There is no JSON. `Status: cluster member` alone says little: a server prints it with no leader too, and a dead peer
//! stays listed while only its `last msg` grows. So every server is asked, and the answers are held against each other.

use std::collections::BTreeSet;

use crate::contract::schema::Member;

/// One server's view of one database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// `cluster member`, or why it isn't one.
    pub(crate) status: String,
    /// The raft it belongs to.
    pub(crate) cluster: String,
    /// Its own short id.
    pub(crate) server: String,
    /// `leader`, `follower` or `candidate`.
    pub role: String,
    /// The term it knows of.
    pub term: u64,
    /// Milliseconds without a leader after which an election begins.
    pub(crate) election_timer: u64,
    /// Entries that aren't committed, and not applied.
    pub(crate) pending: (u64, u64),
    /// Who leads: `self`, a short id, or `unknown`.
    pub(crate) leader: String,
    /// Connections that stand, both ways, as printed.
    pub(crate) connections: Vec<String>,
    /// Connections that are broken, as printed.
    pub(crate) broken: Vec<String>,
    /// The servers it knows, itself among them.
    pub(crate) servers: Vec<Server>,
}

/// A server of the raft, as another one knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// Its short id.
    pub(crate) id: String,
    /// Its host, without protocol and port.
    pub(crate) host: String,
    /// Milliseconds since it last answered; none for the one that reports, and for those that needn't answer it.
    pub(crate) last_message: Option<u64>,
}

impl View {
    /// Reads `ovn-appctl … cluster/status`.
    ///
    /// # Errors
    /// With the name of the line that is missing or unreadable.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fields: Vec<(&str, &str)> = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .collect();
        let field = |name: &str| {
            let found = fields.iter().find(|(named, _)| *named == name);
            found
                .map(|(_, value)| value.trim())
                .ok_or_else(|| format!("cluster/status has no line {name:?}"))
        };
        let number = |name: &str| {
            let value = field(name)?;
            value
                .parse::<u64>()
                .map_err(|_| format!("cluster/status has {value:?} as {name:?}"))
        };
        let word = |name: &str| {
            let first = field(name)?.split_whitespace().next();
            Ok::<_, String>(first.unwrap_or_default().to_owned())
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
            status: field("Status")?.to_owned(),
            cluster: word("Cluster ID")?,
            server: word("Server ID")?,
            role: field("Role")?.to_owned(),
            term: number("Term")?,
            election_timer: number("Election timer")?,
            pending: (
                number("Entries not yet committed")?,
                number("Entries not yet applied")?,
            ),
            leader: field("Leader")?.to_owned(),
            connections: standing.into_iter().map(str::to_owned).collect(),
            broken: broken.into_iter().map(str::to_owned).collect(),
            servers: servers
                .filter(|line| !line.is_empty())
                .map(server)
                .collect(),
        })
    }
}

/// `f080 (f080 at ssl:10.0.0.2:6643) next_index=12512 match_index=12511 last msg 63 ms ago`
fn server(line: &str) -> Server {
    let id = line.split_whitespace().next().unwrap_or_default();
    let address = line
        .split_once(" at ")
        .map_or("", |(_, rest)| rest.split(')').next().unwrap_or_default());
    // An address of IPv6 stands in brackets.
    let host = address
        .split_once(':')
        .map_or("", |(_, rest)| rest)
        .rsplit_once(':')
        .map_or("", |(host, _)| host);
    let last_message = line
        .split_once("last msg ")
        .and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
    Server {
        id: id.to_owned(),
        host: host.trim_matches(['[', ']']).to_owned(),
        last_message,
    }
}

/// What speaks against the raft of `database`, as all servers that answered see it; nothing does if it is empty. What
/// concerns the server with the id `aside` is left aside.
pub(crate) fn problems(
    database: &str,
    views: &[(Member, View)],
    aside: Option<&str>,
) -> Vec<String> {
    let counted: Vec<&(Member, View)> = views
        .iter()
        .filter(|(_, view)| Some(view.server.as_str()) != aside)
        .collect();
    let mut problems = together(&counted, aside);
    for (member, view) in counted {
        problems.extend(
            of_one(view, aside)
                .into_iter()
                .map(|problem| format!("{member} {problem}")),
        );
    }
    problems
        .into_iter()
        .map(|problem| format!("{database}: {problem}"))
        .collect()
}

/// What the views don't agree on.
fn together(views: &[&(Member, View)], aside: Option<&str>) -> Vec<String> {
    let mut problems = Vec::new();
    let others = |view: &View| {
        view.servers
            .iter()
            .filter(|server| Some(server.id.as_str()) != aside)
            .count()
    };
    let known = views
        .iter()
        .map(|(_, view)| others(view))
        .max()
        .unwrap_or(0);
    if known != views.len() || (views.is_empty() && aside.is_none()) {
        problems.push(format!("{} of {known} servers answer", views.len()));
    }
    let leaders: Vec<&str> = views
        .iter()
        .filter(|(_, v)| v.role == "leader")
        .map(|(member, _)| member.as_str())
        .collect();
    match leaders.as_slice() {
        // The one that is left aside may lead.
        [] if aside.is_none() => problems.push("there is no leader".to_owned()),
        [] | [_] => {}
        several => problems.push(format!("{} say that they lead", several.join(", "))),
    }
    if views
        .iter()
        .map(|(_, v)| v.cluster.as_str())
        .collect::<BTreeSet<_>>()
        .len()
        > 1
    {
        problems.push("the servers belong to different clusters".to_owned());
    }
    if views
        .iter()
        .map(|(_, v)| v.term)
        .collect::<BTreeSet<_>>()
        .len()
        > 1
    {
        problems.push("the servers are in different terms".to_owned());
    }
    problems
}

/// What one server says against itself and its connections.
fn of_one(view: &View, aside: Option<&str>) -> Vec<String> {
    let mut problems = Vec::new();
    if view.status != "cluster member" {
        problems.push(format!("is {}", view.status));
    }
    if view.leader == "unknown" {
        problems.push("knows of no leader".to_owned());
    }
    if view.pending != (0, 0) {
        problems.push(format!(
            "has {} entries not committed, {} not applied",
            view.pending.0, view.pending.1
        ));
    }
    let counts = |connection: &&String| aside.is_none_or(|id| !connection.contains(id));
    let standing = view.connections.iter().filter(counts).count();
    let broken: Vec<&str> = view
        .broken
        .iter()
        .filter(counts)
        .map(String::as_str)
        .collect();
    let others = view
        .servers
        .iter()
        .filter(|s| s.id != view.server && Some(s.id.as_str()) != aside)
        .count();
    if !broken.is_empty() || standing != 2 * others {
        let broken = if broken.is_empty() {
            String::new()
        } else {
            format!(", broken: {}", broken.join(" "))
        };
        problems.push(format!(
            "has {standing} connections to {others} others{broken}"
        ));
    }
    let silent = |server: &&Server| {
        let late = server
            .last_message
            .is_none_or(|ms| ms >= view.election_timer);
        view.role == "leader"
            && server.id != view.server
            && Some(server.id.as_str()) != aside
            && late
    };
    problems.extend(view.servers.iter().filter(silent).map(|s| {
        format!(
            "has not heard of {} for longer than an election takes",
            s.id
        )
    }));
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

    fn three() -> Vec<(Member, View)> {
        let leader = sample("status", "OVN_Northbound");
        let follower = sample("follower", "OVN_Northbound");
        let third = View {
            server: "d7d7".to_owned(),
            ..follower.clone()
        };
        // The follower's transcript was taken while its connections were still being made.
        let settled = |view: View| View {
            connections: ["->x", "<-x", "->y", "<-y"].map(str::to_owned).to_vec(),
            ..view
        };
        vec![
            ("m1".into(), leader),
            ("m2".into(), settled(follower)),
            ("m3".into(), settled(third)),
        ]
    }

    fn known(id: &str, host: &str, last_message: Option<u64>) -> Server {
        Server {
            id: id.to_owned(),
            host: host.to_owned(),
            last_message,
        }
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
            leader: "self".to_owned(),
            connections: ["<-f1e3", "->f1e3", "<-d7d7", "->d7d7"]
                .map(str::to_owned)
                .to_vec(),
            broken: vec![],
            servers: vec![
                known("f1e3", "10.77.0.12", Some(19)),
                known("d7d7", "10.77.0.13", Some(18)),
                known("e654", "10.77.0.11", None),
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
        assert!(problems("NB", &three(), None).is_empty());
    }

    fn with(change: impl FnOnce(&mut Vec<(Member, View)>)) -> String {
        let mut views = three();
        change(&mut views);
        problems("NB", &views, None).join("\n")
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
                    v[0].1.connections.pop();
                    v[0].1.broken = vec!["(->f080)".to_owned()];
                }),
                with(|v| v[0].1.servers[0].last_message = Some(9000)),
                problems("NB", &[], None).join("\n"),
            ]
            .join("\n--\n")
        );
    }

    #[test]
    fn what_concerns_the_server_left_aside_does_not_count() {
        let mut views = three();
        views.truncate(2);
        views[0].1.connections = vec!["<-f1e3".to_owned(), "->f1e3".to_owned()];
        views[0].1.broken = vec!["(->d7d7)".to_owned()];
        views[0].1.servers[1].last_message = Some(90_000);
        views[1].1.connections = vec!["<-e654".to_owned(), "->e654".to_owned()];
        assert_eq!(problems("NB", &views, None).len(), 4);
        assert!(problems("NB", &views, Some("d7d7")).is_empty());
        assert_eq!(problems("NB", &views, Some("f1e3")).len(), 3);
    }

    #[test]
    fn garbage_is_refused_by_the_name_of_the_missing_line() {
        assert_eq!(
            View::parse("unknown cluster\n").unwrap_err(),
            "cluster/status has no line \"Status\""
        );
    }
}
