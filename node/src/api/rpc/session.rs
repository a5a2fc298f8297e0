//! A socket on `/rpc`: calls answered as they are done, and what its subscriptions tell.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::extract::ws::{Message as Frame, Utf8Bytes};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::App;
use super::answer::answer;
use super::client::Client;
use super::methods::Then;
use super::notify::News;
use crate::feed::outlet::{ENDING, Outlet as _};
use crate::feed::registry::Ended;
use crate::feed::socket::Socket;

/// An answer whose memory is counted until it is sent, and what begins then.
type Answer = (Option<Bytes>, Vec<Then>);
type Answers = FuturesUnordered<Pin<Box<dyn Future<Output = Answer> + Send>>>;

/// How many messages of one client may wait for their answer; then it is read no further.
const IN_FLIGHT: usize = 64;
/// Pieces between subscriptions and their socket.
const PIECES: usize = 2;

/// A client with its subscriptions.
pub(super) struct Session {
    app: App,
    socket: Socket,
    client: Arc<Client>,
    answers: Answers,
    /// Holds the way for news open.
    to: mpsc::Sender<News>,
    news: mpsc::Receiver<News>,
    cancel: CancellationToken,
}

/// What happens next.
enum Turn {
    Over,
    Answer(Answer),
    Said(Result<Frame, Ended>),
    News(News),
}

impl Session {
    /// A client that was just let in.
    pub(super) fn new(app: App, socket: Socket, client: impl FnOnce(&mpsc::Sender<News>) -> Client) -> Self {
        let (to, news) = mpsc::channel(PIECES);
        let (client, cancel) = (Arc::new(client(&to)), app.feed.ending());
        Self { app, socket, client, answers: FuturesUnordered::new(), to, news, cancel }
    }

    /// Serves the client until it leaves or has to.
    pub(super) async fn run(mut self) -> Ended {
        let ended = loop {
            if let Err(ended) = self.turn().await {
                break ended;
            }
        };
        let Self { mut socket, client, answers, to, news, .. } = self;
        // From here on nothing can be subscribed to: the news end with the subscriptions.
        drop(to);
        if !matches!(ended, Ended::Left | Ended::Stalled) {
            let rest = settle(&mut socket, &client, answers, news, ended == Ended::Shutdown);
            let _ = tokio::time::timeout(ENDING, Box::pin(rest)).await;
        }
        socket.close(ended, None).await;
        ended
    }

    async fn turn(&mut self) -> Result<(), Ended> {
        let listening = self.answers.len() < IN_FLIGHT;
        // The end goes first, then answers, then what the client says: news that never rest hold back none of them.
        let turn = tokio::select! {
            biased;
            () = self.cancel.cancelled() => Turn::Over,
            Some(answer) = self.answers.next() => Turn::Answer(answer),
            said = self.socket.receive(), if listening => Turn::Said(said),
            Some(news) = self.news.recv() => Turn::News(news),
        };
        match turn {
            Turn::Over => Err(Ended::Shutdown),
            Turn::Answer((text, then)) => {
                say(&mut self.socket, text).await?;
                for then in then {
                    self.app.tracker.spawn(then);
                }
                Ok(())
            }
            Turn::Said(said) => self.said(said?),
            Turn::News(news) => tell(&mut self.socket, &self.client, news).await,
        }
    }

    fn said(&mut self, frame: Frame) -> Result<(), Ended> {
        // Some clients send their JSON in binary frames.
        let text = match frame {
            Frame::Text(text) => text,
            other => Utf8Bytes::try_from(other.into_data()).map_err(|_| Ended::Policy)?,
        };
        let (app, client) = (self.app.clone(), Arc::clone(&self.client));
        self.answers.push(Box::pin(async move {
            let answer = answer(&app, &client, &text).await;
            (answer.text.and_then(|text| app.answers.keep(text).ok()), answer.then)
        }));
        Ok(())
    }
}

/// Answers what is in flight, and where the node ends tells the last that subscriptions say: where they stand.
async fn settle(
    socket: &mut Socket,
    client: &Client,
    mut answers: Answers,
    mut news: mpsc::Receiver<News>,
    listening: bool,
) -> Result<(), Ended> {
    while let Some(answer) = answers.next().await {
        say(socket, answer.0).await?;
    }
    while listening && let Some(news) = news.recv().await {
        tell(socket, client, news).await?;
    }
    Ok(())
}

async fn say(socket: &mut Socket, text: Option<Bytes>) -> Result<(), Ended> {
    // Answers are made of texts.
    match text.and_then(|text| Utf8Bytes::try_from(text).ok()) {
        Some(text) => socket.say(text).await,
        None => Ok(()),
    }
}

async fn tell(socket: &mut Socket, client: &Client, news: News) -> Result<(), Ended> {
    match news {
        News::Notifications(id, all) if client.follows(&id) => {
            for text in all {
                socket.record(&text.into()).await?;
            }
            socket.flush().await
        }
        // What was under way when it was ended.
        News::Notifications(..) => Ok(()),
        News::Ended(id) => {
            client.unsubscribe(&id);
            Ok(())
        }
    }
}
