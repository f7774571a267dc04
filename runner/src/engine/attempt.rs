//! One attempt at a step, to the point where its end is known, or known to be unknowable.
//!
//! A dropped connection, a time-out and a dead controller are the same situation: the effect may exist. What follows
//! depends only on what doing it twice would mean.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use lockstep_modules::contract::cx::{Cx, Host, Note};
use lockstep_modules::contract::error::{Kind, OpError};
use lockstep_modules::contract::op::{Effect, OpDef, Probe};
use lockstep_modules::contract::schema::Member;
use lockstep_modules::contract::schema::Span;
use serde_json::Value;
use tokio::time::Instant;

use super::host::RunHost;
use crate::bounds;
use crate::journal::By;
use crate::secret::Secrets;
use lockstep_modules::contract::path::StepPath;

/// How long an op may run past its own deadline before it is cut off.
const GRACE: Duration = Duration::from_secs(120);

/// Pause between two looks at an effect that is still running.
const LOOK: Duration = Duration::from_secs(2);

/// Pauses between attempts to reach a member again.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// What an attempt came to.
#[derive(Debug)]
pub(super) enum Verdict {
    Done(Value, By),
    /// It failed, and nothing of it is still running.
    Failed(OpError),
    /// It never began, so it can be begun again.
    NotStarted(String),
    /// The effect may exist or still be running, and nobody can tell.
    InDoubt(OpError),
}

pub(super) struct Attempt {
    pub(super) host: Rc<RunHost>,
    pub(super) def: OpDef,
    pub(super) path: StepPath,
    pub(super) args: Value,
    pub(super) effect: Effect,
    pub(super) timeout: Span,
    pub(super) left: Vec<Value>,
    pub(super) patience: Span,
}

impl Verdict {
    /// The same, as the playbook and the journal may have it.
    fn without(self, secrets: &Secrets) -> Self {
        match self {
            Self::Done(value, by) => Self::Done(secrets.take_out(value), by),
            Self::Failed(error) => Self::Failed(secrets.take_out_of_error(error)),
            Self::NotStarted(why) => Self::NotStarted(secrets.take_out_of(why)),
            Self::InDoubt(error) => Self::InDoubt(secrets.take_out_of_error(error)),
        }
    }

    /// The same, with as much in it as a run keeps.
    fn bounded(self, effect: Effect, member: Option<&Member>) -> Self {
        match self {
            Self::Done(value, by) => match bounds::too_large(&value, member) {
                None => Self::Done(value, by),
                // It is done, and what came of it isn't known.
                Some(why) if effect == Effect::Once => Self::InDoubt(bounds::overflow(why, member)),
                Some(why) => Self::Failed(bounds::overflow(why, member)),
            },
            Self::Failed(error) => Self::Failed(bounds::failure(error)),
            Self::NotStarted(why) => {
                Self::NotStarted(bounds::ends(&why, bounds::TEXT).into_owned())
            }
            Self::InDoubt(error) => Self::InDoubt(bounds::failure(error)),
        }
    }
}

impl Attempt {
    pub(super) async fn run(self) -> Verdict {
        self.knowing(async |attempt| attempt.do_it().await).await
    }

    /// Finds out what became of an attempt of an earlier process, of which only witnesses are left.
    pub(super) async fn probe(self) -> Verdict {
        let ended = OpError::command("lockstep ended while this step was running");
        self.knowing(async |attempt| attempt.find_out(attempt.left.clone(), ended).await)
            .await
    }

    /// The op, and nobody else, knows the run's secrets: they are put in here, and taken out of whatever it says.
    async fn knowing(self, work: impl AsyncFnOnce(&Self) -> Verdict) -> Verdict {
        let secrets = Rc::clone(&self.host.secrets);
        let left = self.left.into_iter().map(|data| secrets.put_in(data));
        let (args, left) = match (secrets.put_in(self.args), left.collect()) {
            (Ok(args), Ok(left)) => (args, left),
            (Err(error), _) | (_, Err(error)) => return Verdict::Failed(error),
        };
        let knowing = Self { args, left, ..self };
        let verdict = work(&knowing).await.without(&secrets);
        verdict.bounded(knowing.effect, knowing.def.member(&knowing.args).as_ref())
    }

    async fn do_it(&self) -> Verdict {
        let mut away = Away::new(self);
        let mut left = self.left.clone();
        loop {
            let began = Instant::now();
            let cx = Cx::new(
                Rc::clone(&self.host) as Rc<dyn Host>,
                self.path.clone(),
                self.timeout,
                left,
            );
            let guard = self.host.guard().filter(|_| self.effect != Effect::Read);
            let cx = Rc::new(cx.guarded(guard));
            let result = limited(
                &cx,
                self.timeout,
                self.def.call.run(Rc::clone(&cx), self.args.clone()),
            )
            .await;
            left = cx.witnesses();
            match result {
                Ok(value) => return Verdict::Done(value, By::Run),
                // Somebody else has it in hand now: what was begun before is theirs to find out.
                Err(error) if error.kind == Kind::Taken => return Verdict::InDoubt(error),
                Err(error) if !error.kind.in_doubt() => return Verdict::Failed(error),
                Err(error) if error.kept_out() && left.is_empty() && cx.has_no_answer() => {
                    return Verdict::Failed(error);
                }
                Err(error) if self.effect == Effect::Once => {
                    return self.find_out(left, error).await;
                }
                Err(error) => {
                    // It worked for a while with the member that had been away.
                    if began.elapsed() > 2 * LONGEST_PAUSE && away.answered(&cx) {
                        away.back();
                    }
                    if !away.wait(&error).await {
                        return Verdict::Failed(self.given_up(error));
                    }
                }
            }
        }
    }

