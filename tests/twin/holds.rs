//! Whatever goes wrong on the twin is held with a message, and is over when it is fixed.

use lockstep_tests::holds::{Journey, Trouble, endure, stage, travel, two_controllers};

fn endured(trouble: &Trouble) {
    let mut stage = stage::twin(&(trouble.scenario)(), trouble.piece);
    insta::assert_snapshot!(trouble.name, endure(trouble, &mut *stage));
}

fn travelled(journey: &Journey) {
    travel(journey, stage::twin);
}

mod troubles {
    lockstep_tests::troubles!(super::endured);
}

mod journeys {
    lockstep_tests::journeys!(super::travelled);
}

#[test]
fn a_second_controller_is_refused_until_the_first_has_ended() {
    two_controllers(stage::twin);
}
