//! A case: what disturbs a run, on purpose.

use std::fmt;
use std::time::Duration;

use lockstep_modules::contract::component::Component;
use lockstep_modules::contract::schema::Span;
use lockstep_twin::{Arg, Fault, KINDS, SEVERITIES, Trouble, When, World};

use crate::journal::Crash;

/// The controller is killed and comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    /// When it is killed.
    pub(crate) crash: Crash,
    /// How long it is away.
    pub(crate) downtime: Duration,
    /// Commands that ran on members end with their sessions; otherwise they keep running.
    pub sessions_end: bool,
}

/// Everything that disturbs one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Case {
    /// Seed of everything random in the world.
    pub seed: u64,
    /// What had happened to the cluster before the run.
    pub before: Vec<Fault>,
    /// What goes wrong with the cluster.
    pub faults: Vec<Fault>,
    /// What goes wrong with the controller: each process is killed so, until there is no kill left.
    pub kills: Vec<Kill>,
}

/// How long before the run that was, so that all has settled.
pub(super) const BEFORE: Duration = Duration::from_secs(600);

/// How long a killed controller is away.
const DOWNTIMES: [Duration; 2] = [Duration::ZERO, Duration::from_secs(600)];

impl Case {
    /// A kill at every append of a run that has this many, in every place, with either downtime and either fate of what
    /// was running.
    pub fn every_kill(appends: usize) -> impl Iterator<Item = Self> {
        type Place = fn(usize) -> Crash;
        const PLACES: [Place; 3] = [Crash::Before, Crash::Torn, Crash::After];
        (1..=appends).flat_map(|n| {
            PLACES.into_iter().flat_map(move |place| {
                DOWNTIMES.into_iter().flat_map(move |downtime| {
                    [false, true].into_iter().map(move |sessions_end| Self {
                        seed: 1,
                        before: Vec::new(),
                        faults: Vec::new(),
                        kills: vec![Kill {
                            crash: place(n),
                            downtime,
                            sessions_end,
                        }],
                    })
                })
            })
        })
    }

    /// Case number `number` of a series: up to two faults and up to two kills, anywhere in a run of this many appends that
    /// takes this many milliseconds.
    pub(crate) fn random(
        series: u64,
        number: usize,
        world: &World,
        appends: usize,
        takes: u64,
    ) -> Self {
        let mut rng = fastrand::Rng::with_seed(series);
        // Neighbouring numbers must not give neighbouring cases.
        let mut rng = fastrand::Rng::with_seed(
            rng.u64(..) ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15),
        );
        let seed = rng.u64(1..1 << 32);
        let (faults, kills) = match rng.u8(0..10) {
            0..=3 => (1, 0),
            4..=5 => (2, 0),
            6..=7 => (1, 1),
            8 => (0, 2),
            _ => (2, 2),
        };
        let mut case = Self {
            seed,
            before: Vec::new(),
            faults: (0..faults)
                .filter_map(|_| fault(&mut rng, world, takes))
                .collect(),
            kills: (0..kills).map(|_| kill(&mut rng, appends)).collect(),
        };
        if rng.u8(0..4) == 0 {
            case.before = halfway(&mut rng, world);
            for fault in &mut case.faults {
                if let When::At(at) = &mut fault.when {
                    *at += BEFORE.as_secs() * 1000;
                }
            }
        }
        case
    }

    /// The cases that are like this one and simpler, the simplest first.
    pub(crate) fn simpler(&self) -> Vec<Self> {
        let mut simpler = Vec::new();
        let mut without_each = |count: usize, remove: fn(&mut Self, usize)| {
            for i in 0..count {
                let mut case = self.clone();
                remove(&mut case, i);
                simpler.push(case);
            }
        };
        without_each(self.before.len(), |case, i| _ = case.before.remove(i));
        without_each(self.faults.len(), |case, i| _ = case.faults.remove(i));
        without_each(self.kills.len(), |case, i| _ = case.kills.remove(i));
        for (i, kill) in self.kills.iter().enumerate() {
            if kill.sessions_end || !kill.downtime.is_zero() {
                let mut case = self.clone();
                case.kills[i] = Kill {
                    crash: kill.crash,
                    downtime: Duration::ZERO,
                    sessions_end: false,
                };
                simpler.push(case);
            }
        }
        simpler
    }

    /// How much there is to it.
    pub(crate) fn size(&self) -> usize {
        self.before.len() + self.faults.len() + self.kills.len()
    }

    /// Whether something goes or went wrong with the cluster, so that there may be something else to do.
    pub(crate) fn shakes_cluster(&self) -> bool {
        !(self.before.is_empty() && self.faults.is_empty())
    }
}

