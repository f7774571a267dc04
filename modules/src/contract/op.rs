//! The contract: what an op is. Everything else that users see of an op (Lua function, command line, stub, schema,
//! reference page) is a projection of the one declaration made here.

use crate::contract::near;
use std::collections::BTreeMap;
use std::future::Future;
use std::marker::PhantomData;
use std::ops::Deref;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use futures_util::future::LocalBoxFuture;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::contract::cx::Cx;
use crate::contract::error::{Kind, OpError};
use crate::contract::schema::{self, Member, Span};

/// What doing an op a second time would mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// It changes nothing: after a crash it is simply done again.
    Read,
    /// It observes first and copes with "not done", "half done" and "still running": it may be done again.
    Converge,
    /// It must not be done twice: after a crash the op's probe, or the operator, says what became of it.
    Once,
}

impl Effect {
    /// The word that playbooks, journals and docs use.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Converge => "converge",
            Self::Once => "once",
        }
    }
}

/// What became of an effect whose result never arrived, as far as the world shows.
#[derive(Clone, Debug, PartialEq)]
pub enum Probe<T> {
    /// It did not begin.
    NotStarted,
    /// It is still running.
    Running,
    /// It is done, and this is its result.
    Done(T),
    /// It ended without success, and nothing of it is still running.
    Failed(OpError),
    /// The world doesn't tell, and this is why.
    Unknown(String),
}

/// Facts about the cluster, by key, for example `micro1/lxd/revision` = `33110`. A resumed run compares the last ones it
/// knows with what it observes, so as to notice what others changed in the meantime.
pub type Observation = BTreeMap<String, String>;

/// Something that a step switched on, and that is to be off again when the run ends; or that it switched off again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// What is so while it is on: "noout is set for micro02". Both steps have the same words.
    pub what: String,
    /// Whether it is on now.
    pub on: bool,
    /// What is typed to switch it off by hand.
    pub undo: String,
}

/// One thing that can be done to a cluster, declared once.
///
/// The doc comment of [`Op::Args`] is the op's documentation; those of its fields document the arguments.
pub trait Op: 'static {
    /// `module.verb`, or a single word where the module has but one op.
    const NAME: &'static str;
    /// What doing it twice would mean; the strongest case where that depends on the arguments.
    const EFFECT: Effect;
    /// How long the step may take unless the playbook says otherwise.
    const TIMEOUT: Span = Span::secs(120);
    /// Whether what a program printed is the point of it: results have it as `stdout` and `stderr`, and so has the detail of
    /// a failure; `cut` says that it printed more.
    const PRINTS: bool = false;
    /// Arguments: a record with named fields.
    type Args: DeserializeOwned + Serialize + JsonSchema;
    /// Result: always a record, so that results can grow.
    type Out: DeserializeOwned + Serialize + JsonSchema;

    /// What doing it twice would mean with these arguments.
    fn effect(_args: &Self::Args) -> Effect {
        Self::EFFECT
    }

    /// Whether these arguments make sense, beyond what their types say: what doesn't is refused where it is asked for, as
    /// no step that could be tried again.
    ///
    /// # Errors
    /// With a sentence about what doesn't.
    fn check(_args: &Self::Args) -> Result<(), String> {
        Ok(())
    }

    /// The object of the step in a few words, for people: "microceph to squid/stable". Empty where the op's name says it all.
    fn headline(_args: &Self::Args) -> String {
        String::new()
    }

    /// The result in a few words, for people: "1500 → 1501".
    fn summary(out: &Self::Out) -> String;

    /// What the result says about the cluster.
    fn observed(_args: &Self::Args, _out: &Self::Out) -> Observation {
        Observation::new()
    }

    /// Prefixes of the facts that this step may change.
    fn touches(_args: &Self::Args) -> Vec<String> {
        Vec::new()
    }

    /// What the step switched on or off, if that is its business.
    fn switched(_args: &Self::Args, _out: &Self::Out) -> Option<Switch> {
        None
    }

    /// Does it.
    fn run(cx: &Cx, args: Self::Args) -> impl Future<Output = Result<Self::Out, OpError>>;

    /// Finds out what became of an earlier attempt, of which [`Cx::left`] holds the witnesses.
    fn probe(
        _cx: &Cx,
        _args: Self::Args,
    ) -> impl Future<Output = Result<Probe<Self::Out>, OpError>> {
        async {
            Ok(Probe::Unknown(format!(
                "{} leaves no trace from which its outcome can be determined",
                Self::NAME
            )))
        }
    }
}

