//! `init`: a cluster file, written by asking one member who the others are.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use lockstep_modules::contract::cluster::{Cluster, MemberConfig, SshConfig};
use lockstep_modules::contract::cmd::Cmd;
use lockstep_modules::contract::reach::{ContactError, Facts, Transport, deaf};
use lockstep_modules::contract::schema::Member;
use lockstep_modules::transport::ssh::Ssh;
use serde::Deserialize;

use crate::cli::exit::{Exit, Fault};
use crate::cli::front::runtime;
use crate::cli::global::Global;
use crate::config::address;
use crate::private::{self, Over};
use crate::report::harmless::one_line;

/// Where to begin.
#[derive(Args)]
pub(crate) struct InitArgs {
    /// One member of the cluster, as you would give it to ssh
    #[arg(value_name = "[USER@]MEMBER[:PORT]")]
    member: String,
    /// The file to write
    #[arg(long, short, default_value = "cluster.toml", value_name = "FILE")]
    output: PathBuf,
    /// Name of the cluster
    #[arg(long, default_value = "microcloud")]
    name: String,
    /// Overwrite an existing file
    #[arg(long)]
    force: bool,
}

/// A member that was found, and how it can be reached.
struct Found {
    name: String,
    address: Option<String>,
    problem: Option<String>,
}

pub(crate) fn init(global: &Global, args: &InitArgs) -> Result<Exit, Fault> {
    if args.output.symlink_metadata().is_ok() && !args.force {
        return Err(
            Fault::usage(format!("{} exists", args.output.display())).help("--force overwrites it")
        );
    }
    let (user, host, port) = destination(&args.member)?;
    let config = global.ssh_config.as_ref().map(|path| {
        std::fs::canonicalize(path).map_or_else(|_| path.clone(), |path| path.display().to_string())
    });
    let ssh = SshConfig {
        user,
        port,
        config,
        ..SshConfig::default()
    };
    let found = runtime()?.block_on(discover(&ssh, host))?;
    let text = cluster_file(&args.name, &ssh, &found);
    let over = if args.force {
        Over::Anything
    } else {
        Over::Nothing
    };
    private::place(&args.output, &text, private::PRIVATE, over)
        .map_err(|e| Fault::unwritten(&args.output, e))?;
    out!(
        "{}: {}",
        args.output.display(),
        found
            .iter()
            .map(|f| f.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    );
    let mut exit = Exit::Done;
    for Found { name, problem, .. } in &found {
        if let Some(problem) = problem {
            err!("warning: {name} could not be reached: {problem}; see the file");
            exit = Exit::Unreachable;
        }
    }
    Ok(exit)
}

/// `[user@]host[:port]`
fn destination(text: &str) -> Result<(Option<String>, &str, Option<u16>), Fault> {
    let (user, rest) = text
        .split_once('@')
        .map_or((None, text), |(user, rest)| (Some(user.to_owned()), rest));
    let (host, port) = address(rest).map_err(|why| {
        Fault::usage(format!("{text:?} is not a member: {why}"))
            .help("write it as user@host, user@host:port or user@[IPv6]:port")
    })?;
    Ok((user, host, port))
}

async fn discover(ssh: &SshConfig, first: &str) -> Result<Vec<Found>, Fault> {
    let first = &Member::from(first);
    let transport = transport(ssh, vec![MemberConfig::named(first.clone())])?;
    let contact = |e: ContactError| Fault::new(Exit::Unreachable, format!("{first}: {e}"));
    transport.facts(first).await.map_err(contact)?;
    let listed = list(&transport, first).await?;
    for (name, address) in &listed {
        usable(first, name, address)?;
    }

    // The name comes first: ssh_config may know more about it than about the address.
    let named = listed
        .iter()
        .map(|(name, _)| MemberConfig::named(name.as_str()))
        .collect();
    let by_name = reach(ssh, named).await?;
    let addressed = listed.iter().zip(&by_name).filter(|(_, way)| way.is_err());
    let addressed = addressed.map(|((name, address), _)| MemberConfig {
        address: Some(address.clone()),
        ..MemberConfig::named(name.as_str())
    });
    let mut by_address = reach(ssh, addressed.collect()).await?.into_iter();
    let found = listed
        .into_iter()
        .zip(by_name)
        .map(|((name, address), way)| match way {
            Ok(()) => Found {
                name,
                address: None,
                problem: None,
            },
            Err(_) => Found {
                name,
                address: Some(address),
                problem: by_address.next().and_then(Result::err),
            },
        });
    Ok(found.collect())
}

/// Whether a name and an address can be what they should be. A member may say anything, and what it says is given to ssh and
/// written down.
fn usable(first: &str, name: &str, address: &str) -> Result<(), Fault> {
    let is_host = |text: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        text.len() <= 253
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(plain)
    };
    let without_zone = address.split('%').next().unwrap_or_default();
    let is_address = is_host(address)
        || (without_zone.parse::<IpAddr>().is_ok() && is_host(&address.replace([':', '%'], "")));
    let wrong = match (is_host(name), is_address) {
        (true, true) => return Ok(()),
        (false, _) => format!("{name:?} can't be the name of a member"),
        (true, false) => format!("{address:?} can't be the address of {name}"),
    };
    let text = format!("{first} listed the members, and {wrong}; nothing was written");
    Err(Fault::new(Exit::Failed, text))
}

