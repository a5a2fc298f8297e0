//! What the page needs of the browser besides sockets and requests.

use leptos::prelude::{document, window};
use leptos::task::spawn_local;
use wasm_bindgen::JsCast as _;
use wasm_bindgen::JsValue;
use wasm_bindgen::closure::Closure;
use wasm_bindgen_futures::JsFuture;
use web_sys::{EventTarget, HtmlDocument, HtmlTextAreaElement, Storage};

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
