//! Every call of an op in a playbook's text held against the op's schema: also those that no trial comes to.

use full_moon::LuaVersion;
use full_moon::ast::{
    Call, Expression, Field, FunctionArgs, FunctionBody, FunctionCall, Index, LocalAssignment,
    Parameter, Prefix, Suffix, TableConstructor,
};
use full_moon::tokenizer::{StringLiteralQuoteType, TokenReference, TokenType};
use full_moon::visitors::Visitor;
use lockstep_modules::contract::op::{Module, OpDef, Registry};
use lockstep_modules::contract::schema::sample;
use serde_json::{Map, Value};

use super::{Case, Finding};
use crate::call::Options;
use crate::script::Source;

/// What is wrong with calls of ops in a Lua module. What isn't written out there, such as a variable's value, is taken to
/// be right: a trial shows whether it is.
pub(super) fn wrong(source: &Source, registry: &Registry) -> Vec<Finding> {
    // What Lua itself can't read was refused when the playbook was loaded.
    let ast = full_moon::parse_fallible(&source.text, LuaVersion::lua54()).into_ast();
    let mut own = Own::default();
    own.visit_ast(&ast);
    let mut calls = Calls {
        registry,
        own: own.names,
        chunk: &source.chunk,
        findings: Vec::new(),
    };
    calls.visit_ast(&ast);
    calls.findings
}

/// The names that a module gives to things of its own, which may hide an op's module.
#[derive(Default)]
struct Own {
    names: Vec<String>,
}

impl Visitor for Own {
    fn visit_local_assignment(&mut self, node: &LocalAssignment) {
        self.names.extend(node.names().iter().map(text));
    }

    fn visit_function_body(&mut self, node: &FunctionBody) {
        self.names
            .extend(node.parameters().iter().filter_map(|p| match p {
                Parameter::Name(name) => Some(text(name)),
                _ => None,
            }));
    }
}

struct Calls<'a> {
    registry: &'a Registry,
    own: Vec<String>,
    chunk: &'a str,
    findings: Vec<Finding>,
}

impl Visitor for Calls<'_> {
    fn visit_function_call(&mut self, node: &FunctionCall) {
        let Prefix::Name(first) = node.prefix() else {
            return;
        };
        if self.own.contains(&text(first)) {
            return;
        }
        let mut suffixes = node.suffixes();
        // `exec {…}` is an op without a module's name before it.
        let (op, call) = match (suffixes.next(), suffixes.next()) {
            (Some(Suffix::Index(Index::Dot { name, .. })), Some(call)) => {
                (format!("{}.{}", text(first), text(name)), call)
            }
            (Some(call), _) => (text(first), call),
            _ => return,
        };
        let why = match self.registry.op(&op) {
            Ok(def) => unfit(def, call).map(|why| format!("{op}: {why}")),
            Err(unknown) => {
                let of_module =
                    |m: &Module| op.strip_prefix(&m.name).is_some_and(|o| o.starts_with('.'));
                self.registry
                    .modules()
                    .iter()
                    .any(of_module)
                    .then(|| unknown.to_string())
            }
        };
        if let Some(why) = why {
            let site = format!("{}:{}", self.chunk, first.start_position().line());
            self.findings
                .push(Finding::new("op-call", &why, &Case::default()).by(None, &site));
        }
    }
}

/// Why a call doesn't fit its op, as far as the text shows it.
fn unfit(def: &OpDef, call: &Suffix) -> Option<String> {
    let Suffix::Call(Call::AnonymousCall(args)) = call else {
        return None;
    };
    let table = match args.as_ref() {
        FunctionArgs::TableConstructor(table) => table,
        FunctionArgs::Parentheses { arguments, .. } => match arguments.iter().next() {
            Some(Expression::TableConstructor(table)) => table,
            _ => return None,
        },
        _ => return None,
    };
    let mut given = Map::new();
    for field in table.fields() {
        let Field::NameKey { key, value, .. } = field else {
            return None;
        };
        let key = text(key);
        match literal(value) {
            Some(value) => _ = given.insert(key, value),
            // Whatever it will be, it is taken to fit, if there is such an argument.
            None if ["timeout", "retry"].contains(&key.as_str()) => {}
            None => _ = given.insert(key.clone(), sample(&def.args["properties"][&key])),
        }
    }
    let mut given = Value::Object(given);
    let options = Options::take_from(&mut given).err();
    options.or_else(|| def.fit(given).err().map(|e| e.message))
}

/// The value of an expression that is written out.
fn literal(expression: &Expression) -> Option<Value> {
    match expression {
        Expression::String(token) => match token.token_type() {
            TokenType::StringLiteral {
                literal,
                quote_type,
                ..
            } => {
                let plain =
                    *quote_type != StringLiteralQuoteType::Brackets && !literal.contains('\\');
                plain.then(|| Value::from(literal.as_str()))
            }
            _ => None,
        },
        Expression::Number(token) => serde_json::from_str(&text(token)).ok(),
        Expression::Symbol(token) => match text(token).as_str() {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            "nil" => Some(Value::Null),
            _ => None,
        },
        Expression::TableConstructor(table) => written(table),
        _ => None,
    }
}

/// A table that is written out whole, as a list or a record.
fn written(table: &TableConstructor) -> Option<Value> {
    let (mut list, mut record) = (Vec::new(), Map::new());
    for field in table.fields() {
        match field {
            Field::NoKey(value) => list.push(literal(value)?),
            Field::NameKey { key, value, .. } => {
                record.insert(text(key), literal(value)?);
            }
            _ => return None,
        }
    }
    match (list.is_empty(), record.is_empty()) {
        (false, true) => Some(Value::Array(list)),
        (true, _) => Some(Value::Object(record)),
        (false, false) => None,
    }
}

fn text(token: &TokenReference) -> String {
    token.token().to_string()
}
