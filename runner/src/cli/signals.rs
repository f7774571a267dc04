//! Signals: received in a thread of their own, so that they are obeyed also where the loop that does the work is busy.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, Once, PoisonError, mpsc};
use std::time::Duration;

use rustix::process::Signal;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::exit::Exit;
use crate::engine::Stop;

/// Whoever is to be stopped at the moment.
static WORK: Mutex<Option<watch::Sender<Stop>>> = Mutex::new(None);

/// What the work may take to end that isn't to wait any more. A run survives an end without it.
const GRACE: Duration = Duration::from_secs(10);

/// Runs `work`, and passes interrupts on to it: the first drains, the second stops waiting, the third ends the process.
/// SIGTERM and SIGHUP are the second. Where nothing is under way, each ends the process.
pub(super) async fn until_interrupted<T>(
    work: impl Future<Output = T>,
    stop: watch::Sender<Stop>,
) -> T {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let (ready, listening) = mpsc::channel();
        // Without signals the process simply ends, which every run survives.
        let _ = std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(|| {
                let runtime = Builder::new_current_thread().enable_all().build();
                runtime.map(|runtime| runtime.block_on(hear(ready)))
            });
        // Nothing begins that could not be interrupted yet.
        let _ = listening.recv();
    });
    let _under_way = UnderWay::begin(stop);
    work.await
}

/// Lets a file that would become larger than a limit of the system be an error like that of a full disk. Unheard, its signal
/// ends the process without a word.
pub(super) fn hear_of_large_files() {
    let runtime = Builder::new_current_thread().enable_all().build();
    let _ = runtime.map(|runtime| {
        let _within = runtime.enter();
        // It is kept when nobody waits for it any more.
        signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))
    });
}

/// The work is under way while this lives.
struct UnderWay;

impl UnderWay {
    fn begin(stop: watch::Sender<Stop>) -> Self {
        *work() = Some(stop);
        Self
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        *work() = None;
    }
}

fn work() -> MutexGuard<'static, Option<watch::Sender<Stop>>> {
    WORK.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn hear(ready: mpsc::Sender<()>) -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let _ = ready.send(());
    let mut patience = std::pin::pin!(tokio::time::sleep(Duration::MAX));
    loop {
        let received = tokio::select! {
            _ = interrupt.recv() => SignalKind::interrupt(),
            _ = terminate.recv() => SignalKind::terminate(),
            _ = hangup.recv() => SignalKind::hangup(),
            () = &mut patience => std::process::exit(Exit::Suspended as i32),
        };
        let Some(stop) = work().clone() else {
            std::process::exit(128 + received.as_raw_value());
        };
        let before = *stop.borrow();
        let next = match before {
            Stop::No if received == SignalKind::interrupt() => Stop::Drain,
            Stop::No | Stop::Drain => Stop::Now,
            Stop::Now => std::process::exit(Exit::Suspended as i32),
        };
        if next == Stop::Now {
            patience.set(tokio::time::sleep(GRACE));
        }
        stop.send_replace(next);
    }
}
