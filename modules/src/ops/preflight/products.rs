//! Checks of what the products say of themselves.

use super::checks::{Found, Seen};
use crate::contract::component::Component;
use crate::ops::status::Health;

impl Seen<'_> {
    /// How a component is, and what will be switched in it meanwhile.
    pub(super) fn component(&self, component: Component) -> Found {
        let mut found = self.health(component);
        let switched = match (component, self.work, self.network) {
            (Component::Lxd, Some(Ok(work)), _) => &work.healing,
            (Component::Microovn, _, Some(Ok(outlook))) => &outlook.timers,
            _ => &None,
        };
        found.notes.extend(switched.clone());
        found
    }

    fn health(&self, asked: Component) -> Found {
        let mut found = Found::default();
        for component in self.status.components.iter().filter(|c| c.name == asked) {
            found.notes.extend(component.notes.iter().cloned());
            match component.health {
                Health::Ok => {}
                Health::Absent => found.notes.push("not installed".to_owned()),
                // Members have different releases: the next wave ends that.
                Health::Waiting => found.notes.extend(component.problems.iter().cloned()),
                Health::Bad => found.against.extend(component.problems.iter().cloned()),
                Health::Unknown if component.problems.is_empty() => {
                    found.unknown.push("no member reports it".to_owned());
                }
                Health::Unknown => found.unknown.extend(component.problems.iter().cloned()),
            }
        }
        found
    }

    /// Work of LXD's own that a refresh would break off, and what it warns of.
    pub(super) fn work(&self) -> Found {
        asked(self.work, |work, found| {
            found.against.clone_from(&work.operations);
            if self.args.chosen(Component::Lxd) {
                found.notes.clone_from(&work.starts);
            }
            found.notes.extend(work.warnings.iter().cloned());
        })
    }

    pub(super) fn voters(&self) -> Found {
        asked(self.work, |work, found| {
            found.against.extend(work.voters.clone())
        })
    }

    pub(super) fn schemas(&self) -> Found {
        asked(self.network, |outlook, found| {
            found.against.extend(outlook.schema.clone())
        })
    }

    pub(super) fn certificates(&self) -> Found {
        asked(self.network, |outlook, found| {
            let certificates = &outlook.certificates;
            found.against.clone_from(&certificates.expired);
            found.unknown.clone_from(&certificates.unknown);
            found.notes.clone_from(&certificates.notes);
        })
    }
}

/// What was asked for; what wasn't speaks for nothing, and what couldn't be is unknown.
fn asked<T>(answer: Option<&Result<T, String>>, judge: impl FnOnce(&T, &mut Found)) -> Found {
    let mut found = Found::default();
    match answer {
        None => {}
        Some(Err(why)) => found.unknown.push(why.clone()),
        Some(Ok(answer)) => judge(answer, &mut found),
    }
    found
}
