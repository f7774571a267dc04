//! The live view of a terminal: what is over scrolls by as lines, and what is in progress stands below them.

use std::cell::RefCell;
use std::rc::Rc;

use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use jiff::Timestamp;

use super::board::{Board, Signs, WIDTH};
use super::excerpt::Ink;
use super::line::LineReporter;
use crate::event::{Event, Reporter, Stamped};

/// The lower part of a terminal, which is drawn again and again, and the lines above it.
///
/// Clones are the same screen.
#[derive(Clone)]
pub struct Screen(Rc<RefCell<Inner>>);

struct Inner {
    bar: ProgressBar,
    /// The terminal again, as if nothing had been drawn there, on a line of its own.
    fresh: Box<dyn Fn() -> ProgressDrawTarget>,
    /// The columns when it was drawn last.
    columns: usize,
    size: Box<dyn Fn() -> (usize, usize)>,
    signs: Signs,
    ink: Ink,
    board: Board,
    /// Lines that wait until a question is answered.
    waiting: Option<Vec<String>>,
}

impl Screen {
    pub(crate) fn stdout() -> Self {
        let term = Term::stdout();
        let signs = if console::Emoji("✓", "").to_string().is_empty() {
            Signs::ASCII
        } else {
            Signs::UNICODE
        };
        let size = move || {
            let size = term.size_checked();
            size.map_or((WIDTH, 24), |(rows, columns)| (columns.into(), rows.into()))
        };
        let fresh = || {
            let _ = Term::stdout().write_line("");
            ProgressDrawTarget::stdout()
        };
        let target = ProgressDrawTarget::stdout();
        Self::new(
            target,
            Box::new(fresh),
            Box::new(size),
            (signs, Ink::stdout()),
        )
    }

    /// A terminal that somebody else emulates.
    #[must_use]
    pub fn emulated<T: TermLike + Clone + 'static>(
        term: &T,
        (width, height): (usize, usize),
        ink: Ink,
    ) -> Self {
        let term = term.clone();
        let fresh = move || ProgressDrawTarget::term_like(Box::new(term.clone()));
        let target = fresh();
        let size = Box::new(move || (width, height));
        Self::new(target, Box::new(fresh), size, (Signs::UNICODE, ink))
    }

    fn new(
        target: ProgressDrawTarget,
        fresh: Box<dyn Fn() -> ProgressDrawTarget>,
        size: Box<dyn Fn() -> (usize, usize)>,
        (signs, ink): (Signs, Ink),
    ) -> Self {
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        Self(Rc::new(RefCell::new(Inner {
            bar,
            fresh,
            columns: size().0,
            size,
            signs,
            ink,
            board: Board::default(),
            waiting: None,
        })))
    }

    /// Draws what is in progress, as it is at `now`: clocks move on while nothing happens.
    pub fn draw(&self, now: Timestamp) {
        let mut inner = self.0.borrow_mut();
        if inner.waiting.is_some() {
            return;
        }
        let (width, height) = (inner.size)();
        if width != inner.columns {
            // The terminal has wrapped its lines again, so that nobody knows how many of them are ours: what was drawn
            // stays, rather than that lines above it are taken away.
            inner.bar.set_draw_target((inner.fresh)());
            inner.columns = width;
        }
        // The last column stays free: some terminals go to the next line when it is written.
        let size = (width.saturating_sub(1), height);
        let lines = inner.board.lines(now, size, inner.signs, inner.ink);
        inner.bar.set_message(lines.join("\n"));
    }

    /// Takes what is in progress from the terminal, so that a question can be asked there.
    pub(crate) fn pause(&self) {
        let mut inner = self.0.borrow_mut();
        inner.bar.set_message("");
        inner.waiting = Some(Vec::new());
    }

    /// Shows again what is in progress, and what was reported meanwhile.
    pub(crate) fn draw_again(&self) {
        let mut inner = self.0.borrow_mut();
        for line in inner.waiting.take().unwrap_or_default() {
            inner.bar.println(line);
        }
    }

    /// Takes what is in progress from the terminal for good.
    pub(crate) fn clear(&self) {
        self.0.borrow().bar.finish_and_clear();
    }

    fn print(&self, text: &str) {
        let mut inner = self.0.borrow_mut();
        let inner = &mut *inner;
        for line in text.lines() {
            match &mut inner.waiting {
                Some(waiting) => waiting.push(line.to_owned()),
                None => inner.bar.println(line),
            }
        }
    }
}

/// Shows what is in progress, and nothing of what is over: what takes a moment only isn't seen at all.
pub struct NowReporter(Screen);

impl NowReporter {
    /// Shows it on this screen, whenever that is drawn.
    #[must_use]
    pub fn new(screen: Screen) -> Self {
        Self(screen)
    }
}

impl Reporter for NowReporter {
    fn take(&mut self, stamped: &Stamped) {
        self.0.0.borrow_mut().board.take(stamped);
        if matches!(stamped.event, Event::RunEnded { .. }) {
            self.0.clear();
        }
    }
}

/// Shows a run on a terminal.
pub struct LiveReporter {
    lines: LineReporter<Vec<u8>>,
    screen: Screen,
}

impl LiveReporter {
    /// Shows a run on this screen: every step and command that is over, if `verbose`.
    #[must_use]
    pub fn new(screen: Screen, verbose: bool) -> Self {
        let ink = screen.0.borrow().ink;
        Self {
            lines: LineReporter::new(Vec::new(), verbose).coloured(ink),
            screen,
        }
    }
}

impl Reporter for LiveReporter {
    fn take(&mut self, stamped: &Stamped) {
        if matches!(stamped.event, Event::RunStarted { .. }) {
            // Whoever watches may see a run that has ended continue.
            self.screen.0.borrow().bar.reset();
        }
        // What is in progress is seen below, and needs no line of its own.
        if !matches!(
            stamped.event,
            Event::Progress { .. } | Event::Printed { .. } | Event::StepStarted { .. }
        ) {
            self.lines.take(stamped);
            self.screen.print(&self.lines.printed());
        }
        self.screen.0.borrow_mut().board.take(stamped);
        self.screen.draw(stamped.at);
        if matches!(stamped.event, Event::RunEnded { .. }) {
            self.screen.0.borrow().bar.finish_and_clear();
        }
    }
}
