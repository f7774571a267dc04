//! `fleet init`: a fleet's file, written from cluster files.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::exit::{Exit, Fault};
use crate::config::Config;
use crate::private::{self, Over, PRIVATE};

/// Which clusters the fleet is made of.
#[derive(Args)]
pub(crate) struct InitArgs {
    /// Cluster files, as `lockstep init` writes them; the first one's cluster is the canary
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The file to write
    #[arg(long, short, default_value = "fleet.toml", value_name = "FILE")]
    output: PathBuf,
    /// Name of the fleet
    #[arg(long, default_value = "fleet")]
    name: String,
    /// Overwrite an existing file
    #[arg(long)]
    force: bool,
}

pub(crate) fn init(args: &InitArgs) -> Result<Exit, Fault> {
    if args.output.symlink_metadata().is_ok() && !args.force {
        let fault = Fault::usage(format!("{} exists", args.output.display()));
        return Err(fault.help("--force overwrites it"));
    }
    let folder = private::folder_of(&args.output);
    let mut text = format!("name = {:?}\n", args.name);
    for (i, file) in args.files.iter().enumerate() {
        let name = Config::read(file)?.cluster.name;
        let file = seen_from(folder, file);
        let canary = if i == 0 { "canary = \"true\"" } else { "" };
        let _ = write!(
            text,
            "\n[[clusters]]\nname = {name:?}\nfile = {file:?}\nlabels = {{ {canary} }}\n"
        );
    }
    text.push_str("\n# A canary first. The others follow once it is done, and is still well an hour later.\n[[rollout.rings]]\nname = \"canary\"\nselect = \"canary=true\"\nsoak = \"1h\"\n");
    if args.files.len() > 1 {
        text.push_str("\n[[rollout.rings]]\nname = \"rest\"\nlimit = 5\nbudget = 1\n");
    }
    let over = if args.force {
        Over::Anything
    } else {
        Over::Nothing
    };
    private::place(&args.output, &text, PRIVATE, over)
        .map_err(|error| Fault::unwritten(&args.output, error))?;
    out!(
        "{}: {} clusters. See what a rollout would do with: lockstep fleet rollout update --dry-run",
        args.output.display(),
        args.files.len()
    );
    Ok(Exit::Done)
}

/// A file as the fleet's file names it: from its folder, where it is below that.
fn seen_from(folder: &Path, file: &Path) -> String {
    let whole = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let (folder, file) = (whole(folder), whole(file));
    file.strip_prefix(&folder)
        .unwrap_or(&file)
        .display()
        .to_string()
}
