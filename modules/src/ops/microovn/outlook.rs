//! What is to be known of the network before anything is begun, beside its health.

use super::certificates::{Certificates, certificates};
use super::wait::{status, unconverted};
use super::{Picture, timers};
use crate::contract::cx::Cx;
use crate::contract::error::OpError;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outlook {
    pub(crate) certificates: Certificates,
    /// Why the databases don't have the schema that all members expect.
    pub(crate) schema: Option<String>,
    pub(crate) timers: Option<String>,
}

/// Asks one member for the databases, which all have in common, and each for its certificates.
pub(crate) async fn outlook(cx: &Cx) -> Result<Outlook, OpError> {
    let picture = Picture::take(cx).await?;
    let cmd = status();
    let (asked, output) = cx.ask(&cx.members(), &cmd).await?;
    let text = output.text(&cmd, &asked)?;
    Ok(Outlook {
        certificates: certificates(cx).await?,
        schema: unconverted(text, &picture.central()),
        timers: timers::short(&picture),
    })
}
