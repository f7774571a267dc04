//! The cluster file: which members there are, how they are reached, and what playbooks are given. And descriptions of
//! clusters that are to be simulated.

mod notify;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lockstep_modules::contract::cluster::{Cluster, MemberConfig, SshConfig};
use lockstep_modules::contract::component::Component;
use lockstep_modules::contract::near;
use lockstep_modules::contract::schema::Channel;
use lockstep_twin::Scenario;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::secret::anchored;

pub use notify::{Matcher, Notify, Silence, Topic, Webhook};

/// A cluster file, read and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The cluster.
    pub cluster: Cluster,
    /// Channels that `upgrade` moves to unless others are given, by component.
    pub(crate) channels: BTreeMap<String, Channel>,
    /// Values for parameters, by playbook.
    pub(crate) params: BTreeMap<String, Map<String, Value>>,
    /// Who gets to know what a run comes to.
    pub(crate) notify: Notify,
    /// The file's own, in which its relative paths begin.
    pub(crate) folder: PathBuf,
}

/// The options of ssh whose values are files. `~` is for ssh to expand, as are its tokens.
const FILES: [&str; 7] = [
    "certificatefile",
    "controlpath",
    "globalknownhostsfile",
    "identityagent",
    "identityfile",
    "revokedhostkeys",
    "userknownhostsfile",
];

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
    #[serde(default)]
    notify: Notify,
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
    pub(crate) fn invalid(path: &Path, text: &str, at: usize, what: String) -> Self {
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

    pub(crate) fn unreadable(path: &Path, source: std::io::Error) -> Self {
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
            mut members,
            mut machines,
            mut ssh,
            channels,
            params,
            mut notify,
        } = file;
        let folder = path.parent().unwrap_or(Path::new(""));
        let folder = std::path::absolute(folder.join(".")).unwrap_or_else(|_| folder.to_owned());
        notify.anchor(&folder);
        if let Some(config) = &mut ssh.config {
            *config = anchored(Path::new(config), &folder).display().to_string();
        }
        for option in &mut ssh.options {
            anchor(option, &folder);
        }
        for member in members.iter_mut().chain(&mut machines) {
            as_reached(member, &folder);
        }
        let Channels {
            microceph,
            microovn,
            lxd,
            microcloud,
        } = channels;
        let channels = [
            (Component::Microceph, microceph),
            (Component::Microovn, microovn),
            (Component::Lxd, lxd),
            (Component::Microcloud, microcloud),
        ];
        let channels = channels
            .into_iter()
            .filter_map(|(component, channel)| Some((component.to_string(), channel?)));
        Ok(Self {
            cluster: Cluster {
                name,
                members,
                machines,
                ssh,
            },
            channels: channels.collect(),
            params,
            notify,
            folder,
        })
    }
}

/// A host as it is written, `HOST`, `HOST:PORT` or `[IPV6]:PORT`, as ssh takes it: without brackets, and the port by itself.
pub(crate) fn address(text: &str) -> Result<(&str, Option<u16>), String> {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').unwrap_or_default())),
        None => match text.split_once(':') {
            // An IPv6 address has more than one colon, and no port this way.
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            _ => (text, None),
        },
    };
    if host.is_empty() || host.starts_with('-') || host.contains(['[', ']']) {
        return Err(format!("{text:?} can't be an address"));
    }
    let number = |port: &str| {
        let number = port.parse().ok().filter(|port| *port != 0);
        number.ok_or_else(|| format!("{port:?} is not a port"))
    };
    Ok((host, port.map(number).transpose()?))
}

/// A machine of a file in `folder`, as ssh takes it. Its address is one that [`check_machines`] has let pass.
pub(crate) fn as_reached(machine: &mut MemberConfig, folder: &Path) {
    for option in &mut machine.options {
        anchor(option, folder);
    }
    if let Some(Ok((host, port))) = machine.address.as_deref().map(address) {
        (machine.port, machine.address) = (port.or(machine.port), Some(host.to_owned()));
    }
}

