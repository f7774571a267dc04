//! A fleet on a real Slurm, with a controller and two nodes on loopback.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lockstep_tests::desk::Desk;
use lockstep_tests::lab::{as_root, wait_until, write};
use serde_json::Value;

/// A Slurm of its own, which ends with it.
struct Slurm {
    conf: PathBuf,
    running: Vec<Child>,
    folder: tempfile::TempDir,
}

impl Drop for Slurm {
    fn drop(&mut self) {
        // Its daemons are root's.
        for child in self.running.iter_mut().rev() {
            let _ = as_root(Path::new("kill"))
                .args(["-9", &child.id().to_string()])
                .status();
            let _ = child.wait();
        }
        let _ = as_root(Path::new("rm"))
            .arg("-rf")
            .arg(self.folder.path())
            .status();
    }
}

/// Ports on which nothing listens.
fn ports<const N: usize>() -> [u16; N] {
    let taken = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    taken
        .each_ref()
        .map(|port| port.local_addr().unwrap().port())
}

impl Slurm {
    fn begin() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
        let at = |name: &str| root.join(name).display().to_string();
        for name in ["state", "spool-b1", "spool-b2"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        let [controller, b1, b2] = ports();
        let conf = format!(
            "ClusterName=test\nSlurmctldHost=localhost(127.0.0.1)\nSlurmctldPort={controller}\nSlurmUser=root\nSlurmdUser=root\n\
             AuthType=auth/munge\nCredType=cred/munge\nAuthInfo=socket={socket}\nStateSaveLocation={state}\nSlurmdSpoolDir={spool}-%n\n\
             SlurmctldPidFile={pid}-ctld\nSlurmdPidFile={pid}-%n\nSlurmctldLogFile={log}-ctld\nSlurmdLogFile={log}-%n\n\
             ProctrackType=proctrack/pgid\nTaskPlugin=task/none\nJobAcctGatherType=jobacct_gather/none\n\
             AccountingStorageType=accounting_storage/none\nSelectType=select/cons_tres\nSelectTypeParameters=CR_CPU\n\
             ReturnToService=2\nSlurmdParameters=config_overrides\nSchedulerParameters=batch_sched_delay=0,sched_interval=1\n\
             NodeName=b1 NodeHostname=localhost NodeAddr=127.0.0.1 Port={b1} CPUs=4 State=UNKNOWN\n\
             NodeName=b2 NodeHostname=localhost NodeAddr=127.0.0.1 Port={b2} CPUs=4 State=UNKNOWN\n\
             PartitionName=ops Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n",
            socket = at("munge.socket"),
            state = at("state"),
            spool = at("spool"),
            pid = at("pid"),
            log = at("log"),
        );
        write(&root.join("slurm.conf"), &conf);
        let key = Command::new("dd")
            .args(["if=/dev/urandom", "bs=1024", "count=1", "status=none"])
            .output()
            .unwrap();
        fs::write(root.join("munge.key"), key.stdout).unwrap();
        fs::set_permissions(root.join("munge.key"), fs::Permissions::from_mode(0o600)).unwrap();
        let _ = as_root(Path::new("chown"))
            .args(["-R", "root"])
            .arg(root)
            .status();
        let mut slurm = Self {
            conf: root.join("slurm.conf"),
            running: Vec::new(),
            folder,
        };
        let munge = [
            "key-file=munge.key",
            "socket=munge.socket",
            "pid-file=munge.pid",
            "log-file=munge.log",
            "seed-file=munge.seed",
        ];
        let munge = munge.map(|option| {
            let (name, file) = option.split_once('=').unwrap();
            format!("--{name}={}", slurm.folder.path().join(file).display())
        });
        slurm.start(
            "munged",
            &[&["-F".to_owned(), "--force".to_owned()], &munge[..]].concat(),
        );
        let socket = slurm.folder.path().join("munge.socket");
        wait_until("munged doesn't listen", || socket.exists());
        let conf = ["-f".to_owned(), slurm.conf.display().to_string()];
        slurm.start("slurmctld", &[&["-D".to_owned()], &conf[..]].concat());
        for node in ["b1", "b2"] {
            slurm.start(
                "slurmd",
                &[&["-D", "-N", node].map(str::to_owned), &conf[..]].concat(),
            );
        }
        wait_until("the nodes don't come up", || {
            slurm.client("sinfo", &["-h", "-o", "%t %D"]).trim() == "idle 2"
        });
        slurm
    }

