//! Starts the dashboard in the browser.

fn main() {
    web_ui::start();
}