/// Whether each member answers to its own name, or why not.
async fn reach(
    ssh: &SshConfig,
    members: Vec<MemberConfig>,
) -> Result<Vec<Result<(), String>>, Fault> {
    let names: Vec<Member> = members.iter().map(|m| m.name.clone()).collect();
    let reached = transport(ssh, members)?.warm(&names).await;
    let judge = |(name, facts): (Member, Result<Facts, ContactError>)| match facts {
        Ok(facts) if facts.hostname == name => Ok(()),
        Ok(facts) => Err(format!("a machine named {} answers", facts.hostname)),
        Err(error) => Err(error.to_string()),
    };
    Ok(reached.into_iter().map(judge).collect())
}

fn transport(ssh: &SshConfig, members: Vec<MemberConfig>) -> Result<Ssh, Fault> {
    let cluster = Cluster {
        name: "init".to_owned(),
        members,
        machines: Vec::new(),
        ssh: ssh.clone(),
    };
    Ssh::new(&cluster).map_err(|e| {
        Fault::new(
            Exit::State,
            format!("no folder for control sockets can be made: {e}"),
        )
    })
}

/// Names and addresses of all members: MicroCloud's own list, or LXD's.
async fn list(transport: &Ssh, first: &Member) -> Result<Vec<(String, String)>, Fault> {
    #[derive(Deserialize)]
    struct Micro {
        name: String,
        address: String,
    }
    #[derive(Deserialize)]
    struct Lxd {
        server_name: String,
        url: String,
    }
    let microcloud = Cmd::root(["/snap/bin/microcloud", "cluster", "list", "-f", "json"])
        .timeout(std::time::Duration::from_secs(100))
        .private();
    let lxd = Cmd::root(["/snap/bin/lxc", "query", "/1.0/cluster/members?recursion=1"]);
    let host = |address: &str| {
        address
            .rsplit_once(':')
            .map_or(address, |(host, _)| host)
            .trim_matches(['[', ']'])
            .to_owned()
    };
    let mut errors = Vec::new();
    for cmd in [&microcloud, &lxd] {
        let outputs = transport.run(first, std::slice::from_ref(cmd), &deaf).await;
        let outputs =
            outputs.map_err(|e| Fault::new(Exit::Unreachable, format!("{first}: {e}")))?;
        let Some(output) = outputs.first() else {
            continue;
        };
        let members = if std::ptr::eq(cmd, &microcloud) {
            output.json::<Vec<Micro>>(cmd, first).map(|all| {
                all.into_iter()
                    .map(|m| (m.name, host(&m.address)))
                    .collect()
            })
        } else {
            let address = |url: &str| host(url.strip_prefix("https://").unwrap_or(url));
            output.json::<Vec<Lxd>>(cmd, first).map(|all| {
                all.into_iter()
                    .map(|m| (m.server_name, address(&m.url)))
                    .collect()
            })
        };
        match members {
            Ok(members) => return Ok(members),
            Err(error) => errors.push(error.message),
        }
    }
    Err(Fault::new(
        Exit::Failed,
        format!("{first} didn't list the members: {}", errors.join("; ")),
    ))
}

