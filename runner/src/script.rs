//! The script machine: a playbook as a state machine without IO, clock or async.
//!
//! Loaded from sources and parameters, it is polled for what it wants done, and given completions one at a time. Its
//! state is a function of the sources, the parameters, the seed and the order of completions; nothing else gets in.
//!
//! A *strand* is a Lua coroutine. `parallel` and `rolling` fork strands; each is running, waiting for a step or for its
//! forks, or done. Runnable strands run first in, first out.

mod convert;
mod pattern;
mod playbook;
mod raised;
mod sandbox;
mod shared;
#[cfg(test)]
mod tests;
mod text;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use lockstep_modules::contract::cluster::Cluster;
use lockstep_modules::contract::cx::LogLevel;
use lockstep_modules::contract::error::Kind;
use lockstep_modules::contract::near;
use lockstep_modules::contract::op::Registry;
use lockstep_modules::contract::schema::Member;
use mlua::{Function, Lua, MultiValue, Table, Thread, Value as LuaValue};
use serde_json::{Value, json};

pub use playbook::{API, Param, ParamKind, Playbook};

use crate::call::{Call, Options};
use crate::failure::Failure;
pub use crate::source::{Source, Sources};
pub(crate) use convert::UNKNOWN;
use convert::{ToLua, to_json};
use lockstep_modules::contract::path::StepPath;
use raised::{cut, read_failure};
pub(crate) use sandbox::is_of_lua;
use shared::{BUDGET, Shared, StrandState};

/// What a strand asks for, beside waiting.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Demand {
    /// A step is to be done. The strand waits for its completion.
    Step(Call),
    Log {
        /// `info` or `warn`.
        level: LogLevel,
        message: String,
        /// The scope it was logged in, for example `MicroCeph/micro2`.
        scope: String,
    },
}

/// A playbook, loaded and perhaps running.
pub struct Script {
    lua: Lua,
    prelude: Table,
    registry: Registry,
    shared: Rc<RefCell<Shared>>,
    playbook: Playbook,
    functions: playbook::Functions,
    strands: Vec<Strand>,
    forks: Vec<Fork>,
    ready: VecDeque<(usize, MultiValue)>,
    waiting: BTreeMap<StepPath, Waiting>,
    counts: BTreeMap<(Vec<String>, String), u32>,
    outcome: Option<Result<Value, Failure>>,
    /// Members and machines that steps may name; empty before the start.
    known: Vec<Member>,
}

struct Strand {
    thread: Thread,
    /// The fork that it is of, and its number there.
    of: Option<(usize, usize)>,
}

/// The strands that another one has begun. It may begin others while some of these wait for something.
struct Fork {
    parent: usize,
    labels: Vec<String>,
    body: Function,
    started: usize,
    /// What the strands have come to that have ended, by their numbers from 1.
    results: Table,
    /// Strands that have a place, and how many there may be.
    busy: usize,
    limit: usize,
    /// Strands that left their place, and want one again.
    returning: VecDeque<usize>,
    /// Numbers of strands that are to begin once more.
    again: VecDeque<usize>,
    /// Whether the parent waits for it. Else nothing of it gets a place.
    awaited: bool,
}

impl Fork {
    /// The number of the strand that begins next, if one is left.
    fn next(&mut self) -> Option<usize> {
        self.again.pop_front().or_else(|| {
            let next = self.started;
            (next < self.labels.len()).then(|| {
                self.started += 1;
                next
            })
        })
    }
}

/// A strand that waits for a step.
struct Waiting {
    strand: usize,
    op: String,
}

impl Script {
    /// Loads the module `main` and everything that it requires.
    ///
    /// # Errors
    /// With the line, for anything wrong with the sources; and for a playbook that was written for a newer lockstep.
    pub fn load(
        main: &str,
        sources: Box<dyn Sources>,
        registry: &Registry,
        seed: u64,
    ) -> Result<Self, Failure> {
        let shared = Rc::new(RefCell::new(Shared::new(sources)));
        let (lua, prelude) = sandbox::build(&shared, registry, seed)?;
        let (playbook, functions) = playbook::load(&lua, &prelude, &shared, main)?;
        shared.borrow_mut().loading = false;
        Ok(Self {
            lua,
            prelude,
            registry: registry.clone(),
            shared,
            playbook,
            functions,
            strands: Vec::new(),
            forks: Vec::new(),
            ready: VecDeque::new(),
            waiting: BTreeMap::new(),
            counts: BTreeMap::new(),
            outcome: None,
            known: Vec::new(),
        })
    }

    pub(crate) fn playbook(&self) -> &Playbook {
        &self.playbook
    }

