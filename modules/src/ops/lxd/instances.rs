//! What runs where, and whether it was left alone.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::detail::{autostarts, title};
use super::{holding, query, versions};
use crate::contract::cx::{Cx, Unmet};
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Op};
use crate::contract::schema::{Member, Span};
use crate::contract::text::joined;

/// The status of an instance whose member gave no answer.
const NO_ANSWER: &str = "Error";

/// Pause between two looks.
const EVERY: Duration = Duration::from_secs(3);

/// An instance and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// Its project.
    pub project: String,
    /// The member that it is on.
    pub location: String,
    /// `Running`, `Stopped`, `Frozen`; `Error` where its member gave no answer.
    pub(crate) status: String,
    /// When it was last started.
    pub started: String,
    /// Whether LXD starts it when its member is evacuated or restored, although it doesn't run.
    #[serde(default)]
    pub(crate) autostarts: bool,
}

/// An instance, as LXD lists it.
#[derive(Deserialize)]
struct Listed {
    name: String,
    project: String,
    location: String,
    status: String,
    last_used_at: Option<Timestamp>,
    #[serde(default)]
    config: BTreeMap<String, String>,
    #[serde(default)]
    expanded_config: Option<BTreeMap<String, String>>,
}

impl From<Listed> for Instance {
    fn from(listed: Listed) -> Self {
        let Listed {
            name,
            project,
            location,
            status,
            last_used_at,
            config,
            expanded_config,
        } = listed;
        let config = expanded_config.unwrap_or(config);
        Self {
            autostarts: autostarts(|key| config.get(key).map(String::as_str)),
            name,
            project,
            location,
            status,
            started: last_used_at.map_or_else(String::new, |at| at.to_string()),
        }
    }
}

impl Instance {
    /// Its name, with its project where that isn't the default one.
    pub(super) fn title(&self) -> String {
        title(&self.project, &self.name)
    }

    pub(super) fn runs(&self) -> bool {
        ["Running", "Frozen"].contains(&self.status.as_str())
    }

    /// Whether it runs now since LXD starts it whenever its daemon starts (`instancesStart` in `lxd/instances.go`).
    fn by_itself(&self, now: &[Self]) -> bool {
        !self.runs() && self.autostarts && self.among(now).is_some_and(Self::runs)
    }

    /// The same instance in another list.
    pub(super) fn among<'a>(&self, all: &'a [Self]) -> Option<&'a Self> {
        all.iter()
            .find(|i| (&i.project, &i.name) == (&self.project, &self.name))
    }
}

/// List instances: where each is, how it is, and when it was started.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InstancesArgs {
    /// Only those on this member. Without it, all of the cluster.
    pub(crate) member: Option<Member>,
}

/// All instances.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct InstancesOut {
    /// The instances, by project and name.
    pub(crate) instances: Vec<Instance>,
}

/// `lxd.instances`
pub struct Instances;

impl Op for Instances {
    const NAME: &'static str = "lxd.instances";
    const EFFECT: Effect = Effect::Read;
    type Args = InstancesArgs;
    type Out = InstancesOut;

    fn summary(out: &InstancesOut) -> String {
        let running = out
            .instances
            .iter()
            .filter(|i| i.status == "Running")
            .count();
        format!("{} instances, {running} running", out.instances.len())
    }

    async fn run(cx: &Cx, args: InstancesArgs) -> Result<InstancesOut, OpError> {
        let mut instances = instances(cx).await?;
        if let Some(member) = &args.member {
            instances.retain(|i| i.location == member.as_str());
        }
        Ok(InstancesOut { instances })
    }
}

pub(super) async fn instances(cx: &Cx) -> Result<Vec<Instance>, OpError> {
    let listed: Vec<Listed> = query(cx, "/1.0/instances?recursion=1&all-projects=true").await?;
    let mut instances: Vec<Instance> = listed.into_iter().map(Into::into).collect();
    instances.sort_by(|a, b| (&a.project, &a.name).cmp(&(&b.project, &b.name)));
    Ok(instances)
}

/// All instances, once every member has answered about its own.
///
/// # Errors
/// Where that doesn't come about in the step's time; and at once where members wait for one that runs an older LXD. It
/// refreshes itself, once, and snapd refuses that while an `lxc` runs there: who keeps asking keeps it from what is waited
/// for.
pub(super) async fn known(cx: &Cx) -> Result<Vec<Instance>, OpError> {
    cx.until(EVERY, async || {
        let now = instances(cx).await?;
        let silent = now.iter().filter(|i| i.status == NO_ANSWER);
        let silent: Vec<String> = silent
            .map(|i| format!("{} on {}", i.name, i.location))
            .collect();
        if silent.is_empty() {
            return Ok(now);
        }
        let missing = format!("LXD has no answer about {}", silent.join(", "));
        let versions = versions(cx, &cx.members()).await?;
        match versions.as_deref().and_then(holding) {
            None => Err(Unmet::NotYet(missing)),
            Some(skew) => Err(OpError::timeout(format!(
                "{missing}; {skew}. It refreshes itself within a minute; if it doesn't: lockstep op snap.refresh --snap lxd \
                 --member NAME. Resume when all have the same"
            ))
            .into()),
        }
    })
    .await
}

