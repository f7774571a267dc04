//! What a member itself has to offer: its snapd, its kernel, its room, its clock, and what the store has for it.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use jiff::Timestamp;
use serde::Deserialize;

use super::version::Version;
use crate::contract::cmd::Cmd;
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::schema::Member;
use crate::ops::snap::{self, Client};
use crate::products::snapd::{self, Revision};

/// A member, as a preflight sees it.
pub(super) struct Host {
    /// What its machine calls itself.
    pub(super) name: String,
    pub(super) snapd: Option<Version>,
    pub(super) kernel: Option<Version>,
    pub(super) os: Os,
    /// Bytes that are free where snapd keeps snaps.
    pub(super) free: Result<u64, String>,
    /// Milliseconds that its clock is ahead of ours, and how far that may be off.
    pub(super) clock: Result<(i64, i64), String>,
    /// What the store has for it, in the channel and cohort that each snap is in.
    pub(super) offers: Result<BTreeMap<String, Offer>, String>,
    /// The programs of snaps that people run there.
    pub(super) clients: Result<Vec<Client>, String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Offer {
    pub(super) name: String,
    pub(super) revision: Revision,
    pub(super) version: String,
    #[serde(default)]
    pub(super) download_size: u64,
}

/// What `/etc/os-release` says of a system, as snapd tells it (`client.OSRelease` of snapd).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct Os {
    /// `ubuntu`
    pub(super) id: String,
    /// `24.04`
    pub(super) version_id: String,
}

impl Os {
    /// The release of Ubuntu; why that isn't known, of another system too.
    pub(super) fn ubuntu(&self) -> Result<Version, String> {
        match (self.id.as_str(), Version::parse(&self.version_id)) {
            ("ubuntu", Some(version)) => Ok(version),
            ("", _) => Err("the release of its system isn't known".to_owned()),
            (id, _) => Err(format!(
                "it runs {id} {}, of which nothing is known",
                self.version_id
            )),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct System {
    version: String,
    #[serde(default)]
    kernel_version: String,
    #[serde(default)]
    os_release: Os,
}

/// Looks at members, side by side.
pub(super) async fn all(cx: &Cx, members: Vec<Member>) -> Vec<(Member, Result<Host, OpError>)> {
    let looks = join_all(members.iter().map(|member| look(cx, member))).await;
    members.into_iter().zip(looks).collect()
}

async fn look(cx: &Cx, member: &Member) -> Result<Host, OpError> {
    let paths = ["/v2/system-info", "/v2/find?select=refresh"];
    let [system, offers] = snapd::get(cx, member, paths).await?;
    let system: Option<System> = snapd::read(member, system).ok();
    let offers: Result<Vec<Offer>, OpError> = snapd::read(member, offers);
    let df = snapd::df();
    let date = Cmd::user(["/usr/bin/date", "+%s.%N"]);
    let room = cx.cmd(member, &df).await?;
    let free = snapd::free(&df, &room, member).map_err(|e| e.message);
    let asked = cx.now();
    let time = cx.cmd(member, &date).await?;
    let answered = cx.now();
    let time = time.text(&date, member).map_err(|e| e.message);
    let clients = snap::running(cx, member).await.map_err(|e| e.message);
    let version = |of: fn(&System) -> &str| system.as_ref().and_then(|s| Version::parse(of(s)));
    Ok(Host {
        name: cx.facts(member).await?.hostname,
        clients,
        snapd: version(|s| &s.version),
        kernel: version(|s| &s.kernel_version),
        os: system.map(|s| s.os_release).unwrap_or_default(),
        free,
        clock: time.and_then(|text| {
            let theirs = millis(text.trim()).ok_or_else(|| format!("date printed {text:?}"))?;
            let (asked, answered) = (asked.as_millisecond(), answered.as_millisecond());
            Ok((
                theirs - i64::midpoint(asked, answered),
                (answered - asked) / 2,
            ))
        }),
        offers: offers.map_err(|e| e.message).map(|list| {
            list.into_iter()
                .map(|offer| (offer.name.clone(), offer))
                .collect()
        }),
    })
}

/// Milliseconds of `1764000000.123456789`.
fn millis(text: &str) -> Option<i64> {
    let (seconds, rest) = text.split_once('.')?;
    let rest: i64 = rest.get(..3)?.parse().ok()?;
    let millis = seconds.parse::<i64>().ok()?.checked_mul(1000)?;
    // Of a year that there is, so that clocks can be compared.
    let time = Timestamp::from_millisecond(millis.checked_add(rest)?).ok()?;
    Some(time.as_millisecond())
}
