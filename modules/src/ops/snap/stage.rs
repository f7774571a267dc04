//! `snap.stage`: a snap's file is on the member before anything is stopped there.
//!
//! snapd links `/var/lib/snapd/cache/DIGEST` into place instead of downloading, whoever put it there, and goes by no more than
//! its name (`store/cache.go`): one with the wrong bytes fails each refresh, before anything is stopped, until it is removed
//! (seen with snapd 2.68). So a file gets its name there only once its bytes are known to have that digest. What a channel has
//! now, and the bytes, come from snapd itself (`daemon/api_download.go`): `snap download` would know nothing of the proxy,
//! the store, and the account that snapd was told of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;

use super::args::RefreshArgs;
use super::{COHORT, look, to_channel};
use crate::contract::cmd::{Cmd, End};
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Op};
use crate::contract::schema::{Channel, Member, Span};
use crate::contract::text::bytes;
use crate::products::snapd::{self, Revision};

/// Fetch a snap's file ahead, so that its refresh downloads nothing.
///
/// The file is that of the channel that the snap follows, or of another one, as the cohort has it now; or the one of
/// `revision`. snapd downloads it, the member compares its digest with the one that the store gives, and puts it where
/// snapd's refresh finds it. No service is touched. A file that is there already and isn't what it should be is removed.
///
/// A snap that comes to another revision until it is refreshed is downloaded then.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StageArgs {
    /// Member to act on.
    pub(crate) member: Member,
    /// Snap to fetch.
    pub(crate) snap: String,
    /// Channel to fetch it from, for example `squid/stable`. Without it, the one that the snap follows.
    pub(crate) channel: Option<Channel>,
    /// Revision to fetch, whatever the channel has.
    pub(crate) revision: Option<Revision>,
}

/// What is there for the refresh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct StageOut {
    /// Whether it was fetched: not, where it was there, or where that revision is installed.
    pub(crate) changed: bool,
    /// The revision whose file is there.
    pub(crate) revision: Revision,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Whether a file under its name that had other bytes was removed.
    pub(crate) removed: bool,
}

/// Where snapd looks for a file before it downloads one (`dirs/dirs.go`).
const CACHE: &str = "/var/lib/snapd/cache";

/// Where a file is until its digest is known: on the same disk.
const PART: &str = "/var/lib/snapd/lockstep";

/// What the script prints where it removed a file that wasn't what it should be.
const REMOVED: &str = "removed";

/// What stays free beside the file.
const ROOM: u64 = 1 << 30;

/// Where snapd puts it. One that is there is taken for the one in the cache, whatever is in it, and a refresh that fails leaves
/// it (seen with snapd 2.68).
const SNAPS: &str = "/var/lib/snapd/snaps";

/// Python is what Ubuntu's own programs are made of, and openssl is there where it is not; GNU coreutils know no SHA-3.
/// A file is linked to its name, which fails where there is one, and is never half there.
///
/// A download that brings nothing for a minute is given up. `curl` has no exit codes from 100 on, and so these are the
/// script's own. 100: the file is there; 101: nothing there can tell a digest; 102: somebody else fetches it; 103: the bytes
/// are others. `removed` is printed where a wrong file was.
#[doc(hidden)]
pub const SCRIPT: &str = r#"
curl=$1 request=$2 sum=$3 part=$4 to=$5/$3 placed=$6
digest() {
	/usr/bin/python3 -c 'import hashlib, sys
sum = hashlib.sha3_384()
with open(sys.argv[1], "rb") as file:
    for some in iter(lambda: file.read(1 << 20), b""):
        sum.update(some)
print(sum.hexdigest())' "$1" 2>/dev/null || /usr/bin/openssl dgst -sha3-384 -r "$1" 2>/dev/null | cut -c 1-96
}
test -n "$(digest /dev/null)" || exit 101
right() {
	test -e "$1" || return
	test "$(digest "$1")" = "$sum" && return
	rm -f "$1" && echo removed
	return 1
}
umask 077
mkdir -p "$5" || exit
if right "$placed"; then right "$to" || ln "$placed" "$to" || exit; fi
right "$to" && exit 100
exec 9>>"$part"
flock -n 9 || exit 102
trap 'rm -f "$part"' EXIT
trap 'exit 143' TERM
trap 'exit 129' HUP
: >"$part" && "$curl" -sS --fail --speed-limit 1 --speed-time 60 --unix-socket /run/snapd.socket -H 'Content-Type: application/json' -d "$request" \
	http://localhost/v2/download 9>&- >>"$part" || exit
