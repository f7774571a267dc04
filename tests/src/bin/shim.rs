//! What stands in for every program of a member of the SSH lab: it asks the simulated world, and says what that says.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use lockstep_tests::lab::{Answer, Question};

fn main() -> ExitCode {
    match ask() {
        Ok(answer) => {
            let _ = std::io::stdout().write_all(answer.stdout.as_bytes());
            let _ = std::io::stderr().write_all(answer.stderr.as_bytes());
            ExitCode::from(answer.code)
        }
        Err(error) => {
            let _ = writeln!(
                std::io::stderr(),
                "the lab's world does not answer: {error}"
            );
            ExitCode::from(99)
        }
    }
}

fn ask() -> std::io::Result<Answer> {
    let place = std::fs::read_to_string("/etc/lockstep-lab")?;
    let (member, socket) = place.trim().split_once('\n').unwrap_or_default();
    let root = std::fs::metadata("/proc/self")?.uid() == 0;
    let argv: Vec<String> = std::env::args().collect();
    let question = Question {
        member: member.to_owned(),
        stdin: reads(&argv)
            .then(|| std::io::read_to_string(std::io::stdin()))
            .transpose()?,
        argv,
        root,
    };
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(&serde_json::to_vec(&question)?)?;
    stream.shutdown(Shutdown::Write)?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}

/// Ceph's client reads its commands if it is given none.
fn reads(argv: &[String]) -> bool {
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    matches!(words[..], [program, "--connect-timeout", _, "-f", "json"] if program.ends_with("/microceph.ceph"))
}