    fn start(&mut self, program: &str, args: &[String]) {
        let program = PathBuf::from("/usr/sbin").join(program);
        let mut command = as_root(&program);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.running.push(command.spawn().unwrap());
    }

    /// The daemon of a node is gone, and Slurm is told to give the node up. What ran there runs on.
    fn lose_node(&mut self, node: &str) {
        let at = if node == "b1" { 2 } else { 3 };
        let daemon = self.running[at].id().to_string();
        let killed = as_root(Path::new("kill")).args(["-9", &daemon]).status();
        assert!(killed.unwrap().success());
        let node = format!("NodeName={node}");
        let _ = self.client(
            "scontrol",
            &["update", &node, "State=DOWN", "Reason=silent"],
        );
    }

    fn client(&self, program: &str, args: &[&str]) -> String {
        let output = Command::new(program)
            .args(args)
            .env("SLURM_CONF", &self.conf)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn command(&self, desk: &Desk, words: &[&str]) -> Command {
        let mut command = desk.command(words);
        command.env("SLURM_CONF", &self.conf);
        command
    }
}

const FLEET: &str = "name = \"stores\"\n\n[executor.default]\nkind = \"slurm\"\noptions = [\"--partition=ops\"]\n\n\
    [[clusters]]\nname = \"berlin\"\nfile = \"twin:1\"\n\n[[clusters]]\nname = \"paris\"\nfile = \"twin:1\"\n\n\
    [[rollout.rings]]\nname = \"all\"\nlimit = 2\nsoak = \"1s\"\n";

/// A rollout whose two runs are in the midst of their step.
struct UnderWay {
    slurm: Slurm,
    desk: Desk,
    rollout: Child,
}

impl UnderWay {
    fn begin() -> Self {
        let slurm = Slurm::begin();
        let desk = Desk::new();
        write(&desk.path("fleet.toml"), FLEET);
        desk.with_endless_step();
        let mut rollout = slurm.command(&desk, &["fleet", "rollout", "ops.lua"]);
        let rollout = rollout.stdout(Stdio::null()).spawn().unwrap();
        let this = Self {
            slurm,
            desk,
            rollout,
        };
        wait_until("the jobs don't begin", || {
            ["rollout-1.berlin", "rollout-1.paris"]
                .iter()
                .all(|run| this.journal(run).contains(STARTED))
        });
        this
    }

    fn file(&self, run: &str, name: &str) -> String {
        let file = self.desk.path("state/runs").join(run).join(name);
        fs::read_to_string(file).unwrap_or_default()
    }

    fn journal(&self, run: &str) -> String {
        self.file(run, "journal.jsonl")
    }

    /// The process that has a run.
    fn holder(&self, run: &str) -> String {
        let signed = self.file(run, "lock");
        signed.split(' ').next().unwrap_or_default().to_owned()
    }

    /// Kills the process that has a run, and returns its number.
    fn kill(&self, run: &str) -> String {
        let process = self.holder(run);
        let killed = Command::new("kill").args(["-9", &process]).status();
        assert!(killed.unwrap().success());
        process
    }

    /// Lets the steps end, and returns how the rollout ended.
    fn finish(&mut self) -> Option<i32> {
        self.desk.end_step();
        self.rollout.wait().unwrap().code()
    }

