//! What the page needs of the browser besides sockets and requests.

use crate::state::route::Location;
use leptos::prelude::{document, request_animation_frame, window};
use leptos::task::spawn_local;
use wasm_bindgen::JsCast as _;
use wasm_bindgen::JsValue;
use wasm_bindgen::closure::Closure;
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    Element, Event, EventTarget, HtmlDocument, HtmlElement, HtmlTextAreaElement, MouseEvent,
    ScrollIntoViewOptions, ScrollLogicalPosition, Storage,
};

/// Milliseconds since the Unix epoch.
pub fn now() -> f64 {
    js_sys::Date::now()
}

/// Whether nobody looks at the page.
pub fn is_hidden() -> bool {
    document().hidden()
}

/// The address of a socket of this node.
pub fn socket_url(path: &str) -> String {
    let origin = origin();
    let rest = origin.strip_prefix("http").unwrap_or(&origin);
    format!("ws{rest}{path}")
}

/// The address of this node: `http://127.0.0.1:8080`.
pub fn origin() -> String {
    window().location().origin().unwrap_or_default()
}

/// The query of the page's address.
pub fn query() -> String {
    window().location().search().unwrap_or_default()
}

/// The fragment of the page's address.
pub fn fragment() -> String {
    window().location().hash().unwrap_or_default()
}

/// The page's address on this node.
pub fn location() -> Location {
    Location { path: window().location().pathname().unwrap_or_default(), query: query() }
}

/// Goes to another address of this page, with a new entry in the history.
pub fn push_address(address: &str) {
    // Refused only for other origins.
    let _ =
        window().history().and_then(|history| history.push_state_with_url(&JsValue::NULL, "", Some(address)));
}

/// Calls `go` with the address where a plain click on a link stays on this page, and says whether `go` took it.
pub fn on_links(go: impl Fn(&str) -> bool + 'static) {
    let closure = Closure::<dyn Fn(MouseEvent)>::new(move |event: MouseEvent| {
        let is_plain = event.button() == 0
            && !(event.ctrl_key() || event.meta_key() || event.shift_key() || event.alt_key());
        if !is_plain || event.default_prevented() {
            return;
        }
        let target = event.target().and_then(|target| target.dyn_into::<Element>().ok());
        let link = target.and_then(|element| element.closest("a[href^='/']").ok().flatten());
        let address =
            link.filter(|link| !link.has_attribute("target")).and_then(|link| link.get_attribute("href"));
        if address.is_some_and(|address| go(&address)) {
            event.prevent_default();
        }
    });
    // Fails only for listeners that are no functions.
    let _ = document().add_event_listener_with_callback("click", closure.as_ref().unchecked_ref());
    closure.forget();
}

/// Has the browser ask before the page is closed or loaded anew, wherever `is_unsaved`.
pub fn on_unload(is_unsaved: impl Fn() -> bool + 'static) {
    let closure = Closure::<dyn Fn(Event)>::new(move |event: Event| {
        if is_unsaved() {
            event.prevent_default();
        }
    });
    // Fails only for listeners that are no functions.
    let _ = window().add_event_listener_with_callback("beforeunload", closure.as_ref().unchecked_ref());
    closure.forget();
}

/// Asks a question that is answered by yes or no.
pub fn agrees(question: &str) -> bool {
    // Refused only where pages may not ask: then nothing keeps the visitor.
    window().confirm_with_message(question).unwrap_or(true)
}

/// Moves the focus to the element of that id, once it is there.
pub fn focus(id: String) {
    request_animation_frame(move || {
        let element =
            document().get_element_by_id(&id).and_then(|element| element.dyn_into::<HtmlElement>().ok());
        if let Some(element) = element {
            // Fails for no element.
            let _ = element.focus();
        }
    });
}

/// Shows the element of that id, where it is out of sight.
pub fn reveal(id: &str) {
    let Some(element) = document().get_element_by_id(id) else { return };
    let options = ScrollIntoViewOptions::new();
    options.set_block(ScrollLogicalPosition::Nearest);
    element.scroll_into_view_with_scroll_into_view_options(&options);
}

/// Shows the top of the page.
pub fn scroll_to_top() {
    window().scroll_to_with_x_and_y(0.0, 0.0);
}

/// Writes the page's address anew, without a new entry in the history.
pub fn set_address(query: &str) {
    let path = window().location().pathname().unwrap_or_else(|_| "/".to_owned());
    let address = format!("{path}{query}");
    // Refused only for other origins.
    let _ = window()
        .history()
        .and_then(|history| history.replace_state_with_url(&JsValue::NULL, "", Some(&address)));
}

/// Calls `then` on every event of that name, for as long as the page lives.
pub fn listen(target: &EventTarget, event: &str, then: impl Fn() + 'static) {
    let closure = Closure::<dyn Fn()>::new(then);
    // Fails only for listeners that are no functions.
    let _ = target.add_event_listener_with_callback(event, closure.as_ref().unchecked_ref());
    closure.forget();
}

/// What the browser remembers of this node; none where it is told to remember nothing.
pub fn storage() -> Option<Storage> {
    window().local_storage().ok().flatten()
}

/// Copies a text, and says whether that worked.
pub fn copy(text: String, done: impl FnOnce(bool) + 'static) {
    // Browsers offer the clipboard on secure pages only: localhost, or HTTPS.
    let clipboard = js_sys::Reflect::get(&window().navigator(), &"clipboard".into());
    if clipboard.is_ok_and(|clipboard| clipboard.is_object()) {
        let write = JsFuture::from(window().navigator().clipboard().write_text(&text));
        spawn_local(async move {
            let copied = write.await.is_ok();
            done(copied || copy_by_selection(&text).is_some());
        });
    } else {
        done(copy_by_selection(&text).is_some());
    }
}

/// The old way: selects the text in a field and asks for it to be copied.
fn copy_by_selection(text: &str) -> Option<()> {
    let document = document().dyn_into::<HtmlDocument>().ok()?;
    let field = document.create_element("textarea").ok()?.dyn_into::<HtmlTextAreaElement>().ok()?;
    field.set_class_name("unseen");
    field.set_value(text);
    document.body()?.append_child(&field).ok()?;
    field.select();
    let copied = document.exec_command("copy").ok();
    field.remove();
    copied.filter(|copied| *copied).map(drop)
}