/// An op without its types, as the runner handles it.
pub trait AnyOp: Send + Sync {
    /// See [`Op::effect`].
    fn effect(&self, args: &Value) -> Effect;
    /// See [`Op::headline`].
    fn headline(&self, args: &Value) -> String;
    /// See [`Op::summary`].
    fn summary(&self, out: &Value) -> String;
    /// See [`Op::PRINTS`].
    fn prints(&self) -> bool {
        false
    }
    /// See [`Op::observed`].
    fn observed(&self, args: &Value, out: &Value) -> Observation;
    /// See [`Op::touches`].
    fn touches(&self, args: &Value) -> Vec<String>;
    /// See [`Op::switched`].
    fn switched(&self, _args: &Value, _out: &Value) -> Option<Switch> {
        None
    }
    /// Whether these arguments are accepted beyond what the schema says: by serde (the form of a channel, for example), and
    /// by [`Op::check`].
    ///
    /// # Errors
    /// With a sentence about what isn't.
    fn accepts(&self, args: &Value) -> Result<(), String>;
    /// See [`Op::run`].
    fn run(&self, cx: Rc<Cx>, args: Value) -> LocalBoxFuture<'static, Result<Value, OpError>>;
    /// See [`Op::probe`].
    fn probe(
        &self,
        cx: Rc<Cx>,
        args: Value,
    ) -> LocalBoxFuture<'static, Result<Probe<Value>, OpError>>;
}

struct Typed<O>(PhantomData<fn() -> O>);

impl<O: Op> Typed<O> {
    fn args(args: &Value) -> Result<O::Args, OpError> {
        O::Args::deserialize(args).map_err(|e| OpError::new(Kind::Args, e.to_string()))
    }

    fn value(out: &O::Out) -> Result<Value, OpError> {
        serde_json::to_value(out)
            .map_err(|e| OpError::command(format!("the result can't be written as JSON: {e}")))
    }
}

impl<O: Op> AnyOp for Typed<O> {
    fn effect(&self, args: &Value) -> Effect {
        Self::args(args).map_or(O::EFFECT, |args| O::effect(&args))
    }

    fn headline(&self, args: &Value) -> String {
        Self::args(args).map_or_else(|e| e.message, |args| O::headline(&args))
    }

    fn summary(&self, out: &Value) -> String {
        O::Out::deserialize(out).map_or_else(|e| e.to_string(), |out| O::summary(&out))
    }

    fn prints(&self) -> bool {
        O::PRINTS
    }

    fn observed(&self, args: &Value, out: &Value) -> Observation {
        match (Self::args(args), O::Out::deserialize(out)) {
            (Ok(args), Ok(out)) => O::observed(&args, &out),
            _ => Observation::new(),
        }
    }

    fn touches(&self, args: &Value) -> Vec<String> {
        Self::args(args).map_or_else(|_| Vec::new(), |args| O::touches(&args))
    }

    fn switched(&self, args: &Value, out: &Value) -> Option<Switch> {
        let out = O::Out::deserialize(out).ok()?;
        O::switched(&Self::args(args).ok()?, &out)
    }

    fn accepts(&self, args: &Value) -> Result<(), String> {
        let args = Self::args(args).map_err(|e| e.message)?;
        O::check(&args)
    }

