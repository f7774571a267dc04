//! Ops that are asked of members whose answers aren't what was asked for.

use std::cell::Cell;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use lockstep::engine::{Answer, Finish};
use lockstep_modules::contract::cmd::{Cmd, Output};
use lockstep_modules::contract::op::OpDef;
use lockstep_modules::contract::reach::{ContactError, Ear, Facts, Transport, Turn};
use lockstep_modules::contract::schema::{Member, sample};
use lockstep_twin::Twin;
use serde_json::{Value, json};

use crate::{Bench, Ended};

/// Whether an op is a gate, by the last word of its name.
#[must_use]
pub fn is_gate(op: &str) -> bool {
    let verb = op.rsplit('.').next().unwrap_or(op);
    ["finish", "wait", "require", "verify", "spare", "unharmed"].contains(&verb)
}

/// The arguments that an op requires, as they make sense on a cluster.
fn required(op: &OpDef) -> Value {
    let mut args = sample(&op.args);
    for (name, value) in args.as_object_mut().into_iter().flatten() {
        let sensible = match name.as_str() {
            "member" => json!("micro01"),
            "snap" => json!("microceph"),
            "channel" => json!("squid/stable"),
            "argv" => json!(["/usr/bin/true"]),
            "components" => json!(["microceph", "microovn", "lxd", "microcloud"]),
            _ => continue,
        };
        *value = sensible;
    }
    args
}

/// The ops that are about members. A rollout's are about clusters, and do nothing here.
#[must_use]
pub fn ops_of_members() -> Vec<OpDef> {
    let registry = lockstep_modules::registry();
    let ops = registry.ops().filter(|op| !op.name.starts_with("cluster."));
    ops.cloned().collect()
}

/// How an op is called: what has to be done before, the call, and what the call has as `p`.
#[must_use]
pub fn called(op: &OpDef) -> (&'static str, String, Value) {
    let (before, call) = match op.name.as_str() {
        "lxd.unharmed" => (
            "local before = lxd.instances {}",
            "lxd.unharmed { since = before.instances }".into(),
        ),
        "microceph.finish" => (
            "local before = microceph.baseline {}",
            "microceph.finish { since = before }".into(),
        ),
        "lxd.restore" => (
            "lxd.evacuate { member = 'micro01' }",
            "lxd.restore { member = 'micro01' }".into(),
        ),
        "lock.release" => ("lock.take {}", "lock.release {}".into()),
        "lock.remove" => (
            "lock.take {}\nlocal shown = {}\nfor _, lock in ipairs(lock.read {}.members) do shown[lock.member] = lock.says end",
            "lock.remove { shown = shown }".into(),
        ),
        "backup.verify" => (
            "backup.take { member = 'micro01' }",
            "backup.verify { member = 'micro01' }".into(),
        ),
        // A question is the one thing that isn't given as a record.
        "confirm" => ("", "confirm 'Go on?'".into()),
        name => ("", format!("{name}(p)")),
    };
    (before, call, required(op))
}

/// What becomes of an output on its way.
pub type Mutation = Rc<dyn Fn(Output) -> Output>;

/// The way to a simulated cluster, on which outputs are changed.
struct Mutating(Twin, Mutation);

impl Transport for Mutating {
    fn facts<'a>(&'a self, member: &'a Member) -> LocalBoxFuture<'a, Result<Facts, ContactError>> {
        self.0.facts(member)
    }

    fn run<'a>(
        &'a self,
        member: &'a Member,
        batch: &'a [Cmd],
        ear: &'a Ear<'a>,
    ) -> LocalBoxFuture<'a, Result<Vec<Output>, ContactError>> {
        Box::pin(async move {
            let outputs = self.0.run(member, batch, ear).await?;
            Ok(outputs.into_iter().map(|output| (self.1)(output)).collect())
        })
    }

    fn turn(&self) -> LocalBoxFuture<'_, Option<Turn>> {
        self.0.turn()
    }
}

/// Asks for one op, in half a minute, of members whose outputs are changed.
///
/// # Panics
/// Where the run can't continue.
pub fn asked(op: &OpDef, members: usize, mutation: Mutation) -> Finish {
    let (before, call, mut args) = called(op);
    args["timeout"] = json!("30s");
    let call = match call.strip_suffix('}') {
        Some(call) if !call.trim_end().ends_with('{') => format!("{call}, timeout = '30s' }}"),
        Some(call) => format!("{call} timeout = '30s' }}"),
        None => call,
    };
    let mut bench = Bench::playing(&format!("{before}\nreturn {call}"), members).given(args);
    bench.answer = Answer::Yes;
    bench.way = Rc::new(move |twin| Rc::new(Mutating(twin, Rc::clone(&mutation))));
    match bench.run() {
        Ended::Finish(finish) => finish,
        other => panic!("{}: {other:?}", op.name),
    }
}

/// One try of a fuzzer at a module: the first byte is which of its ops is asked for, the second which of the members' outputs
/// is replaced, and the rest is by what.
///
/// # Panics
/// Where there is no such module, or what is looked for was found.
pub fn fuzzed(module: &str, data: &[u8]) {
    let [op, answer, text @ ..] = data else {
        return;
    };
    let registry = lockstep_modules::registry();
    let known = registry.modules().iter().find(|m| m.name == module);
    let ops = &known.unwrap_or_else(|| panic!("{module}")).ops;
    let text = String::from_utf8_lossy(text).into_owned();
    let left = Cell::new(*answer);
    let mutation: Mutation =
        Rc::new(
            move |output| match left.replace(left.get().wrapping_sub(1)) {
                0 => Output {
                    stdout: text.clone(),
                    ..output
                },
                _ => output,
            },
        );
    let _ = asked(&ops[usize::from(*op) % ops.len()], 1, mutation);
}
