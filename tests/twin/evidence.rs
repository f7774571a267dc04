//! A gate opens on evidence only: whatever a program says instead of what it should, nothing is taken for well.

use std::collections::BTreeMap;
use std::sync::Arc;

use lockstep::engine::Finish;
use lockstep_modules::contract::cmd::{Cmd, Output};
use lockstep_modules::contract::op::Effect;
use lockstep_modules::contract::schema::sample;
use lockstep_tests::answers::{is_gate, ops_of_members};
use lockstep_tests::{Bench, Ended};
use lockstep_twin::World;
use serde_json::{Value, json};

/// A read op as it is called: on which cluster, and with what, so short that it is over soon where it isn't answered.
struct Called {
    op: String,
    args: Value,
    world: World,
}

/// What has to be there before an op is called, and its arguments: made of what that returned.
fn before(op: &str) -> (&'static str, fn(&Value) -> Value) {
    match op {
        "lxd.unharmed" => ("lxd.instances {}", |r| json!({"since": r["instances"]})),
        "microceph.finish" => (
            "microceph.baseline {}",
            |r| json!({"since": r, "samples": 1}),
        ),
        "status.unharmed" => ("status.lasting {}", |r| json!({"since": r})),
        "backup.verify" => (
            "backup.take { member = 'micro01' }",
            |r| json!({"folder": r["folder"]}),
        ),
        "microceph.wait" => (
            "microceph.baseline {}",
            |r| json!({"since": r, "samples": 1, "member": "micro02"}),
        ),
        "microovn.wait" => ("nil", |_| json!({"samples": 1})),
        "status.require" => ("nil", |_| json!({"health": "ok", "in_step": true})),
        _ => ("nil", |_| json!({})),
    }
}

/// All read ops, once with what they require; gates of a member and of all members are two.
fn all() -> Vec<Called> {
    let mut all = Vec::new();
    // A question is answered by a person, and by no program.
    let reads = ops_of_members().into_iter();
    let reads = reads.filter(|op| op.effect == Effect::Read && op.name != "confirm");
    for op in reads {
        let (made_of, args_of) = before(&op.name);
        let mut bench = Bench::playing(&format!("return {made_of}"), 3);
        let made = bench.run().done();
        let mut args = args_of(&made);
        for (name, value) in sample(&op.args).as_object().unwrap() {
            let value = match name.as_str() {
                "member" => json!("micro02"),
                "snap" => json!("microceph"),
                "components" | "members" => continue,
                _ => value.clone(),
            };
            args.as_object_mut().unwrap().entry(name).or_insert(value);
        }
        if op.name == "microceph.order" || op.name == "microovn.order" {
            args["members"] = json!(["micro01", "micro02", "micro03"]);
        }
        if op.name == "backup.verify" {
            args["member"] = json!("micro01");
        }
        let mut variants = vec![args];
        let optional = ["microceph.wait", "microovn.wait", "microcloud.wait"];
        if optional.contains(&op.name.as_str()) {
            let (mut one, mut every) = (variants[0].clone(), variants[0].clone());
            one["member"] = json!("micro02");
            every.as_object_mut().unwrap().remove("member");
            variants = vec![one, every];
        }
        for mut args in variants {
            args["timeout"] = json!("12s");
            all.push(Called {
                op: op.name.clone(),
                args,
                world: bench.world.clone(),
            });
        }
    }
    all
}

impl Called {
    /// Plays the op alone on a world like its own; none where it isn't done.
    fn play(&self, prepare: impl FnOnce(&mut World)) -> (Option<Value>, World) {
        let call = format!("return {}(p)", self.op);
        let mut bench = Bench::playing(&call, 3).given(self.args.clone());
        bench.world = self.world.clone();
        prepare(&mut bench.world);
        let done = match bench.run() {
            Ended::Finish(Finish::Done(value)) => Some(value),
            Ended::Finish(Finish::Held(_) | Finish::Refused(_) | Finish::Suspended(_)) => None,
            other => panic!("{call}: {other:?}"),
        };
        (done, bench.world.clone())
    }

