//! A subscription's frames as notifications.

use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::feed::outlet::Outlet;
use crate::feed::registry::Ended;
use crate::feed::start::Format;

/// Notifications are handed to the socket in pieces of about this size.
const CHUNK: usize = 16 << 10;

/// What a subscription tells its socket.
#[derive(Debug)]
pub(super) enum News {
    /// Notifications of a subscription, in order.
    Notifications(Arc<str>, Vec<Utf8Bytes>),
    /// It ended by itself.
    Ended(Arc<str>),
}

/// Turns frames into notifications.
#[derive(Debug)]
pub(super) struct Notify {
    id: Arc<str>,
    /// A notification up to its frame.
    head: String,
    to: mpsc::Sender<News>,
    chunk: Vec<Utf8Bytes>,
    bytes: usize,
    stop: CancellationToken,
}

impl Notify {
    /// For a subscription of this id; it ends when `stop` is cancelled.
    pub(super) fn new(
        id: Arc<str>,
        method: &'static str,
        to: mpsc::Sender<News>,
        stop: CancellationToken,
    ) -> Self {
        let head =
            format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{{"subscription":"{id}","result":"#);
        Self { id, head, to, chunk: Vec::new(), bytes: 0, stop }
    }

    /// The subscription's id.
    pub(super) fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// What says that it ended by itself.
    pub(super) fn farewell(&self) -> (mpsc::Sender<News>, News) {
        (self.to.clone(), News::Ended(Arc::clone(&self.id)))
    }

    /// Puts a frame into a notification.
    fn put(&mut self, frame: &[u8]) {
        // Our own frames are UTF-8.
        let Ok(frame) = std::str::from_utf8(frame) else { return };
        let mut text = String::with_capacity(self.head.len() + frame.len() + 2);
        text.push_str(&self.head);
        text.push_str(frame);
        text.push_str("}}");
        self.bytes += text.len();
        self.chunk.push(text.into());
    }

    async fn hand_over(&mut self) -> Result<(), Ended> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        let news = News::Notifications(Arc::clone(&self.id), std::mem::take(&mut self.chunk));
        // How long the client may take nothing is the socket's matter.
        self.to.send(news).await.map_err(|_| Ended::Left)
    }
}

impl Outlet for Notify {
    fn format(&self) -> Format {
        Format::Json
    }

    async fn record(&mut self, frame: &Bytes) -> Result<(), Ended> {
        self.put(frame);
        if self.bytes >= CHUNK { self.hand_over().await } else { Ok(()) }
    }

    async fn control(&mut self, frame: Bytes, _id: Option<&str>) -> Result<(), Ended> {
        self.put(&frame);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Ended> {
        self.hand_over().await
    }

    async fn closed(&self) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.to.closed() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_wraps_frames_in_order() {
        let (to, mut from) = mpsc::channel(4);
        let mut notify = Notify::new("0x1".into(), "eth_subscription", to, CancellationToken::new());
        let frames = [r#"{"type":"record","payload":"ä"}"#, r#"{"type":"caught_up","cursor":"c"}"#];
        notify.record(&Bytes::from_static(frames[0].as_bytes())).await.unwrap();
        notify.control(Bytes::from_static(frames[1].as_bytes()), None).await.unwrap();
        notify.flush().await.unwrap();
        let Some(News::Notifications(id, all)) = from.recv().await else { panic!("nothing came") };
        assert_eq!((&*id, all.len()), ("0x1", 2));
        for (text, frame) in all.iter().zip(frames) {
            let said: serde_json::Value = serde_json::from_str(text).unwrap();
            assert_eq!((&said["jsonrpc"], &said["method"]), (&"2.0".into(), &"eth_subscription".into()));
            assert_eq!(said["params"]["subscription"], "0x1");
            assert_eq!(said["params"]["result"], serde_json::from_str::<serde_json::Value>(frame).unwrap());
        }
        let large = Bytes::from(format!("\"{}\"", "x".repeat(CHUNK)));
        notify.record(&large).await.unwrap();
        assert!(from.try_recv().is_ok(), "a full chunk waits for no flush");
        drop(from);
        notify.closed().await;
        assert_eq!(notify.record(&large).await, Err(Ended::Left));
    }
}