/// Has the files that an option names begin in this folder.
fn anchor(option: &mut String, folder: &Path) {
    let Some((key, files)) = option.split_once(['=', ' ', '\t']) else {
        return;
    };
    let (key, files) = (key.trim(), files.trim_start_matches(['=', ' ', '\t']));
    if !FILES.contains(&key.to_lowercase().as_str()) || files.contains('"') {
        return;
    }
    let words = ["none", "SSH_AUTH_SOCK"];
    let found = files.split_whitespace().map(|file| {
        if file.starts_with(['/', '~', '%', '$']) || words.contains(&file) {
            file.to_owned()
        } else {
            anchored(Path::new(file), folder).display().to_string()
        }
    });
    let found: Vec<String> = found.collect();
    *option = format!("{key}={}", found.join(" "));
}

/// What the types can't say. The text to be found in the file comes first.
fn check(file: &File) -> Result<(), (String, String)> {
    if file.members.is_empty() {
        return Err((
            "members".to_owned(),
            "a cluster has at least one member".to_owned(),
        ));
    }
    check_machines(file.members.iter().chain(&file.machines))?;
    file.notify.check()
}

/// What is wrong with machines that a file names. The text to be found in the file comes first.
pub(crate) fn check_machines<'a>(
    machines: impl Iterator<Item = &'a MemberConfig>,
) -> Result<(), (String, String)> {
    let mut seen = Vec::new();
    for member in machines {
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
        match address(member.host()) {
            Err(why) => return Err((quoted, why)),
            Ok((_, Some(_))) if member.port.is_some() => {
                return Err((
                    quoted,
                    format!("{:?} has a port, and so has its address", member.name),
                ));
            }
            Ok(_) => {}
        }
        if seen.contains(&&member.name) {
            return Err((
                quoted,
                format!("there are two members called {:?}", member.name),
            ));
        }
        seen.push(&member.name);
    }
    Ok(())
}

/// serde's words for an unknown key or word, with a near match.
pub(crate) fn explain(message: &str) -> String {
    let message = message.trim();
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let what = ["field", "variant"].map(|what| message.starts_with(&format!("unknown {what}")));
    match (what, quoted.split_first()) {
        ([true, _] | [_, true], Some((unknown, known))) => {
            format!(
                "unknown {} {unknown:?}{}; known are: {}",
                if what[0] { "key" } else { "value" },
                near::hint(unknown, known),
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
    fn an_address_may_have_a_port() {
        for (text, host, port) in [
            ("10.0.0.1", "10.0.0.1", None),
            ("10.0.0.1:2201", "10.0.0.1", Some(2201)),
            ("fd42::1", "fd42::1", None),
            ("[fd42::1]", "fd42::1", None),
            ("[fe80::1%eth0]:2201", "fe80::1%eth0", Some(2201)),
        ] {
            let config = parse(&GOOD.replace("10.0.0.1", text)).unwrap();
            let member = &config.cluster.members[0];
            assert_eq!((member.host(), member.port), (host, port), "{text}");
        }
    }

    #[test]
    fn paths_begin_in_the_folder_of_the_file() {
        let ssh = "user = \"ubuntu\"\nconfig = \"ssh/config\"\noptions = [\"IdentityFile=keys/id\", \"UserKnownHostsFile a ~/b\", \"LogLevel=INFO\"]";
        let text = GOOD.replace("user = \"ubuntu\"", ssh);
        let text = text.replace("ProxyJump=bastion", "controlpath = none");
        let config = Config::parse(Path::new("/site/cluster.toml"), &text).unwrap();
        let ssh = &config.cluster.ssh;
        assert_eq!(ssh.config.as_deref(), Some("/site/ssh/config"));
        let expected = [
            "IdentityFile=/site/keys/id",
            "UserKnownHostsFile=/site/a ~/b",
            "LogLevel=INFO",
        ];
        assert_eq!(ssh.options, expected);
        assert_eq!(config.cluster.members[1].options, ["controlpath=none"]);
        let home = text.replace("ssh/config", "~/config");
        let home = parse(&home).unwrap().cluster.ssh.config.unwrap();
        assert!(home.starts_with('/') && !home.contains('~'), "{home}");
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
            swap("10.0.0.1", "[fd42::1"),
            swap("10.0.0.1", "[fd42::1]:0"),
            swap("\"10.0.0.1\"", "\"[fd42::1]:2201\"\nport = 22"),
            swap("name = \"lab\"", "name = lab"),
            swap("name = \"lab\"", ""),
            parse("name = \"x\"\nmembers = []\n")
                .unwrap_err()
                .to_string(),
        ];
        insta::assert_snapshot!(complaints.join("\n"));
    }
}
