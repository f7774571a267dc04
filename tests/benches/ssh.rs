//! What a warm step costs over SSH, beside the same command through a live OpenSSH master. Ratios are measured side by side
//! in one run: `cargo bench --bench ssh`.

use std::fs::File;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use lockstep::clock::Clock;
use lockstep::config::Config;
use lockstep::engine::{Answer, Engine, Start, Stop, Tools};
use lockstep::event::Events;
use lockstep::journal::{FORMAT, FileJournal, Head};
use lockstep::script::{Script, Source, Sources};
use lockstep_modules::contract::cmd::Cmd;
use lockstep_modules::contract::reach::{Transport, deaf};
use lockstep_modules::transport::ssh::Ssh;
use lockstep_tests::lab::{SshLab, now};
use lockstep_twin::Scenario;
use serde_json::json;
use std::io::Write;

const ROUNDS: usize = 20;
const COMMANDS: usize = 20;

/// A playbook of this many steps, one after the other.
struct Steps;

impl Sources for Steps {
    fn find(&self, _: &str) -> Result<Source, String> {
        let text = format!(
            "return {{ api = 1, run = function()\nfor _ = 1, {COMMANDS} do exec {{ member = \"micro01\", argv = {{ \"/bin/true\" }}, effect = \"read\" }} end\nend }}"
        );
        Ok(Source {
            chunk: "bench.lua".to_owned(),
            text,
        })
    }
}

fn main() {
    let lab = SshLab::up(&Scenario::of(1));
    let config = lab.path("ssh_config");
    let socket = lab.path("master");
    let ssh = |args: &[&str]| {
        let mut command = Command::new("ssh");
        command
            .arg("-F")
            .arg(&config)
            .arg("-S")
            .arg(&socket)
            .args(args);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        assert!(command.status().unwrap().success());
    };
    ssh(&["-M", "-N", "-f", "micro01"]);
    let cluster = Config::read(&lab.path("cluster.toml")).unwrap().cluster;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let transport: Rc<dyn Transport> = Rc::new(Ssh::new(&cluster).unwrap());
    runtime.block_on(transport.warm(&cluster.names()));
    let registry = lockstep_modules::registry();

    let mut figures = Vec::new();
    for round in 0..ROUNDS {
        // The same script that lockstep sends, through an ssh process on a live master.
        let line =
            lockstep_modules::transport::wire::script(&[Cmd::user(["/bin/true"])], false, "bench");
        let began = now();
        for _ in 0..COMMANDS {
            ssh(&["micro01", &line]);
        }
        let process = began.elapsed();

        let began = now();
        for _ in 0..COMMANDS {
            runtime
                .block_on(transport.run(&"micro01".into(), &[Cmd::user(["/bin/true"])], &deaf))
                .unwrap();
        }
        let command = began.elapsed();

        // Whole steps: script, journal on disk, engine, transport.
        let journal = FileJournal::create(&lab.path(&format!("journal-{round}"))).unwrap();
        let step = runtime.block_on(async {
            let mut script = Script::load("bench", Box::new(Steps), &registry, 1).unwrap();
            script.start(&cluster, &json!({})).unwrap();
            let clock = Clock::system();
            let (_sender, stop) = tokio::sync::watch::channel(Stop::No);
            let head = Head {
                format: FORMAT,
                id: "bench-1".to_owned(),
                playbook: "bench".to_owned(),
                params: json!({}),
                lockstep: "bench".to_owned(),
                target: lockstep::journal::ClusterRef::default(),
                cluster: cluster.clone(),
                seed: 1,
                bundle: Default::default(),
                programs: None,
                who: "bench".to_owned(),
            };
            let start = Start::Fresh(Box::new(head));
            let tools = Tools {
                run: start.run(clock.now(), "me@here", "first".to_owned()),
                registry: registry.clone(),
                cluster: cluster.clone(),
                transport: Rc::clone(&transport),
                clock,
                events: Events::new(clock, Vec::new()),
                asker: Rc::new(Answer::Nobody),
                secrets: Rc::default(),
                stop,
                approved: None,
                deliver_failures: false,
                who: "bench".to_owned(),
            };
            let began = now();
            Engine::new(script, Box::new(journal), tools)
                .run(start)
                .await
                .unwrap();
            began.elapsed()
        });
        figures.push((process, command, step));
    }
    // One write and one sync of the disk, of which a step needs two.
    let mut file = File::create(lab.path("sync")).unwrap();
    let began = now();
    for _ in 0..COMMANDS {
        file.write_all(b"a line of about the length that a record of the journal has\n")
            .unwrap();
        file.sync_data().unwrap();
    }
    let sync = began.elapsed();
    report(&mut figures, sync);
}

fn report(figures: &mut [(Duration, Duration, Duration)], sync: Duration) {
    let out = |text: String| writeln!(std::io::stdout(), "{text}").unwrap_or_default();
    let each = |d: Duration| d.as_secs_f64() * 1000.0 / COMMANDS as f64;
    let mut ratios = |name: &str, pick: fn(&(Duration, Duration, Duration)) -> Duration| {
        figures.sort_by(|a, b| {
            pick(a)
                .div_duration_f64(a.0)
                .total_cmp(&pick(b).div_duration_f64(b.0))
        });
        let of = |i: usize| pick(&figures[i]).div_duration_f64(figures[i].0);
        let (low, mid, high) = (of(0), of(figures.len() / 2), of(figures.len() - 1));
        out(format!(
            "{name}: {low:.2} {mid:.2} {high:.2} × an ssh process on a live master (least, median, most)"
        ));
        mid
    };
    ratios("a command", |f| f.1);
    let step = ratios("a step", |f| f.2);
    let middle = figures[figures.len() / 2];
    out(format!(
        "an ssh process {:.2} ms, a command {:.2} ms, a step {:.2} ms, a sync of the disk {:.2} ms",
        each(middle.0),
        each(middle.1),
        each(middle.2),
        each(sync)
    ));
    out(format!(
        "{} {ROUNDS} rounds of {COMMANDS}",
        if step <= 1.2 {
            "within 1.2:"
        } else {
            "above 1.2:"
        }
    ));
}
