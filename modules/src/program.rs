//! Modules in any language: programs that speak JSON lines with lockstep.
//!
//! A program is started for one request, says what it needs done on members, and ends with its result. It becomes a
//! [`Module`] like any other, so that nothing else in lockstep has to know of it. `docs/modules.md` describes the
//! protocol; everything that a program says is held against it.

mod describe;
mod folder;
mod process;
mod protocol;
mod talk;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use serde_json::Value;

pub use folder::{Found, find};
pub(crate) use protocol::PROTOCOL;

pub use crate::contract::op::{Described, DescribedOp, Program};

use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::op::{AnyOp, Effect, Module, Observation, OpDef, Probe};
use describe::written;
use process::{LONGEST, Process, Received, ended, interpreter};
use protocol::{FromProgram, ToProgram};
use talk::Talk;

/// How long a program may take to describe itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a program can't be a module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the module program {} can't be used: {what}", file.display())]
pub struct ProgramError {
    pub(crate) file: PathBuf,
    pub(crate) what: String,
}

impl Program {
    /// Asks a program what it is.
    pub(crate) async fn describe(name: &str, file: &Path) -> Result<Self, ProgramError> {
        let described = ask(file).await.and_then(|d| describe::checked(name, d));
        let described = described.map_err(|what| ProgramError {
            file: file.to_owned(),
            what,
        })?;
        Ok(Self {
            name: name.to_owned(),
            file: file.to_owned(),
            described,
        })
    }

    /// The module that it is.
    #[must_use]
    pub fn module(self) -> Module {
        let program = Arc::new(self);
        let op = |(verb, op): (&String, &DescribedOp)| {
            let name = format!("{}.{verb}", program.name);
            OpDef {
                effect: op.effect,
                timeout: op.timeout,
                doc: op.doc.trim().to_owned().into(),
                args: op.args.clone().into(),
                out: op.result.clone().into(),
                call: Arc::new(ProgramOp {
                    program: Arc::clone(&program),
                    op: op.clone(),
                    name: name.clone(),
                }),
                name,
            }
        };
        let described = &program.described;
        Module {
            ops: described.ops.iter().map(op).collect(),
            program: Some(Arc::clone(&program)),
            ..Module::new(&program.name, &described.about)
        }
    }

    /// Its file as messages have it, for example `modules/lb.py`.
    #[must_use]
    pub fn shown(&self) -> String {
        let file = self.file.file_name().unwrap_or_default();
        format!("modules/{}", file.to_string_lossy())
    }
}

/// Has a program describe itself.
async fn ask(file: &Path) -> Result<Described, String> {
    let started = Process::start(file).await;
    let mut process = started.map_err(|e| not_started(file, &e))?;
    let request = ToProgram::Describe { protocol: PROTOCOL };
    let request = serde_json::to_string(&request).map_err(|e| e.to_string())?;
    let what = match process.ask(Some(&request), PATIENCE).await {
        Received::Line(line) => match FromProgram::read(&line) {
            Ok(FromProgram::Module(described)) => return Ok(described),
            Ok(other) => format!(
                "it answered describe with {:?}, and not with \"module\"",
                other.word()
            ),
            Err(what) => format!("asked to describe itself, it {what}"),
        },
        Received::Long => format!("it printed a line of more than {} MiB", LONGEST >> 20),
        Received::Ended(status) => format!("it {} and did not describe itself", ended(status)),
        Received::Silence => format!("it did not describe itself within {} s", PATIENCE.as_secs()),
    };
    match process.evidence() {
        stderr if stderr.is_empty() => Err(what),
        stderr => Err(format!(
            "{what}; it said:\n  {}",
            stderr.replace('\n', "\n  ")
        )),
    }
}

/// Why a program that is there could not be started.
fn not_started(file: &Path, error: &std::io::Error) -> String {
    if error.kind() == std::io::ErrorKind::NotFound
        && let Some(interpreter) = interpreter(file)
    {
        return format!(
            "its interpreter {interpreter} isn't there: install it, or fix the first line"
        );
    }
    format!("it can't be started: {error}")
}

struct ProgramOp {
    program: Arc<Program>,
    op: DescribedOp,
    name: String,
}

impl AnyOp for ProgramOp {
    fn effect(&self, _: &Value) -> Effect {
        self.op.effect
    }

    fn headline(&self, args: &Value) -> String {
        let alone = |_: &str, value: &str| value.to_owned();
        written(self.op.headline.as_deref(), &self.op.args, args, alone)
    }

    fn summary(&self, out: &Value) -> String {
        let alone = |name: &str, value: &str| format!("{name} {value}");
        written(self.op.summary.as_deref(), &self.op.result, out, alone)
    }

    fn observed(&self, _: &Value, _: &Value) -> Observation {
        Observation::new()
    }

    fn touches(&self, _: &Value) -> Vec<String> {
        Vec::new()
    }

    fn accepts(&self, args: &Value) -> Result<(), String> {
        describe::fit(&self.op.args, args.clone()).map(drop)
    }

    fn run(&self, cx: Rc<Cx>, args: Value) -> LocalBoxFuture<'static, Result<Value, OpError>> {
        let (program, op, name) = (
            Arc::clone(&self.program),
            self.op.clone(),
            self.name.clone(),
        );
        Box::pin(async move {
            let talk = Talk::begin(&program, &op, &name, &cx).await?;
            talk.run(args).await
        })
    }

    fn probe(
        &self,
        cx: Rc<Cx>,
        args: Value,
    ) -> LocalBoxFuture<'static, Result<Probe<Value>, OpError>> {
        let (program, op, name) = (
            Arc::clone(&self.program),
            self.op.clone(),
            self.name.clone(),
        );
        Box::pin(async move {
            if !op.probe {
                return Ok(Probe::Unknown(format!(
                    "{name} leaves no trace from which its outcome can be determined"
                )));
            }
            let talk = Talk::begin(&program, &op, &name, &cx).await?;
            talk.probe(args).await
        })
    }
}
