//! A headless Chromium, controlled over the DevTools protocol: JSON on two of its file descriptors.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

/// A page in a browser of its own, which ends with it.
pub(crate) struct Page {
    browser: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: String,
    asked: u64,
    /// What the page reported by itself: log entries, requests, exceptions.
    reported: Vec<Value>,
    _profile: tempfile::TempDir,
}

impl Page {
    /// Opens a file.
    pub(crate) fn open(file: &Path) -> Self {
        let profile = tempfile::tempdir().unwrap();
        // The protocol is spoken on descriptors 3 and 4, which only a shell can give it. A browser that hangs ends.
        let mut browser = Command::new("sh")
            .args([
                "-c",
                "exec timeout -k 5 300 chromium \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1",
                "sh",
            ])
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .args(["--remote-debugging-pipe", "about:blank"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("chromium: tests/run installs it");
        let to = browser.stdin.take().unwrap();
        let from = BufReader::new(browser.stdout.take().unwrap());
        let mut page = Self {
            browser,
            to,
            from,
            session: String::new(),
            asked: 0,
            reported: Vec::new(),
            _profile: profile,
        };
        let target = page.ask("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = page.ask("Target.attachToTarget", &attach);
        session["sessionId"]
            .as_str()
            .unwrap()
            .clone_into(&mut page.session);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.ask(&format!("{domain}.enable"), &json!({}));
        }
        page.ask(
            "Page.navigate",
            &json!({"url": format!("file://{}", file.display())}),
        );
        while !page
            .reported
            .iter()
            .any(|e| e["method"] == "Page.loadEventFired")
        {
            page.hear();
        }
        page
    }

    /// Asks for something, and returns the answer.
    pub(crate) fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.asked += 1;
        let mut message = json!({"id": self.asked, "method": method, "params": params});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        write!(self.to, "{message}\0").unwrap();
        self.to.flush().unwrap();
        loop {
            let answer = self.hear();
            if answer["id"] == self.asked {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
        }
    }

    fn hear(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.from.read_until(0, &mut bytes).unwrap();
        assert_eq!(
            bytes.pop(),
            Some(0),
            "chromium is gone; tests/run installs it"
        );
        let message: Value = serde_json::from_slice(&bytes).unwrap();
        if message.get("id").is_none() {
            self.reported.push(message.clone());
        }
        message
    }

    /// What an expression of JavaScript comes to.
    pub(crate) fn eval(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.ask("Runtime.evaluate", &params);
        assert!(
            answer.get("exceptionDetails").is_none(),
            "{expression}: {answer}"
        );
        answer["result"]["value"].clone()
    }

    /// Makes the window so wide, and the colours `light` or `dark`.
    pub(crate) fn look(&mut self, width: u32, scheme: &str) {
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.ask("Emulation.setDeviceMetricsOverride", &size);
        let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.ask("Emulation.setEmulatedMedia", &scheme);
    }

    /// What was complained of in the console, and addresses that were asked for beside the file's own.
    pub(crate) fn complaints(&mut self, file: &Path) -> Vec<String> {
        // Whatever it still has to say comes before the answer.
        self.eval("new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)))");
        let own = format!("file://{}", file.display());
        let complaint = |event: &Value| match event["method"].as_str()? {
            "Log.entryAdded" | "Runtime.consoleAPICalled" | "Runtime.exceptionThrown" => {
                Some(event["params"].to_string())
            }
            "Network.requestWillBeSent" => {
                let url = event["params"]["request"]["url"].as_str()?;
                (url != own && !url.starts_with("data:")).then(|| url.to_owned())
            }
            _ => None,
        };
        self.reported.iter().filter_map(complaint).collect()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = write!(self.to, "{}\0", json!({"id": 0, "method": "Browser.close"}));
        let _ = self.to.flush();
        // It ends by itself, and with it all of its processes; one that doesn't is ended.
        let mut rest = Vec::new();
        let closed = std::io::Read::read_to_end(&mut self.from, &mut rest);
        if closed.is_err() {
            let _ = self.browser.kill();
        }
        let _ = self.browser.wait();
    }
}
