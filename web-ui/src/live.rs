//! The sockets to the node: the only file that opens one.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use leptos::leptos_dom::helpers::{TimeoutHandle, set_timeout_with_handle};
use leptos::prelude::window;
use leptos::task::spawn_local;
use wasm_bindgen::JsCast as _;
use wasm_bindgen::closure::Closure;
use web_sys::{CloseEvent, Event, MessageEvent, WebSocket};

use crate::api::{self, Probe, Problem};
use crate::browser;
use crate::state::backoff::Backoff;
use crate::state::link::Link;
use crate::state::question::percent;

/// What a line asks of its owner, and tells it.
pub trait Owner {
    /// The path of the socket.
    fn path(&self) -> &'static str;
    /// The socket is open; gives what is said first.
    fn hello(&self) -> Option<String>;
    /// The line's state changed.
    fn link(&self, link: Link);
    /// A message came.
    fn message(&self, text: String);
    /// The node refused the socket.
    fn refused(&self, problem: Problem);
}

/// One socket that is opened again whenever it breaks, until it is held.
#[derive(Clone)]
pub struct Line(Rc<Inner>);

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Line").field(&self.0.link.get()).finish()
    }
}

struct Inner {
    owner: Rc<dyn Owner>,
    link: Cell<Link>,
    backoff: RefCell<Backoff>,
    socket: RefCell<Option<Socket>>,
    retry: Cell<Option<TimeoutHandle>>,
    ticket: Cell<Option<String>>,
    /// Rises with every attempt, so that what an older one still has to say is not heard.
    attempt: Cell<u64>,
}

/// An open socket and what it calls.
struct Socket {
    socket: WebSocket,
    _message: Closure<dyn FnMut(MessageEvent)>,
    _close: Closure<dyn FnMut(CloseEvent)>,
    _open: Closure<dyn FnMut(Event)>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
        self.socket.set_onopen(None);
        // Fails only for codes and reasons, of which none is given.
        let _ = self.socket.close();
    }
}

impl Line {
    /// Makes a line that is not open yet.
    pub fn new(owner: Rc<dyn Owner>) -> Self {
        Self(Rc::new(Inner {
            owner,
            link: Cell::new(Link::Connecting),
            backoff: RefCell::default(),
            socket: RefCell::default(),
            retry: Cell::default(),
            ticket: Cell::default(),
            attempt: Cell::default(),
        }))
    }

    /// Opens the socket, or opens it anew.
    pub fn open(&self) {
        self.close();
        if browser::is_hidden() {
            self.set(Link::Asleep);
            return;
        }
        self.set(Link::Connecting);
        let path = self.0.owner.path();
        let url = browser::socket_url(&match self.0.ticket.take() {
            Some(ticket) => format!("{path}?ticket={}", percent(&ticket)),
            None => path.to_owned(),
        });
        match self.connect(&url) {
            Ok(socket) => drop(self.0.socket.replace(Some(socket))),
            Err(_) => self.retry(),
        }
    }

    /// Opens the socket where it is waiting or asleep: the network came back, or somebody looks again.
    pub fn wake(&self) {
        if matches!(self.0.link.get(), Link::Waiting { .. } | Link::Asleep) {
            self.open();
        }
    }

    /// Closes the socket until somebody looks at the page again.
    pub fn sleep(&self) {
        if self.0.link.get() != Link::Refused {
            self.close();
            self.set(Link::Asleep);
        }
    }

    /// Closes the socket until it is opened with another question.
    pub fn hold(&self) {
        self.close();
        self.set(Link::Refused);
    }

    /// The other side has answered sensibly: the next failure is a first one.
    pub fn works(&self) {
        self.0.backoff.borrow_mut().reset();
        self.set(Link::Live);
    }

    fn close(&self) {
        self.0.attempt.set(self.0.attempt.get() + 1);
        if let Some(retry) = self.0.retry.take() {
            retry.clear();
        }
        drop(self.0.socket.take());
    }

    fn set(&self, link: Link) {
        if self.0.link.replace(link) != link {
            self.0.owner.link(link);
        }
    }

    fn connect(&self, url: &str) -> Result<Socket, wasm_bindgen::JsValue> {
        let socket = WebSocket::new(url)?;
        let opened = Rc::new(Cell::new(false));
        let weak = Rc::downgrade(&self.0);
        let heard = weak.clone();
        let message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            if let (Some(line), Some(text)) = (Self::of(&heard), event.data().as_string()) {
                line.0.owner.message(text);
            }
        });
        let (opening, was_opened, speaker) = (weak.clone(), Rc::clone(&opened), socket.clone());
        let open = Closure::<dyn FnMut(Event)>::new(move |_| {
            was_opened.set(true);
            if let Some(hello) = Self::of(&opening).and_then(|line| line.0.owner.hello()) {
                // A socket that is closing already says so by itself.
                let _ = speaker.send_with_str(&hello);
            }
        });
        let close = Closure::<dyn FnMut(CloseEvent)>::new(move |_| {
            if let Some(line) = Self::of(&weak) {
                line.broke(opened.get());
            }
        });
        socket.set_onmessage(Some(message.as_ref().unchecked_ref()));
        socket.set_onopen(Some(open.as_ref().unchecked_ref()));
        socket.set_onclose(Some(close.as_ref().unchecked_ref()));
        Ok(Socket { socket, _message: message, _close: close, _open: open })
    }

    fn of(inner: &Weak<Inner>) -> Option<Self> {
        inner.upgrade().map(Self)
    }

    /// The socket broke. One that never opened may have been refused, which a browser does not tell: a request does.
    fn broke(&self, was_open: bool) {
        self.close();
        self.retry();
        if was_open {
            return;
        }
        let (line, attempt) = (self.clone(), self.0.attempt.get());
        spawn_local(async move {
            let answer = api::probe().await;
            if line.0.attempt.get() == attempt {
                line.learned(answer);
            }
        });
    }

    fn learned(&self, answer: Probe) {
        match answer {
            Probe::Fine => {}
            Probe::Ticket(ticket) => self.0.ticket.set(Some(ticket)),
            Probe::Refused(problem) => self.0.owner.refused(problem),
        }
    }

    /// Waits, then opens the socket again.
    fn retry(&self) {
        let wait = self.0.backoff.borrow_mut().fail(js_sys::Math::random());
        let weak = Rc::downgrade(&self.0);
        let again = move || {
            if let Some(line) = Self::of(&weak) {
                line.open();
            }
        };
        let timer = set_timeout_with_handle(again, std::time::Duration::from_secs_f64(wait / 1e3));
        self.0.retry.set(timer.ok());
        self.set(Link::Waiting { retry_at: browser::now() + wait });
    }
}

/// Runs `wake` when the page is looked at again or the network comes back, and `sleep` once it was hidden for
/// `patience_ms`.
pub fn on_attention(patience_ms: u64, wake: impl Fn() + 'static, sleep: impl Fn() + 'static) {
    let (wake, sleep) = (Rc::new(wake), Rc::new(sleep));
    let timer: Rc<Cell<Option<TimeoutHandle>>> = Rc::default();
    let on_change = {
        let wake = Rc::clone(&wake);
        move || {
            if let Some(timer) = timer.take() {
                timer.clear();
            }
            if browser::is_hidden() {
                let sleep = Rc::clone(&sleep);
                let wait = std::time::Duration::from_millis(patience_ms);
                timer.set(set_timeout_with_handle(move || sleep(), wait).ok());
            } else {
                wake();
            }
        }
    };
    browser::listen(&window(), "visibilitychange", on_change);
    browser::listen(&window(), "online", move || wake());
}
