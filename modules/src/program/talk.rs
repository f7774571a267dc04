//! The conversation with a program about one attempt: what it asks for is done, and its last word is judged.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::Program;
use super::describe::{filled, fit};
use super::process::{LONGEST, Process, Received, ended};
use super::protocol::{Command, Failed, FromProgram, Lost, Printed, Task, ToProgram, quoted};
use crate::contract::cmd::{Cmd, End, last_line};
use crate::contract::cx::{Cx, LogLevel};
use crate::contract::error::{Kind, OpError};
use crate::contract::op::{DescribedOp, Effect, Probe};

/// How long a probe may take at least.
const PROBING: Duration = Duration::from_secs(60);

/// A program that works on an attempt.
pub(super) struct Talk<'a> {
    program: &'a Program,
    op: &'a DescribedOp,
    name: &'a str,
    cx: &'a Cx,
    deadline: Instant,
    process: Process,
    /// It has asked for something on a member: whatever becomes of it now, the effect may exist.
    acted: bool,
    /// It is asked what became of an earlier attempt.
    probing: bool,
}

impl<'a> Talk<'a> {
    pub(super) async fn begin(
        program: &'a Program,
        op: &'a DescribedOp,
        name: &'a str,
        cx: &'a Cx,
    ) -> Result<Self, OpError> {
        let process = Process::start(&program.file).await.map_err(|e| {
            OpError::command(format!("{} can't be started: {e}", program.shown()))
                .with("program", program.file.display().to_string())
        })?;
        Ok(Self {
            program,
            op,
            name,
            cx,
            deadline: cx.deadline(),
            process,
            acted: false,
            probing: false,
        })
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn task(&self, args: Value) -> Task<'a> {
        let cluster = self.cx.cluster();
        let left = self.left();
        Task {
            op: self.name,
            args: filled(&self.op.args, args),
            run: &self.cx.run().id,
            step: self.cx.path().as_str(),
            members: self.cx.members(),
            machines: cluster.machines.iter().map(|m| m.name.as_str()).collect(),
            seconds: left.as_secs(),
            witnesses: self.cx.witnesses(),
        }
    }

    pub(super) async fn run(mut self, args: Value) -> Result<Value, OpError> {
        self.cx.still_ours().await?;
        let task = self.task(args);
        match self.last_word(ToProgram::Run(task)).await? {
            FromProgram::Done(result) => self.result(Value::Object(result)),
            FromProgram::Failed(failed) => Err(failure(failed)),
            other => Err(self.broken(&format!("answered run with {:?}", other.word()))),
        }
    }

    /// Has it find out what became of an earlier attempt.
    pub(super) async fn probe(mut self, args: Value) -> Result<Probe<Value>, OpError> {
        self.probing = true;
        // The step's own time may have run out: what became of it is asked all the same.
        self.deadline = self.deadline.max(Instant::now() + PROBING);
        let task = self.task(args);
        Ok(match self.last_word(ToProgram::Probe(task)).await? {
            FromProgram::Done(result) => Probe::Done(self.result(Value::Object(result))?),
            FromProgram::Failed(failed) => Probe::Failed(failure(failed)),
            FromProgram::NotStarted(_) => Probe::NotStarted,
            FromProgram::Running(_) => Probe::Running,
            FromProgram::Unknown { why } => Probe::Unknown(clean(&why)),
            other => return Err(self.broken(&format!("answered probe with {:?}", other.word()))),
        })
    }

    /// Does what the program asks for, until it says how it ends.
    async fn last_word(&mut self, request: ToProgram<'_>) -> Result<FromProgram, OpError> {
        let mut answer = Some(line(&request)?);
        loop {
            let message = self.receive(answer.take()).await?;
            answer = match message {
                FromProgram::Command(command) => Some(self.command(command).await?),
                FromProgram::Witness(data) => {
                    self.cx.witness(&data).await?;
                    Some(line(&ToProgram::Kept {})?)
                }
                FromProgram::Wait(wait) => {
                    let pause = Duration::try_from_secs_f64(wait.seconds);
                    let pause =
                        pause.map_err(|_| self.broken("asked to wait for no length of time"))?;
                    self.cx.pause(pause, clean(&wait.missing)).await?;
                    Some(line(&ToProgram::Waited {})?)
                }
                FromProgram::Progress(progress) => {
                    let text = clean(&progress.text);
                    self.cx.progress(progress.done, progress.total, text);
                    None
                }
                FromProgram::Log(log) => {
                    self.cx.say(log.level, &clean(&log.text));
                    None
                }
                FromProgram::Module(_) => {
                    return Err(self.broken("answered with \"module\", which nobody asked for"));
                }
                last @ (FromProgram::Done(_)
                | FromProgram::Failed(_)
                | FromProgram::NotStarted(_)
                | FromProgram::Running(_)
                | FromProgram::Unknown { .. }) => {
                    let turn = self.cx.turn().await;
                    self.process.part().await;
                    drop(turn);
                    self.tell_errors();
                    return Ok(last);
                }
            };
        }
    }

