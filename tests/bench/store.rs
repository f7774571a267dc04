//! Runs in a PostgreSQL on the same machine.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;

use lockstep::store::Store;
use lockstep_tests::desk::Desk;
use lockstep_tests::lab::now;
use lockstep_tests::postgres::Postgres;

use crate::figures::{Figure, seconds};

/// How many records are appended, and how many bytes each has.
const RECORDS: usize = 500;
const BYTES: usize = 350;

/// How many runs are listed, and how often.
const RUNS: usize = 2000;
const ROUNDS: usize = 5;

pub(crate) fn figures() -> Vec<Figure> {
    let (server, desk) = (Postgres::begin(), Desk::new());
    let url = server.url("lockstep");
    Store::init(&url).unwrap();
    vec![appends(&url, &desk), list(&server, &desk)]
}

/// Records, one after the other, beside writes to a file that are synced.
fn appends(url: &str, desk: &Desk) -> Figure {
    let store = Store::at(url).unwrap();
    let begun = store.begin("run-1", &BTreeMap::new(), &desk.path("copy"));
    let had = begun.unwrap().unwrap();
    let line = "x".repeat(BYTES);
    let mut file = File::create(desk.path("file")).unwrap();
    let timed = |append: &mut dyn FnMut()| {
        let began = now();
        append();
        began.elapsed().as_secs_f64() * 1000.0
    };
    let (mut stored, mut written) = (Vec::new(), Vec::new());
    for n in 0..RECORDS {
        stored.push(timed(&mut || had.append(n, vec![line.clone()]).unwrap()));
        written.push(timed(&mut || {
            file.write_all(line.as_bytes()).unwrap();
            file.sync_data().unwrap();
        }));
    }
    Figure::alone("an append to PostgreSQL", "ms", stored).beside("a synced file", written)
}

/// A list of many runs, one copied, of which this machine has the journals.
fn list(server: &Postgres, desk: &Desk) -> Figure {
    let machine = server.machine(desk, "a", "lockstep");
    let update = ["rehearse", "update", "--only", "lxd", "--yes"];
    let _ = machine.run(&update).exits(0);
    server.sql(&format!(
        "set search_path to lockstep;
         insert into runs (id, sitting, holder, records, bytes)
         select 'update-' || n, 1, holder, records, bytes from runs, generate_series(2, {RUNS}) n where id = 'update-1';
         insert into records (run, n, line)
         select 'update-' || k, n, line from records, generate_series(2, {RUNS}) k where run = 'update-1'"
    ));
    let _ = machine.run(&["runs"]).exits(0);
    let times = (0..ROUNDS).map(|_| seconds(&mut machine.command(&["runs"])));
    Figure::alone(
        format!("list of {RUNS} runs in PostgreSQL"),
        "s",
        times.collect(),
    )
}
