//! Operations: what LXD does in the background, and goes on with whoever asked for it may be gone.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::state::{Operation, What};
use crate::world::World;

/// How long LXD remembers an operation that has ended (`lxd/operations/operations.go`).
const REMEMBERED: u64 = 5000;

impl What {
    /// `lxd/db/operationtype/operation_type.go`
    pub(super) fn description(self) -> &'static str {
        match self {
            Self::Evacuate => "Evacuating cluster member",
            Self::Restore => "Restoring cluster member",
            Self::Start => "Starting instance",
            Self::Stop => "Stopping instance",
            Self::Migrate => "Migrating instance",
        }
    }
}

impl Operation {
    pub(super) fn runs(&self) -> bool {
        self.ended.is_none()
    }

    pub(super) fn of_member(&self, what: What, member: &str) -> bool {
        self.runs() && self.what == what && self.member == member
    }

    pub(super) fn json(&self, world: &World) -> Value {
        let metadata = if self.progress.is_empty() {
            Value::Null
        } else {
            json!({"evacuation_progress": self.progress})
        };
        let (status, code) = match self.ended.as_deref() {
            None => ("Running", 103),
            Some("") => ("Success", 200),
            Some(_) => ("Failure", 400),
        };
        json!({"class": "task", "created_at": world.timestamp(self.created).to_string(), "description": self.what.description(),
            "err": self.ended.clone().unwrap_or_default(), "id": self.id, "location": self.member, "may_cancel": false,
            "metadata": metadata, "resources": null, "status": status, "status_code": code,
            "updated_at": world.timestamp(self.updated).to_string()})
    }
}

/// The operations that LXD remembers.
pub(super) fn remembered(world: &World) -> impl Iterator<Item = &Operation> {
    let remembered = REMEMBERED + world.lxd.faults.remembers;
    let recent = move |op: &&Operation| op.runs() || op.updated + remembered > world.now;
    world.lxd.operations.iter().filter(recent)
}

/// Makes an operation. Returns its id.
pub(super) fn create(
    world: &mut World,
    what: What,
    member: &str,
    mode: &str,
    asked_by: u64,
) -> String {
    // A command asks for one operation at most.
    let part = |n: u64, bits: u32| world.random(&format!("operation {asked_by} {n}"), 1 << bits);
    let id = format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        part(1, 32),
        part(2, 16),
        part(3, 12),
        part(4, 12),
        part(5, 40)
    );
    world.lxd.operations.push(Operation {
        id: id.clone(),
        what,
        member: member.to_owned(),
        asked_by,
        mode: mode.to_owned(),
        created: world.now,
        updated: world.now,
        progress: String::new(),
        ended: None,
        todo: VecDeque::new(),
        at: None,
    });
    id
}

pub(super) fn find<'a>(world: &'a World, id: &str) -> Option<&'a Operation> {
    remembered(world).find(|op| op.id == id)
}

pub(super) fn find_mut<'a>(world: &'a mut World, id: &str) -> Option<&'a mut Operation> {
    world.lxd.operations.iter_mut().find(|op| op.id == id)
}

/// An operation ends; an empty text is success.
pub(super) fn end(world: &mut World, id: &str, error: &str) {
    let now = world.now;
    if let Some(op) = find_mut(world, id) {
        op.ended = Some(error.to_owned());
        op.updated = now;
        op.at = None;
        op.todo.clear();
    }
}