fn kill(rng: &mut fastrand::Rng, appends: usize) -> Kill {
    let at = rng.usize(1..=appends.max(1));
    let crash = match rng.u8(0..3) {
        0 => Crash::Before(at),
        1 => Crash::Torn(at),
        _ => Crash::After(at),
    };
    let downtime = if rng.bool() {
        Duration::ZERO
    } else {
        Duration::from_secs(rng.u64(1..1200))
    };
    Kill {
        crash,
        downtime,
        sessions_end: rng.bool(),
    }
}

/// Health codes that say little, much, and what nobody knows.
const CODES: [&str; 3] = ["RECENT_CRASH", "MGR_MODULE_ERROR", "NEVER_HEARD_OF"];

/// A cluster that was left half-way: snapd has refreshed components on some members, and some daemons were started again
/// since.
fn halfway(rng: &mut fastrand::Rng, world: &World) -> Vec<Fault> {
    let mut before = Vec::new();
    let mut some = |at: u64, snap: &str, trouble: fn(String, String) -> Trouble| {
        for member in world.members.keys().filter(|_| rng.u8(0..3) == 0) {
            before.push(Fault {
                trouble: trouble(snap.to_owned(), member.clone()),
                when: When::At(at * 60_000),
                lasts: None,
            });
        }
    };
    // A member refreshes one snap at a time.
    for (component, minute) in Component::ALL.into_iter().zip(0..) {
        let snap = component.snap();
        some(minute, snap, |snap, member| Trouble::AutoRefresh {
            snap,
            member,
        });
        some(minute + 5, snap, |snap, member| Trouble::Crash {
            snap,
            member,
        });
    }
    before
}

fn fault(rng: &mut fastrand::Rng, world: &World, takes: u64) -> Option<Fault> {
    let members: Vec<&String> = world.members.keys().collect();
    let kind = rng.choice(KINDS)?;
    let mut args = Vec::new();
    for arg in kind.args {
        args.push(match arg {
            Arg::Member => (*rng.choice(&members)?).clone(),
            Arg::Snap => rng.choice(&Component::ALL)?.to_string(),
            Arg::Instance => rng.choice(world.instances())?.name.clone(),
            Arg::Osd => rng.choice(&world.osds())?.to_string(),
            Arg::Seconds => rng.u64(1..120).to_string(),
            Arg::Status => [429, 503][rng.usize(0..2)].to_string(),
            Arg::Pool => (*rng.choice(&world.pools())?).to_owned(),
            Arg::Code => (*rng.choice(&CODES)?).to_owned(),
            Arg::Severity => (*rng.choice(&SEVERITIES)?).to_owned(),
        });
    }
    let when = if rng.bool() {
        When::At(rng.u64(0..takes.max(1)) / 1000 * 1000)
    } else {
        When::Refresh {
            snap: rng.choice(&Component::ALL)?.to_string(),
            member: (*rng.choice(&members)?).clone(),
        }
    };
    let lasts = (rng.u8(0..3) > 0).then(|| rng.u64(5..1200) * 1000);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    Some(Fault {
        trouble: kind.with(&args).ok()?,
        when,
        lasts,
    })
}

impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (place, n) = match self.crash {
            Crash::Before(n) => ("before", n),
            Crash::Torn(n) => ("in the middle of", n),
            Crash::After(n) => ("after", n),
        };
        write!(
            f,
            "the controller is killed {place} append {n} of its journal"
        )?;
        if !self.downtime.is_zero() {
            write!(f, ", is away for {}", Span(self.downtime))?;
        }
        if self.sessions_end {
            f.write_str(", and what it ran on members ends with it")?;
        }
        Ok(())
    }
}
