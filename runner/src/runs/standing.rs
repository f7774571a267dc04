//! Where a run stands, by what its journal says.

use lockstep_modules::contract::error::Kind;
use lockstep_modules::contract::standing::Standing;

use crate::journal::{History, Phase};
use lockstep_modules::contract::path::StepPath;

/// Where a run stands. `running`: a process has it.
pub(crate) fn standing(history: &History, running: bool) -> Standing {
    let aborted = history.cancelled.is_some();
    match &history.end {
        Some(Ok(_)) => Standing::Done,
        Some(Err(failure)) if aborted && failure.kind == Kind::Cancelled => Standing::Aborted,
        Some(Err(_)) if history.refused() && !aborted => Standing::Refused,
        Some(Err(_)) => Standing::Failed,
        None if running => Standing::Running,
        None if held(history).next().is_some() => Standing::Held,
        None if history.suspended.is_some() => Standing::Suspended,
        None => Standing::BrokenOff,
    }
}

/// The steps that a run is held at.
pub(crate) fn held(history: &History) -> impl Iterator<Item = &StepPath> {
    history
        .steps
        .iter()
        .filter(|(_, s)| matches!(s.phase, Phase::Held { .. }))
        .map(|(path, _)| path)
}
