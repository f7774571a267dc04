//! The URL of a store, and what a connection takes beside it: who somebody is comes from the environment, as `psql` has it.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::StoreError;
use super::tls::Tls;

/// How long a connection may take to come about.
pub(super) const CONNECT: Duration = Duration::from_secs(10);

/// How a URL begins.
const SCHEMES: [&str; 2] = ["postgresql://", "postgres://"];

/// How a database is reached.
pub(super) struct Way {
    pub(super) config: Config,
    pub(super) tls: Option<Tls>,
    /// `USER@HOST/DATABASE`, for people.
    pub(super) at: String,
}

impl Way {
    /// By a URL as `psql` takes it.
    pub(super) fn of(url: &str) -> Result<Self, StoreError> {
        if !SCHEMES.iter().any(|scheme| url.starts_with(scheme)) {
            return Err(StoreError::Url("only PostgreSQL is known".to_owned()));
        }
        let (url, options) = own(url)?;
        let mut config = Config::from_str(&url).map_err(|error| {
            // What it says about the cause is in the source, and has none of the URL.
            let source = std::error::Error::source(&error).map(ToString::to_string);
            StoreError::Url(source.unwrap_or_else(|| error.to_string()))
        })?;
        if config.get_password().is_some() {
            return Err(StoreError::Password);
        }
        if config.get_hosts().is_empty() {
            return Err(StoreError::Url("it has no host".to_owned()));
        }
        let Some(user) = config.get_user().map(str::to_owned) else {
            return Err(StoreError::Url("it has no user".to_owned()));
        };
        let Some(database) = config.get_dbname().map(str::to_owned) else {
            return Err(StoreError::Url("it has no database".to_owned()));
        };
        let here = config.get_hosts().iter().all(is_here);
        let verified = options.verified.unwrap_or(!here);
        let mut tls = None;
        if verified {
            tls = Some(Tls::verified_by(options.roots.as_deref())?);
        }
        config
            .ssl_mode(if verified {
                SslMode::Require
            } else {
                SslMode::Disable
            })
            .application_name("lockstep")
            .connect_timeout(CONNECT)
            .keepalives_idle(Duration::from_secs(10))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3)
            .tcp_user_timeout(Duration::from_secs(30));
        if let Some(password) = password(&config, &user, &database) {
            config.password(password);
        }
        let hosts: Vec<String> = config.get_hosts().iter().map(name).collect();
        let ports = config.get_ports().iter();
        let ports: String = ports.map(|port| format!(":{port}")).collect();
        let at = format!("{user}@{}{ports}/{database}", hosts.join(","));
        Ok(Self { config, tls, at })
    }
}

/// What of a URL is for lockstep and not for the client.
#[derive(Default)]
struct Options {
    /// Whether the server is verified, where that is said.
    verified: Option<bool>,
    /// The certificates that it is verified with.
    roots: Option<PathBuf>,
}

/// Takes our own parameters out of a URL.
fn own(url: &str) -> Result<(String, Options), StoreError> {
    let Some((base, query)) = url.split_once('?') else {
        return Ok((url.to_owned(), Options::default()));
    };
    let (mut options, mut others) = (Options::default(), Vec::new());
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("sslmode", "disable")) => options.verified = Some(false),
            Some(("sslmode", "verify-full")) => options.verified = Some(true),
            Some(("sslmode", mode)) => {
                return Err(StoreError::Url(format!(
                    "sslmode={mode} verifies nothing; use verify-full or disable"
                )));
            }
            Some(("sslrootcert", file)) => options.roots = Some(PathBuf::from(file)),
            _ => others.push(pair),
        }
    }
    let query = others.join("&");
    let url = match query.is_empty() {
        true => base.to_owned(),
        false => format!("{base}?{query}"),
    };
    Ok((url, options))
}

/// Whether nobody is between us and a host.
fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost"
                || name
                    .parse()
                    .is_ok_and(|address: IpAddr| address.is_loopback())
        }
    }
}

