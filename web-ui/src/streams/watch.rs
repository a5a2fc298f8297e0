//! The watch: the node's status and events, pushed as they change.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use anode_shared::status;
use leptos::prelude::*;

use super::Page;
use crate::api::Problem;
use crate::browser;
use crate::live::{Line, Owner};
use crate::state::events;
use crate::state::link::Link;

/// The stream of what the node says of itself.
#[derive(Debug)]
pub struct Watch {
    page: Page,
    line: OnceCell<Line>,
    /// Whether the next events are the first of a connection.
    is_first: Cell<bool>,
}

impl Watch {
    /// Opens the stream.
    pub fn open(page: Page) -> Rc<Self> {
        let watch = Rc::new(Self { page, line: OnceCell::new(), is_first: Cell::new(true) });
        watch.line.get_or_init(|| Line::new(Rc::clone(&watch) as Rc<dyn Owner>)).open();
        watch
    }

    /// Opens it at once where it waits or sleeps.
    pub fn wake(&self) {
        self.with_line(Line::wake);
    }

    /// Opens it anew.
    pub fn reopen(&self) {
        self.with_line(Line::open);
    }

    /// Closes it until it is woken.
    pub fn sleep(&self) {
        self.with_line(Line::sleep);
    }

    fn with_line(&self, then: impl FnOnce(&Line)) {
        if let Some(line) = self.line.get() {
            then(line);
        }
    }
}

impl Owner for Watch {
    fn path(&self) -> &'static str {
        "/api/v1/watch"
    }

    fn hello(&self) -> Option<String> {
        self.is_first.set(true);
        None
    }

    fn link(&self, link: Link) {
        self.page.watch.set(link);
    }

    fn message(&self, text: String) {
        // What this page does not know (other nodes may say more) is passed over.
        match serde_json::from_str(&text) {
            Ok(status::Watch::Status(status)) => {
                self.page.heard_at.set(browser::now());
                self.page.status.set(Some(*status));
            }
            Ok(status::Watch::Events { events: news }) => {
                let is_first = self.is_first.replace(false);
                self.page.events.update(|kept| events::merge(kept, news, is_first));
            }
            Ok(status::Watch::Sources { .. }) | Err(_) => {}
        }
        self.with_line(Line::works);
    }

    fn refused(&self, problem: Problem) {
        self.page.refusal.set(Some(problem));
        self.with_line(Line::hold);
    }
}
