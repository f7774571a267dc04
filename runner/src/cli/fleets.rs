//! Which fleet the command line names.

use std::path::{Path, PathBuf};

use super::exit::Fault;
use super::mistakes::near_file;
use crate::fleet::Fleet;
use crate::trust;

/// The fleet's file that is taken when none is named.
const DEFAULT: &str = "fleet.toml";

/// The variable that names another one.
const VARIABLE: &str = "LOCKSTEP_FLEET";

/// The fleet of a file, or of `fleet.toml`, which has to be one's own: it names programs.
pub(super) fn read(file: Option<&Path>) -> Result<(PathBuf, Fleet), Fault> {
    let path = file.unwrap_or(Path::new(DEFAULT));
    if !path.exists() {
        let near = near_file(path, &[DEFAULT]);
        let fault = Fault::usage(format!(
            "there is no fleet file {:?}{near}",
            path.display().to_string()
        ));
        return Err(fault.help("lockstep fleet … --fleet FILE  names one"));
    }
    if file.is_none() {
        trust::found(path).map_err(|distrust| Fault::distrusted(&distrust, "--fleet", path))?;
    }
    let fleet = Fleet::read(path)?;
    Ok((
        std::fs::canonicalize(path).unwrap_or(path.to_owned()),
        fleet,
    ))
}

/// The cluster that `FLEET/NAME` means, as `--cluster` takes it: of the fleet that is taken when none is named. None where that
/// is another fleet, or none is there.
pub(super) fn member(named: &str) -> Result<Option<String>, Fault> {
    let Some((fleet, name)) = named.split_once('/') else {
        return Ok(None);
    };
    let file = std::env::var_os(VARIABLE).map(PathBuf::from);
    if !file.as_deref().unwrap_or(Path::new(DEFAULT)).exists() {
        return Ok(None);
    }
    let (_, known) = read(file.as_deref())?;
    if known.name != fleet {
        return Ok(None);
    }
    Ok(Some(known.cluster(name)?.cluster.clone()))
}