    fn run(&self, cx: Rc<Cx>, args: Value) -> LocalBoxFuture<'static, Result<Value, OpError>> {
        Box::pin(async move {
            let out = O::run(&cx, Self::args(&args)?).await?;
            Self::value(&out)
        })
    }

    fn probe(
        &self,
        cx: Rc<Cx>,
        args: Value,
    ) -> LocalBoxFuture<'static, Result<Probe<Value>, OpError>> {
        Box::pin(async move {
            Ok(match O::probe(&cx, Self::args(&args)?).await? {
                Probe::Done(out) => Probe::Done(Self::value(&out)?),
                Probe::NotStarted => Probe::NotStarted,
                Probe::Running => Probe::Running,
                Probe::Failed(error) => Probe::Failed(error),
                Probe::Unknown(why) => Probe::Unknown(why),
            })
        })
    }
}

/// What is made when it is first looked at: a process needs the documentation and schemas of few ops.
#[derive(Clone)]
pub struct Lazy<T>(Arc<LazyLock<T, Maker<T>>>);

type Maker<T> = Box<dyn FnOnce() -> T + Send>;

impl<T> Lazy<T> {
    /// What `make` returns.
    pub fn new(make: impl FnOnce() -> T + Send + 'static) -> Self {
        Self(Arc::new(LazyLock::new(Box::new(make))))
    }
}

impl<T: Send + 'static> From<T> for Lazy<T> {
    fn from(made: T) -> Self {
        Self::new(move || made)
    }
}

impl<T> Deref for Lazy<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// An op with everything that its projections need.
#[derive(Clone)]
pub struct OpDef {
    /// Name, for example `snap.refresh`.
    pub name: String,
    /// What doing it twice would mean.
    pub effect: Effect,
    /// How long it may take by default.
    pub timeout: Span,
    /// Documentation: the first line stands alone.
    pub doc: Lazy<String>,
    /// Schema of the arguments, without references.
    pub args: Lazy<Value>,
    /// Schema of the result, without references.
    pub out: Lazy<Value>,
    /// The op itself.
    pub call: Arc<dyn AnyOp>,
}

impl OpDef {
    /// The definition of `O`, read off its types.
    #[must_use]
    pub fn of<O: Op>() -> Self {
        let args = Lazy::new(schema::schema_of::<O::Args>);
        let of_args = args.clone();
        let doc = move || {
            let doc = of_args.get("description").and_then(Value::as_str);
            paragraphs(doc.unwrap_or_default())
        };
        Self {
            name: O::NAME.to_owned(),
            effect: O::EFFECT,
            timeout: O::TIMEOUT,
            doc: Lazy::new(doc),
            args,
            out: Lazy::new(schema::schema_of::<O::Out>),
            call: Arc::new(Typed::<O>(PhantomData)),
        }
    }

    /// The first line of the documentation.
    #[must_use]
    pub fn about(&self) -> &str {
        self.doc.lines().next().unwrap_or_default()
    }

    /// Whether it asks if a run may begin at all, as `preflight.require` does. The last word of its name tells, so that a
    /// site's own modules can have such ops too.
    #[must_use]
    pub fn requires(&self) -> bool {
        self.effect == Effect::Read && self.name.ends_with(".require")
    }

    /// The member that these arguments name, if they name one.
    #[must_use]
    pub fn member(&self, args: &Value) -> Option<Member> {
        args.get("member").and_then(Value::as_str).map(Member::from)
    }

    /// Fits `args` to the schema and checks what only the types know.
    ///
    /// # Errors
    /// With the offending argument, and a near match for an unknown one.
    pub fn fit(&self, args: Value) -> Result<Value, OpError> {
        let fitted = schema::coerce(&self.args, args)
            .map_err(|e| OpError::new(Kind::Args, e.to_string()))?;
        self.call
            .accepts(&fitted)
            .map_err(|e| OpError::new(Kind::Args, e))?;
        Ok(fitted)
    }
}

