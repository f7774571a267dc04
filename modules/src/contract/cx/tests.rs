use super::*;
use crate::contract::cluster::SshConfig;
use crate::contract::reach::Ear;
use crate::contract::run::Sitting;

/// What a program says, and how many milliseconds after it was begun; then it ends.
type Script = Vec<(u64, &'static str)>;

/// A member on which every command is a program that talks.
struct Talker {
    script: Script,
    run: Run,
    cluster: Cluster,
    began: Instant,
    /// What was passed on, and how many milliseconds after the beginning.
    reported: RefCell<Vec<(u128, String)>>,
}

impl Transport for Talker {
    fn facts<'a>(&'a self, _: &'a Member) -> LocalBoxFuture<'a, Result<Facts, ContactError>> {
        Box::pin(std::future::ready(Ok(Facts::default())))
    }

    fn run<'a>(
        &'a self,
        _: &'a Member,
        batch: &'a [Cmd],
        ear: &'a Ear<'a>,
    ) -> LocalBoxFuture<'a, Result<Vec<Output>, ContactError>> {
        Box::pin(async move {
            for number in 0..batch.len() {
                let began = Instant::now();
                for (at, lines) in &self.script {
                    sleep_until(began + Duration::from_millis(*at)).await;
                    ear(number, lines);
                }
            }
            Ok(vec![Output::exit(0, "", ""); batch.len()])
        })
    }
}

impl Host for Talker {
    fn run(&self) -> &Run {
        &self.run
    }

    fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    fn transport(&self) -> &dyn Transport {
        self
    }

    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn witness<'a>(&'a self, _: &'a StepPath, _: Value) -> LocalBoxFuture<'a, Result<(), OpError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn ask<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, Option<bool>> {
        Box::pin(std::future::ready(None))
    }

    fn note(&self, _: &StepPath, note: Note<'_>) {
        if let Note::Printed { lines, .. } = note {
            let after = self.began.elapsed().as_millis();
            self.reported.borrow_mut().push((after, lines.to_owned()));
        }
    }
}

fn context(script: Script) -> (Rc<Talker>, Cx) {
    let host = Rc::new(Talker {
        script,
        run: Run {
            id: "update-1".to_owned(),
            holder: "ann@desk".to_owned(),
            began: Timestamp::UNIX_EPOCH,
            sitting: Sitting {
                number: 1,
                nonce: String::new(),
                who: "ann@desk".to_owned(),
            },
            earlier: Vec::new(),
        },
        cluster: Cluster {
            name: "lab".to_owned(),
            members: Vec::new(),
            machines: Vec::new(),
            ssh: SshConfig::default(),
        },
        began: Instant::now(),
        reported: RefCell::default(),
    });
    let shared: Rc<dyn Host> = host.clone();
    let cx = Cx::new(shared, "exec#1", Span::secs(600), Vec::new());
    (host, cx)
}

/// What is passed on while these commands run, each of which says this.
async fn reported(script: Script, batch: &[Cmd]) -> Vec<(u128, String)> {
    let (host, cx) = context(script);
    cx.batch(&Member::from("micro01"), batch).await.unwrap();
    host.reported.take()
}

fn printed(reported: &[(u128, &str)]) -> Vec<(u128, String)> {
    reported
        .iter()
        .map(|(at, s)| (*at, (*s).to_owned()))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_command_that_talks_is_reported_now_and_then() {
    let talks = [Cmd::user(["/bin/x"]).talks()];
    // It may be the only thing that it ever says.
    let once = reported(vec![(10, "waiting"), (60_000, "end")], &talks).await;
    assert_eq!(once, printed(&[(2000, "waiting")]));
    // A line that grows has nothing new to say before it is whole.
    let same = reported(
        vec![(10, "a"), (3000, "a"), (9000, "a"), (9500, "")],
        &talks,
    )
    .await;
    assert_eq!(same, printed(&[(2000, "a")]));
    let quick = reported(vec![(10, "a"), (1900, "b")], &talks).await;
    assert_eq!(quick, []);
    let lines = ["one", "other"].into_iter().cycle();
    let much: Script = (0..=10_000).step_by(100).zip(lines).collect();
    let much: Vec<u128> = reported(much, &talks)
        .await
        .into_iter()
        .map(|t| t.0)
        .collect();
    assert_eq!(much, [2000, 4000, 6000, 8000]);
    // After a silence it is passed on at once.
    let late = reported(
        vec![(10, "a"), (9000, "b"), (9500, "c"), (20_000, "d")],
        &talks,
    )
    .await;
    assert_eq!(late, printed(&[(2000, "a"), (9000, "b"), (11_000, "c")]));
}

#[tokio::test(start_paused = true)]
async fn what_is_for_programs_or_private_is_not_reported() {
    let script = || vec![(10, "line"), (5000, "end")];
    let silent = [
        Cmd::user(["/bin/x"]),
        Cmd::user(["/bin/x"]).talks().private(),
    ];
    assert_eq!(reported(script(), &silent).await, []);
    let second = [Cmd::user(["/bin/x"]), Cmd::user(["/bin/x"]).talks()];
    assert_eq!(
        reported(script(), &second).await,
        printed(&[(5010, "line")])
    );
}

#[tokio::test(start_paused = true)]
async fn a_pause_without_an_end_is_over_when_the_step_is() {
    let (_, cx) = context(Vec::new());
    let longest = Duration::from_secs_f64(1.8e19);
    let over = cx.pause(longest, "one is left".to_owned()).await;
    let over = over.unwrap_err();
    assert_eq!(over.kind, Kind::Timeout);
    assert_eq!(over.message, "not within 10m: one is left");
}

/// How many looks it takes where each of them takes so long.
async fn looks_of(seconds: u64) -> u32 {
    let (_, cx) = context(Vec::new());
    let looked = Cell::new(0);
    let look = async || {
        looked.set(looked.get() + 1);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        Ok(())
    };
    cx.until(Duration::from_secs(5), look).await.unwrap();
    looked.get()
}

/// What was answered first is old by the time of the last answer.
#[tokio::test(start_paused = true)]
async fn a_look_that_takes_long_counts_behind_another_good_one() {
    assert_eq!(looks_of(1).await, 1);
    assert_eq!(looks_of(30).await, 2);
}
