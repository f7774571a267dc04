//! The database that MicroCeph, MicroOVN and MicroCloud each keep among their members (dqlite, through microcluster).
//!
//! What its list of members says depends on who is asked, in the middle of an upgrade with a newer schema: a refreshed
//! member waits and shows `UPGRADING` / `NEEDS UPGRADE` from stored versions; an older one keeps working and shows the
//! refreshed ones as `UNREACHABLE`. `ONLINE` for all comes only after the last member (`internal/db/db.go`).

mod table;

use std::cell::RefCell;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, join, join_all, select};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::cmd::Cmd;
use crate::contract::component::Component;
use crate::contract::cx::{Cx, Look, Unmet};
use crate::contract::error::{Kind, OpError};
use crate::contract::schema::Member;
use crate::products::snapd::{Presence, Revision};

pub use table::Row;

/// Each member that doesn't answer costs the one that is asked 30 s, one after the other.
const TIMEOUT: Duration = Duration::from_secs(100);

/// How often a gate that waits for one member looks at the others.
const OTHERS: Duration = Duration::from_secs(5);

/// One of the three programs that keep such a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct App {
    /// The snap, and the program in it.
    pub(crate) snap: &'static str,
    pub(crate) title: &'static str,
}

impl App {
    const fn of(component: Component) -> Self {
        Self {
            snap: component.snap(),
            title: component.title(),
        }
    }
}

pub(crate) const MICROCEPH: App = App::of(Component::Microceph);
pub(crate) const MICROOVN: App = App::of(Component::Microovn);
pub(crate) const MICROCLOUD: App = App::of(Component::Microcloud);

/// How a database stands, as one member sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// All members are online.
    Online,
    /// It waits until the members that lag behind have the new release too. That is how a wave looks from within.
    Waiting,
}

/// The members, as `member` sees them.
/// A list without a member is no answer.
pub(crate) async fn list(cx: &Cx, app: App, member: &Member) -> Result<Vec<Row>, OpError> {
    let program = format!("/snap/bin/{}", app.snap);
    let ask = |flags: &[&str]| {
        let words = [program.as_str(), "cluster", "list"];
        Cmd::root(words.iter().chain(flags).copied()).timeout(TIMEOUT)
    };
    // The list holds certificates and a secret; as a table it has neither.
    let json = ask(&["-f", "json"]).hiding(&["certificate", "secret"]);
    let mut output = cx.cmd(member, &json).await?;
    let rows: Vec<Row> = if output.lacks_flag() {
        let drawn = ask(&[]);
        output = cx.cmd(member, &drawn).await?;
        let text = output.text(&drawn, member)?;
        table::rows(text).map_err(|what| {
            let what = format!("printed a list of members that can't be read: {what}");
            output.failure(&drawn, member, &what)
        })?
    } else {
        output.json(&json, member)?
    };
    if rows.is_empty() {
        let what = format!("{} lists no members", app.title);
        return Err(OpError::command(what).on(member));
    }
    Ok(rows)
}

/// What the members' statuses amount to, if those who have the snap are listed.
pub(crate) fn judge(app: App, presence: &Presence, rows: &[Row]) -> Result<State, String> {
    let listed = rows.iter().map(|row| row.name.as_str());
    if let Some(differs) = presence.differs(app.title, listed) {
        return Err(differs);
    }
    standing(app, rows)
}

/// What the statuses of those who are listed amount to.
fn standing(app: App, rows: &[Row]) -> Result<State, String> {
    if rows.iter().any(|row| row.status == "NEEDS UPGRADE") {
        return Ok(State::Waiting);
    }
    let odd: Vec<String> = rows
        .iter()
        .filter(|r| r.status != "ONLINE")
        .map(|r| format!("{} is {}", r.name, r.status))
        .collect();
    if odd.is_empty() {
        return Ok(State::Online);
    }
    Err(format!("{}: {}", app.title, odd.join(", ")))
}

/// How the database stands by what `member` answered.
fn seen(
    app: App,
    presence: &Presence,
    member: &Member,
    view: &Result<Vec<Row>, OpError>,
) -> Look<State> {
    let rows = view
        .as_ref()
        .map_err(|error| unlisted(app, member, error))?;
    judge(app, presence, rows).map_err(Unmet::NotYet)
}

