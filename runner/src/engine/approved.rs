//! What a run that keeps to a plan may do.

use std::collections::BTreeMap;

use lockstep_modules::contract::op::Effect;
use serde_json::Value;

use crate::call::Call;
use lockstep_modules::contract::path::StepPath;

/// A step that a run may take.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) op: String,
    pub(crate) args: Value,
    /// Those of its arguments that hold what an earlier step found: on the day they are what is found then.
    pub(crate) found: Vec<String>,
}

/// The steps that a run may take, by their paths.
#[derive(Clone, Debug)]
pub struct Approved(pub(crate) BTreeMap<StepPath, Planned>);

impl Approved {
    /// Why a step is outside the plan. What a read asks, and what an earlier step found, may depend on the day.
    pub(crate) fn objection(&self, call: &Call) -> Option<String> {
        let Some(step) = self.0.get(&call.path) else {
            return Some("this step isn't in the plan".to_owned());
        };
        if step.op != call.op {
            return Some(format!("the plan has {} here", step.op));
        }
        let fixed = |args: &Value| {
            let mut args = args.clone();
            if let Some(fields) = args.as_object_mut() {
                fields.retain(|name, _| !step.found.contains(name));
            }
            args
        };
        let same = call.effect == Effect::Read || fixed(&step.args) == fixed(&call.args);
        (!same).then(|| format!("the plan has other arguments here: {}", fixed(&step.args)))
    }
}
