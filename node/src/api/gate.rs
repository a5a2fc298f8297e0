//! The port of a node from its start on: while the store opens it says so, then it lets requests through to the API.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::middleware::from_fn_with_state;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use utoipa_axum::router::OpenApiRouter;

use super::limits::{self, Bodies};
use super::problem::{Code, Problem};
use super::server::Server;
use super::{App, Deps, headers, health, router};
use crate::metrics::Http;

/// Where requests go: to what says that the node is starting, until the API is there.
#[derive(Debug, Clone)]
pub(super) struct Routes {
    starting: Router,
    ready: Arc<OnceLock<Router>>,
}

impl Routes {
    pub(super) fn new(starting: Router) -> Self {
        Self { starting, ready: Arc::default() }
    }

    /// Where a request goes now, whenever its connection was opened.
    pub(super) fn now(&self) -> Router {
        self.ready.get().unwrap_or(&self.starting).clone()
    }
}

/// A port on which somebody answers.
#[derive(Debug)]
pub struct Gate {
    routes: Routes,
    http: Arc<Http>,
}

impl Gate {
    /// Answers on a listener until cancelled: `/livez` well, everything else with 503. Connections run in the tracker.
    pub fn open(listener: TcpListener, cancel: CancellationToken, tracker: &TaskTracker) -> Self {
        let http = Arc::new(Http::default());
        let routes = Routes::new(starting(&http));
        let server = Server {
            cancel,
            tracker: tracker.clone(),
            http: Arc::clone(&http),
            header_timeout: limits::HEADER,
        };
        tracker.spawn(server.run(listener, routes.clone()));
        Self { routes, http }
    }

    /// Lets requests through to the API.
    ///
    /// # Errors
    /// When the OpenAPI document cannot be made.
    pub fn serve(self, deps: Deps) -> anyhow::Result<()> {
        let (cancel, tracker) = (deps.cancel.clone(), deps.tracker.clone());
        let app = App::new(deps, &self.http, Bodies::default());
        let router = router::router(app.clone())?;
        tracker.spawn(app.monitor(cancel));
        // Nobody else sets it: this takes the gate.
        let _ = self.routes.ready.set(router);
        Ok(())
    }
}

/// What answers while the node starts.
fn starting(http: &Arc<Http>) -> Router {
    let (router, _) = OpenApiRouter::new().merge(health::alive()).split_for_parts();
    router.fallback(not_yet).layer(headers::cors()).layer(from_fn_with_state(Arc::clone(http), headers::wrap))
}

async fn not_yet() -> Problem {
    let words = "the node is starting: it reads what is stored";
    Problem::new(Code::Starting, format!("{words}; ask again as Retry-After says"))
        .with_reasons(vec![words.to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Phase;
    use crate::api::tests::deps;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    /// Asks on a connection that stays open.
    async fn ask(stream: &mut TcpStream, path: &str) -> String {
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        while !answer.ends_with('}') {
            let mut part = [0; 4_096];
            let read = stream.read(&mut part).await.unwrap();
            assert!(read > 0, "closed after {answer}");
            answer += std::str::from_utf8(&part[..read]).unwrap();
        }
        answer
    }

    #[tokio::test]
    async fn it_says_that_the_node_is_starting_until_it_is_there() {
        let deps = deps(false, Phase::Ready);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cancel, tracker) = (deps.cancel.clone(), deps.tracker.clone());
        let gate = Gate::open(listener, cancel.clone(), &tracker);
        let mut stream = TcpStream::connect(address).await.unwrap();
        for path in ["/livez", "/healthz"] {
            assert!(ask(&mut stream, path).await.starts_with("HTTP/1.1 200"), "{path}");
        }
        for path in ["/readyz", "/", "/api/v1/status", "/feed", "/metrics", "/nonsense"] {
            let answer = ask(&mut stream, path).await;
            assert!(answer.starts_with("HTTP/1.1 503"), "{path}: {answer}");
            for part in [
                "retry-after: ",
                "application/problem+json",
                "\"code\":\"starting\"",
                "nosniff",
                "\"reasons\":[",
            ] {
                assert!(answer.contains(part), "{path} has no {part}: {answer}");
            }
        }
        gate.serve(deps).unwrap();
        // On the same connection, which was there before.
        for path in ["/livez", "/readyz", "/api/v1/topics"] {
            assert!(ask(&mut stream, path).await.starts_with("HTTP/1.1 200"), "{path}");
        }
        drop(stream);
        cancel.cancel();
        tracker.close();
        tracker.wait().await;
    }
}
