//! When the certificates expire by which OVN's services trust each other: on each member, since each has its own.
//!
//! Every track lists the files (`microovn/cmd/microovn/certificates_list.go`). Only 26.03 tells of dates, and `microovn status`
//! there only of what has expired on the member that is asked: so the files themselves are asked.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;
use serde::Deserialize;

use crate::contract::cmd::{Cmd, Output};
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::schema::Member;
use crate::products::microcluster::MICROOVN;
use crate::products::snapd::Presence;

/// MicroOVN renews a service's certificate 10 days before its end (`commands/refresh-expiring-certs`): what is nearer than
/// this is worth a look, and no reason to stop.
const SOON: i64 = 30 * 24 * 60 * 60;

/// What is wrong with certificates, a sentence each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Certificates {
    pub(crate) expired: Vec<String>,
    /// They expire soon, or this MicroOVN doesn't tell which it has: worth a look, and no reason to stop.
    pub(crate) notes: Vec<String>,
    pub(crate) unknown: Vec<String>,
}

/// `microovn certificates list -f json`. A member has the certificates of the services that it runs.
#[derive(Deserialize)]
struct Listed {
    ca: File,
    ovnnb: Option<File>,
    ovnsb: Option<File>,
    #[serde(rename = "ovn-northd")]
    northd: Option<File>,
    #[serde(rename = "ovn-controller")]
    controller: Option<File>,
    client: Option<File>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum File {
    /// The CA before 26.03.
    Path(String),
    Bundle {
        cert: String,
    },
}

/// What a certificate is for.
type Use = &'static str;

const CA: Use = "OVN's CA";

impl Listed {
    fn files(self) -> Vec<(Use, String)> {
        let all = [
            (CA, Some(self.ca)),
            ("OVN Northbound", self.ovnnb),
            ("OVN Southbound", self.ovnsb),
            ("OVN Northd", self.northd),
            ("OVN Controller", self.controller),
            ("OVN's client", self.client),
        ];
        let path = |file| match file {
            File::Path(path) | File::Bundle { cert: path } => path,
        };
        let all = all.into_iter();
        all.filter_map(|(what, file)| Some((what, path(file?))))
            .collect()
    }
}

/// Asks every member that has MicroOVN.
/// It fails where nobody can tell which members have it, or none does.
pub(super) async fn certificates(cx: &Cx) -> Result<Certificates, OpError> {
    let members = Presence::of(cx, MICROOVN.snap).await?.with;
    if members.is_empty() {
        return Err(OpError::refused("no member has the snap of MicroOVN"));
    }
    let answers = join_all(members.iter().map(|member| of(cx, member))).await;
    let mut found = Certificates::default();
    // The CA is the same on each member.
    let mut ends: BTreeMap<(Timestamp, Use), Vec<&str>> = BTreeMap::new();
    let mut untold = Vec::new();
    for (member, answer) in members.iter().zip(answers) {
        match answer {
            Err(error) => found.unknown.push(format!("{member}: {error}")),
            Ok(None) => untold.push(member.as_str()),
            Ok(Some(files)) => {
                for (what, end) in files {
                    match end {
                        Ok(end) => ends.entry((end, what)).or_default().push(member.as_str()),
                        Err(why) => found.unknown.push(format!("{member}: {why}")),
                    }
                }
            }
        }
    }
    let now = cx.now().as_second();
    for ((end, what), members) in ends {
        let left = end.as_second() - now;
        let text = sentence(what, &members, day(end), left <= 0);
        if left <= 0 {
            found.expired.push(text);
        } else if left < SOON {
            found.notes.push(text);
        }
    }
    if !untold.is_empty() {
        let members = untold.join(", ");
        found.notes.push(format!(
            "{members}: this MicroOVN has no command that lists its certificates: check yourself when they expire"
        ));
    }
    Ok(found)
}

/// The certificates of a member, and when they end; `None` where MicroOVN has no command for it.
async fn of(
    cx: &Cx,
    member: &Member,
) -> Result<Option<Vec<(Use, Result<Timestamp, String>)>>, OpError> {
    let list = Cmd::root(["/snap/bin/microovn", "certificates", "list", "-f", "json"]);
    let output = cx.cmd(member, &list).await?;
    if output.lacks_command() {
        return Ok(None);
    }
    let files = output.json::<Listed>(&list, member)?.files();
    let ask = |(_, path): &(Use, String)| {
        Cmd::root([
            "/usr/bin/openssl",
            "x509",
            "-enddate",
            "-noout",
            "-in",
            path,
        ])
    };
    let batch: Vec<Cmd> = files.iter().map(ask).collect();
    let outputs = cx.batch(member, &batch).await?;
    let ends = batch.iter().zip(&outputs).zip(files);
    let ends = ends.map(|((cmd, output), (what, path))| {
        let end = end(cmd, output, member).map_err(|e| format!("{what} ({path}): {e}"));
        (what, end)
    });
    Ok(Some(ends.collect()))
}

fn end(cmd: &Cmd, output: &Output, member: &Member) -> Result<Timestamp, OpError> {
    let text = output.text(cmd, member)?;
    parse(text).ok_or_else(|| {
        output.failure(
            cmd,
            member,
            "printed something else than the end of a certificate",
        )
    })
}

/// `notAfter=Nov  4 08:12:30 2034 GMT`, whatever the locale (`ASN1_TIME_print`).
fn parse(text: &str) -> Option<Timestamp> {
    let end = text.trim().strip_prefix("notAfter=")?;
    let words: Vec<&str> = end.split_whitespace().collect();
    let parsed = BrokenDownTime::parse("%b %d %H:%M:%S %Y GMT", words.join(" ")).ok()?;
    let zoned = parsed.to_datetime().ok()?.to_zoned(TimeZone::UTC).ok()?;
    Some(zoned.timestamp())
}

fn day(end: Timestamp) -> Date {
    end.to_zoned(TimeZone::UTC).date()
}

/// What a certificate comes to, and what to do about it. A CA that is the operator's own must not be replaced by one that
/// MicroOVN makes.
fn sentence(what: Use, members: &[&str], day: Date, over: bool) -> String {
    let members = members.join(", ");
    let verb = if over { "expired" } else { "expires" };
    let renew = if what == CA {
        "if MicroOVN made it, renew it with: sudo microovn certificates regenerate-ca; renew a CA of your own yourself, then set it with: sudo microovn certificates set-ca"
    } else {
        "renew it there with: sudo microovn certificates reissue all"
    };
    format!("{members}: the certificate of {what} {verb} on {day}; {renew}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_read_as_openssl_writes_it() {
        let shown = |text: &str| parse(text).map(|end| end.to_string());
        assert_eq!(
            shown("notAfter=Nov  4 08:12:30 2034 GMT\n").as_deref(),
            Some("2034-11-04T08:12:30Z")
        );
        assert_eq!(
            shown("notAfter=Feb 28 23:59:59 2027 GMT\n").as_deref(),
            Some("2027-02-28T23:59:59Z")
        );
        for odd in [
            "",
            "notAfter=",
            "notAfter=Bad time value",
            "Could not read certificate",
            "{}",
        ] {
            assert_eq!(shown(odd), None, "{odd}");
        }
    }

    #[test]
    fn every_track_lists_its_certificates() {
        let files = |text: &str| serde_json::from_str::<Listed>(text).map(Listed::files);
        let central = files(
            r#"{"ca":"/pki/cacert.pem","ovnnb":{"cert":"/pki/ovnnb-cert.pem","key":"/pki/ovnnb-privkey.pem"},"ovnsb":null,
                "ovn-northd":null,"ovn-controller":null,"client":{"cert":"/pki/client-cert.pem","key":"k"}}"#,
        );
        let expected = [
            (CA, "/pki/cacert.pem".to_owned()),
            ("OVN Northbound", "/pki/ovnnb-cert.pem".to_owned()),
            ("OVN's client", "/pki/client-cert.pem".to_owned()),
        ];
        assert_eq!(central.unwrap(), expected);
        let of_26_03 = files(
            r#"{"ca":{"cert":"/pki/cacert.pem","auto_renew":true,"expiration_date":"2034-11-04 08:12:30 +0000 UTC"},
                "ovnnb":null,"ovnsb":null,"ovn-northd":null,"ovn-controller":null,"client":null}"#,
        );
        assert_eq!(of_26_03.unwrap(), [(CA, "/pki/cacert.pem".to_owned())]);
        assert!(files("{}").is_err() && files(r#"{"ca":{}}"#).is_err());
    }

    #[test]
    fn nobody_is_told_to_replace_a_ca_of_their_own() {
        let day = Date::constant(2026, 11, 4);
        insta::assert_snapshot!(sentence(CA, &["m1", "m2"], day, true), @"m1, m2: the certificate of OVN's CA expired on 2026-11-04; if MicroOVN made it, renew it with: sudo microovn certificates regenerate-ca; renew a CA of your own yourself, then set it with: sudo microovn certificates set-ca");
        insta::assert_snapshot!(sentence("OVN Northd", &["m1"], day, false), @"m1: the certificate of OVN Northd expires on 2026-11-04; renew it there with: sudo microovn certificates reissue all");
    }
}