/// A doc comment with each paragraph on a line of its own, for readers of any width.
fn paragraphs(doc: &str) -> String {
    let words = |paragraph: &str| paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    doc.split("\n\n")
        .map(words)
        .collect::<Vec<_>>()
        .join("\n\n")
}

/// Ops that belong together, under one name in Lua.
#[derive(Clone)]
pub struct Module {
    /// Name, for example `snap`.
    pub name: String,
    /// What it is for, in a line.
    pub about: String,
    /// Its ops, in the order of the reference.
    pub ops: Vec<OpDef>,
    /// The program that it is; none for a native one.
    pub program: Option<Arc<Program>>,
}

impl Module {
    /// A module without ops yet.
    #[must_use]
    pub fn new(name: &str, about: &str) -> Self {
        Self {
            name: name.to_owned(),
            about: about.to_owned(),
            ops: Vec::new(),
            program: None,
        }
    }

    /// With this op too.
    #[must_use]
    pub fn op<O: Op>(mut self) -> Self {
        self.ops.push(OpDef::of::<O>());
        self
    }
}

/// A program whose ops are known.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// The module's name.
    pub name: String,
    /// Where it is.
    pub file: PathBuf,
    /// How it described itself, checked.
    pub described: Described,
}

/// What a program says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Described {
    /// The version of the protocol that it speaks.
    pub protocol: u32,
    /// What it is for, in a line.
    pub about: String,
    /// Its ops by their verbs, in the order of the alphabet.
    pub ops: BTreeMap<String, DescribedOp>,
}

/// What a program says of one of its ops.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DescribedOp {
    /// What it does. The first line stands alone.
    pub doc: String,
    /// What doing it twice would mean.
    pub effect: Effect,
    /// How long it may take by default.
    #[serde(default = "two_minutes")]
    pub timeout: Span,
    /// Schema of the arguments.
    #[serde(default)]
    pub args: Value,
    /// Schema of the result.
    #[serde(default)]
    pub result: Value,
    /// It answers `probe`.
    #[serde(default)]
    pub probe: bool,
    /// The object of a step in a few words, with arguments in braces: `{backend} behind {member}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headline: Option<String>,
    /// The result in a few words, with its fields in braces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
}

fn two_minutes() -> Span {
    Span::secs(120)
}

/// All modules of this build. The list is explicit: nothing registers itself.
#[derive(Clone)]
pub struct Registry {
    modules: Arc<[Module]>,
}

/// The name of an op that doesn't exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no op {name:?}{hint}")]
pub struct UnknownOp {
    /// What was asked for.
    pub name: String,
    /// A near match, as " (did you mean …?)", or nothing.
    pub hint: String,
}

impl Registry {
    /// A registry of these modules.
    pub fn new(modules: impl IntoIterator<Item = Module>) -> Self {
        Self {
            modules: modules.into_iter().collect(),
        }
    }

    /// With these modules beside.
    #[must_use]
    pub fn with(&self, more: impl IntoIterator<Item = Module>) -> Self {
        Self::new(self.modules.iter().cloned().chain(more))
    }

    /// The modules, in the order of the reference.
    #[must_use]
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// Whether any of them is a program of a site's, which needs a runtime that waits for processes.
    #[must_use]
    pub fn has_programs(&self) -> bool {
        self.modules.iter().any(|module| module.program.is_some())
    }

    /// All ops.
    pub fn ops(&self) -> impl Iterator<Item = &OpDef> {
        self.modules.iter().flat_map(|m| &m.ops)
    }

    /// The op of this name.
    ///
    /// # Errors
    /// With a near match, if there is none.
    pub fn op(&self, name: &str) -> Result<&OpDef, UnknownOp> {
        self.ops().find(|op| op.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.ops().map(|op| op.name.as_str()).collect();
            UnknownOp {
                name: name.to_owned(),
                hint: near::hint(name, &names),
            }
        })
    }
}
