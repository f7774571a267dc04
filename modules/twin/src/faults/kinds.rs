//! The kinds of faults, each declared once: its name, its arguments, and what happens.

use lockstep_modules::contract::near::hint;

use crate::ceph::severity::Severity;

/// A kind of fault, as it is written and explained.
#[derive(Debug)]
pub struct FaultKind {
    /// Its name.
    pub name: &'static str,
    /// What it is about.
    pub args: &'static [Arg],
    /// What happens.
    pub about: &'static str,
    /// Reads a trouble of this kind; none where there are more values than arguments, or fewer.
    read: fn(&[&str]) -> Result<Option<Trouble>, String>,
}

/// An argument of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// A member's name.
    Member,
    /// A component's snap.
    Snap,
    /// An instance's name.
    Instance,
    /// The number of an OSD.
    Osd,
    /// Seconds.
    Seconds,
    /// An HTTP status.
    Status,
    /// A storage pool of LXD's.
    Pool,
    /// A health code of Ceph's.
    Code,
    /// `HEALTH_WARN` or `HEALTH_ERR`.
    Severity,
}

/// The severities that a health code can be raised with.
pub const SEVERITIES: [&str; 2] = ["HEALTH_WARN", "HEALTH_ERR"];

// As what each argument is kept, under the name of its `Arg`; `Severity` is what it is called.
type Member = String;
type Snap = String;
type Instance = String;
type Osd = u16;
type Seconds = u16;
type Status = u16;
type Pool = String;
type Code = String;

/// A row is what `--help` says of the fault, its name, and the variant of [`Trouble`] with its arguments. All matches on
/// [`Trouble`] are exhaustive, so that the compiler names what else a new row needs.
macro_rules! faults {
    ($(#[doc = $about:literal] $name:literal => $variant:ident $({ $($field:ident: $arg:ident),+ })?,)+) => {
        /// What goes wrong, and with what.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Trouble {$(
            #[doc = $about]
            $variant $({$(
                #[doc = concat!("An [`Arg::", stringify!($arg), "`].")]
                $field: $arg,
            )+})?,
        )+}

        /// Every kind of fault.
        pub const KINDS: &[FaultKind] = &[$(FaultKind {
            name: $name,
            args: &[$($(Arg::$arg),+)?],
            about: $about.trim_ascii(),
            read: |values| {
                let [$($($field),+)?] = values else {
                    return Ok(None);
                };
                Ok(Some(Trouble::$variant $({ $($field: Value::read($field, Arg::$arg)?),+ })?))
            },
        },)+];

        impl Trouble {
            /// The name of its kind.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant $({ $($field: _),+ })? => $name,)+
                }
            }

            /// Its arguments, as they are written.
            pub(super) fn args(&self) -> Vec<(Arg, String)> {
                match self {
                    $(Self::$variant $({ $($field),+ })? => vec![$($((Arg::$arg, $field.to_string())),+)?],)+
                }
            }
        }
    };
}

