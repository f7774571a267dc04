//! The cluster file: which members there are, how they are reached, and what playbooks are given. And descriptions of
//! clusters that are to be simulated.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lockstep_modules::cluster::{Cluster, MemberConfig, SshConfig};
use lockstep_modules::schema::{self, Channel};
use lockstep_twin::Scenario;
use serde::Deserialize;
use serde_json::{Map, Value};

/// A cluster file, read and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The cluster.
    pub cluster: Cluster,
    /// Channels that `upgrade` moves to unless told otherwise, by component.
    pub channels: BTreeMap<String, Channel>,
    /// Values for parameters, by playbook.
    pub params: BTreeMap<String, Map<String, Value>>,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    members: Vec<MemberConfig>,
    #[serde(default)]
    machines: Vec<MemberConfig>,
    #[serde(default)]
    ssh: SshConfig,
    #[serde(default)]
    channels: Channels,
    #[serde(default)]
    params: BTreeMap<String, Map<String, Value>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Channels {
    microceph: Option<Channel>,
    microovn: Option<Channel>,
    lxd: Option<Channel>,
    microcloud: Option<Channel>,
}

/// What is wrong with a cluster file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It can't be read.
    #[error("the file {path} can't be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It isn't what a cluster file should be.
    #[error("{path}:{line}:{column}: {what}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// What is wrong there.
        what: String,
    },
}

impl ConfigError {
    fn invalid(path: &Path, text: &str, at: usize, what: String) -> Self {
        let before = &text[..at.min(text.len())];
        let line = before.matches('\n').count() + 1;
        let column = before.len() - before.rfind('\n').map_or(0, |i| i + 1) + 1;
        Self::Invalid {
            path: path.to_owned(),
            line,
            column,
            what,
        }
    }

    fn unreadable(path: &Path, source: std::io::Error) -> Self {
        Self::Unreadable {
            path: path.to_owned(),
            source,
        }
    }
}

/// Reads a description of a cluster to be simulated.
///
/// # Errors
/// With line and column, for a key that doesn't exist, and for a cluster that can't be.
pub fn read_scenario(path: &Path) -> Result<Scenario, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|e| ConfigError::unreadable(path, e))?;
    let invalid = |at: usize, what: String| ConfigError::invalid(path, &text, at, what);
    let scenario: Scenario = toml::from_str(&text)
        .map_err(|e| invalid(e.span().map_or(0, |span| span.start), explain(e.message())))?;
    scenario
        .check()
        .map_err(|(needle, what)| invalid(text.rfind(&needle).unwrap_or(0), what))?;
    Ok(scenario)
}

impl Config {
    /// Reads a cluster file.
    ///
    /// # Errors
    /// With line and column, and a near match for a key that doesn't exist.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|e| ConfigError::unreadable(path, e))?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let invalid = |at: usize, what: String| ConfigError::invalid(path, text, at, what);
        let file: File = toml::from_str(text)
            .map_err(|e| invalid(e.span().map_or(0, |span| span.start), explain(e.message())))?;
        check(&file).map_err(|(needle, what)| invalid(text.rfind(&needle).unwrap_or(0), what))?;
        let File {
            name,
            members,
            machines,
            ssh,
            channels,
            params,
        } = file;
        let Channels {
            microceph,
            microovn,
            lxd,
            microcloud,
        } = channels;
        let channels = [
            ("microceph", microceph),
            ("microovn", microovn),
            ("lxd", lxd),
            ("microcloud", microcloud),
        ];
        let channels = channels
            .into_iter()
            .filter_map(|(name, channel)| Some((name.to_owned(), channel?)));
        Ok(Self {
            cluster: Cluster {
                name,
                members,
                machines,
                ssh,
            },
            channels: channels.collect(),
            params,
        })
    }
}

/// What the types can't say. The text to be found in the file comes first.
fn check(file: &File) -> Result<(), (String, String)> {
    if file.members.is_empty() {
        return Err((
            "members".to_owned(),
            "a cluster has at least one member".to_owned(),
        ));
    }
    let mut seen = Vec::new();
    for member in file.members.iter().chain(&file.machines) {
        let quoted = format!("{:?}", member.name);
        if member.name.is_empty()
            || member
                .name
                .contains(|c: char| c.is_whitespace() || c.is_control() || "/#".contains(c))
        {
            return Err((
                quoted,
                format!("{:?} can't be the name of a member", member.name),
            ));
        }
        if member.host().starts_with('-') {
            return Err((quoted, format!("{:?} can't be an address", member.host())));
        }
        if seen.contains(&member.name) {
            return Err((
                quoted,
                format!("there are two members called {:?}", member.name),
            ));
        }
        seen.push(member.name.clone());
    }
    Ok(())
}

/// serde's words for an unknown key, with a near match instead of the whole list.
fn explain(message: &str) -> String {
    let message = message.trim();
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match (message.starts_with("unknown field"), quoted.split_first()) {
        (true, Some((unknown, known))) => {
            format!(
                "unknown key {unknown:?}{}; known are: {}",
                schema::hint(unknown, known),
                known.join(", ")
            )
        }
        (_, Some((missing, []))) if message.starts_with("missing field") => {
            format!("{missing:?} is missing")
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
name = "lab"

[ssh]
user = "ubuntu"
patience = "5m"

[channels]
lxd = "5.21/stable"

[params.update]
skip = ["microcloud"]

[[members]]
name = "micro01"
address = "10.0.0.1"

[[members]]
name = "micro02"
options = ["ProxyJump=bastion"]

[[machines]]
name = "lb1"
"#;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(Path::new("cluster.toml"), text)
    }

    #[test]
    fn a_whole_file_is_read() {
        let config = parse(GOOD).unwrap();
        assert_eq!(config.cluster.names(), ["micro01", "micro02"]);
        assert_eq!(config.cluster.reachable().count(), 3);
        assert_eq!(config.cluster.ssh.patience.to_string(), "5m");
        assert_eq!(config.channels["lxd"].as_str(), "5.21/stable");
        assert_eq!(
            config.params["update"]["skip"],
            serde_json::json!(["microcloud"])
        );
    }

    #[test]
    fn mistakes_are_named_with_line_and_column() {
        let swap = |from: &str, to: &str| parse(&GOOD.replace(from, to)).unwrap_err().to_string();
        let complaints = [
            swap("address =", "adress ="),
            swap("user =", "usr ="),
            swap("lxd = \"5.21/stable\"", "lxd = \"stable\""),
            swap("lxd = \"5.21/stable\"", "lxc = \"5.21/stable\""),
            swap("patience = \"5m\"", "patience = \"5\""),
            swap("micro02", "micro01"),
            swap("micro02", "micro 2"),
            swap("10.0.0.1", "-oProxyCommand=x"),
            swap("name = \"lab\"", "name = lab"),
            swap("name = \"lab\"", ""),
            parse("name = \"x\"\nmembers = []\n")
                .unwrap_err()
                .to_string(),
        ];
        insta::assert_snapshot!(complaints.join("\n"));
    }
}