    /// Whether a result says that all is well.
    fn is_well(&self, result: &Value) -> bool {
        let gate = is_gate(&self.op);
        gate || ["ok", "healthy"]
            .iter()
            .any(|name| result[*name] == json!(true))
    }
}

/// What a command says on a member where all is well.
fn printed(world: &World, member: &str, argv: &[String]) -> Output {
    let mut world = world.clone();
    let id = world.spawn(member, &Cmd::root(argv.iter().cloned()));
    world.advance(world.now + 5000);
    world
        .take(id)
        .unwrap_or_else(|| panic!("{argv:?} has no end"))
}

/// Answers of one product that another one's reader may come across: words of the command, for each form there is.
const FORMS: [&str; 9] = [
    "microceph.ceph --connect-timeout 15 -f json microceph.ceph status",
    "osd ok-to-stop",
    "microceph cluster list",
    "/1.0/cluster/members?recursion=1",
    "lxd sql global",
    "/v2/snaps?snaps=",
    "/v2/changes?select=in-progress",
    "microcloud/common/state/control.socket",
    "cluster/status OVN_Northbound",
];

/// Whether a command may well say this where all is well: that is no disguise.
fn is_true_enough(command: &str, says: &str, truly: &str, form: Option<&str>) -> bool {
    let lists = |text: &str| text.contains(" cluster list");
    let nothing = form.is_some_and(|form| form.contains("/v2/changes")) || says == truly;
    match () {
        () if says.trim() == truly.trim() => true,
        // Its end is its answer, and it has nothing to say; or what it says is for the record alone.
        () if ["lxd waitready", "sha256sum --check", "/stat -c %s"]
            .iter()
            .any(|quiet| command.contains(quiet)) =>
        {
            true
        }
        // What hazards go by, and none is asked about.
        () if command.contains("/v2/system-info") => true,
        // Whose the cluster is says nothing of how it is.
        () if command.contains("/var/lib/lockstep/lock") => true,
        // Nobody runs anything.
        () if command.contains("/sys/fs/cgroup") => says.is_empty(),
        // Which snaps a member has is snapd's to say: that others aren't installed is an answer.
        () if command.contains("/v2/snaps?snaps=") => {
            form.is_some_and(|form| form.contains("/v2/snaps?snaps="))
        }
        // Three products list the same members in the same form.
        () if lists(command) && form.is_some_and(lists) => true,
        // Nothing to refresh, no change: an empty list is all that snapd says of that.
        () if command.contains("select=refresh") || command.contains("/v2/changes") => nothing,
        // No instances, no work, no warnings.
        () if command.contains("/1.0/instances?") || command.contains("/1.0/warnings") => {
            says == "[]"
        }
        () if command.contains("/1.0/operations") => ["", "{}"].contains(&says),
        () => false,
    }
}

/// What a client says that has several questions, with one of its answers replaced.
fn one_answer_is_another(argv: &[String], truly: &str) -> Vec<String> {
    let answers: Vec<&str> = truly.lines().filter(|line| !line.is_empty()).collect();
    if !argv.iter().any(|word| word.starts_with("printf ")) {
        return Vec::new();
    }
    let other = |(at, says): (usize, &&'static str)| {
        let mut all = answers.clone();
        all[at] = says;
        all.join("\n")
    };
    let other = |at| {
        ["[]", "{}", "null"]
            .iter()
            .map(move |says| (at, says))
            .map(other)
    };
    (0..answers.len()).flat_map(other).collect()
}