    /// Waits for the program's next message, while nobody else's program works on a simulated cluster.
    async fn receive(&mut self, answer: Option<String>) -> Result<FromProgram, OpError> {
        let turn = self.cx.turn().await;
        let left = self.left();
        let line = self.process.ask(answer.as_deref(), left).await;
        drop(turn);
        self.tell_errors();
        match line {
            Received::Line(bytes) => FromProgram::read(&bytes).map_err(|what| self.broken(&what)),
            Received::Long => Err(self.broken(&format!(
                "printed a line of more than {} MiB",
                LONGEST >> 20
            ))),
            Received::Ended(status) => {
                Err(self.broken(&format!("{} without a result", ended(status))))
            }
            Received::Silence => {
                let missing = self
                    .cx
                    .missing()
                    .map_or_else(String::new, |what| format!("; it had waited for: {what}"));
                let text = format!(
                    "{} did not answer within {} and was ended{missing}",
                    self.program.shown(),
                    self.cx.timeout()
                );
                Err(self.evidence(OpError::timeout(text)))
            }
        }
    }

    fn tell_errors(&mut self) {
        for text in self.process.errors() {
            let text = format!("{}: {}", self.program.shown(), clean(&text));
            self.cx.say(LogLevel::Debug, &text);
        }
    }

    /// Runs a command on a member, and has the answer to it.
    async fn command(&mut self, command: Command) -> Result<String, OpError> {
        if !command
            .argv
            .first()
            .is_some_and(|program| program.starts_with('/'))
        {
            return Err(self.broken("asked for a command whose program has no absolute path"));
        }
        let left = self.left();
        let member = command.member;
        let mut cmd = Cmd {
            root: command.root,
            stdin: command.stdin,
            private: command.private,
            planned: command.plan,
            talks: true,
            ..Cmd::user(command.argv)
        };
        cmd = cmd.timeout(command.timeout.map_or(left, |span| span.0.min(left)));
        self.acted = true;
        let output = match self.cx.cmd(&member, &cmd).await {
            Err(lost) if command.lost == Lost::Tell && lost.kind == Kind::Unreachable => {
                return line(&ToProgram::Lost {
                    message: &lost.message,
                });
            }
            // What it did by itself isn't known.
            other => other.map_err(|error| error.with("kept_out", false))?,
        };
        match output.end {
            End::Exit(code) if command.allow.allows(code) && !output.truncated => {
                line(&ToProgram::Output(Printed {
                    code,
                    stdout: &output.stdout,
                    stderr: &output.stderr,
                }))
            }
            _ => {
                let reason = if output.truncated {
                    "printed more than lockstep keeps".to_owned()
                } else {
                    last_line(&output.stderr, &output.stdout)
                };
                Err(output.failure(&cmd, &member, &reason))
            }
        }
    }

    fn result(&self, result: Value) -> Result<Value, OpError> {
        fit(&self.op.result, result).map_err(|what| {
            // What holds of arguments holds for the fields of a result too.
            let what = what.replacen("argument", "field", 1);
            self.broken(&format!(
                "returned what its own schema of {} doesn't allow: {what}",
                self.name
            ))
        })
    }

    /// The program didn't keep to the protocol. What it asked for before that may have been done; and of one whose op must not
    /// be done twice nobody knows what it did by itself.
    fn broken(&self, what: &str) -> OpError {
        let mut shown = self.program.shown();
        if self.probing {
            shown.push_str(", asked what became of it,");
        }
        let doubt = if self.acted {
            Some("after it had given commands")
        } else {
            let alone = self.op.effect == Effect::Once && !self.probing;
            alone.then_some("and what it did by itself until then isn't known")
        };
        let error = if let Some(doubt) = doubt {
            OpError::new(Kind::Unreachable, format!("{shown} {what}, {doubt}"))
                .with("contact", "program")
                .with("transient", false)
        } else {
            OpError::command(format!("{shown} {what}"))
        };
        self.evidence(error)
    }

    fn evidence(&self, error: OpError) -> OpError {
        let error = error.with("program", self.program.file.display().to_string());
        match self.process.evidence() {
            stderr if stderr.is_empty() => error,
            stderr => {
                let last = stderr.lines().next_back().unwrap_or_default();
                OpError {
                    message: format!("{}: {}", error.message, quoted(last).trim_matches('"')),
                    ..error
                }
                .with("stderr", stderr)
            }
        }
    }
}

fn failure(failed: Failed) -> OpError {
    OpError {
        kind: failed.kind.into(),
        message: clean(&failed.message),
        member: failed.member,
        detail: failed.detail,
    }
}

fn line(message: &ToProgram<'_>) -> Result<String, OpError> {
    serde_json::to_string(message)
        .map_err(|e| OpError::command(format!("a message can't be written: {e}")))
}

/// What a program says to people, on one line and without what would steer a terminal.
fn clean(text: &str) -> String {
    const SHOWN: usize = 2000;
    let spaced = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().take(SHOWN).map(spaced).collect()
}