/// A member can't list the others.
fn unlisted(app: App, member: &Member, error: &OpError) -> Unmet {
    Unmet::of(error.clone(), |error| {
        format!(
            "{} on {member}: {error}; on that member, see: sudo snap logs {}.daemon",
            app.title, app.snap
        )
    })
}

/// A gate's failure, with the way back to the revision that the member had, where one is known.
pub(crate) fn with_way_back(
    cx: &Cx,
    error: OpError,
    app: App,
    member: Option<&Member>,
    before: Option<&Revision>,
) -> OpError {
    let (Some(member), Some(before), Kind::Timeout) = (member, before, error.kind) else {
        return error;
    };
    let message = format!(
        "{}; if it can't be fixed, go back with: sudo snap refresh {} --revision={before} on {member}, then lockstep abort {}",
        error.message,
        app.snap,
        cx.run().id
    );
    OpError { message, ..error }
}

/// What a gate behind a refreshed member looks at, again and again; and beside its looks, all members: who doesn't answer may
/// be why it waits, and what others are asked may wait for that one in vain.
pub(crate) struct Watch {
    app: App,
    /// What is down on members that were refreshed before.
    down: RefCell<Option<String>>,
}

impl Watch {
    /// A gate, which is over when its looks are, or a member can't be reached.
    pub(crate) async fn gate<T>(
        cx: &Cx,
        app: App,
        done: &[Member],
        looks: impl AsyncFnOnce(&Self) -> Result<T, OpError>,
    ) -> Result<T, OpError> {
        let down = RefCell::default();
        let watch = Self { app, down };
        match select(pin!(looks(&watch)), pin!(watch.others(cx, done))).await {
            Either::Left((looked, _)) => looked,
            Either::Right((gone, _)) => Err(gone),
        }
    }

    /// Looks at all members every few seconds, until one can't be reached. A gate that opens sooner looks at them itself.
    async fn others(&self, cx: &Cx, done: &[Member]) -> OpError {
        loop {
            tokio::time::sleep(OTHERS).await;
            let down = match Presence::look(cx, self.app.snap, done).await {
                Ok(_) => None,
                Err(Unmet::NotYet(down)) => Some(down),
                Err(Unmet::Failed(gone)) => return gone,
            };
            self.down.replace(down);
        }
    }

    /// Looks at the refreshed member.
    pub(crate) async fn look(&self, cx: &Cx, member: &Member) -> Look<Refreshed> {
        let app = self.app;
        let services = Presence::runs(cx, app.snap, member);
        let (services, rows) = join(services, list(cx, app, member)).await;
        if let Some(down) = self.down.borrow().clone() {
            return Err(Unmet::NotYet(down));
        }
        services?;
        let rows = rows.map_err(|error| unlisted(app, member, &error))?;
        standing(app, &rows).map_err(Unmet::NotYet)?;
        Ok(Refreshed { app, rows })
    }
}

/// A member that was refreshed: its services run, and its daemon is online, or waits for the members that don't have the
/// release yet.
pub(crate) struct Refreshed {
    app: App,
    rows: Vec<Row>,
}

impl Refreshed {
    /// Looks at everybody: the services of those that were refreshed before still run, and all that have the snap are listed.
    pub(crate) async fn confirmed(self, cx: &Cx, done: &[Member]) -> Look<State> {
        let presence = Presence::look(cx, self.app.snap, done).await?;
        judge(self.app, &presence, &self.rows).map_err(Unmet::NotYet)
    }
}

/// Looks whether the database is online for each of its members and its snap's services run on all of `watched`, and returns
/// who has the snap.
pub(crate) async fn look_everywhere(cx: &Cx, app: App, watched: &[Member]) -> Look<Presence> {
    let presence = Presence::look(cx, app.snap, watched).await?;
    match Views::take(cx, app, &presence).await.state(&presence)? {
        State::Online => Ok(presence),
        State::Waiting => Err(Unmet::NotYet(format!(
            "{} still waits for members without the release",
            app.title
        ))),
    }
}

