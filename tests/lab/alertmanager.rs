//! Silences in a real Alertmanager, on loopback.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use jiff::{SignedDuration, Timestamp};
use lockstep_tests::desk::Desk;
use lockstep_tests::lab::{read, wait_until, write};
use serde_json::{Value, json};

/// An Alertmanager of its own, which ends with it.
struct Alertmanager {
    url: String,
    process: Child,
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Alertmanager {
    fn begin(folder: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = port.local_addr().unwrap().to_string();
        drop(port);
        let config = folder.join("alertmanager.yml");
        write(
            &config,
            "route:\n  receiver: nobody\nreceivers:\n  - name: nobody\n",
        );
        let process = Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.path={}",
                folder.join("alerts").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let alertmanager = Self {
            url: format!("http://{address}"),
            process,
        };
        wait_until("it doesn't come up", || {
            alertmanager.ask("status", None).is_some()
        });
        alertmanager
    }

    /// What it answers; posted to, if there is something to be posted.
    fn ask(&self, what: &str, posted: Option<&Value>) -> Option<Value> {
        let mut curl = Command::new("curl");
        curl.args(["-q", "--silent", "--fail", "--noproxy", "*"]);
        if let Some(posted) = posted {
            curl.args(["--json", &posted.to_string()]);
        }
        let answer = curl
            .arg(format!("{}/api/v2/{what}", self.url))
            .output()
            .unwrap();
        answer
            .status
            .success()
            .then(|| serde_json::from_slice(&answer.stdout).unwrap_or_default())
    }

    /// Its silences: id, state, and until when.
    fn silences(&self) -> Vec<(String, String, Timestamp)> {
        let all = self.ask("silences", None).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let one = |silence: &Value| {
            (
                text(&silence["id"]),
                text(&silence["status"]["state"]),
                text(&silence["endsAt"]).parse().unwrap(),
            )
        };
        all.as_array().unwrap().iter().map(one).collect()
    }

    fn active(&self) -> Option<(String, Timestamp)> {
        let mut all = self.silences().into_iter();
        let active = all.find(|(_, state, _)| state == "active");
        active.map(|(id, _, until)| (id, until))
    }

    /// Whether somebody hears of an alert of this cluster.
    fn pages(&self, cluster: &str) -> bool {
        let alert = json!([{"labels": {"alertname": "CephDown", "cluster": cluster}}]);
        self.ask("alerts", Some(&alert)).unwrap();
        let state = || {
            let alerts = self.ask("alerts", None).unwrap();
            let mut alerts = alerts.as_array().unwrap().clone().into_iter();
            let alert = alerts.find(|alert| alert["labels"]["cluster"] == cluster);
            alert.map(|alert| alert["status"]["state"].as_str().unwrap().to_owned())
        };
        wait_until("the alert doesn't arrive", || {
            state().is_some_and(|state| state != "unprocessed")
        });
        state().unwrap() == "active"
    }
}

#[test]
fn alerts_are_silent_while_a_run_works_and_no_longer() {
    let desk = Desk::new();
    let alertmanager = Alertmanager::begin(&desk.path(""));
    let notify = format!(
        "[notify.silence]\nalertmanager = {:?}\nmatchers = [\"cluster={{cluster}}\", \"alertname=~Ceph.*\"]\n",
        alertmanager.url
    );
    write(
        &desk.path("cluster.toml"),
        &format!("name = \"lab\"\n{notify}[[members]]\nname = \"micro01\"\n"),
    );
    assert_eq!(
        desk.run(&["notify", "--test"]).exits(0),
        "test: silence: reachable\n"
    );
    let words = "rehearse update --only lxd --notify cluster.toml --speed 20 --fault refresh-fails:lxd,micro02";
    let words: Vec<&str> = words.split(' ').collect();
    let mut run = desk.begin(&words);
    wait_until("there is no silence", || alertmanager.active().is_some());
    let (id, until) = alertmanager.active().unwrap();
    assert!(!alertmanager.pages("twin of 3"));
    assert!(alertmanager.pages("another"));
    // Its process is killed: the silence is still there, and would lapse.
    run.kill().unwrap();
    run.wait().unwrap();
    assert_eq!(alertmanager.active(), Some((id.clone(), until)));
    // Half of its time is over: whoever takes the run up extends the same one.
    let lease = desk.path("state/runs/update-1/notify/silence.json");
    let mut kept: Value = serde_json::from_str(&read(&lease)).unwrap();
    assert_eq!(kept["id"], id);
    let soon = until.checked_sub(SignedDuration::from_mins(13)).unwrap();
    kept["until"] = json!(soon);
    fs::write(&lease, kept.to_string()).unwrap();
    let mut resumed = desk.begin(&["resume", "update-1", "--speed", "20"]);
    wait_until("it isn't extended", || {
        alertmanager
            .active()
            .is_some_and(|(same, later)| same == id && later > until)
    });
    // It holds at the member whose refresh fails, and the site is heard of again.
    assert_eq!(resumed.wait().unwrap().code(), Some(4));
    assert_eq!(alertmanager.active(), None);
    assert!(alertmanager.pages("twin of 3"));
    let mut mended = desk.begin(&["resume", "update-1", "--mend", "--speed", "20"]);
    wait_until("there is no silence", || alertmanager.active().is_some());
    assert_eq!(mended.wait().unwrap().code(), Some(0));
    assert_eq!(alertmanager.active(), None);
    assert_eq!(alertmanager.silences().len(), 2);
}
