//! The WebSocket handshake, on a connection of the guarded connector.

use std::collections::BTreeMap;

use anode_shared::source::Stage;
use hyper::header::{HOST, HeaderMap, HeaderValue, LOCATION, USER_AGENT};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::http::Response;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use url::Url;

use super::connector::{Connector, Io, millis, within};
use super::failure::{Failure, Reached};
use super::limits::BODY;
use super::request::{AGENT, basic, host, texts, wait_of};

/// How much is read at a time: tungstenite keeps this much for each socket, and its default is 128 KiB.
const READ_BUFFER: usize = 4 << 10;
/// How much may wait to be written: what a source says is short, and an upstream that does not read it is broken.
const WRITE_BUFFER: usize = 1 << 20;

/// A WebSocket that was opened.
#[derive(Debug)]
pub struct Opened {
    /// The socket.
    pub socket: WebSocketStream<Io>,
    /// The status that the upstream answered: 101.
    pub status: u16,
    /// The upstream's headers.
    pub headers: BTreeMap<String, String>,
    /// How long the phases took, and the address that was dialled.
    pub reached: Reached,
}

/// Opens a WebSocket. A user and password in the URL become an `Authorization` header.
///
/// # Errors
/// With the stage that failed, and how far it came; an answer other than 101 with its status and `Retry-After`.
/// Never later than at the deadline.
pub async fn open(
    connector: &Connector,
    url: &Url,
    headers: HeaderMap,
    deadline: Instant,
) -> Result<Opened, Failure> {
    let began = Instant::now();
    let (mut url, mut headers) = (url.clone(), headers);
    basic(&mut url, &mut headers);
    url.set_fragment(None);
    let (io, timing) = connector.connect(&url, deadline).await?;
    let mut reached = timing.reached();
    let asked = Instant::now();
    let shaken = shake_hands(&url, headers, io, deadline).await;
    reached.phases.total_ms = millis(began.elapsed());
    let (socket, answer) = shaken.map_err(|failure| failure.after(reached))?;
    reached.phases.first_byte_ms = Some(millis(asked.elapsed()));
    Ok(Opened { socket, status: answer.status().as_u16(), headers: texts(answer.headers()), reached })
}

async fn shake_hands(
    url: &Url,
    headers: HeaderMap,
    io: Io,
    deadline: Instant,
) -> Result<(WebSocketStream<Io>, Response<Option<Vec<u8>>>), Failure> {
    let host = host(url);
    let wrong = |_| Failure::of_field("url", "the URL cannot be written into a request");
    let mut request = url.as_str().into_client_request().map_err(wrong)?;
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
    let name = HeaderValue::from_str(&host).map_err(|_| Failure::of_field("url", "the URL names no host"))?;
    request.headers_mut().insert(HOST, name);
    for (name, value) in &headers {
        request.headers_mut().insert(name, value.clone());
    }
    let late = || format!("{host} did not answer the WebSocket handshake in time");
    let handshake = Box::pin(tokio_tungstenite::client_async_with_config(request, io, Some(config())));
    within(deadline, Stage::Request, late, handshake).await?.map_err(|error| explain(&error, &host))
}

fn config() -> WebSocketConfig {
    let longest = usize::try_from(BODY).ok();
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER)
        .max_message_size(longest)
        .max_frame_size(longest)
}

fn explain(error: &Error, host: &str) -> Failure {
    match error {
        Error::Http(answer) => answered(answer, host),
        Error::Io(error) => Failure::new(
            Stage::Connect,
            format!("the connection to {host} broke in the WebSocket handshake: {}", error.kind()),
        ),
        Error::Protocol(ProtocolError::HandshakeIncomplete) | Error::ConnectionClosed => Failure::new(
            Stage::Connect,
            format!("{host} closed the connection before it answered the WebSocket handshake"),
        ),
        Error::AttackAttempt => {
            Failure::new(Stage::Request, format!("the head of {host}'s answer is too long"))
        }
        other => Failure::new(Stage::Request, format!("{host} does not speak WebSocket here: {other}")),
    }
}

fn answered(answer: &Response<Option<Vec<u8>>>, host: &str) -> Failure {
    let status = answer.status();
    let detail = match answer.headers().get(LOCATION).filter(|_| status.is_redirection()) {
        Some(target) => {
            let target = Url::parse(&String::from_utf8_lossy(target.as_bytes()));
            let target = target.ok().and_then(|target| target.host_str().map(str::to_owned));
            let target = target.unwrap_or_else(|| "another path".to_owned());
            format!(
                "{host} redirects to {target} (status {}); WebSockets follow no redirects, so register that URL itself",
                status.as_u16()
            )
        }
        None if status.is_success() => format!(
            "{host} answered with status {} instead of 101: it serves no WebSocket at this URL",
            status.as_u16()
        ),
        None => format!("{host} answered the WebSocket handshake with status {status}"),
    };
    Failure {
        status: Some(status.as_u16()),
        retry_after: wait_of(answer.headers()),
        ..Failure::new(Stage::Status, detail)
    }
}

#[cfg(test)]
mod tests;
