//! What an op that knows a secret leaves on its way, and how it gets it back.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use lockstep::clock::Clock;
use lockstep::engine::{
    Answer, Asker, Decisions, Engine, EngineError, Finish, Resume, Start, Stop, Tools,
};
use lockstep::event::{Events, Kept};
use lockstep::journal::{Crash, FORMAT, Head, History, Journal, MemoryJournal};
use lockstep::script::{Script, Source as Text, Sources};
use lockstep::secret::{Secrets, Source, placeholder};
use lockstep_modules::contract::cluster::{Cluster, MemberConfig, SshConfig};
use lockstep_modules::contract::cx::Cx;
use lockstep_modules::contract::error::OpError;
use lockstep_modules::contract::op::{Effect, Module, Op, Probe, Registry};
use lockstep_twin::{Scenario, Twin};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

const TOKEN: &str = "correct \"horse\" battery";

#[derive(Serialize, Deserialize, JsonSchema)]
struct Args {
    token: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Out {
    known: bool,
    token: String,
}

/// Tells its token to everybody, and then nobody knows what became of it.
struct Blab;

impl Op for Blab {
    const NAME: &'static str = "demo.blab";
    const EFFECT: Effect = Effect::Once;
    type Args = Args;
    type Out = Out;

    fn headline(args: &Args) -> String {
        format!("with {}", args.token)
    }

    fn summary(out: &Out) -> String {
        out.token.clone()
    }

    async fn run(cx: &Cx, args: Args) -> Result<Out, OpError> {
        let token = &args.token;
        assert_eq!(token, TOKEN);
        cx.ask_operator(&format!("is {token} right?")).await;
        cx.progress(1, None, format!("sending {token}"));
        cx.witness(&json!({"sent": token, "as": {token.as_str(): 1}}))
            .await?;
        Err(OpError::timeout(format!("nothing came back for {token}")).with("body", json!([token])))
    }

    async fn probe(cx: &Cx, args: Args) -> Result<Probe<Out>, OpError> {
        #[derive(Deserialize)]
        struct Left {
            sent: String,
        }
        let left: Option<Left> = cx.left();
        let known = left.is_some_and(|left| left.sent == args.token);
        Ok(Probe::Done(Out {
            known,
            token: args.token,
        }))
    }
}

struct One;

impl Sources for One {
    fn find(&self, _: &str) -> Result<Text, String> {
        let text = "return { api = 1, params = { token = { type = \"secret\" } }, run = function(_, p)\n\
            local out = demo.blab { token = p.token }\n\
            return { known = out.known, same = out.token == p.token, token = out.token }\nend }";
        Ok(Text {
            chunk: "one.lua".to_owned(),
            text: text.to_owned(),
        })
    }
}

#[derive(Default)]
struct Asked(RefCell<Vec<String>>);

impl Asker for Asked {
    fn ask<'a>(&'a self, question: &'a str) -> LocalBoxFuture<'a, Answer> {
        self.0.borrow_mut().push(question.to_owned());
        Box::pin(std::future::ready(Answer::Yes))
    }
}

/// One process: how it ended, its events, and what it asked.
fn process(
    journal: Box<dyn Journal>,
    begin: impl FnOnce(Head) -> Start,
) -> (Result<Finish, EngineError>, String, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, TOKEN).unwrap();
    let opened = Source::File(file).open("token").unwrap();
    let secrets = Secrets::of([("token".to_owned(), opened)]).unwrap();
    let registry = Registry::new([Module::new("demo", "For tests.").op::<Blab>()]);
    let cluster = Cluster {
        name: "c".to_owned(),
        members: vec![MemberConfig::named("micro01")],
        machines: Vec::new(),
        ssh: SshConfig::default(),
    };
    let params = json!({"token": "env:TOKEN"});
    let mut script = Script::load("one", Box::new(One), &registry, 1).unwrap();
    script.start(&cluster, &params).unwrap();
    let head = Head {
        format: FORMAT,
        id: "one-1".to_owned(),
        playbook: "one".to_owned(),
        params,
        lockstep: "0".to_owned(),
        target: lockstep::journal::ClusterRef::File("c".into()),
        cluster: cluster.clone(),
        seed: 1,
        bundle: BTreeMap::new(),
        programs: None,
        who: "me".to_owned(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let (kept, asked) = (Kept::default(), Rc::new(Asked::default()));
    let end = runtime.block_on(async {
        let clock = Clock::system();
        let (_sender, stop) = tokio::sync::watch::channel(Stop::No);
        let start = begin(head);
        let tools = Tools {
            run: start.run(clock.now(), "me@here", "first".to_owned()),
            registry,
            cluster,
            transport: Rc::new(Twin::new(Scenario::of(1).build())),
            clock,
            events: Events::new(clock, vec![Box::new(kept.clone())]),
            asker: Rc::clone(&asked) as Rc<dyn Asker>,
            secrets: Rc::new(secrets),
            stop,
            deliver_failures: false,
            no_wait: false,
            approved: None,
            who: "me".to_owned(),
        };
        Engine::new(script, journal, tools).run(start).await
    });
    let events = serde_json::to_string(&*kept.0.borrow()).unwrap();
    let asked = asked.0.borrow().clone();
    (end, events, asked)
}

fn assert_found(finish: Result<Finish, EngineError>) {
    let Finish::Done(value) = finish.unwrap() else {
        panic!("it didn't end");
    };
    let token: Value = placeholder("token").into();
    assert_eq!(value, json!({"known": true, "same": true, "token": token}));
}

fn assert_quiet(journal: &str, events: &str) {
    for text in [journal, events] {
        assert!(!text.contains("horse"), "{text}");
    }
    assert!(!events.contains('\u{E000}'), "{events}");
    assert!(events.contains("***"), "{events}");
}

#[test]
fn what_an_op_tells_on_its_way_holds_no_secret() {
    let journal = MemoryJournal::default();
    let (finish, events, asked) = process(Box::new(journal.clone()), |head| {
        Start::Fresh(Box::new(head))
    });
    assert_found(finish);
    assert_eq!(asked, ["is *** right?"]);
    assert_quiet(&journal.text(), &events);
    for reported in ["sending ***", "with ***"] {
        assert!(events.contains(reported), "{reported}: {events}");
    }
}

#[test]
fn a_witness_holds_no_secret_and_is_found_with_it_later() {
    let journal = MemoryJournal::default();
    let crashing = journal.crashing(Crash::After(3));
    let (end, events, _) = process(Box::new(crashing), |head| Start::Fresh(Box::new(head)));
    assert!(matches!(end, Err(EngineError::Journal(_))), "{end:?}");
    assert_quiet(&journal.text(), &events);
    assert!(
        journal.text().contains(r#""witness""#),
        "{}",
        journal.text()
    );

    let (journal, records) = journal.reopen().unwrap();
    let history = History::of(records).unwrap();
    let (finish, events, _) = process(Box::new(journal.clone()), |_| {
        Start::Resumed(Box::new(Resume {
            history,
            decisions: Decisions::default(),
            trust_cluster: false,
            abort: false,
        }))
    });
    assert_found(finish);
    assert_quiet(&journal.text(), &events);
}
