//! How a run comes to a pause or an end, and what it may not leave behind then.

use jiff::Timestamp;
use lockstep_modules::contract::error::Kind;
use serde_json::{Value, json};

use super::{Engine, EngineError, Finish, Stop};
use crate::failure::{Failure, LEFT_ON};
use crate::journal::{Record, Suspended};

impl Engine {
    /// Nothing runs any more, and the playbook waits: the run is held, or was drained. One that a check refused before it
    /// changed anything is over: the same command begins it again.
    pub(super) fn pause(&mut self) -> Result<Finish, EngineError> {
        if self.held.is_empty() {
            return self.suspend(Suspended::Drained(self.parked));
        }
        if !self.touched && !self.cancelled && self.refusals == self.held.len() {
            let result = Err(self.held[0].failure.clone());
            self.append([Record::End { result }])?;
            return Ok(Finish::Refused(std::mem::take(&mut self.held)));
        }
        let paths = self.held.iter().map(|held| held.path.clone()).collect();
        let why = Suspended::Held(paths);
        self.append([Record::Suspend { why }])?;
        Ok(Finish::Held(std::mem::take(&mut self.held)))
    }

    /// Until when every step that is under way waits, where the run needn't be there meanwhile.
    pub(super) fn only_waits(&self) -> Option<Timestamp> {
        if !self.tools.no_wait && self.stop == Stop::No && self.held.is_empty() {
            return None;
        }
        let until: Option<Vec<Timestamp>> = self.steps.values().map(|live| live.waits).collect();
        until?.into_iter().min()
    }

    /// Pauses, with all that is under way waiting for its time.
    pub(super) fn wait_elsewhere(&mut self, until: Timestamp) -> Result<Finish, EngineError> {
        match (self.held.is_empty(), self.stop) {
            (false, _) => self.pause(),
            (true, Stop::No) => self.suspend(Suspended::Waiting(until)),
            // Whoever interrupted it says when it continues.
            (true, _) => self.suspend(Suspended::UnderWay(self.steps.keys().cloned().collect())),
        }
    }

    pub(super) fn suspend(&mut self, why: Suspended) -> Result<Finish, EngineError> {
        self.append([Record::Suspend { why: why.clone() }])?;
        Ok(Finish::Suspended(why))
    }

    /// Keeps in mind what a step that is done has switched on.
    pub(super) fn switched(&mut self, op: &str, args: &Value, value: &Value) {
        let Ok(def) = self.tools.registry.op(op) else {
            return;
        };
        match def.call.switched(args, value) {
            Some(switch) if switch.on => drop(self.on.insert(switch.what, switch.undo)),
            Some(switch) => drop(self.on.remove(&switch.what)),
            None => {}
        }
    }

    /// How the run ends. One that leaves something switched on is neither done nor aborted, and says so.
    fn verdict(&self, result: &Result<Value, Failure>) -> Result<Value, Failure> {
        if self.on.is_empty() || self.script.playbook().leaves_on {
            return result.clone();
        }
        let each = |(what, undo): (&String, &String)| format!("\n  {what}; undo it with: {undo}");
        let on: String = self.on.iter().map(each).collect();
        let on = format!("these settings were not restored:{on}");
        let ended = |how: &str| {
            let mut failure = Failure::script(format!("{how}, and {on}"));
            failure.detail.insert(LEFT_ON.to_owned(), json!(self.on));
            failure
        };
        Err(match result {
            Ok(_) => ended("the playbook ended"),
            Err(failure) if failure.kind == Kind::Cancelled => ended("the run was aborted"),
            Err(failure) => Failure {
                message: format!("{}\n{on}", failure.message),
                ..failure.clone()
            },
        })
    }

    pub(super) fn end(&mut self, result: &Result<Value, Failure>) -> Result<Finish, EngineError> {
        let result = self.verdict(result);
        self.append([Record::End {
            result: result.clone(),
        }])?;
        Ok(match result.clone() {
            Ok(value) => Finish::Done(value),
            Err(failure) if self.cancelled && failure.kind == Kind::Cancelled => Finish::Aborted,
            Err(failure) => Finish::Failed(failure),
        })
    }
}
