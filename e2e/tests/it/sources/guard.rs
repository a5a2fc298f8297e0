//! Whatever spells, redirects to, or comes to name a forbidden address, no packet goes there; what is public is read.
//!
//! In the test's own network every address is the machine's: an upstream listens on all of them and keeps which were
//! dialled, and every packet that asks for a connection is seen.

mod forms;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::market::Kind;
use e2e::node::{Node, Plan};
use e2e::scale::{self, say};
use e2e::sniffer::Sniffer;
use e2e::sources::{REACHED, records, state};
use e2e::spaces::{self, Space};
use e2e::upstream::{Call, Upstream};
use futures_util::{SinkExt as _, StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use forms::{PUBLIC, addresses, forms};

/// The name of what may be read.
const GOOD: &str = "good.test";
/// What a refusal names.
const OPTION: &str = "--allow-private-sources";

/// What the upstream knows: whether it turns callers away, and which addresses they dialled.
struct Trap {
    turned: watch::Sender<bool>,
    forms: Vec<String>,
    port: std::sync::OnceLock<u16>,
    touched: Mutex<BTreeSet<IpAddr>>,
}

impl Trap {
    fn set(forms: Vec<String>) -> Result<(Arc<Self>, Upstream, Sniffer)> {
        let port = std::sync::OnceLock::new();
        let trap =
            Arc::new(Self { turned: watch::Sender::new(false), forms, port, touched: Mutex::default() });
        let own = Arc::clone(&trap);
        let answer =
            Arc::new(move |call: Call| -> std::pin::Pin<Box<dyn Future<Output = Result<()>> + Send>> {
                Box::pin(Arc::clone(&own).answer(call))
            });
        let any: [SocketAddr; 2] = ["0.0.0.0:0".parse()?, "[::]:0".parse()?];
        let upstream = Upstream::listen(&any, answer)?;
        let _ = trap.port.set(upstream.address.port());
        let sniffer = Sniffer::listen(upstream.address.port())?;
        Ok((trap, upstream, sniffer))
    }

    fn port(&self) -> u16 {
        self.port.get().copied().unwrap_or(0)
    }

    async fn answer(self: Arc<Self>, call: Call) -> Result<()> {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner).insert(call.dialled.ip());
        let words: Vec<String> = call.path.trim_start_matches('/').split('/').map(str::to_owned).collect();
        let form = words.get(1).and_then(|place| self.forms.get(place.parse::<usize>().ok()?));
        let turned = *self.turned.borrow();
        match (words[0].as_str(), form) {
            ("to", Some(form)) => self.turn_away(call, form).await,
            ("turn", Some(form)) if turned => self.turn_away(call, form).await,
            _ => self.serve(call).await,
        }
    }

    async fn turn_away(&self, call: Call, form: &str) -> Result<()> {
        let scheme = if call.head.to_lowercase().contains("upgrade: websocket") { "ws" } else { "http" };
        let target = format!("{scheme}://{form}:{}/rest", self.port());
        call.answer("302 Found", &[("location", &target)], b"").await
    }

    /// Serves the kind that the path names last, until callers are turned away.
    async fn serve(&self, call: Call) -> Result<()> {
        let mut turned = self.turned.subscribe();
        match call.path.rsplit('/').next() {
            Some("sse") => {
                let mut stream = call.events().await?;
                while timeout(Duration::from_millis(300), turned.changed()).await.is_err() {
                    stream.write_all(b"data: {\"good\":1}\n\n").await?;
                }
            }
            Some("websocket") => {
                let mut socket = call.upgrade().await?;
                while timeout(Duration::from_millis(300), turned.changed()).await.is_err() {
                    socket.send(Message::text("{\"good\":1}")).await?;
                }
            }
            _ => return call.json("{\"good\":1}").await,
        }
        Ok(())
    }

    /// Fails where any address but the public ones was dialled, or a packet asked it.
    fn ensure_untouched(&self, what: &str, sniffer: &Sniffer) -> Result<()> {
        let public: BTreeSet<IpAddr> = PUBLIC.iter().filter_map(|ip| ip.parse().ok()).collect();
        let touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        let dialled: Vec<_> = touched.iter().filter(|ip| !public.contains(&ip.to_canonical())).collect();
        ensure!(dialled.is_empty(), "{what}: accepted at {dialled:?}");
        let asked = sniffer.asked();
        let asked: Vec<_> = asked.iter().filter(|(ip, _)| !public.contains(&ip.to_canonical())).collect();
        ensure!(asked.is_empty(), "{what}: packets to {asked:?}");
        Ok(())
    }
}