fn cluster_file(name: &str, ssh: &SshConfig, found: &[Found]) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let mut text = format!(
        "# The members of a MicroCloud, in the order in which they are updated. Written by lockstep init.\nname = {}\n",
        quoted(name)
    );
    let settings = [
        ssh.user
            .as_ref()
            .map(|user| format!("user = {}\n", quoted(user))),
        ssh.port.map(|port| format!("port = {port}\n")),
        ssh.config
            .as_ref()
            .map(|config| format!("config = {}\n", quoted(config))),
    ];
    let settings: String = settings.into_iter().flatten().collect();
    if !settings.is_empty() {
        let _ = write!(text, "\n[ssh]\n{settings}");
    }
    for Found {
        name,
        address,
        problem,
    } in found
    {
        text.push('\n');
        if let Some(problem) = problem {
            let _ = writeln!(text, "# could not be reached: {}", one_line(problem));
        }
        let _ = writeln!(text, "[[members]]\nname = {}", quoted(name));
        if let Some(address) = address {
            let _ = writeln!(text, "address = {}", quoted(address));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_read_as_ssh_reads_them() {
        assert_eq!(
            destination("ubuntu@micro01").unwrap(),
            (Some("ubuntu".to_owned()), "micro01", None)
        );
        assert_eq!(
            destination("micro01:2222").unwrap(),
            (None, "micro01", Some(2222))
        );
        assert_eq!(
            destination("root@fd42::1").unwrap(),
            (Some("root".to_owned()), "fd42::1", None)
        );
        assert_eq!(
            destination("mc@[::1]:2201").unwrap(),
            (Some("mc".to_owned()), "::1", Some(2201))
        );
        for bad in [
            "",
            "ubuntu@",
            "-oProxyCommand=x",
            "m:x",
            "m:",
            "[::1]22",
            "[::1]:",
        ] {
            assert!(destination(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_a_member_says_of_the_others_must_be_names_and_addresses() {
        for address in ["10.0.0.1", "fd42::1", "::1", "fe80::1%eth0", "micro01.lan"] {
            assert!(usable("m", "micro01", address).is_ok(), "{address}");
        }
        for bad in [
            "",
            "-oProxyCommand=x",
            "$(touch x)",
            "a\nb",
            "a b",
            "\u{1b}[2J",
            "é",
            "a/b",
        ] {
            assert!(usable("m", bad, "10.0.0.1").is_err(), "{bad:?}");
            assert!(usable("m", "micro01", bad).is_err(), "{bad:?}");
        }
        assert!(usable("m", "micro01", "fe80::1%$(x)").is_err());
        assert!(usable("m", "micro01", "::1\n").is_err());
    }

    #[test]
    fn the_file_that_is_written_can_be_read() {
        let ssh = SshConfig {
            user: Some("ubuntu".to_owned()),
            port: Some(22),
            ..SshConfig::default()
        };
        let found = [
            Found {
                name: "micro01".to_owned(),
                address: None,
                problem: None,
            },
            Found {
                name: "micro02".to_owned(),
                address: Some("10.0.0.2".to_owned()),
                problem: Some("no\u{1b}[2J\nuser = \"eve\"".to_owned()),
            },
        ];
        let text = cluster_file("lab", &ssh, &found);
        insta::assert_snapshot!(text);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster.toml");
        std::fs::write(&path, text).unwrap();
        let config = crate::config::Config::read(&path).unwrap();
        assert_eq!(config.cluster.members[1].host(), "10.0.0.2");
    }
}
