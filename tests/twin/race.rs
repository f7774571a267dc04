//! Several controllers at one cluster: it is never that of two.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{LocalBoxFuture, join_all};
use jiff::Timestamp;
use lockstep_modules::contract::cluster::{Cluster, MemberConfig, SshConfig};
use lockstep_modules::contract::cx::{Cx, Host, Note};
use lockstep_modules::contract::error::OpError;
use lockstep_modules::contract::op::Registry;
use lockstep_modules::contract::path::StepPath;
use lockstep_modules::contract::reach::Transport;
use lockstep_modules::contract::run::{Run, Sitting};
use lockstep_modules::contract::schema::Span;
use lockstep_twin::{Scenario, Twin};
use serde_json::{Value, json};

/// A controller, as ops see it.
struct Controller {
    run: Run,
    cluster: Cluster,
    twin: Twin,
}

/// A run, as this process took it up.
fn run(number: u32, process: u32) -> Run {
    Run {
        id: format!("update-{number}"),
        holder: format!("me@host{number}"),
        began: Timestamp::UNIX_EPOCH,
        sitting: Sitting {
            number: 1,
            nonce: format!("process {process}"),
            who: format!("me@host{process}"),
        },
        earlier: Vec::new(),
    }
}

impl Host for Controller {
    fn run(&self) -> &Run {
        &self.run
    }

    fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    fn transport(&self) -> &dyn Transport {
        &self.twin
    }

    fn now(&self) -> Timestamp {
        self.run.began
    }

    fn witness<'a>(&'a self, _: &'a StepPath, _: Value) -> LocalBoxFuture<'a, Result<(), OpError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn ask<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, Option<bool>> {
        Box::pin(std::future::ready(None))
    }

    fn note(&self, _: &StepPath, _: Note<'_>) {}
}

impl Controller {
    async fn does(self: &Rc<Self>, registry: &Registry, op: &str) -> Result<Value, OpError> {
        let cx = Cx::new(
            Rc::clone(self) as Rc<dyn Host>,
            op,
            Span::secs(60),
            Vec::new(),
        );
        let op = registry.op(op).unwrap();
        let args = op.fit(json!({}))?;
        op.call.run(Rc::new(cx), args).await
    }

    /// Takes the cluster, works for a while, and gives it back. `inside` counts who believes that it has it.
    async fn races(self: Rc<Self>, after: Duration, inside: &Cell<u32>, most: &Cell<u32>) -> bool {
        let registry = lockstep_modules::registry();
        tokio::time::sleep(after).await;
        if self.does(&registry, "lock.take").await.is_err() {
            return false;
        }
        inside.set(inside.get() + 1);
        most.set(most.get().max(inside.get()));
        tokio::time::sleep(Duration::from_millis(700)).await;
        inside.set(inside.get() - 1);
        self.does(&registry, "lock.release").await.unwrap();
        true
    }
}

/// Has four controllers race for a cluster of three, and tells how many had it in the end, and how many at once.
fn round(seed: u64) -> (usize, u32) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let world = Scenario::of(3).build();
        let mut names: Vec<String> = world.members.keys().cloned().collect();
        let twin = Twin::new(world);
        let (inside, most) = (Cell::new(0), Cell::new(0));
        let controllers = (1..=4).map(|number| {
            // Not everybody's cluster file has the members in the same order.
            rng.shuffle(&mut names);
            let controller = Rc::new(Controller {
                // Two of them are two processes of one run.
                run: run(number.min(3), number),
                cluster: Cluster {
                    name: "lab".to_owned(),
                    members: names
                        .iter()
                        .map(|name| MemberConfig::named(name.as_str()))
                        .collect(),
                    machines: Vec::new(),
                    ssh: SshConfig::default(),
                },
                twin: twin.clone(),
            });
            controller.races(Duration::from_millis(rng.u64(0..1_500)), &inside, &most)
        });
        let had = join_all(controllers.collect::<Vec<_>>()).await;
        // Nothing is left of those who were refused, or are through.
        let left = Rc::new(Controller {
            run: run(9, 9),
            cluster: Cluster {
                name: "lab".to_owned(),
                members: names
                    .iter()
                    .map(|name| MemberConfig::named(name.as_str()))
                    .collect(),
                machines: Vec::new(),
                ssh: SshConfig::default(),
            },
            twin: twin.clone(),
        });
        let registry = lockstep_modules::registry();
        left.does(&registry, "lock.take")
            .await
            .unwrap_or_else(|e| panic!("seed {seed}: {}", e.located()));
        (had.into_iter().filter(|had| *had).count(), most.get())
    })
}

fn rounds(count: u64) {
    let mut had = 0;
    for seed in 0..count {
        let (through, at_once) = round(seed);
        assert!(at_once <= 1, "seed {seed}: {at_once} had it at once");
        had += through;
    }
    assert!(had as u64 >= count / 2, "{had} of {count}");
}

#[test]
fn a_cluster_is_never_that_of_two_controllers() {
    rounds(60);
}

#[test]
#[ignore = "takes long: nightly"]
fn a_cluster_has_one_controller_in_ten_thousand_races() {
    rounds(10_000);
}