faults! {
    /// The member's network link goes down.
    "cut" => Cut { member: Member },
    /// No process of the member makes progress.
    "freeze" => Freeze { member: Member },
    /// The member loses its power.
    "power-off" => PowerOff { member: Member },
    /// The member restarts.
    "reboot" => Reboot { member: Member },
    /// The post-refresh hook fails, and snapd undoes the refresh.
    "refresh-fails" => RefreshFails { snap: Snap, member: Member },
    /// A refresh stands still while the snap's data is copied, with its services stopped.
    "refresh-hangs" => RefreshHangs { snap: Snap, member: Member },
    /// Somebody runs a program of the snap, and snapd refuses to refresh it.
    "running-app" => RunningApp { snap: Snap, member: Member },
    /// After their next stop the snap's daemons don't come back.
    "no-return" => NoReturn { snap: Snap, member: Member },
    /// The snap's daemons die, and systemd starts them again.
    "crash" => Crash { snap: Snap, member: Member },
    /// An LXD that lags behind doesn't refresh itself.
    "no-self-update" => NoSelfUpdate { member: Member },
    /// snapd refreshes the snap by itself, held or not.
    "auto-refresh" => AutoRefresh { snap: Snap, member: Member },
    /// The store has nothing new for this member, not even by number (a phased release).
    "other-revision" => OtherRevision { snap: Snap, member: Member },
    /// The cohort offers nothing new to this member, which gets it by number.
    "cohort-apart" => CohortApart { snap: Snap, member: Member },
    /// The publisher releases another revision of the snap into its channels.
    "new-release" => NewRelease { snap: Snap },
    /// A downloaded snap finds no room.
    "disk-full" => DiskFull { member: Member },
    /// Where snapd looks for the snap's file before it downloads it there is another one.
    "wrong-file" => WrongFile { snap: Snap, member: Member },
    /// The store takes that long to answer.
    "slow-store" => SlowStore { seconds: Seconds },
    /// The store answers with this HTTP status.
    "store-error" => StoreError { status: Status },
    /// LXD can't migrate the instance: an evacuation fails when it gets to it.
    "cannot-migrate" => CannotMigrate { instance: Instance },
    /// Evacuations skip the instance, and report success.
    "left-behind" => LeftBehind { instance: Instance },
    /// LXD can't start the instance.
    "wont-start" => WontStart { instance: Instance },
    /// The member's LXD can't reach the storage pool.
    "pool-unavailable" => PoolUnavailable { pool: Pool, member: Member },
    /// Ceph raises this health code: HEALTH_WARN or HEALTH_ERR.
    "health" => Health { code: Code, severity: Severity },
    /// The OSD stops, and doesn't come back.
    "osd-lost" => OsdLost { id: Osd },
    /// The member's monitor leaves the quorum, and doesn't come back.
    "mon-lost" => MonLost { member: Member },
    /// After the member's next start placement groups don't become clean.
    "never-clean" => NeverClean { member: Member },
    /// Ceph reports slow operations.
    "slow-ops" => SlowOps,
    /// MicroCeph doesn't set require_osd_release after an upgrade.
    "release-not-set" => ReleaseNotSet,
    /// The member's OVN databases leave the others, and don't come back.
    "raft-lost" => RaftLost { member: Member },
    /// The conversion of OVN's databases fails.
    "conversion-stalls" => ConversionStalls,
}

/// What can be read from an argument.
trait Value: Sized {
    /// Reads what can be this at all, on whatever cluster.
    fn read(text: &str, arg: Arg) -> Result<Self, String>;
}

impl Value for String {
    fn read(text: &str, arg: Arg) -> Result<Self, String> {
        let of_codes = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if arg == Arg::Code && !text.chars().all(of_codes) {
            return Err(format!("{text:?} is no health code of Ceph's"));
        }
        Ok(text.to_owned())
    }
}

impl Value for u16 {
    fn read(text: &str, arg: Arg) -> Result<Self, String> {
        text.parse()
            .map_err(|_| format!("{text:?} is not a number for {}", arg.word()))
    }
}

impl Value for Severity {
    fn read(text: &str, _: Arg) -> Result<Self, String> {
        if SEVERITIES.contains(&text) {
            return Ok(text.into());
        }
        let (all, near) = (SEVERITIES.join(" or "), hint(text, &SEVERITIES));
        Err(format!("{text:?} is no severity{near}: it is {all}"))
    }
}

impl Arg {
    fn word(self) -> &'static str {
        match self {
            Self::Member => "MEMBER",
            Self::Snap => "SNAP",
            Self::Instance => "INSTANCE",
            Self::Osd => "OSD",
            Self::Seconds => "SECONDS",
            Self::Status => "STATUS",
            Self::Pool => "POOL",
            Self::Code => "CODE",
            Self::Severity => "SEVERITY",
        }
    }
}

impl FaultKind {
    /// As it is typed, for example `cut:MEMBER`.
    #[must_use]
    pub fn usage(&self) -> String {
        let words: Vec<&str> = self.args.iter().map(|arg| arg.word()).collect();
        let colon = if words.is_empty() { "" } else { ":" };
        format!("{}{colon}{}", self.name, words.join(","))
    }

    /// A trouble of this kind, with these arguments.
    ///
    /// # Errors
    /// Where they aren't such arguments, or not that many.
    pub fn with(&self, values: &[&str]) -> Result<Trouble, String> {
        let usage = || format!("write it as {}[@WHEN][+SPAN]", self.usage());
        (self.read)(values)?.ok_or_else(usage)
    }
}