#[test]
fn nothing_is_taken_for_well_whatever_a_program_says() {
    let called = all();
    let healthy: Vec<(Option<Value>, World)> = called.iter().map(|c| c.play(|_| {})).collect();
    // What each command truly says, and who is asked.
    let mut truth: BTreeMap<Arc<[String]>, String> = BTreeMap::new();
    for (called, (_, played)) in called.iter().zip(&healthy) {
        for entry in &played.log {
            let says = || printed(&called.world, &entry.member, &entry.argv).stdout;
            truth.entry(entry.argv.clone()).or_insert_with(says);
        }
    }
    let foreign: Vec<(&str, &String)> = FORMS
        .iter()
        .filter_map(|form| {
            let is_it = |(argv, _): &(&Arc<[String]>, &String)| argv.join(" ").contains(form);
            Some((*form, truth.iter().find(is_it)?.1))
        })
        .collect();
    assert_eq!(foreign.len(), FORMS.len(), "a form that nobody asks for");
    let (mut cases, mut opened) = (0, Vec::new());
    for (called, (result, played)) in called.iter().zip(&healthy) {
        let well = result.as_ref().is_some_and(|result| called.is_well(result));
        let gate = is_gate(&called.op);
        assert!(
            well || !gate,
            "{} {} doesn't open where all is well",
            called.op,
            called.args
        );
        // What was asked for before the op is none of its business.
        let own = played.log.iter().skip(called.world.log.len());
        let mut commands: Vec<&Arc<[String]>> = own.map(|entry| &entry.argv).collect();
        commands.sort();
        commands.dedup();
        // These two are others' looks with a verdict on them.
        let judged = ["preflight.require", "status.read"].contains(&called.op.as_str());
        for (i, argv) in commands.iter().enumerate().filter(|_| !judged) {
            let truly = &truth[*argv];
            let half: String = truly.chars().take(truly.chars().count() / 2).collect();
            let plain = ["[]", "{}", "", half.as_str()].map(|says| (None, says));
            // Each command is given some of the forms, and each form to some of the commands.
            let foreign = foreign.iter().cycle().skip(2 * i).take(2);
            let foreign = foreign.map(|(form, says)| (Some(*form), says.as_str()));
            let broken = one_answer_is_another(argv, truly);
            let broken = broken.iter().map(|says| (None, says.as_str()));
            for (form, says) in plain.into_iter().chain(foreign).chain(broken) {
                let command = argv.join(" ");
                if is_true_enough(&command, says, truly, form) {
                    continue;
                }
                cases += 1;
                let (done, _) = called.play(|world| world.answer_instead(argv, says));
                if done.is_some_and(|result| called.is_well(&result)) {
                    let says: String = says.chars().take(60).collect();
                    opened.push(format!("{} on {command} saying {says:?}", called.op));
                }
            }
        }
        // To have ended without a word is all that some of a refresh's own commands say.
        let quiet = called.op == "snap.wait";
        for says in ["[]", "{}", ""].into_iter().filter(|_| !quiet) {
            cases += 1;
            let (done, _) = called.play(|world| {
                for argv in &commands {
                    world.answer_instead(argv, says);
                }
            });
            if done.is_some_and(|result| called.is_well(&result)) {
                opened.push(format!("{} on all commands saying {says:?}", called.op));
            }
        }
    }
    assert!(cases > 800, "{cases} cases");
    assert!(
        opened.is_empty(),
        "{} of {cases} cases were taken for well:\n{}",
        opened.len(),
        opened.join("\n")
    );
}

#[test]
fn members_without_curl_are_passed_over() {
    let asked = |without: &[&str], says: &str| {
        let mut bench = Bench::playing("return microcloud.wait { timeout = '25s' }", 3);
        for member in without {
            bench.world.members.get_mut(*member).unwrap().curl = false;
        }
        let status = ["/snap/bin/microcloud", "status"].map(str::to_owned);
        bench.world.answer_instead(&status, says);
        bench.run()
    };
    let services = "LXD 3, MicroCeph 3, MicroCloud 3, MicroOVN 3";
    let one = asked(&["micro01"], "").done();
    assert_eq!(one["services"], json!(services));
    let all = ["micro01", "micro02", "micro03"];
    assert_eq!(
        asked(&all, "\n Status: HEALTHY\n\n").done()["services"],
        json!(null)
    );
    let held = asked(&all, "\n Status: ERROR\n\n \u{2503} \u{2a2f} x\n").held();
    let printed = "on micro03 microcloud status says ERROR; see: sudo microcloud status";
    assert!(
        held.failure.message.contains(printed),
        "{}",
        held.failure.message
    );
    let held = asked(&all, "").held();
    let printed = "microcloud status says nothing about the status";
    assert!(
        held.failure.message.contains(printed),
        "{}",
        held.failure.message
    );
}
