//! The file of a snap: which one snapd would download now, and whether there is room for it.

use serde_json::{Value, json};

use super::{ApiError, Envelope, Revision, TIMEOUT, refused};
use crate::contract::cmd::{Cmd, Output};
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::schema::Member;

/// The file of a revision, as snapd tells of it (`daemon/api_download.go`, `daemon/response.go`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) revision: Revision,
    /// In bytes.
    pub(crate) size: u64,
    /// Its SHA3-384, in hexadecimal: the name under which snapd keeps it.
    pub(crate) digest: String,
    /// By which snapd gives this file and no other, whatever the channel has by then.
    pub(crate) token: String,
}

/// The file that a member would download, and the bytes that are free where snapd keeps it. `wanted` has the channel and
/// the cohort, or the revision.
pub(crate) async fn file(
    cx: &Cx,
    member: &Member,
    snap: &str,
    curl: &str,
    mut wanted: Value,
) -> Result<(File, u64), OpError> {
    wanted["snap-name"] = json!(snap);
    wanted["header-peek"] = json!(true);
    let wanted = wanted.to_string();
    let words = [
        curl,
        "-sS",
        "-i",
        "--max-time",
        "55",
        "--unix-socket",
        "/run/snapd.socket",
        "-H",
        "Content-Type: application/json",
        "-d",
        &wanted,
        "http://localhost/v2/download",
    ];
    let batch = [Cmd::root(words).timeout(TIMEOUT), df()];
    let outputs = cx.batch(member, &batch).await?;
    let [peek, room] = outputs.as_slice() else {
        return Err(OpError::command("two answers were expected").on(member));
    };
    let text = peek.text(&batch[0], member)?;
    let file = match read(text) {
        Ok(file) => file,
        Err(Some(error)) => return Err(refused(member, &error)),
        Err(None) => {
            let why = "printed something else than the headers of a snap";
            return Err(peek.failure(&batch[0], member, why));
        }
    };
    Ok((file, free(&batch[1], room, member)?))
}

/// Reads the headers of an answer, or the error in its body.
fn read(answer: &str) -> Result<File, Option<ApiError>> {
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(None)?;
    if let Ok(envelope) = serde_json::from_str::<Envelope>(body) {
        return Err(serde_json::from_str(envelope.result.get()).ok());
    }
    let header = |name: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(": "));
        let field = fields.find(|(field, _)| field.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.trim()).ok_or(None)
    };
    let digest = header("Snap-Sha3-384")?;
    let is_digest = digest.len() == 96 && digest.bytes().all(|b| b.is_ascii_hexdigit());
    let named = header("Content-Disposition")?;
    let revision = named
        .strip_suffix(".snap")
        .and_then(|n| n.rsplit('_').next());
    let revision = revision.filter(|r| r.bytes().all(|b| b.is_ascii_alphanumeric()));
    match (revision, header("Snap-Length")?.parse()) {
        (Some(revision), Ok(size)) if is_digest => Ok(File {
            revision: revision.into(),
            size,
            digest: digest.to_owned(),
            token: header("Snap-Download-Token")?.to_owned(),
        }),
        _ => Err(None),
    }
}

/// Tells what is free where snapd keeps snaps.
pub(crate) fn df() -> Cmd {
    Cmd::user(["/usr/bin/df", "--output=avail", "-B1", "/var/lib/snapd"])
}

/// The bytes that [`df`] told of.
pub(crate) fn free(df: &Cmd, output: &Output, member: &Member) -> Result<u64, OpError> {
    let text = output.text(df, member)?;
    let last = text.lines().next_back().map(str::trim);
    let bytes = last.and_then(|n| n.parse().ok());
    bytes.ok_or_else(|| output.failure(df, member, &format!("printed {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &str) -> String {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transcripts/snapd/");
        let text = std::fs::read_to_string(format!("{folder}{name}")).unwrap();
        text.replace('\n', "\r\n")
    }

    #[test]
    fn a_file_is_read_off_the_headers() {
        let file = read(&sample("download-peek.txt")).unwrap();
        assert_eq!((file.revision.as_str(), file.size), ("1501", 12288));
        assert!(file.digest.starts_with("1d41cdc1ecedeb73"), "{file:?}");
        assert!(file.token.starts_with("eyJzbmFwLW5hbWUi"), "{file:?}");
    }

    #[test]
    fn what_snapd_refuses_is_told_as_it_says_it() {
        let error = read(&sample("download-no-channel.txt"))
            .unwrap_err()
            .unwrap();
        assert_eq!(error.message, "no snap revision on specified channel");
        assert_eq!(error.kind, "snap-channel-not-available");
    }

    #[test]
    fn a_digest_names_a_file_and_nothing_else() {
        let good = sample("download-peek.txt");
        let bad = good.replace("1d41cdc1ecedeb73", "../../../../etc/");
        assert_eq!(read(&bad), Err(None));
        let bad = good.replace("microceph_1501.snap", "microceph_../1501.snap");
        assert_eq!(read(&bad), Err(None));
        assert_eq!(read("HTTP/1.1 200 OK\r\n\r\n"), Err(None));
        assert_eq!(read("<html>"), Err(None));
    }
}
