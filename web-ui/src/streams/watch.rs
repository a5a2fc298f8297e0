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
use crate::state::heard;
use crate::state::link::Link;

/// The stream of what the node says of itself.
#[derive(Debug)]
pub struct Watch {
    page: Page,
    line: OnceCell<Line>,
    /// Whether the next events, sources and peers are the first of a connection.
    is_first: [Cell<bool>; 3],
}

impl Watch {
    /// Opens the stream.
    pub fn open(page: Page) -> Rc<Self> {
        let is_first = [const { Cell::new(true) }; 3];
        let watch = Rc::new(Self { page, line: OnceCell::new(), is_first });
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
        self.is_first.iter().for_each(|first| first.set(true));
        None
    }

    fn link(&self, link: Link) {
        self.page.watch.set(link);
    }

    fn message(&self, text: String) {
        // What this page does not know (other nodes may say more) is passed over.
        match heard::read(&text) {
            Some(status::Watch::Status(status)) => {
                self.page.heard_at.set(browser::now());
                self.page.nodes.update(|nodes| nodes.look(&status));
                self.page.status.set(Some(*status));
            }
            Some(status::Watch::Events { events: news }) => {
                let is_first = self.is_first[0].replace(false);
                self.page.events.update(|kept| events::merge(kept, news, is_first));
            }
            Some(status::Watch::Sources { sources, removed }) => {
                let is_first = self.is_first[1].replace(false);
                self.page.sources.update(|kept| {
                    kept.get_or_insert_default().merge(sources, &removed, is_first);
                });
            }
            Some(status::Watch::Peers { peers, removed }) => {
                let is_first = self.is_first[2].replace(false);
                self.page.nodes.update(|nodes| nodes.merge(peers, &removed, is_first));
            }
            None => {}
        }
        self.with_line(Line::works);
    }

    fn refused(&self, problem: Problem) {
        self.page.refusal.set(Some(problem));
        self.with_line(Line::hold);
    }
}