test "$(digest "$part")" = "$sum" || exit 103
chmod 600 "$part" && ln "$part" "$to"
"#;

pub(crate) struct Stage;

impl Op for Stage {
    const NAME: &'static str = "snap.stage";
    const EFFECT: Effect = Effect::Converge;
    /// A download takes as long as it likes.
    const TIMEOUT: Span = Span::secs(30 * 60);
    type Args = StageArgs;
    type Out = StageOut;

    fn headline(args: &StageArgs) -> String {
        let of = args.revision.as_ref();
        let of = of.map_or_else(String::new, |revision| format!(" {revision}"));
        format!("{}{of}{}", args.snap, to_channel(args.channel.as_ref()))
    }

    fn summary(out: &StageOut) -> String {
        let already = if out.changed { "" } else { " already" };
        format!("{} ({}){already}", out.revision, bytes(out.size))
    }

    async fn run(cx: &Cx, args: StageArgs) -> Result<StageOut, OpError> {
        stage(cx, &args).await
    }
}

/// Has the file there, whatever was there before.
async fn stage(cx: &Cx, args: &StageArgs) -> Result<StageOut, OpError> {
    let member = &args.member;
    let Some(curl) = cx.facts(member).await?.curl else {
        let message = "there is no curl, without which snapd can't be asked for the file";
        return Err(OpError::refused(message).on(member));
    };
    let (snap, _) = look(cx, member, &args.snap).await?;
    let channel = args.channel.as_ref().map(Channel::as_str);
    let wanted = match &args.revision {
        Some(revision) => json!({"revision": revision}),
        None => {
            json!({"channel": channel.unwrap_or(&snap.tracking_channel), "cohort-key": COHORT})
        }
    };
    let (file, room) = snapd::file(cx, member, &args.snap, &curl, wanted).await?;
    let out = StageOut {
        changed: false,
        revision: file.revision,
        size: file.size,
        removed: false,
    };
    if out.revision == snap.revision {
        return Ok(out);
    }
    let needed = ROOM.saturating_add(file.size);
    if room < needed {
        let message = format!(
            "{} are free in /var/lib/snapd, but {} are needed to fetch {} ahead",
            bytes(room),
            bytes(needed),
            args.snap
        );
        return Err(OpError::refused(message).on(member));
    }
    let request = json!({"snap-name": args.snap, "resume-token": file.token}).to_string();
    let part = format!("{PART}-{}.part", args.snap);
    let placed = format!("{SNAPS}/{}_{}.snap", args.snap, out.revision);
    let words = [
        "/bin/sh",
        "-c",
        SCRIPT,
        "snap.stage",
        &curl,
        &request,
        &file.digest,
        &part,
        CACHE,
        &placed,
    ];
    let left = cx.deadline().saturating_duration_since(Instant::now());
    let cmd = Cmd::root(words).timeout(left);
    let output = cx.cmd(member, &cmd).await?;
    let removed = output.stdout.lines().any(|line| line == REMOVED);
    let reason = match output.end {
        End::Exit(0) => {
            let changed = true;
            return Ok(StageOut {
                changed,
                removed,
                ..out
            });
        }
        End::Exit(100) => return Ok(StageOut { removed, ..out }),
        End::Exit(101) => "neither python3 nor openssl tells a SHA3-384 there",
        End::Exit(102) => "another process is fetching the file",
        End::Exit(103) => "what was downloaded has another digest than the store's; it was removed",
        _ => output.stderr.lines().next_back().unwrap_or_default(),
    };
    Err(output.failure(&cmd, member, reason).with(REMOVED, removed))
}

/// Has the right file there for a refresh that failed on its file. Whether that was another one.
pub(super) async fn again(
    cx: &Cx,
    args: &RefreshArgs,
    number: Option<&Revision>,
) -> Result<bool, OpError> {
    let args = StageArgs {
        member: args.member.clone(),
        snap: args.snap.clone(),
        channel: args.channel.clone(),
        revision: number.cloned(),
    };
    match stage(cx, &args).await {
        Ok(out) => Ok(out.removed),
        // It can't be fetched ahead, but what was in the way is gone.
        Err(error) if error.detail.get(REMOVED) == Some(&true.into()) => Ok(true),
        Err(error) => Err(error),
    }
}
