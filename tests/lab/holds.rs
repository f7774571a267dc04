//! Whatever goes wrong over SSH is reported as on the twin, and ends as well.

use lockstep_tests::holds::{Journey, Trouble, endure, stage, travel, two_controllers};

fn endured(trouble: &Trouble) {
    let scenario = (trouble.scenario)();
    let expected = endure(trouble, &mut *stage::twin(&scenario, trouble.piece));
    let held = endure(trouble, &mut *stage::over_ssh(&scenario, trouble.piece));
    assert_eq!(held, expected);
}

fn travelled(journey: &Journey) {
    travel(journey, stage::over_ssh);
}

mod troubles {
    lockstep_tests::troubles!(super::endured);
}

mod journeys {
    lockstep_tests::journeys!(super::travelled);
}

#[test]
fn a_second_controller_is_refused_until_the_first_has_ended() {
    two_controllers(stage::over_ssh);
}