    /// How a run stands, and how often it was resumed.
    fn stands(&self, run: &str) -> (Value, Value) {
        let mut runs = self.slurm.command(&self.desk, &["runs", "--all", "--json"]);
        let runs: Value = serde_json::from_slice(&runs.output().unwrap().stdout).unwrap();
        let runs = runs.as_array().unwrap();
        let run = runs.iter().find(|found| found["run"] == run).unwrap();
        (run["state"].clone(), run["resumes"].clone())
    }
}

/// What a journal says of a step that has begun.
const STARTED: &str = "\"start\":{\"path\":\"mark.set#1\"";

#[test]
fn a_rollout_on_slurm_outlives_its_controller_and_its_jobs() {
    let mut way = UnderWay::begin();
    // The controller goes, and the jobs go on.
    way.rollout.kill().unwrap();
    way.rollout.wait().unwrap();
    let queued = way.slurm.client("squeue", &["-h", "-o", "%j"]);
    assert!(
        queued.contains("rollout-1.berlin") && queued.contains("rollout-1.paris"),
        "{queued}"
    );
    let mut again = way.slurm.command(&way.desk, &["fleet", "continue"]);
    way.rollout = again.stdout(Stdio::null()).spawn().unwrap();
    // A job is killed: its run is taken up by another one.
    let process = way.kill("rollout-1.paris");
    wait_until("the run isn't taken up", || {
        let now = way.holder("rollout-1.paris");
        now != process && !now.is_empty()
    });
    assert_eq!(way.finish(), Some(0));
    assert_eq!(way.stands("rollout-1.berlin"), ("done".into(), 0.into()));
    assert_eq!(way.stands("rollout-1.paris"), ("done".into(), 1.into()));
}

/// Slurm gives a node up, and begins its jobs again on the other one: one of them is dead, and the other lives on.
#[test]
fn of_a_node_that_slurm_gives_up_no_run_goes_on_twice() {
    let mut way = UnderWay::begin();
    let (berlin, paris) = ("rollout-1.berlin", "rollout-1.paris");
    let alive = way.holder(berlin);
    let dead = way.kill(paris);
    let nodes = way.slurm.client("squeue", &["-h", "-o", "%N"]);
    let nodes: BTreeSet<&str> = nodes.split_whitespace().collect();
    assert_eq!(nodes, ["b1"].into(), "both have room on the first node");
    way.slurm.lose_node("b1");
    let restarts = |job: &str| {
        let name = format!("--name={job}");
        let id = way
            .slurm
            .client("squeue", &["-h", "-t", "all", "-o", "%i", &name]);
        way.slurm.client("scontrol", &["show", "job", id.trim()])
    };
    wait_until("the jobs aren't begun again", || {
        // Slurm lets jobs that lost their node wait for two minutes.
        let waiting = way
            .slurm
            .client("squeue", &["-h", "-t", "PENDING", "-o", "%i"]);
        for job in waiting.split_whitespace() {
            let job = format!("JobId={job}");
            way.slurm
                .client("scontrol", &["update", &job, "StartTime=now"]);
        }
        let now = way.holder(paris);
        let refused = restarts(berlin);
        now != dead
            && !now.is_empty()
            && refused.contains("Restarts=1")
            && refused.contains("ExitCode=6:0")
    });
    assert_eq!(way.holder(berlin), alive, "its process lives");
    assert_eq!(way.finish(), Some(0));
    assert_eq!(way.stands(berlin), ("done".into(), 0.into()));
    assert_eq!(way.stands(paris), ("done".into(), 1.into()));
    assert_eq!(way.journal(berlin).matches(STARTED).count(), 1);
}

#[test]
fn a_job_on_slurm_is_described_and_stopped() {
    let mut way = UnderWay::begin();
    let typed = |words: &[&str]| {
        let output = way.slurm.command(&way.desk, words).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let described = typed(&["fleet", "describe", "berlin"]);
    assert!(
        described.contains("executor: default") && described.contains("RUNNING b1"),
        "{described}"
    );
    let stopped = typed(&["fleet", "stop", "berlin"]);
    assert!(
        stopped.contains("Continue it with: lockstep fleet resume berlin -r rollout-1"),
        "{stopped}"
    );
    let berlin = "rollout-1.berlin";
    wait_until("the run isn't interrupted", || {
        way.file(berlin, "events.jsonl").contains("\"interrupted\"")
    });
    // What is under way comes to its end, and paris to its own.
    assert_eq!(way.finish(), Some(4), "it counts against the budget");
    assert_eq!(way.stands(berlin).0, "suspended");
    wait_until("the job is still there", || {
        let name = format!("--name={berlin}");
        way.slurm.client("squeue", &["-h", &name]).trim().is_empty()
    });
    for (words, code) in [
        (["fleet", "resume", "berlin"].as_slice(), 0),
        (&["fleet", "continue"], 0),
    ] {
        let mut typed = way.slurm.command(&way.desk, words);
        assert_eq!(typed.output().unwrap().status.code(), Some(code));
    }
    assert_eq!(way.stands("rollout-1.paris"), ("done".into(), 0.into()));
}
