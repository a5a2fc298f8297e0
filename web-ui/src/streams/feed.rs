//! The feed: the records that the list asks for, drawn at most once a frame.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::{Rc, Weak};

use anode_shared::frames::Frame;
use leptos::prelude::*;

use super::Page;
use crate::api::Problem;
use crate::browser;
use crate::live::{Line, Owner};
use crate::state::ago::span;
use crate::state::inbox::{self, Inbox, Message};
use crate::state::link::Link;
use crate::state::place::Place;

/// Above so many waiting rows the list is drawn less often: nobody reads that fast.
const BUSY_ROWS: usize = 30;
/// The least pause between drawings then, milliseconds.
const BUSY_PAUSE_MS: f64 = 150.0;
/// The longest one: also a slow phone shows something new this often.
const LONGEST_PAUSE_MS: f64 = 2_000.0;
/// How many times as long as drawing takes the page does something else: above all, reading its socket.
const PAUSE_PER_COST: f64 = 3.0;
/// Who was away longer begins with the newest records: catching up on hours of them would only delay the present.
const AWAY_MS: f64 = 300_000.0;

/// The stream of records.
#[derive(Debug)]
pub struct Feed {
    page: Page,
    me: Weak<Self>,
    line: OnceCell<Line>,
    place: RefCell<Place>,
    inbox: RefCell<Inbox>,
    is_answered: Cell<bool>,
    caught_up: Cell<bool>,
    is_drawing: Cell<bool>,
    /// Not before this is a busy list drawn again.
    draw_after: Cell<f64>,
    slept_at: Cell<Option<f64>>,
}

impl Feed {
    /// Makes the stream, which sleeps.
    pub fn open(page: Page) -> Rc<Self> {
        let feed = Rc::new_cyclic(|me| Self {
            page,
            me: Weak::clone(me),
            line: OnceCell::new(),
            place: RefCell::default(),
            inbox: RefCell::default(),
            is_answered: Cell::default(),
            caught_up: Cell::default(),
            is_drawing: Cell::default(),
            draw_after: Cell::default(),
            slept_at: Cell::default(),
        });
        // It sleeps until somebody looks at records.
        feed.line.get_or_init(|| Line::new(Rc::clone(&feed) as Rc<dyn Owner>)).sleep();
        feed
    }

    /// Begins anew with the page's question.
    pub fn ask(&self) {
        self.place.take();
        self.inbox.take();
        self.slept_at.take();
        self.caught_up.set(false);
        self.page.caught_up.set(false);
        self.page.records.update(|records| records.clear());
        self.page.refusal.set(None);
        match self.page.question.with_untracked(|question| question.patterns().map(drop)) {
            Ok(()) => self.with_line(Line::open),
            Err(error) => {
                self.refused(Problem::new("bad_topic", error.to_string()));
            }
        }
    }

    /// Opens it at once where it waits or sleeps.
    pub fn wake(&self) {
        let away = self.slept_at.take().map_or(0.0, |since| browser::now() - since);
        if away > AWAY_MS {
            self.begin_anew(format!(
                "Asleep for {}: what came meanwhile is not shown here.",
                span(away / 1e3)
            ));
        }
        self.with_line(Line::wake);
    }

    /// Closes it until it is woken.
    pub fn sleep(&self) {
        self.slept_at.set(self.slept_at.get().or_else(|| Some(browser::now())));
        self.with_line(Line::sleep);
    }

    fn begin_anew(&self, why: String) {
        self.place.take();
        self.inbox.borrow_mut().note(why);
    }

    fn with_line(&self, then: impl FnOnce(&Line)) {
        if let Some(line) = self.line.get() {
            then(line);
        }
    }

    fn frame(&self, frame: Frame) {
        match frame {
            Frame::CaughtUp { cursor } => {
                self.place.borrow_mut().cursor(cursor);
                self.caught_up.set(true);
            }
            Frame::Cursor { cursor } => self.place.borrow_mut().cursor(cursor),
            Frame::Gap(gap) => {
                self.place.borrow_mut().gap(&gap);
                self.inbox.borrow_mut().gap(gap);
            }
            // Handled before; and this page publishes by requests.
            Frame::Subscribed { .. } | Frame::Error { .. } | Frame::Published { .. } => {}
        }
    }

    fn draw_soon(&self) {
        if !self.is_drawing.replace(true) {
            self.on_next_frame(Self::draw);
        }
    }

    fn on_next_frame(&self, then: impl FnOnce(&Self) + 'static) {
        let me = Weak::clone(&self.me);
        request_animation_frame(move || {
            if let Some(feed) = me.upgrade() {
                then(&feed);
            }
        });
    }

    fn draw(&self) {
        let now = browser::now();
        if self.inbox.borrow().len() > BUSY_ROWS && now < self.draw_after.get() {
            return self.on_next_frame(Self::draw);
        }
        self.is_drawing.set(false);
        self.draw_after.set(now + LONGEST_PAUSE_MS);
        // The next frame comes when this one is laid out and painted.
        self.on_next_frame(move |feed| {
            let done = browser::now();
            let pause = (PAUSE_PER_COST * (done - now)).clamp(BUSY_PAUSE_MS, LONGEST_PAUSE_MS);
            feed.draw_after.set(done + pause);
        });
        let (rows, left_out) = self.inbox.borrow_mut().take();
        if !rows.is_empty() {
            self.page.records.update(|records| records.push(rows, left_out));
        }
        if self.caught_up.get() && !self.page.caught_up.get_untracked() {
            self.page.caught_up.set(true);
        }
    }
}

impl Owner for Feed {
    fn path(&self) -> &'static str {
        "/feed"
    }

    /// The question goes by message, not in the socket's address: a browser would not tell why that was refused.
    fn hello(&self) -> Option<String> {
        self.is_answered.set(false);
        let start = self.place.borrow().start();
        Some(self.page.question.with_untracked(|question| question.subscribe(&start)))
    }

    fn link(&self, link: Link) {
        self.page.feed.set(link);
    }

    fn message(&self, text: String) {
        match inbox::read(text) {
            Some(Message::Frame(Frame::Subscribed { cursor })) => {
                self.is_answered.set(true);
                self.place.borrow_mut().cursor(cursor);
                self.with_line(Line::works);
            }
            Some(Message::Frame(Frame::Error { code, detail, .. })) => {
                self.refused(Problem::new(&code, detail));
            }
            // Until the question is answered, a socket sends what was not asked for.
            Some(_) if !self.is_answered.get() => {}
            Some(Message::Record { id, text }) => {
                self.place.borrow_mut().record(&id);
                self.inbox.borrow_mut().record(text);
            }
            Some(Message::Frame(frame)) => self.frame(frame),
            // What this page does not know is passed over.
            None => {}
        }
        self.draw_soon();
    }

    fn refused(&self, problem: Problem) {
        match problem.code.as_str() {
            "bad_cursor" | "bad_start" => {
                self.begin_anew(format!("Begun anew with the newest records: {}", problem.detail));
            }
            code if code.starts_with("bad_") || problem.is_for_good() => {
                self.page.refusal.set(Some(problem));
                self.with_line(Line::hold);
            }
            // Draining, overloaded and the like pass: the line tries again.
            _ => {}
        }
    }
}
