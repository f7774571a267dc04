//! The members of a cluster and how each is reached: what the cluster file says, as plain data.

use serde::{Deserialize, Serialize};

use crate::contract::cmd::quote;
use crate::contract::schema::{Member, Span};

/// A cluster as lockstep sees it before it has spoken to any member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// What people call it.
    pub name: String,
    /// Members in the order in which waves visit them.
    pub members: Vec<MemberConfig>,
    /// Machines beside the cluster, on which playbooks may run programs: a load balancer, for example.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub machines: Vec<MemberConfig>,
    /// How members are reached unless they say otherwise.
    #[serde(default)]
    pub ssh: SshConfig,
}

impl Cluster {
    /// Everything that can be reached: the members, and the machines beside them.
    pub fn reachable(&self) -> impl Iterator<Item = &MemberConfig> {
        self.members.iter().chain(&self.machines)
    }

    /// The members' names, in the cluster's order.
    #[must_use]
    pub fn names(&self) -> Vec<Member> {
        self.members.iter().map(|m| m.name.clone()).collect()
    }

    /// Whether there is such a member. Machines beside the cluster are none.
    #[must_use]
    pub fn is_member(&self, name: &Member) -> bool {
        self.members.iter().any(|m| m.name == *name)
    }

    /// A command on a member as one would type it here: through `ssh`, unless the member is this machine. None where
    /// there is no such member.
    #[must_use]
    pub fn typed(&self, member: &Member, command: &str) -> Option<String> {
        let member = self.reachable().find(|m| m.name == *member)?;
        if member.local {
            return Some(command.to_owned());
        }
        let mut words = vec!["ssh".to_owned()];
        words.extend(member.ssh_args(&self.ssh).iter().map(|word| quote(word)));
        words.extend([quote(member.host()), "--".to_owned(), quote(command)]);
        Some(words.join(" "))
    }
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberConfig {
    /// The name that LXD and the microclusters know it by.
    pub name: Member,
    /// What to hand to `ssh` as the host: a name, an alias of ssh_config, or an address. The member's name by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The member is the machine that lockstep runs on: no ssh.
    #[serde(default, skip_serializing_if = "is_false")]
    pub local: bool,
    /// Login user, where it differs from the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Port, where it differs from the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Further `-o` options for this member, for example `ProxyJump=bastion`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl MemberConfig {
    /// A member of which only the name is known.
    pub fn named(name: impl Into<Member>) -> Self {
        Self {
            name: name.into(),
            address: None,
            local: false,
            user: None,
            port: None,
            options: Vec::new(),
        }
    }

    /// What `ssh` is given to connect to.
    #[must_use]
    pub fn host(&self) -> &str {
        self.address.as_deref().unwrap_or(self.name.as_str())
    }

    /// What `ssh` is given before the host, beside what the user's own ssh_config says.
    #[must_use]
    pub fn ssh_args(&self, config: &SshConfig) -> Vec<String> {
        let mut args = Vec::new();
        let mut arg = |flag: &str, value: &str| args.extend([flag.to_owned(), value.to_owned()]);
        if let Some(config) = &config.config {
            arg("-F", config);
        }
        if let Some(user) = self.user.as_ref().or(config.user.as_ref()) {
            arg("-l", user);
        }
        if let Some(port) = self.port.or(config.port) {
            arg("-p", &port.to_string());
        }
        for option in self.options.iter().chain(&config.options) {
            arg("-o", option);
        }
        args
    }
}

/// How `ssh` is called. Everything that isn't here comes from the user's own ssh_config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SshConfig {
    /// Login user of all members.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Port of all members.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Another ssh_config than the user's (`ssh -F`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// Further `-o` options for all members.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// How long one attempt to connect may take.
    pub connect_timeout: Span,
    /// How long a member that was reached before may stay away before its step is held.
    pub patience: Span,
    /// Cluster files and journals up to 0.1 had a choice of how commands travel. It is read and says nothing.
    #[serde(skip_serializing, rename = "mux", deserialize_with = "retired")]
    pub _mux: (),
}

impl Default for SshConfig {
    fn default() -> Self {
        Self {
            user: None,
            port: None,
            config: None,
            options: Vec::new(),
            connect_timeout: Span::secs(10),
            patience: Span::secs(600),
            _mux: (),
        }
    }
}

fn retired<'de, D: serde::Deserializer<'de>>(value: D) -> Result<(), D::Error> {
    serde::de::IgnoredAny::deserialize(value).map(drop)
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn is_false(value: &bool) -> bool {
    !value
}
