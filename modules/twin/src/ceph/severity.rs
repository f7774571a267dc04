//! How bad Ceph takes things to be.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How bad Ceph takes a health check to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// `HEALTH_OK`
    #[default]
    #[serde(rename = "HEALTH_OK")]
    Ok,
    /// `HEALTH_WARN`
    #[serde(rename = "HEALTH_WARN")]
    Warning,
    /// `HEALTH_ERR`
    #[serde(rename = "HEALTH_ERR")]
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "HEALTH_OK",
            Self::Warning => "HEALTH_WARN",
            Self::Error => "HEALTH_ERR",
        })
    }
}

impl From<&str> for Severity {
    fn from(word: &str) -> Self {
        match word {
            "HEALTH_OK" => Self::Ok,
            "HEALTH_WARN" => Self::Warning,
            _ => Self::Error,
        }
    }
}
