//! `--version`: what this lockstep is, and what it speaks.

use std::sync::LazyLock;

use crate::{event, journal, script};

pub(super) const SHORT: &str = env!("CARGO_PKG_VERSION");

/// The version, how it was built, and the formats that others depend on.
pub(super) static LONG: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{SHORT}\n\
         commit     {}\n\
         target     {}, {}\n\
         rustc      {}\n\
         playbooks  API {}\n\
         journal    format {}\n\
         events     version {}",
        env!("LOCKSTEP_BUILD_COMMIT"),
        env!("LOCKSTEP_BUILD_TARGET"),
        env!("LOCKSTEP_BUILD_PROFILE"),
        env!("LOCKSTEP_BUILD_RUSTC"),
        script::API,
        journal::FORMAT,
        event::VERSION,
    )
});
