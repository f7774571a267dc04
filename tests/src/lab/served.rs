//! The world behind a lab's members, and the programs that ask it.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use lockstep_modules::contract::cmd::{Cmd, End};
use lockstep_twin::World;
use serde::{Deserialize, Serialize};

use super::{pause, places, run};

/// What the shim asks.
#[derive(Debug, Serialize, Deserialize)]
pub struct Question {
    /// The member it runs on.
    pub member: String,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Standard input, of a program that reads it.
    pub stdin: Option<String>,
    /// Whether it runs as root.
    pub root: bool,
}

/// What it is given.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    /// Exit status.
    pub code: u8,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// The world's time runs this much faster than ours.
const SPEED: u32 = 10;

/// A world whose time is ours, but faster.
pub(super) struct Served {
    pub(super) world: World,
    pub(super) time: Time,
    /// Programs that print garbage: by the last part of their path.
    pub(super) garbage: Vec<String>,
}

/// What drives the time of a world.
pub(super) enum Time {
    /// The wall clock, from a moment on at which the world had this time.
    Wall(Instant, u64),
    /// Beats: where this machine has more to do than it can, the world is slower, and not too fast for what looks at it.
    Beats(u64),
}

impl Served {
    pub(super) fn advance(&mut self) {
        let now = match self.time {
            Time::Wall(began, base) => {
                let passed = began.elapsed() * SPEED;
                base + u64::try_from(passed.as_millis()).unwrap_or(u64::MAX / 2)
            }
            Time::Beats(now) => now,
        };
        self.world.advance(now);
    }

    /// This much real time has passed, as far as a beat can tell.
    pub(super) fn beat(&mut self, length: Duration) {
        if let Time::Beats(now) = &mut self.time {
            *now += u64::try_from((length * places::PACE).as_millis()).unwrap_or(0);
        }
        self.advance();
    }
}

/// The world, while nobody else has it.
pub struct WorldGuard<'a>(pub(super) MutexGuard<'a, Served>);

impl std::ops::Deref for WorldGuard<'_> {
    type Target = World;

    fn deref(&self) -> &World {
        &self.0.world
    }
}

impl std::ops::DerefMut for WorldGuard<'_> {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.0.world
    }
}

/// Serves the world to shims, a thread for each that asks. The threads end with the test's process.
pub(super) fn serve(socket: &Path, world: &Arc<Mutex<Served>>) {
    let listener =
        UnixListener::bind(socket).unwrap_or_else(|e| panic!("{}: {e}", socket.display()));
    // The members' users ask, too.
    run(Command::new("chmod").arg("777").arg(socket));
    run(Command::new("chmod")
        .arg("755")
        .arg(socket.parent().unwrap_or(socket)));
    let world = Arc::clone(world);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let world = Arc::clone(&world);
            std::thread::spawn(move || answer(stream, &world));
        }
    });
}

fn answer(mut stream: UnixStream, world: &Mutex<Served>) {
    let mut text = String::new();
    if stream.read_to_string(&mut text).is_err() {
        return;
    }
    let Ok(question) = serde_json::from_str::<Question>(&text) else {
        return;
    };
    let program = question
        .argv
        .first()
        .map_or("", |p| p.rsplit('/').next().unwrap_or(p))
        .to_owned();
    // Time-outs are the member's own `timeout`'s to keep.
    let cmd = if question.root {
        Cmd::root(question.argv)
    } else {
        Cmd::user(question.argv)
    };
    let mut cmd = cmd.timeout(Duration::from_secs(100_000));
    cmd.stdin = question.stdin;
    let id = match world.lock() {
        Ok(mut served) if served.garbage.contains(&program) => {
            let answer = Answer {
                code: 0,
                stdout: "\u{7}<html>garbage".to_owned(),
                stderr: String::new(),
            };
            served.advance();
            let _ = stream.write_all(&serde_json::to_vec(&answer).unwrap_or_default());
            return;
        }
        Ok(mut served) => {
            served.advance();
            served.world.spawn(&question.member, &cmd)
        }
        Err(_) => return,
    };
    loop {
        let Ok(mut served) = world.lock() else { return };
        served.advance();
        if let Some(output) = served.world.take(id) {
            let code = match output.end {
                End::Exit(code) => u8::try_from(code).unwrap_or(255),
                End::Signal(_) | End::TimedOut => 255,
            };
            let answer = Answer {
                code,
                stdout: output.stdout,
                stderr: output.stderr,
            };
            let _ = stream.write_all(&serde_json::to_vec(&answer).unwrap_or_default());
            return;
        }
        drop(served);
        pause(Duration::from_millis(2));
    }
}