    /// The sources that were loaded, by module name: what a run must keep in order to be resumed.
    pub(crate) fn loaded(&self) -> BTreeMap<String, Source> {
        self.shared.borrow().loaded.clone()
    }

    /// Readies the first strand. `params` have passed `Playbook::params`, or are what lockstep itself gives its own `op`.
    ///
    /// # Errors
    /// Where the playbook's function of its stages goes wrong, or Lua has no memory left.
    pub fn start(&mut self, cluster: &Cluster, params: &Value) -> Result<(), Failure> {
        self.known = cluster.reachable().map(|m| m.name.clone()).collect();
        let machines: Vec<&str> = cluster.machines.iter().map(|m| m.name.as_str()).collect();
        let cluster =
            &json!({"name": cluster.name, "members": cluster.names(), "machines": machines});
        let args = self.start_args(cluster, params)?;
        if let (Some(stages), Some(params)) = (self.functions.stages.clone(), args.last()) {
            let stages = self.ask_stages(stages, params.clone());
            self.playbook.stages =
                stages.map_err(|failure| self.shared.borrow().with_source(failure))?;
        }
        let entry = self.functions.run.clone();
        Ok(self.spawn(entry, None, Vec::new(), (0, 0), args)?)
    }

    /// What a playbook's function says of its stages.
    fn ask_stages(&self, stages: Function, params: LuaValue) -> Result<Vec<String>, Failure> {
        let site = sandbox::beginning(&stages).map(|site| site.to_string());
        let wrong = |what: String| Failure {
            site: site.clone(),
            ..Failure::script(what)
        };
        let thread = self.lua.create_thread(self.prelude.raw_get("strand")?)?;
        sandbox::watch(&thread, &self.shared)?;
        let values = thread.resume::<MultiValue>((stages, params))?;
        if !thread.is_finished() {
            return Err(wrong(
                "stages: a function that takes no steps is expected".to_owned(),
            ));
        }
        let (ok, value): (bool, LuaValue) = self.lua.unpack_multi(values)?;
        if !ok {
            return Err(read_failure(&value));
        }
        playbook::names(&value).map_err(wrong)
    }

    fn start_args(&self, cluster: &Value, params: &Value) -> mlua::Result<Vec<LuaValue>> {
        let cluster_schema =
            json!({"type": "object", "properties": {"name": {}, "members": {}, "machines": {}}});
        let params_schema = self.playbook.schema();
        Ok(vec![
            self.to_lua(cluster, &cluster_schema)?,
            self.to_lua(&self.playbook.without_secrets(params), &params_schema)?,
        ])
    }

    fn to_lua(&self, value: &Value, schema: &Value) -> mlua::Result<LuaValue> {
        let strict: Function = self.prelude.raw_get("strict")?;
        let unknown: Function = self.prelude.raw_get("unknown")?;
        ToLua {
            lua: &self.lua,
            strict: &strict,
            unknown: Some(&unknown),
        }
        .value(value, schema)
    }

    fn spawn(
        &mut self,
        body: Function,
        of: Option<(usize, usize)>,
        scope: Vec<String>,
        (catching, cleaning): (u32, u32),
        args: Vec<LuaValue>,
    ) -> mlua::Result<()> {
        let thread = self.lua.create_thread(self.prelude.raw_get("strand")?)?;
        sandbox::watch(&thread, &self.shared)?;
        let id = self.strands.len();
        self.strands.push(Strand { thread, of });
        self.shared.borrow_mut().strands.push(StrandState {
            scope,
            catching,
            cleaning,
            body: sandbox::beginning(&body),
        });
        let mut all = vec![LuaValue::Function(body)];
        all.extend(args);
        self.wake(id, all);
        Ok(())
    }

    fn wake(&mut self, strand: usize, values: Vec<LuaValue>) {
        self.ready.push_back((strand, MultiValue::from_vec(values)));
    }

    /// Runs every strand that can run, until all of them wait or the playbook has ended; returns what they asked for on
    /// the way, in order.
    ///
    /// # Errors
    /// Where a strand runs on and on without a step, which nothing inside Lua can learn of.
    pub(crate) fn poll(&mut self) -> Result<Vec<Demand>, Failure> {
        let mut demands = Vec::new();
        while let Some((id, args)) = self.ready.pop_front() {
            self.shared.borrow_mut().enter_strand(id);
            let result = self.strands[id].thread.resume::<MultiValue>(args);
            self.take_logs(&mut demands);
            if let Some(site) = self.shared.borrow().runaway.clone() {
                let millions = BUDGET / 1_000_000;
                let failure = Failure::script(format!(
                    "no step for {millions} million instructions: an endless loop?"
                ));
                return Err(failure.at(site.to_string()));
            }
            let values = result?;
            let done = self.strands[id].thread.is_finished();
            if done {
                self.finish(id, values)?;
            } else {
                self.waits(id, values, &mut demands)?;
            }
        }
        Ok(demands)
    }