    /// The failure of a member that stayed away for as long as there was patience.
    fn given_up(&self, error: OpError) -> OpError {
        if !error.transient() {
            return error;
        }
        let message = format!(
            "{}; gave up after {}; resume when it is reachable",
            error.message, self.patience
        );
        OpError { message, ..error }
    }

    /// Asks the world what became of the effect, for as long as that may take.
    async fn find_out(&self, left: Vec<Value>, error: OpError) -> Verdict {
        let mut away = Away::new(self);
        if error.transient() && !away.wait(&error).await {
            return Verdict::InDoubt(self.given_up(error));
        }
        let cx = Rc::new(Cx::new(
            Rc::clone(&self.host) as Rc<dyn Host>,
            self.path.clone(),
            self.timeout,
            left,
        ));
        loop {
            let probe = self.def.call.probe(Rc::clone(&cx), self.args.clone());
            match limited(&cx, self.timeout, probe).await {
                Ok(Probe::Done(value)) => return Verdict::Done(value, By::Probe),
                Ok(Probe::Failed(error)) => return Verdict::Failed(error),
                // Time ran out before it even began: beginning again would only run out once more.
                Ok(Probe::NotStarted) if error.kind == Kind::Timeout => {
                    return Verdict::Failed(error);
                }
                Ok(Probe::NotStarted) => return Verdict::NotStarted(error.message),
                Ok(Probe::Unknown(why)) => {
                    let message = format!("{}; {why}", error.message);
                    return Verdict::InDoubt(OpError { message, ..error });
                }
                Ok(Probe::Running) if Instant::now() + LOOK > cx.deadline() => {
                    let message = format!(
                        "still running after {}; resume to keep waiting",
                        self.timeout
                    );
                    return Verdict::InDoubt(OpError::timeout(message));
                }
                Ok(Probe::Running) => {
                    away.back();
                    tokio::time::sleep(LOOK).await;
                }
                Err(error) => {
                    if !away.wait(&error).await {
                        return Verdict::InDoubt(self.given_up(error));
                    }
                }
            }
        }
    }
}

/// Cuts off an op that doesn't keep to its own deadline.
async fn limited<T>(
    cx: &Cx,
    timeout: Span,
    future: impl Future<Output = Result<T, OpError>>,
) -> Result<T, OpError> {
    let late = || {
        let missing = cx.missing();
        let missing = missing.map_or_else(String::new, |what| format!(": {what}"));
        OpError::timeout(format!("not done within {timeout}{missing}"))
    };
    tokio::time::timeout_at(cx.deadline() + GRACE, future)
        .await
        .unwrap_or_else(|_| Err(late()))
}

/// A member that doesn't answer, and the patience with it.
struct Away<'a> {
    attempt: &'a Attempt,
    member: Option<Member>,
    since: Option<Instant>,
    pause: Duration,
}

impl<'a> Away<'a> {
    fn new(attempt: &'a Attempt) -> Self {
        Self {
            attempt,
            member: None,
            since: None,
            pause: FIRST_PAUSE,
        }
    }

    /// Waits a while, if waiting may help and there is patience left.
    async fn wait(&mut self, error: &OpError) -> bool {
        let since = *self.since.get_or_insert_with(Instant::now);
        if !error.transient() || since.elapsed() >= self.attempt.patience.0 {
            return false;
        }
        let member = error.member.clone().unwrap_or_else(|| "".into());
        let note = Note::Away {
            member: &member,
            reason: &error.message,
        };
        self.attempt.host.note(&self.attempt.path, note);
        self.member.clone_from(&error.member);
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        true
    }

    /// Whether the member that was away answered in the attempt of this context.
    fn answered(&self, cx: &Cx) -> bool {
        self.member.as_ref().is_some_and(|m| cx.has_answer(m))
    }

    fn back(&mut self) {
        self.since = None;
        self.pause = FIRST_PAUSE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_larger_than_a_record_is_a_failure_or_in_doubt() {
        let list = || Value::from("x".repeat(bounds::RECORD));
        let of = |effect| Verdict::Done(list(), By::Run).bounded(effect, Some(&"m1".into()));
        let (Verdict::Failed(read), Verdict::InDoubt(once)) = (of(Effect::Read), of(Effect::Once))
        else {
            panic!("it was taken as done")
        };
        for error in [read, once] {
            assert!(error.message.starts_with("the answer of m1 is larger than"));
            assert_eq!(error.member, Some("m1".into()));
        }
    }
}
