//! The options that every command takes.

use std::path::PathBuf;

use clap::Args;

use crate::bundle::Playbooks;
use crate::store::is_url;

/// Where the environment names a cluster.
pub(crate) const CLUSTER: &str = "LOCKSTEP_CLUSTER";

/// What every command takes.
#[derive(Args, Clone, Default)]
pub(crate) struct Global {
    /// Cluster file, FLEET/NAME of fleet.toml, or a simulated cluster of N members, installed as MicroCloud 1, 1-latest, 2,
    /// or 3
    #[arg(
        long,
        short,
        global = true,
        env = CLUSTER,
        value_name = "FILE|twin[:N[@SET]]",
        hide_env_values = true,
        help_heading = "Global options"
    )]
    pub(crate) cluster: Option<String>,
    /// Where runs are stored: a folder, or the database of several machines [default: $XDG_STATE_HOME/lockstep]
    #[arg(
        long,
        global = true,
        env = "LOCKSTEP_STATE",
        hide_env_values = true,
        value_name = "DIR|URL",
        help_heading = "Global options"
    )]
    pub(crate) state: Option<PathBuf>,
    /// Folder to use instead of the shipped playbooks
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        help_heading = "Global options"
    )]
    pub(crate) playbooks: Option<PathBuf>,
    /// Folder with the site's module programs [env: LOCKSTEP_MODULES] [default: modules/ next to the playbook or the
    /// cluster file]
    //
    // The environment is looked at where programs are looked for: it must not change what a resumed run continues with.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        help_heading = "Global options"
    )]
    pub(crate) modules: Option<PathBuf>,
    /// Use this ssh_config instead of your own (ssh -F)
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Global options"
    )]
    pub(crate) ssh_config: Option<String>,
    /// Print JSON instead of text
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
    /// Show every step and command
    #[arg(long, short, global = true, help_heading = "Global options")]
    pub(crate) verbose: bool,
    /// Show only the outcome of a run
    #[arg(
        long,
        short,
        global = true,
        conflicts_with = "verbose",
        help_heading = "Global options"
    )]
    pub(crate) quiet: bool,
    /// How many seconds pass for a run in one of ours; none where time is what it is.
    #[arg(skip)]
    pub(crate) pace: Option<f64>,
}

impl Global {
    /// The URL of the store that runs are in, if they are in one.
    pub(crate) fn store(&self) -> Option<&str> {
        self.state.as_ref()?.to_str().filter(|state| is_url(state))
    }

    /// Where shipped playbooks come from.
    pub(crate) fn playbooks(&self) -> Playbooks {
        self.playbooks
            .clone()
            .map_or(Playbooks::Shipped, Playbooks::Folder)
    }
}