    /// The playbook's result, once it has ended.
    pub(crate) fn outcome(&self) -> Option<&Result<Value, Failure>> {
        self.outcome.as_ref()
    }

    /// From here on the playbook asks for no step any more: each raises an error that nothing but `finally` sees. What
    /// `finally` does last continues as ever. Steps that are waited for now are completed as any other.
    pub(crate) fn cancel(&mut self) {
        self.shared.borrow_mut().cancelled = true;
    }

    /// Whether a strand waits for this step.
    pub(crate) fn waits_for(&self, path: &StepPath) -> bool {
        self.waiting.contains_key(path)
    }

    /// Delivers the completion of a step. The strand that waits for it runs at the next [`Script::poll`].
    pub(crate) fn complete(
        &mut self,
        path: &StepPath,
        result: &Result<Value, Failure>,
    ) -> Result<(), Failure> {
        let Some(Waiting { strand, op }) = self.waiting.remove(path) else {
            return Err(Failure::script(format!(
                "a completion of {path} arrived, for which nothing waits"
            )));
        };
        let values = match result {
            Ok(value) => {
                let op = self.registry.op(&op);
                let out = op.map_or(&Value::Null, |op| &op.out);
                vec![LuaValue::Boolean(true), self.to_lua(value, out)?]
            }
            Err(failure) => vec![LuaValue::Boolean(false), self.raised(failure)?],
        };
        self.wake(strand, values);
        Ok(())
    }

    fn raised(&self, failure: &Failure) -> mlua::Result<LuaValue> {
        let fields = serde_json::to_value(failure).map_err(mlua::Error::external)?;
        let make: Function = self.prelude.raw_get("failure")?;
        make.call(self.to_lua(&fields, &Value::Null)?)
    }

    /// A strand has yielded: it waits for a step, or for strands of its own.
    fn waits(
        &mut self,
        id: usize,
        values: MultiValue,
        demands: &mut Vec<Demand>,
    ) -> mlua::Result<()> {
        let mut values = values.into_iter();
        let word = values
            .next()
            .and_then(|v| v.as_string().map(mlua::LuaString::to_string_lossy));
        match word.as_deref() {
            Some("step") => {
                let args = MultiValue::from_iter(values);
                let (op, args, site, traceback): (String, LuaValue, String, String) =
                    self.lua.unpack_multi(args)?;
                let traceback = traceback.contains('\n').then_some(traceback);
                match self.call(id, &op, &args, (site, traceback)) {
                    Ok(call) => {
                        self.waiting
                            .insert(call.path.clone(), Waiting { strand: id, op });
                        demands.push(Demand::Step(call));
                    }
                    Err(failure) => {
                        let raised = self.raised(&failure)?;
                        self.wake(id, vec![LuaValue::Boolean(false), raised]);
                    }
                }
                Ok(())
            }
            Some("fork") => {
                let args = MultiValue::from_iter(values);
                let (labels, limit, body): (Vec<String>, usize, Function) =
                    self.lua.unpack_multi(args)?;
                let fork = self.forks.len();
                self.forks.push(Fork {
                    parent: id,
                    labels,
                    body,
                    started: 0,
                    results: self.lua.create_table()?,
                    busy: 0,
                    limit,
                    returning: VecDeque::new(),
                    again: VecDeque::new(),
                    awaited: true,
                });
                self.fill(fork)
            }
            Some("rejoin") => {
                let args = MultiValue::from_iter(values);
                let (fork, again): (usize, Vec<usize>) = self.lua.unpack_multi(args)?;
                let it = &mut self.forks[fork];
                it.awaited = true;
                for number in again {
                    it.results.raw_set(number, LuaValue::Nil)?;
                    it.again.push_back(number - 1);
                }
                self.fill(fork)
            }
            Some("aside") => {
                self.wake(id, Vec::new());
                self.leave(id)
            }
            Some("back") => {
                if let Some((fork, _)) = self.strands[id].of {
                    self.forks[fork].returning.push_back(id);
                    self.fill(fork)?;
                }
                Ok(())
            }
            other => Err(mlua::Error::runtime(format!("a strand yielded {other:?}"))),
        }
    }