/// Check that every instance is where and how it was, and that none was restarted. Fails otherwise.
///
/// Just after a member came back the others have no answer from it yet and show its instances as `Error`: that is not
/// known, and so it is asked again.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnharmedArgs {
    /// The instances as they were: what `lxd.instances` returned before.
    pub(crate) since: Vec<Instance>,
    /// Members that were evacuated and restored since: their instances may have been restarted.
    #[serde(default)]
    pub(crate) evacuated: Vec<Member>,
}

/// All instances are as they were.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UnharmedOut {
    /// How many run.
    #[serde(default)]
    pub(crate) running: usize,
    /// Instances that didn't run, and that LXD started by itself when its daemon was, as their configuration has it.
    #[serde(default)]
    pub(crate) started: Vec<String>,
}

/// `lxd.unharmed`
pub struct Unharmed;

impl Op for Unharmed {
    const NAME: &'static str = "lxd.unharmed";
    const EFFECT: Effect = Effect::Read;
    const TIMEOUT: Span = Span::secs(5 * 60);
    type Args = UnharmedArgs;
    type Out = UnharmedOut;

    fn headline(args: &UnharmedArgs) -> String {
        format!("{} instances", args.since.len())
    }

    fn summary(out: &UnharmedOut) -> String {
        let all = format!("all unchanged, {} running", out.running);
        if out.started.is_empty() {
            return all;
        }
        format!(
            "{all}; LXD started {} by itself (boot.autostart)",
            out.started.join(", ")
        )
    }

    async fn run(cx: &Cx, args: UnharmedArgs) -> Result<UnharmedOut, OpError> {
        let now = known(cx).await?;
        let differences = differences(&args.since, &args.evacuated, &now);
        if differences.is_empty() {
            let running = now.iter().filter(|i| i.status == "Running").count();
            let started = args.since.iter().filter(|was| was.by_itself(&now));
            return Ok(UnharmedOut {
                running,
                started: started.map(Instance::title).collect(),
            });
        }
        let lasting = differences.iter().any(|d| d.lasting);
        let way_on = if lasting {
            // Asked again it would say the same for ever.
            format!(
                ". That can't be undone; check that they are well, then continue with: lockstep resume {} --assume-done '{}'",
                cx.run().id,
                cx.path()
            )
        } else {
            ". Fix that, then resume".to_owned()
        };
        Err(OpError::refused(format!(
            "instances are not as they were before: {}{way_on}",
            joined(differences.iter().map(|d| &d.what), "; ")
        )))
    }
}

struct Difference {
    what: String,
    /// Nobody can put it right.
    lasting: bool,
}

/// What became different. Instances that are new are nobody's harm, and of those that gave no answer nothing is known.
fn differences(then: &[Instance], evacuated: &[Member], now: &[Instance]) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut differs = |lasting, what| differences.push(Difference { what, lasting });
    for was in then.iter().filter(|i| i.status != NO_ANSWER) {
        let name = was.title();
        let moved = evacuated.iter().any(|m| m.as_str() == was.location);
        let Some(is) = was.among(now) else {
            differs(true, format!("{name} is gone"));
            continue;
        };
        if is.location != was.location {
            differs(
                false,
                format!("{name} is on {} instead of {}", is.location, was.location),
            );
        }
        // That is how whoever configured it wants it.
        if was.by_itself(now) {
            continue;
        }
        if is.status != was.status {
            differs(
                false,
                format!("{name} is {} instead of {}", is.status, was.status),
            );
        } else if is.started != was.started && !moved {
            differs(
                true,
                format!("{name} on {} was restarted at {}", is.location, is.started),
            );
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(name: &str, location: &str, status: &str, started: &str) -> Instance {
        let own = |text: &str| text.to_owned();
        let project = own("default");
        Instance {
            name: own(name),
            project,
            location: own(location),
            status: own(status),
            started: own(started),
            autostarts: false,
        }
    }

    #[test]
    fn what_became_different_is_named() {
        let then = ["a", "b", "c", "d", "e"].map(|name| instance(name, "m1", "Running", "1"));
        let now = [
            instance("a", "m1", "Running", "1"),
            instance("b", "m2", "Running", "1"),
            instance("c", "m1", "Stopped", "1"),
            instance("d", "m1", "Running", "2"),
            instance("new", "m1", "Running", "9"),
        ];
        let expected = [
            "b is on m2 instead of m1",
            "c is Stopped instead of Running",
            "d on m1 was restarted at 2",
            "e is gone",
        ];
        let whats = |evacuated: &[Member]| -> Vec<String> {
            let all = differences(&then, evacuated, &now).into_iter();
            all.map(|difference| difference.what).collect()
        };
        assert_eq!(whats(&[]), expected);
        let expected = [expected[0], expected[1], expected[3]];
        assert_eq!(whats(&["m1".into()]), expected);
    }
}
