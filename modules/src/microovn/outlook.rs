//! What is to be known of the network before anything is begun, beside its health.

use super::wait::{status, unconverted};
use super::{Picture, timers};
use crate::cx::Cx;
use crate::error::OpError;

/// What is to be known beforehand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outlook {
    /// Certificates that have expired or can't be read, a sentence each.
    pub certificates: Vec<String>,
    /// Why the databases don't have the schema that all members expect.
    pub schema: Option<String>,
    /// What will be done about the election timers.
    pub timers: Option<String>,
}

/// Asks one member; all have the same databases.
///
/// # Errors
/// Where no member answers.
pub async fn outlook(cx: &Cx) -> Result<Outlook, OpError> {
    let picture = Picture::take(cx).await?;
    let cmd = status();
    let (asked, output) = cx.ask(&cx.members(), &cmd).await?;
    let text = output.text(&cmd, asked.as_str())?;
    if !is_told(text) {
        return Err(OpError::command("microovn status printed no summary").on(asked.as_str()));
    }
    Ok(Outlook {
        certificates: certificates(text),
        // Releases from before MicroOVN converted databases by itself have no summary of them.
        schema: text
            .contains("OVN Database summary:")
            .then(|| unconverted(text, &picture.central()))
            .flatten(),
        timers: timers::short(&picture),
    })
}

/// Whether a text is what `microovn status` prints: it exits with 0 whatever it says, and says nothing of certificates that are
/// fine.
fn is_told(text: &str) -> bool {
    text.lines()
        .any(|line| line == "MicroOVN deployment summary:")
}

/// What `microovn status` says behind its summary (`microovn/cmd/microovn/status.go`): nothing, unless something is wrong.
fn certificates(status: &str) -> Vec<String> {
    let tells = |line: &&str| {
        line.ends_with("certificate has expired")
            || (line.starts_with("Failed to get ") && line.contains("certificate expiration date"))
    };
    status
        .lines()
        .map(str::trim)
        .filter(tells)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_isn_t_a_summary_tells_nothing_of_certificates() {
        assert!(is_told("MicroOVN deployment summary:\n- m1 (10.0.0.1)\n"));
        assert!(!is_told("") && !is_told("usage: microovn\n"));
    }

    #[test]
    fn certificates_are_told_of_only_where_something_is_wrong_with_them() {
        let fine =
            "OVN Database summary:\nOVN Northbound: OK (7.3.0)\nOVN Southbound: OK (20.33.0)\n";
        assert_eq!(certificates(fine), Vec::<String>::new());
        let bad = "OVN CA certificate has expired\nFailed to get OVN Northd Service certificate expiration date: no such file\n";
        assert_eq!(
            certificates(&format!("{fine}{bad}")),
            bad.lines().collect::<Vec<_>>()
        );
    }
}
