//! The certificates of OVN's services on each member: `microovn certificates list`, and `openssl` that reads their dates.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde_json::{Value, json};

use crate::dialects::Trait;
use crate::world::{Reply, World};

/// Where they are (`ovn/paths/paths.go`).
const FOLDER: &str = "/var/snap/microovn/common/data/pki";

/// The services: as the list has them, as `microovn status` calls them, and whether central members alone have them.
const SERVICES: [(&str, &str, bool); 6] = [
    ("ca", "OVN CA", false),
    ("ovnnb", "OVN Northbound Database", true),
    ("ovnsb", "OVN Southbound Database", true),
    ("ovn-northd", "OVN Northd Service", true),
    ("ovn-controller", "OVN Chassis Service", false),
    ("client", "Client", false),
];

/// Years from a certificate's making to its end, and the CA's.
const YEARS: i64 = 2;
const CA_YEARS: i64 = 10;

fn path(service: &str) -> String {
    match service {
        "ca" => format!("{FOLDER}/cacert.pem"),
        service => format!("{FOLDER}/{service}-cert.pem"),
    }
}

/// The services that have a certificate on a member.
fn services(world: &World, member: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let central = world.ovn.northbound.servers.contains_key(member);
    let here = SERVICES
        .into_iter()
        .filter(move |(.., alone)| central || !alone);
    here.map(|(service, title, _)| (service, title))
}

fn ends(world: &World, member: &str, service: &str) -> Timestamp {
    let own = world.ovn.certificates.get(member);
    if let Some(end) = own.and_then(|dates| dates.get(service)) {
        return *end;
    }
    let years = if service == "ca" { CA_YEARS } else { YEARS };
    let made = world.epoch.to_zoned(TimeZone::UTC);
    let end = made.checked_add(Span::new().years(years));
    end.map_or(Timestamp::MAX, |end| end.timestamp())
}

/// What `microovn status` says of the certificates of the member that is asked.
pub(super) fn expired(world: &World, member: &str) -> String {
    let now = world.timestamp(world.now);
    let over = services(world, member).filter(|(service, _)| ends(world, member, service) < now);
    over.map(|(_, title)| format!("{title} certificate has expired\n"))
        .collect()
}

/// `microovn certificates list [-f json]`
pub(crate) fn certificates(world: &World, member: &str, flags: &[&str]) -> Reply {
    if !matches!(flags, ["-f" | "--format", "json"] | ["--format=json"]) {
        let line = |(service, title): (&str, &str)| {
            format!("[{title}]\n{} (OK: Present)\n", path(service))
        };
        let all: Vec<String> = services(world, member).map(line).collect();
        return Reply::out(all.join("\n"));
    }
    let (dated, bare) = (
        world.has(member, Trait::OvnDates),
        !world.has(member, Trait::OvnSchemas),
    );
    let mut list = json!({"ca": null, "ovnnb": null, "ovnsb": null, "ovn-northd": null, "ovn-controller": null, "client": null});
    for (service, _) in services(world, member) {
        let mut entry = json!({"cert": path(service)});
        match service {
            // 22.03 has the path alone, since it renews nothing by itself.
            "ca" if bare => entry = Value::from(path(service)),
            "ca" => entry["auto_renew"] = json!(true),
            _ => entry["key"] = json!(format!("{FOLDER}/{service}-privkey.pem")),
        }
        if dated {
            let end = ends(world, member, service).strftime("%Y-%m-%d %H:%M:%S +0000 UTC");
            entry["expiration_date"] = json!(end.to_string());
        }
        list[service] = entry;
    }
    Reply::out(list.to_string())
}

/// `openssl x509 -enddate -noout -in FILE`, of OpenSSL 3.
pub(crate) fn openssl(world: &World, member: &str, args: &[&str]) -> Reply {
    let file = args.iter().skip_while(|arg| **arg != "-in").nth(1);
    let Some(file) = file.filter(|_| args.contains(&"-enddate")) else {
        return Reply::fail(1, "x509: Use -help for summary.\n");
    };
    let mut here = services(world, member);
    match here.find(|(service, _)| path(service) == **file) {
        Some((service, _)) => {
            let end = ends(world, member, service).strftime("%b %e %H:%M:%S %Y GMT");
            Reply::out(format!("notAfter={end}\n"))
        }
        None => Reply::fail(
            1,
            format!(
                "Could not open file or uri for loading certificate from {file}: No such file or directory\nUnable to load certificate\n"
            ),
        ),
    }
}

impl World {
    /// A certificate has expired on every member: `OVN CA`, `OVN Northbound Database` and so on.
    pub fn expire_certificate(&mut self, title: &str) {
        let members: Vec<String> = self.members.keys().cloned().collect();
        for member in members {
            self.end_certificate(&member, title, self.epoch);
        }
    }

    /// A certificate of a member ends at this time.
    pub(crate) fn end_certificate(&mut self, member: &str, title: &str, end: Timestamp) {
        let named = SERVICES.iter().find(|(_, name, _)| *name == title);
        if let Some((service, ..)) = named {
            let own = self.ovn.certificates.entry(member.to_owned()).or_default();
            own.insert((*service).to_owned(), end);
        }
    }
}