    /// A strand leaves its place. Where no other one has a place either, its parent is asked: what isn't done yet waits.
    fn leave(&mut self, id: usize) -> mlua::Result<()> {
        let Some((number, _)) = self.strands[id].of else {
            return Ok(());
        };
        self.forks[number].busy -= 1;
        self.fill(number)?;
        let fork = &mut self.forks[number];
        if fork.busy == 0 {
            fork.awaited = false;
            let results = LuaValue::Table(fork.results.clone());
            let number = LuaValue::Integer(number.try_into().map_err(mlua::Error::external)?);
            let parent = fork.parent;
            self.wake(parent, vec![results, number]);
        }
        Ok(())
    }

    /// Gives the free places of a fork to those who had one before, and then to new strands.
    fn fill(&mut self, number: usize) -> mlua::Result<()> {
        loop {
            let fork = &mut self.forks[number];
            if !fork.awaited || fork.busy == fork.limit {
                return Ok(());
            }
            if let Some(strand) = fork.returning.pop_front() {
                fork.busy += 1;
                self.wake(strand, Vec::new());
            } else if let Some(next) = fork.next() {
                fork.busy += 1;
                self.start_strand(number, next)?;
            } else {
                return Ok(());
            }
        }
    }

    /// Starts a strand of a fork.
    fn start_strand(&mut self, fork: usize, number: usize) -> mlua::Result<()> {
        let it = &self.forks[fork];
        let (label, body) = (it.labels[number].clone(), it.body.clone());
        let (mut scope, depths) = {
            let shared = self.shared.borrow();
            let state = &shared.strands[it.parent];
            (state.scope.clone(), (state.catching, state.cleaning))
        };
        scope.push(label);
        let index = LuaValue::Integer(i64::try_from(number).unwrap_or(i64::MAX).saturating_add(1));
        self.spawn(body, Some((fork, number)), scope, depths, vec![index])
    }

    /// A strand has ended.
    fn finish(&mut self, id: usize, values: MultiValue) -> mlua::Result<()> {
        let (ok, value): (bool, LuaValue) = self.lua.unpack_multi(values)?;
        let Some((fork, number)) = self.strands[id].of else {
            self.outcome = Some(self.conclude(ok, &value));
            return Ok(());
        };
        let result = self.lua.create_table()?;
        result.raw_set("ok", ok)?;
        result.raw_set(if ok { "value" } else { "error" }, value)?;
        self.forks[fork].results.raw_set(number + 1, result)?;
        self.leave(id)
    }

    fn conclude(&self, ok: bool, value: &LuaValue) -> Result<Value, Failure> {
        if ok {
            return to_json(value)
                .map_err(|what| Failure::script(format!("the playbook's result: {what}")));
        }
        Err(read_failure(value))
    }

    /// The step that a strand asks for, with its place in the run.
    fn call(
        &mut self,
        id: usize,
        op: &str,
        args: &LuaValue,
        (site, traceback): (String, Option<String>),
    ) -> Result<Call, Failure> {
        let complain = |what: String| Failure {
            op: Some(op.to_owned()),
            ..Failure::new(Kind::Args, what).at(site.as_str())
        };
        let def = self
            .registry
            .op(op)
            .map_err(|e| complain(e.to_string()))?
            .clone();
        let mut args = to_json(args).map_err(|what| complain(format!("argument {what}")))?;
        let options = Options::take_from(&mut args).map_err(complain)?;
        let args = def.fit(args).map_err(|e| complain(e.message))?;
        if let Some(unknown) = def.member(&args).filter(|name| !self.known.contains(name)) {
            let known: Vec<&str> = self.known.iter().map(Member::as_str).collect();
            return Err(complain(format!(
                "there is no member {unknown:?}{}",
                near::hint(&unknown, &known)
            )));
        }
        let (scope, catching, cleaning) = {
            let shared = self.shared.borrow();
            let state = &shared.strands[id];
            (state.scope.clone(), state.catching, state.cleaning)
        };
        let key = (scope.clone(), op.to_owned());
        let count = self.counts.entry(key).or_insert(0);
        *count += 1;
        Ok(Call {
            path: StepPath::new(&scope, op, *count),
            op: op.to_owned(),
            effect: def.call.effect(&args),
            args,
            options,
            caught: catching > 0,
            cleaning: cleaning > 0,
            site,
            traceback,
        })
    }

    fn take_logs(&self, demands: &mut Vec<Demand>) {
        let logs = std::mem::take(&mut self.shared.borrow_mut().logs);
        demands.extend(logs.into_iter().map(|(level, message, scope)| Demand::Log {
            level,
            message: cut(message),
            scope,
        }));
    }
}
