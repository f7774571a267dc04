//! The waves of an account.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lockstep_modules::contract::schema::Member;
use serde::Serialize;

use super::{Account, between};

/// A section of the playbook: as a rule one component across all members.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Wave {
    pub(crate) name: String,
    /// When its first step began.
    pub(crate) began: Option<Timestamp>,
    /// How long it took, without the time in which the run was paused, in milliseconds.
    pub(crate) ms: i64,
    pub(crate) steps: usize,
    pub(crate) members: usize,
    /// How many attempts were repeated.
    pub(crate) again: usize,
}

/// The waves, in the order in which their first steps were asked for.
pub(super) fn waves(account: &Account) -> Vec<Wave> {
    let mut waves: Vec<(Wave, Vec<&Member>)> = Vec::new();
    let mut spans: Vec<BTreeMap<usize, (Timestamp, Timestamp)>> = Vec::new();
    for step in &account.steps {
        let Some(name) = account.wave_of(step) else {
            continue;
        };
        let i = match waves.iter().position(|(wave, _)| wave.name == name) {
            Some(i) => i,
            None => {
                let wave = Wave {
                    name: name.to_owned(),
                    began: None,
                    ms: 0,
                    steps: 0,
                    members: 0,
                    again: 0,
                };
                waves.push((wave, Vec::new()));
                spans.push(BTreeMap::new());
                waves.len() - 1
            }
        };
        let (wave, members) = &mut waves[i];
        wave.began = wave.began.or(step.began());
        wave.steps += 1;
        wave.again += step.attempts.len().saturating_sub(1);
        if let Some(member) = step.member.as_ref()
            && !members.contains(&member)
        {
            members.push(member);
        }
        for attempt in &step.attempts {
            let end = attempt.ended.unwrap_or_else(|| {
                let session = account.sessions.get(attempt.session);
                session.map_or(attempt.began, |session| session.last)
            });
            let span = spans[i]
                .entry(attempt.session)
                .or_insert((attempt.began, end));
            *span = (span.0.min(attempt.began), span.1.max(end));
        }
    }
    let ms = |spans: &BTreeMap<usize, (Timestamp, Timestamp)>| {
        spans.values().map(|(from, to)| between(*from, *to)).sum()
    };
    waves
        .into_iter()
        .zip(&spans)
        .map(|((wave, members), spans)| Wave {
            ms: ms(spans),
            members: members.len(),
            ..wave
        })
        .collect()
}
