//! `doc`: the reference on the terminal.

use clap::Args;
use lockstep_modules::contract::near::hint;
use serde_json::json;

use crate::cli::app::App;
use crate::cli::exit::{Exit, Fault};
use crate::cli::print;
use crate::generate;

/// What is looked up.
#[derive(Args)]
pub(crate) struct DocArgs {
    /// A module or op, for example snap or snap.refresh; without it, all modules
    name: Option<String>,
}

pub(crate) fn doc(app: &App<'_>, args: &DocArgs) -> Result<Exit, Fault> {
    let Some(name) = &args.name else {
        if app.global.json {
            print::json(&generate::schema(app.registry));
        } else {
            for module in app.registry.modules() {
                out!("{}: {}", module.name, module.about);
                for op in &module.ops {
                    out!("  {:<20} {}", op.name, op.about());
                }
            }
        }
        return Ok(Exit::Done);
    };
    let modules = app.registry.modules().iter();
    let ops: Vec<_> = match app.registry.op(name) {
        Ok(op) => vec![op],
        Err(_) => modules
            .clone()
            .filter(|m| m.name == *name)
            .flat_map(|m| &m.ops)
            .collect(),
    };
    if ops.is_empty() {
        let names: Vec<&str> = modules
            .map(|m| m.name.as_str())
            .chain(app.registry.ops().map(|op| op.name.as_str()))
            .collect();
        return Err(Fault::usage(format!(
            "there is no module or op {name:?}{}",
            hint(name, &names)
        )));
    }
    for op in ops {
        if app.global.json {
            print::json(
                &json!({"op": op.name, "effect": op.effect, "args": *op.args, "out": *op.out}),
            );
        } else {
            out!("{}", generate::reference_of(op));
        }
    }
    Ok(Exit::Done)
}
