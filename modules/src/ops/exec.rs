//! `exec`: any other program on a member.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::cmd::{Cmd, End, Planned, tail};
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Module, Op};
use crate::contract::schema::{Member, Span};

/// How much of each stream a playbook gets to see.
const KEPT: usize = 32 * 1024;

pub(crate) fn module() -> Module {
    Module::new("exec", "Any other program on a member.").op::<Exec>()
}

/// Run a program on a member. It fails unless the program exits with 0, or with a status that is allowed.
///
/// The program is a list of words, never a shell line. `effect` says what running it a second time would mean, because
/// lockstep can't know: after a crash a `read` or `converge` is simply run again, and about a `once` the operator is asked.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecArgs {
    /// Member to run it on.
    pub(crate) member: Member,
    /// The program, by its absolute path, and its arguments.
    #[schemars(length(min = 1))]
    pub(crate) argv: Vec<String>,
    /// What running it a second time would mean.
    pub(crate) effect: Effect,
    /// Run it as root.
    #[serde(default)]
    pub(crate) root: bool,
    /// Text for its standard input: the place for a secret, which in `argv` any user of the member could read while it runs.
    pub(crate) stdin: Option<String>,
    /// Exit statuses other than 0 that aren't failures.
    #[serde(default)]
    pub(crate) allow: Vec<i32>,
    /// What a simulated cluster takes it to have done, where it doesn't know the program: a plan is exact then.
    pub(crate) plan: Option<Planned>,
}

/// What the program did.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ExecOut {
    /// Its exit status.
    pub(crate) code: i32,
    /// The end of its standard output, 32 KiB at most.
    pub(crate) stdout: String,
    /// The end of its standard error, 32 KiB at most.
    pub(crate) stderr: String,
    /// Whether it printed more than that: the beginning is missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) cut: bool,
}

/// `exec`
pub struct Exec;

impl Op for Exec {
    const NAME: &'static str = "exec";
    const EFFECT: Effect = Effect::Once;
    const TIMEOUT: Span = Span::secs(60);
    const PRINTS: bool = true;
    type Args = ExecArgs;
    type Out = ExecOut;

    fn effect(args: &ExecArgs) -> Effect {
        args.effect
    }

    fn headline(args: &ExecArgs) -> String {
        Cmd::user(args.argv.iter().cloned()).display()
    }

    fn summary(out: &ExecOut) -> String {
        // What writes over its own line has printed the last of it.
        let mut lines = out.stdout.split(['\n', '\r']).map(str::trim_end);
        lines
            .rfind(|line| !line.is_empty())
            .map_or_else(|| format!("exit {}", out.code), str::to_owned)
    }

    async fn run(cx: &Cx, args: ExecArgs) -> Result<ExecOut, OpError> {
        if args.argv.is_empty() {
            return Err(OpError::new(
                crate::contract::error::Kind::Args,
                "argv: the list is empty",
            ));
        }
        let left = cx
            .deadline()
            .saturating_duration_since(tokio::time::Instant::now());
        let mut cmd = Cmd {
            root: args.root,
            planned: args.plan,
            ..Cmd::user(args.argv)
        }
        .timeout(left)
        .talks();
        cmd.stdin = args.stdin;
        let output = cx.cmd(&args.member, &cmd).await?;
        let kept = |text: &str| tail(text, KEPT).to_owned();
        let code = match output.end {
            End::Exit(code) => Some(code),
            // As a shell has it; a program may also end with that status by itself.
            End::Signal(number) => Some(128 + number),
            End::TimedOut => None,
        };
        let fine = |code: &i32| *code == 0 || args.allow.contains(code);
        let cut = output.truncated || output.stdout.len().max(output.stderr.len()) > KEPT;
        match code.filter(fine) {
            Some(code) => Ok(ExecOut {
                code,
                cut,
                stdout: kept(&output.stdout),
                stderr: kept(&output.stderr),
            }),
            _ => {
                let reason = output
                    .stderr
                    .trim()
                    .lines()
                    .next_back()
                    .unwrap_or_default()
                    .to_owned();
                let error = output
                    .failure(&cmd, &args.member, &reason)
                    .with("stdout", kept(&output.stdout))
                    .with("stderr", kept(&output.stderr));
                Err(if cut { error.with("cut", true) } else { error })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_that_was_printed_is_the_summary() {
        let of = |stdout: &str| {
            Exec::summary(&ExecOut {
                code: 3,
                stdout: stdout.to_owned(),
                stderr: String::new(),
                cut: false,
            })
        };
        assert_eq!(of(""), "exit 3");
        assert_eq!(of("one\n  two\n\n"), "  two");
        assert_eq!(of("\r10 %\r20 %\r\n"), "20 %");
    }
}
