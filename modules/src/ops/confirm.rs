//! `confirm`: a question to the operator.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Module, Op};
use crate::contract::schema::Span;

pub(crate) fn module() -> Module {
    Module::new("confirm", "A question to the operator.").op::<Confirm>()
}

/// Ask the operator. The run continues after "yes", and pauses here after "no" or if nobody is there to answer.
///
/// `--yes` answers every question with yes. With `unattended = "go-on"` nobody there is a yes too.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfirmArgs {
    /// The question.
    pub(crate) question: String,
    /// What follows where nobody is there to answer.
    #[serde(default)]
    pub(crate) unattended: Unattended,
}

/// What follows where nobody is there to answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unattended {
    /// The run pauses.
    #[default]
    Hold,
    /// The run continues.
    GoOn,
}

/// The answer was yes.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ConfirmOut {
    /// Always true.
    pub(crate) yes: bool,
}

/// `confirm`
pub struct Confirm;

impl Op for Confirm {
    const NAME: &'static str = "confirm";
    const EFFECT: Effect = Effect::Read;
    /// People sleep.
    const TIMEOUT: Span = Span::secs(7 * 24 * 3600);
    type Args = ConfirmArgs;
    type Out = ConfirmOut;

    fn headline(args: &ConfirmArgs) -> String {
        args.question.clone()
    }

    fn summary(_: &ConfirmOut) -> String {
        "yes".to_owned()
    }

    async fn run(cx: &Cx, args: ConfirmArgs) -> Result<ConfirmOut, OpError> {
        match cx.ask_operator(&args.question).await {
            Some(true) => Ok(ConfirmOut { yes: true }),
            None if args.unattended == Unattended::GoOn => Ok(ConfirmOut { yes: true }),
            Some(false) => Err(OpError::refused(format!("answered no: {}", args.question))),
            None => Err(OpError::refused(format!(
                "nobody is there to answer: {} Resume with --yes.",
                args.question
            ))),
        }
    }
}
