//! A front end that isn't the command line begins runs and takes them up, with nothing of `cli`.

use std::path::Path;
use std::rc::Rc;

use lockstep::bundle::{Main, Playbooks};
use lockstep::engine::{Answer, Decisions, Finish, Stop};
use lockstep::event::{Reporter, Stamped};
use lockstep::runs::Runs;
use lockstep::secret::Secrets;
use lockstep::session::{Begin, Choices, Draft, Front, Played, Session, TakenUp};
use lockstep::target::Target;
use lockstep_modules::ops::registry;
use lockstep_twin::Scenario;
use tokio::sync::{mpsc, watch};

/// Whoever watches: the events go to a channel, as they would to a page.
struct Page(mpsc::UnboundedSender<Stamped>);

impl Reporter for Page {
    fn take(&mut self, event: &Stamped) {
        self.0.send(event.clone()).unwrap();
    }
}

/// Plays it, and tells how many events there were.
async fn played(session: Session) -> (Played, usize) {
    let (page, mut events) = mpsc::unbounded_channel();
    let (_running, stop) = watch::channel(Stop::No);
    let front = Front {
        reporters: vec![Box::new(Page(page))],
        asker: Rc::new(Answer::Yes),
        stop,
        deliver_failures: false,
        no_wait: false,
    };
    let played = session.play(front).await.unwrap();
    let mut count = 0;
    while events.try_recv().is_ok() {
        count += 1;
    }
    (played, count)
}

#[test]
fn a_playbook_is_given_those_parameters_that_it_takes() {
    let stage = || Main::find(Playbooks::Shipped, "stage").unwrap();
    let target = Target::simulated(":3".to_owned(), Scenario::of(3));
    let typed = [("to", "3".into()), ("evacuate", true.into())]
        .map(|(name, value)| (name.to_owned(), value));
    let draft = Draft::fitting(&registry(), stage(), &target, typed.to_vec()).unwrap();
    assert_eq!(draft.params()["to"], "3");
    assert!(draft.params().get("evacuate").is_none());
    assert!(Draft::new(&registry(), stage(), &target, &typed).is_err());
}

fn begun(state: &Path) -> Session {
    let scenario = Scenario {
        faults: vec!["refresh-fails:microovn,micro02".parse().unwrap()],
        ..Scenario::of(3)
    };
    let update = Main::find(Playbooks::Shipped, "update").unwrap();
    let target = Target::simulated(":3".to_owned(), scenario);
    let draft = Draft::new(&registry(), update, &target, &[]).unwrap();
    let begin = Begin {
        who: "page@site".to_owned(),
        runs: Some(&Runs::in_state(state)),
        way: None,
        secrets: Secrets::default(),
        plan: None,
    };
    draft.begin(begin).unwrap()
}

fn resumed(state: &Path, id: &str) -> Session {
    let taken = TakenUp::of(&Runs::in_state(state), id).unwrap();
    let ops = taken.registry(&registry(), None).unwrap();
    let script = taken.script(&ops, None).unwrap();
    let choices = Choices {
        notify: None,
        who: "page@site".to_owned(),
        cluster: None,
        secrets: Secrets::default(),
        decisions: Decisions::default(),
        trust_cluster: false,
        abort: false,
        without_plan: false,
        mend: true,
    };
    taken.resume(ops, script, choices).unwrap()
}

#[tokio::test(start_paused = true)]
async fn another_front_end_begins_a_run_and_resumes_it() {
    let state = tempfile::tempdir().unwrap();
    let (first, events) = played(begun(state.path())).await;
    assert_eq!(first.id, "update-1");
    let Finish::Held(held) = &first.finish else {
        panic!("it isn't held: {:?}", first.finish)
    };
    assert_eq!(held[0].path, "MicroOVN/micro02/snap.refresh#1");
    assert!(first.touched && events > 20, "{events} events");
    drop(first);

    let (second, _) = played(resumed(state.path(), "update-1")).await;
    assert!(
        matches!(second.finish, Finish::Done(_)),
        "{:?}",
        second.finish
    );
    assert!(TakenUp::of(&Runs::in_state(state.path()), "update-1").is_err());
}
