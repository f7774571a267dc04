//! `events.jsonl`: the stream, kept beside the journal.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::bundle::digest;
use crate::event::{Event, Reporter, Stamped};
use crate::private;
use crate::runs::EVENTS;

/// An output longer than this goes to a file of its own.
const INLINE: usize = 4096;

/// Writes events to a file, and long outputs to files beside it.
pub struct FileReporter {
    file: File,
    outputs: PathBuf,
}

impl FileReporter {
    /// Appends to `events.jsonl` in the folder of a run.
    ///
    /// # Errors
    /// Where the file can't be opened.
    pub fn in_folder(folder: &Path) -> std::io::Result<Self> {
        let file = private::file()
            .create(true)
            .append(true)
            .open(folder.join(EVENTS))?;
        Ok(Self {
            file,
            outputs: folder.join("out"),
        })
    }

    /// The text, or a reference to the file it was put in.
    fn kept(&self, text: &str) -> String {
        if text.len() <= INLINE {
            return text.to_owned();
        }
        let name = digest(text);
        let path = self.outputs.join(&name);
        let written =
            private::make_folder(&self.outputs).and_then(|()| private::write(&path, text));
        match written {
            Ok(_) => format!("out/{name} ({} bytes)", text.len()),
            Err(error) => format!("{} bytes that could not be kept: {error}", text.len()),
        }
    }
}

impl Reporter for FileReporter {
    fn take(&mut self, event: &Stamped) {
        let mut event = event.clone();
        if let Event::Command { stdout, stderr, .. } = &mut event.event {
            *stdout = self.kept(stdout);
            *stderr = self.kept(stderr);
        }
        if let Ok(line) = serde_json::to_string(&event) {
            let _ = writeln!(self.file, "{line}");
        }
    }
}