/// What each member that has the snap says of the database, side by side.
pub(crate) struct Views {
    /// Whose database it is.
    pub(crate) app: App,
    /// The answers, in the cluster's order.
    pub(crate) each: Vec<(Member, Result<Vec<Row>, OpError>)>,
}

impl Views {
    /// Asks those who have the snap, and then those who are listed and weren't seen: they may know better.
    pub(crate) async fn take(cx: &Cx, app: App, presence: &Presence) -> Self {
        let mut views = Self {
            app,
            each: Vec::new(),
        };
        views.ask(cx, presence.with.clone()).await;
        let known = [presence.with.as_slice(), &presence.without].concat();
        let listed = views.roster().unwrap_or_default().into_iter();
        // Who isn't in the cluster file can't be asked; the list says how they are.
        let ours = cx.members();
        let unseen = listed.filter(|member| !known.contains(member) && ours.contains(member));
        let unseen = unseen.collect();
        views.ask(cx, unseen).await;
        views
    }

    async fn ask(&mut self, cx: &Cx, members: Vec<Member>) {
        let asked = members.iter().map(|member| list(cx, self.app, member));
        let answers = join_all(asked).await;
        self.each.extend(members.into_iter().zip(answers));
    }

    /// Whom the database lists, as the first member that answers has it.
    pub(crate) fn roster(&self) -> Result<Vec<Member>, OpError> {
        let mut last = OpError::refused(format!("no member has the snap of {}", self.app.title));
        for (_, view) in &self.each {
            match view {
                Ok(rows) => return Ok(rows.iter().map(|row| row.name.clone()).collect()),
                Err(error) => last = error.clone(),
            }
        }
        Err(last)
    }

    /// How the database stands as all of its members see it: online only if it is for each of them.
    pub(crate) fn state(&self, presence: &Presence) -> Look<State> {
        self.roster()
            .map_err(|error| Unmet::of(error, OpError::located))?;
        let mut missing = Vec::new();
        let mut waiting = false;
        for (member, view) in &self.each {
            match seen(self.app, presence, member, view) {
                Ok(State::Online) => {}
                Ok(State::Waiting) => waiting = true,
                Err(Unmet::NotYet(what)) => missing.push(what),
                Err(error) => return Err(error),
            }
        }
        missing.dedup();
        // Members that wait are why others seem unreachable.
        match (waiting, missing.is_empty()) {
            (true, _) => Ok(State::Waiting),
            (false, true) => Ok(State::Online),
            (false, false) => Err(Unmet::NotYet(missing.join("; "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(statuses: &[&str]) -> Vec<Row> {
        let row = |(i, status): (usize, &&str)| Row {
            name: format!("micro{}", i + 1).into(),
            address: String::new(),
            role: "voter".to_owned(),
            status: (*status).to_owned(),
        };
        statuses.iter().enumerate().map(row).collect()
    }

    #[test]
    fn statuses_are_judged() {
        let two = Presence {
            with: ["micro1", "micro2"].map(Member::from).into(),
            without: vec![Member::from("micro3")],
        };
        let shown = |statuses: &[&str]| format!("{:?}", judge(MICROOVN, &two, &rows(statuses)));
        assert_eq!(shown(&["ONLINE", "ONLINE"]), "Ok(Online)");
        assert_eq!(shown(&["UPGRADING", "NEEDS UPGRADE"]), "Ok(Waiting)");
        assert_eq!(
            shown(&["UPGRADING", "UPGRADING"]),
            r#"Err("MicroOVN: micro1 is UPGRADING, micro2 is UPGRADING")"#
        );
        assert_eq!(
            shown(&["ONLINE", "UNREACHABLE"]),
            r#"Err("MicroOVN: micro2 is UNREACHABLE")"#
        );
        assert_eq!(
            shown(&["ONLINE", "NOT TRUSTED"]),
            r#"Err("MicroOVN: micro2 is NOT TRUSTED")"#
        );
        assert_eq!(
            shown(&["ONLINE"]),
            r#"Err("MicroOVN doesn't list micro2, which has its snap")"#
        );
        assert_eq!(
            shown(&["ONLINE", "ONLINE", "ONLINE"]),
            r#"Err("MicroOVN lists micro3, which doesn't have its snap")"#
        );
    }
}