fn name(host: &Host) -> String {
    match host {
        Host::Unix(folder) => folder.display().to_string(),
        Host::Tcp(name) => name.clone(),
    }
}

/// A password, as `psql` finds it: in `PGPASSWORD`, or else in the file that `PGPASSFILE` names, or in `~/.pgpass`.
fn password(config: &Config, user: &str, database: &str) -> Option<String> {
    if let Ok(password) = std::env::var("PGPASSWORD") {
        return Some(password);
    }
    let file = match std::env::var_os("PGPASSFILE") {
        Some(file) => PathBuf::from(file),
        None => etcetera::home_dir().ok()?.join(".pgpass"),
    };
    // One that others can read is no secret, and isn't used.
    let mode = fs::metadata(&file).ok()?.mode();
    if mode & 0o077 != 0 {
        tracing::warn!(
            "{} isn't used: others can read it; chmod 600 it",
            file.display()
        );
        return None;
    }
    let text = fs::read_to_string(&file).ok()?;
    let host = config.get_hosts().first().map_or_else(String::new, name);
    let port = config.get_ports().first().copied().unwrap_or(5432);
    listed(&text, [&host, &port.to_string(), database, user])
}

/// The password of the first line of a password file that fits host, port, database and user.
fn listed(text: &str, wanted: [&str; 4]) -> Option<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(fields).find_map(|fields| {
        let (password, named) = fields.split_last()?;
        let fits = |(named, wanted): (&String, &str)| {
            // A socket is this machine, by either name.
            named == "*" || named == wanted || named == "localhost" && wanted.starts_with('/')
        };
        (named.len() == 4 && named.iter().zip(wanted).all(fits)).then(|| password.clone())
    })
}

/// The fields of a line: between colons, unless a backslash comes before one.
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut escaped) = (vec![String::new()], false);
    for c in line.chars() {
        match (c, escaped) {
            ('\\', false) => {
                escaped = true;
                continue;
            }
            (':', false) if fields.len() < 5 => fields.push(String::new()),
            _ => {
                if let Some(field) = fields.last_mut() {
                    field.push(c);
                }
            }
        }
        escaped = false;
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str) -> String {
        Way::of(url)
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn a_url_that_cannot_be_used_is_refused() {
        assert!(refusal("postgresql://me:secret@db/runs").contains("has a password"));
        assert!(refusal("postgresql://me@db/runs?password=secret").contains("has a password"));
        let said = [
            ("mysql://me@db/runs", "only PostgreSQL is known"),
            ("postgresql://me@/runs", "it has no host"),
            ("postgresql://db/runs", "it has no user"),
            ("postgresql://me@db", "it has no database"),
            (
                "postgresql://me@db/runs?sslmode=require",
                "verifies nothing",
            ),
            ("postgresql://me@db:x/runs", "port"),
        ];
        for (url, why) in said {
            assert!(refusal(url).contains(why), "{url}: {}", refusal(url));
        }
    }

    #[test]
    fn a_server_elsewhere_is_verified() {
        let verified = |url: &str| Way::of(url).map(|way| way.tls.is_some()).unwrap();
        assert!(!verified("postgresql://me@127.0.0.1/runs"));
        assert!(!verified("postgresql://me@%2Ftmp/runs"));
        assert!(!verified("postgresql://me@db/runs?sslmode=disable"));
        let missing = refusal("postgresql://me@db/runs?sslrootcert=/nonexistent");
        assert!(missing.contains("/nonexistent"), "{missing}");
    }

    #[test]
    fn a_password_file_is_read_as_psql_does() {
        let text =
            "# a comment\ndb:5432:other:me:no\ndb:*:runs:me:a\\:b\\\\c\nlocalhost:*:*:*:last\n";
        let listed = |host, user| listed(text, [host, "5432", "runs", user]);
        assert_eq!(listed("db", "me").as_deref(), Some("a:b\\c"));
        assert_eq!(listed("db", "you"), None);
        assert_eq!(listed("/run/postgresql", "you").as_deref(), Some("last"));
    }
}