fn source(name: &str, kind: Kind, host: &str, port: u16, path: &str) -> Value {
    let url = kind.url(false, &format!("{host}:{port}"), path);
    let mut source =
        json!({ "name": name, "kind": kind.word(), "topic": "t", "url": url, "timeout_ms": 5000 });
    if kind == Kind::Rest {
        source["interval_ms"] = json!(1000);
    }
    source
}

/// Every kind of every form or address.
fn each<T: Clone>(all: &[T]) -> Vec<(usize, T, Kind)> {
    let of = |(place, one): (usize, &T)| Kind::ALL.map(|kind| (place, one.clone(), kind));
    all.iter().enumerate().flat_map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_sends_no_packet_to_a_forbidden_address() -> Result<()> {
    let test = "sources::guard::it_sends_no_packet_to_a_forbidden_address";
    let Some(space) = spaces::enter(test)? else { return Ok(()) };
    let (forms, addresses) = (forms(), addresses());
    ensure!(forms.len() >= 100 && addresses.len() >= 100, "{} and {}", forms.len(), addresses.len());
    let (trap, _upstream, sniffer) = Trap::set(forms.clone())?;
    space.name([(GOOD, PUBLIC[0].parse()?)])?;
    let mut node = Plan::new().start().await?;
    read_public(&node, &space, &trap).await?;
    spelled(&node, &forms, &trap).await?;
    trap.ensure_untouched("spelled in URLs", &sniffer)?;
    redirected(&node, &forms, &trap).await?;
    trap.ensure_untouched("redirected to", &sniffer)?;
    renamed(&node, &space, &trap, &addresses, &sniffer).await?;
    let asked = sniffer.asked().values().sum::<u64>();
    ensure!(asked > 100, "the sniffer saw {asked} packets only; it sees nothing");
    say(&format!(
        "guard: {} forms, {} named addresses, {asked} connections, all public",
        forms.len(),
        addresses.len()
    ));
    node.stop().await
}

/// Public addresses are read, in every family, by name and where a name has forbidden ones beside.
async fn read_public(node: &Node, space: &Space, trap: &Trap) -> Result<()> {
    let good = PUBLIC[0].parse()?;
    space.name([
        (GOOD, good),
        ("mix.test", "10.0.0.1".parse()?),
        ("mix.test", good),
        ("mix.test", "::1".parse()?),
    ])?;
    for (_, host, kind) in each(&[PUBLIC[0], &format!("[{}]", PUBLIC[1]), GOOD, "mix.test"]) {
        let tested = node
            .http()?
            .test_source(&source("test", kind, host, trap.port(), &format!("/{}", kind.word())))
            .await?;
        ensure!(tested["ok"] == true, "{host} by {}: {tested}", kind.word());
    }
    Ok(())
}

/// Spelled in the URL: refused when registered, and when fetched without being registered.
async fn spelled(node: &Node, forms: &[String], trap: &Trap) -> Result<()> {
    let http = node.http()?;
    let trying = each(forms).into_iter().map(|(_, form, kind)| async move {
        let source = source("spelled", kind, &form, trap.port(), &format!("/{}", kind.word()));
        let answer = http.send("POST", "/api/v1/sources", &[], &source.to_string()).await?;
        let errors = answer.ensure(422)?.json()?["errors"].to_string();
        ensure!(errors.contains("\"url\""), "{form}: {errors}");
        let answer = http.send("POST", "/api/v1/sources/test", &[], &source.to_string()).await?;
        if answer.status == 422 {
            return Ok(());
        }
        let tested = answer.ensure(200)?.json()?;
        ensure!(tested["ok"] == false && tested["records"] == json!([]), "{form}: {tested}");
        ensure!(tested["error"]["stage"] == "guard", "{form}: {tested}");
        ensure!(
            tested["error"]["detail"].as_str().is_some_and(|text| text.contains(OPTION)),
            "{form}: {tested}"
        );
        Ok(())
    });
    futures_util::stream::iter(trying).buffer_unordered(3).try_for_each(|()| async { Ok(()) }).await
}

/// Redirected to: at once, and when a source that was live comes back.
async fn redirected(node: &Node, forms: &[String], trap: &Trap) -> Result<()> {
    let http = node.http()?;
    let trying = each(forms).into_iter().map(|(place, form, kind)| async move {
        let path = format!("/to/{place}/{}", kind.word());
        let tested = http.test_source(&source("to", kind, GOOD, trap.port(), &path)).await?;
        ensure!(tested["ok"] == false && tested["records"] == json!([]), "{form}: {tested}");
        Ok(())
    });
    futures_util::stream::iter(trying).buffer_unordered(3).try_for_each(|()| async { Ok(()) }).await?;

    let step = scale::pick(8, 1);
    let some: Vec<usize> = (0..forms.len()).step_by(step).collect();
    let mut sources = Vec::new();
    for (_, place, kind) in each(&some) {
        let name = format!("turn-{place}-{}", kind.word());
        sources.push(source(&name, kind, GOOD, trap.port(), &format!("/turn/{place}/{}", kind.word())));
    }
    live_then_not(node, trap, "turn-", &sources, || Ok(())).await
}

/// Registers sources, waits until they are live, lets the upstream turn them away, and waits until all back off.
async fn live_then_not(
    node: &Node,
    trap: &Trap,
    begin: &str,
    sources: &[Value],
    change: impl Fn() -> Result<()>,
) -> Result<()> {
    let http = node.http()?;
    http.add_sources(sources).await?;
    let ours = |name: &str| name.starts_with(begin);
    http.sources_when("live", REACHED, ours, |_, status| status["state"] == "live").await?;
    change()?;
    trap.turned.send_replace(true);
    let refused = |_: &str, status: &Value| {
        let reason = status["reason"].as_str().unwrap_or("");
        let words = [OPTION, "follow no redirects", "no URL", "not a URL", "redirect"];
        status["state"] == "backing_off" && words.iter().any(|word| reason.contains(word))
    };
    let all = http.sources_when("refused", REACHED, ours, refused).await?;
    ensure!(all.len() == sources.len(), "{} of {}", all.len(), sources.len());
    for name in all.keys() {
        http.send("DELETE", &format!("/api/v1/sources/{name}"), &[], "").await?.ensure(204)?;
    }
    trap.turned.send_replace(false);
    Ok(())
}

/// A name that is public when the source is registered, and something else when it is dialled again.
async fn renamed(
    node: &Node,
    space: &Space,
    trap: &Trap,
    addresses: &[IpAddr],
    sniffer: &Sniffer,
) -> Result<()> {
    let good: IpAddr = PUBLIC[0].parse()?;
    let step = scale::pick(8, 1);
    let names: Vec<(String, IpAddr)> =
        addresses.iter().enumerate().map(|(place, ip)| (format!("n{place}.test"), *ip)).collect();
    let point = |to_bad: bool| {
        let all = names.iter().map(|(name, bad)| (name.as_str(), if to_bad { *bad } else { good }));
        space.name(all.chain([(GOOD, good)]))
    };
    point(true)?;
    let http = node.http()?;
    let trying = each(&names).into_iter().map(|(_, (name, bad), kind)| async move {
        let tested =
            http.test_source(&source("name", kind, &name, trap.port(), &format!("/{}", kind.word()))).await?;
        ensure!(tested["error"]["stage"] == "guard", "{bad}: {tested}");
        Ok(())
    });
    futures_util::stream::iter(trying).buffer_unordered(3).try_for_each(|()| async { Ok(()) }).await?;
    trap.ensure_untouched("named", sniffer)?;

    point(false)?;
    let mut sources = Vec::new();
    for (_, (name, _), kind) in each(&names.iter().step_by(step).cloned().collect::<Vec<_>>()) {
        let own = format!("name-{}-{}", name.replace('.', "-"), kind.word());
        sources.push(source(&own, kind, &name, trap.port(), &format!("/{}", kind.word())));
    }
    live_then_not(node, trap, "name-", &sources, || point(true)).await?;
    trap.ensure_untouched("a name that changed", sniffer)?;
    flickering(node, space, trap).await?;
    trap.ensure_untouched("a name that flickers", sniffer)
}

/// A name that is now this and now that, as fast as it can be written.
async fn flickering(node: &Node, space: &Space, trap: &Trap) -> Result<()> {
    let http = node.http()?;
    let (good, bad): (IpAddr, IpAddr) = (PUBLIC[0].parse()?, "127.0.0.1".parse()?);
    for kind in Kind::ALL {
        let mut source = source(
            &format!("flicker-{}", kind.word()),
            kind,
            "flicker.test",
            trap.port(),
            &format!("/{}", kind.word()),
        );
        if kind == Kind::Rest {
            source["interval_ms"] = json!(50);
        } else {
            source["reconnect_after_ms"] = json!(1000);
        }
        http.add_source(&source).await?;
    }
    let rounds = scale::pick(600, 4000);
    for round in 0..rounds {
        space.name([("flicker.test", if round % 2 == 0 { bad } else { good })])?;
        if round % 5 == 0 {
            space.name([("flicker.test", bad), ("flicker.test", good)])?;
        }
        if round % 20 == 0 {
            for kind in Kind::ALL {
                http.order_source(&format!("flicker-{}", kind.word()), "resume").await?;
            }
        }
        sleep(Duration::from_millis(4)).await;
    }
    space.name([("flicker.test", good)])?;
    for kind in Kind::ALL {
        let name = format!("flicker-{}", kind.word());
        http.order_source(&name, "resume").await?;
        let view = http.source_in(&name, "live").await?;
        ensure!(state(&view) == "live" && records(&view) > 0 || kind != Kind::Rest, "{view}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_notices_a_guard_that_is_open() -> Result<()> {
    let test = "sources::guard::it_notices_a_guard_that_is_open";
    let Some(space) = spaces::enter(test)? else { return Ok(()) };
    space.name([(GOOD, PUBLIC[0].parse()?), ("bad.test", "10.0.0.1".parse()?)])?;
    let mut node = Plan::new().args(&["--allow-private-sources"]).start().await?;
    for (host, path) in [
        ("0x7f.1", "/rest"),
        ("[::ffff:169.254.169.254]", "/rest"),
        ("[fd00::1]", "/sse"),
        ("bad.test", "/websocket"),
        (GOOD, "/to/0/rest"),
    ] {
        let (trap, _upstream, sniffer) = Trap::set(vec!["192.168.1.1".to_owned()])?;
        let kind = Kind::ALL.into_iter().find(|kind| path.ends_with(kind.word())).unwrap_or(Kind::Rest);
        let tested = node.http()?.test_source(&source("open", kind, host, trap.port(), path)).await?;
        ensure!(tested["ok"] == true, "{host}: {tested}");
        sleep(Duration::from_millis(100)).await;
        let found = trap.ensure_untouched(host, &sniffer);
        ensure!(
            found.is_err_and(|error| error.to_string().contains("accepted at")),
            "{host} was not noticed"
        );
        trap.touched.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let found = trap.ensure_untouched(host, &sniffer);
        ensure!(found.is_err_and(|error| error.to_string().contains("packets to")), "{host} was not sniffed");
    }
    node.stop().await
}
