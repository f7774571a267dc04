//! What is to be known of the network before anything is begun, beside its health.

use futures_util::future::join3;

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
    let cmd = status();
    let members = cx.members();
    let (picture, answer, certificates) =
        join3(Picture::take(cx), cx.ask(&members, &cmd), certificates(cx)).await;
    let (picture, (asked, output), certificates) = (picture?, answer?, certificates?);
    let text = output.text(&cmd, &asked)?;
    Ok(Outlook {
        certificates,
        schema: unconverted(text, &picture.central()),
        timers: timers::short(&picture),
    })
}
