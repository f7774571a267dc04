//! Looking again and again: what gates do.

use std::time::Duration;

use tokio::time::Instant;

use super::{Cx, Look, Unmet};
use crate::contract::error::OpError;

/// The first pause between two looks.
const SOON: Duration = Duration::from_millis(250);

/// What a look may take without its first answers being old.
const LATE: Duration = Duration::from_secs(10);

impl Cx {
    /// Looks again and again until a look says yes: soon at first, and the longer it takes the less often, up to `every`.
    ///
    /// # Errors
    /// The look's own, at once; or, when the step's time is up, a timeout that names what was missing last.
    pub async fn until<T>(
        &self,
        every: Duration,
        look: impl AsyncFnMut() -> Look<T>,
    ) -> Result<T, OpError> {
        self.steady(1, every, |_| (), look).await
    }

    /// As [`Cx::until`], until `looks` in a row, `every` so often, say yes and agree in what `same` takes of them.
    ///
    /// Of a look in which somebody answered late, the first answers are old: it counts only behind another good one.
    ///
    /// # Errors
    /// As [`Cx::until`].
    pub async fn steady<T, K: PartialEq>(
        &self,
        looks: u32,
        every: Duration,
        same: impl Fn(&T) -> K,
        mut look: impl AsyncFnMut() -> Look<T>,
    ) -> Result<T, OpError> {
        let began = Instant::now();
        let (mut good, mut last) = (0, None);
        loop {
            let asked = Instant::now();
            match look().await {
                Ok(value) => {
                    let now = Some(same(&value));
                    good = if now == last { good + 1 } else { 1 };
                    last = now;
                    let late = asked.elapsed() > LATE;
                    if good >= looks + u32::from(late) {
                        return Ok(value);
                    }
                    if late {
                        let text = format!(
                            "healthy, but an answer took {} s: looking again",
                            asked.elapsed().as_secs()
                        );
                        self.pause(SOON, text).await?;
                        continue;
                    }
                    let so_far = format!("healthy so far, {good} of {looks} checks");
                    self.pause(every, so_far).await?;
                }
                Err(Unmet::NotYet(missing)) => {
                    last = None;
                    let pause = (began.elapsed() / 16).max(SOON).min(every);
                    self.pause(pause, missing).await?;
                }
                Err(Unmet::Failed(error)) => return Err(error),
            }
        }
    }

    /// Lets `pause` pass, since something is missing.
    ///
    /// # Errors
    /// Where the step's time would be up before: a timeout that names what is missing.
    pub async fn pause(&self, pause: Duration, missing: String) -> Result<(), OpError> {
        self.missing.replace(Some(missing.clone()));
        let end = Instant::now().checked_add(pause);
        if end.is_none_or(|end| end > self.deadline) {
            return Err(OpError::timeout(format!(
                "not within {}: {missing}",
                self.timeout
            )));
        }
        // Whoever reported its progress by itself has done it better.
        if !self.reported.replace(false) {
            self.tell(0, None, missing);
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }
}
