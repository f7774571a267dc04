//! Programs that answer with something else than they should, or not at all: what is read of them is then not known.

pub(crate) mod state;

use lockstep_modules::contract::cmd::Output;
pub use state::Broken;

use crate::world::{Proc, Reply, World};

impl World {
    /// This very command says this from now on, on every member.
    pub fn answer_instead(&mut self, argv: &[String], stdout: &str) {
        self.answers.insert(argv.join(" "), stdout.to_owned());
    }

    /// Commands with these words in them are broken: on every member, or on the one whose name the words begin with.
    pub fn break_program(&mut self, words: &str, broken: Broken) {
        self.broken.insert(words.to_owned(), broken);
    }

    /// All programs do again what they should.
    pub fn mend_programs(&mut self) {
        self.broken.clear();
    }

    /// What a command answers if it is broken.
    pub(crate) fn broken(&self, proc: &Proc) -> Option<Reply> {
        let words = proc.cmd.argv.join(" ");
        if let Some(stdout) = self.answers.get(&words) {
            return Some(Reply::out(stdout.as_str()));
        }
        let words = format!("{} {words}", proc.member);
        let (_, broken) = self.broken.iter().find(|(part, _)| words.contains(*part))?;
        Some(match broken {
            Broken::Garbage => Reply::out("\n{\"\u{fffd}}: ???\n"),
            Broken::Nothing => Reply::out(""),
            Broken::TooMuch => Reply::Exit(Output {
                truncated: true,
                ..Output::exit(0, "{\"", "")
            }),
            Broken::Fails => Reply::fail(1, "Error: something went wrong\n"),
            Broken::Unknown => {
                let program = proc.cmd.argv[0].rsplit('/').next().unwrap_or_default();
                let asked = proc.cmd.argv[1..].join(" ");
                let error = format!("Error: unknown command \"{asked}\" for \"{program}\"\n");
                Reply::fail(1, &error)
            }
            Broken::Never => Reply::Hang,
            Broken::Mute => return None,
        })
    }

    /// What is left of a program's answer.
    pub(crate) fn muted(&self, proc: &Proc, reply: Reply) -> Reply {
        let words = proc.cmd.argv.join(" ");
        let mut mute = self.broken.iter().filter(|(_, b)| **b == Broken::Mute);
        match reply {
            Reply::Exit(output) if mute.any(|(part, _)| words.contains(part)) => {
                Reply::Exit(Output {
                    stdout: String::new(),
                    ..output
                })
            }
            reply => reply,
        }
    }
}
