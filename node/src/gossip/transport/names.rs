//! Names in addresses: looked up at each dial as the system's files and servers say just then, so that a peer is found where it
//! moved.
//!
//! libp2p's own resolver reads those files once, and keeps an answer for as long as the name's owner allows.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::Transport;
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::futures::FutureExt as _;
use libp2p::futures::future::BoxFuture;
use libp2p::multiaddr::{Multiaddr, Protocol};
use tokio::net::lookup_host;
use tokio::time::timeout;

/// How many addresses of a name are tried at one dial.
const MOST: usize = 8;
/// How long the system may take to look a name up.
const LOOK_UP: Duration = Duration::from_secs(10);

/// A transport that dials names as well as addresses.
pub(super) struct Named<T>(Arc<Mutex<Inner<T>>>);

struct Inner<T> {
    transport: T,
    /// Where this node listens: a name that several nodes share may lead to it too.
    own: HashSet<Multiaddr>,
}

impl<T> Named<T> {
    pub(super) fn new(transport: T) -> Self {
        Self(Arc::new(Mutex::new(Inner { transport, own: HashSet::new() })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner<T>> {
        lock(&self.0)
    }
}

fn lock<T>(inner: &Mutex<Inner<T>>) -> MutexGuard<'_, Inner<T>> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Transport for Named<T>
where
    T: Transport<Error = io::Error> + Send + Unpin + 'static,
    T::Output: Send,
    T::Dial: Send + 'static,
{
    type Output = T::Output;
    type Error = io::Error;
    type ListenerUpgrade = T::ListenerUpgrade;
    type Dial = BoxFuture<'static, io::Result<T::Output>>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.inner().transport.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner().transport.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, how: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        let Some((place, name)) = name(&address) else {
            return Ok(self.inner().transport.dial(address, how)?.boxed());
        };
        let inner = self.0.clone();
        let dial = async move {
            let mut failure = None;
            for address in look_up(&address, place, &name).await? {
                match dial_one(&inner, address, how).await {
                    Ok(connection) => return Ok(connection),
                    Err(error) => failure = Some(error),
                }
            }
            Err(failure
                .unwrap_or_else(|| io::Error::other(format!("cannot resolve {name}: it has no address"))))
        };
        Ok(dial.boxed())
    }

    fn poll(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        let mut inner = self.inner();
        let event = Pin::new(&mut inner.transport).poll(context);
        match &event {
            Poll::Ready(TransportEvent::NewAddress { listen_addr, .. }) => {
                inner.own.insert(listen_addr.clone());
            }
            Poll::Ready(TransportEvent::AddressExpired { listen_addr, .. }) => {
                inner.own.remove(listen_addr);
            }
            _ => {}
        }
        event
    }
}

async fn dial_one<T>(inner: &Mutex<Inner<T>>, address: Multiaddr, how: DialOpts) -> io::Result<T::Output>
where
    T: Transport<Error = io::Error> + Unpin,
{
    let dial = {
        let mut inner = lock(inner);
        if inner.own.contains(&address) {
            return Err(io::Error::other("the name leads to this node itself"));
        }
        inner.transport.dial(address, how)
    };
    match dial {
        Ok(dial) => dial.await,
        Err(TransportError::MultiaddrNotSupported(address)) => {
            Err(io::Error::other(format!("{address} is not supported")))
        }
        Err(TransportError::Other(error)) => Err(error),
    }
}

/// A name in an address, which IPs of it are meant, and where it stands.
fn name(address: &Multiaddr) -> Option<(usize, Name)> {
    let found = |(place, part): (usize, Protocol<'_>)| match part {
        Protocol::Dns(name) => Some((place, Name { name: name.into_owned(), wants: |_| true })),
        Protocol::Dns4(name) => Some((place, Name { name: name.into_owned(), wants: IpAddr::is_ipv4 })),
        Protocol::Dns6(name) => Some((place, Name { name: name.into_owned(), wants: IpAddr::is_ipv6 })),
        _ => None,
    };
    address.iter().enumerate().find_map(found)
}

struct Name {
    name: String,
    wants: fn(&IpAddr) -> bool,
}

impl std::fmt::Display for Name {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.name)
    }
}

/// The address with each IP that its name has now.
async fn look_up(address: &Multiaddr, place: usize, name: &Name) -> io::Result<Vec<Multiaddr>> {
    let failed = |error: io::Error| io::Error::new(error.kind(), format!("cannot resolve {name}: {error}"));
    let found = timeout(LOOK_UP, lookup_host((name.name.as_str(), 0)))
        .await
        .map_err(|_| failed(io::Error::from(io::ErrorKind::TimedOut)))?
        .map_err(failed)?;
    let wanted = found.map(|socket| socket.ip().to_canonical()).filter(name.wants);
    Ok(wanted.filter_map(|ip| address.replace(place, |_| Some(ip.into()))).take(MOST).collect())
}

#[cfg(test)]
mod tests {
    use libp2p::core::Endpoint;
    use libp2p::core::transport::PortUse;
    use libp2p::tcp;

    use super::*;

    fn plain() -> Named<tcp::tokio::Transport> {
        Named::new(tcp::tokio::Transport::new(tcp::Config::default()))
    }

    async fn listening() -> (Named<tcp::tokio::Transport>, u16) {
        let mut transport = plain();
        transport.listen_on(ListenerId::next(), "/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        let event = std::future::poll_fn(|context| Pin::new(&mut transport).poll(context)).await;
        let address = event.into_new_address().unwrap();
        let Some(Protocol::Tcp(port)) = address.iter().last() else { panic!("{address}") };
        (transport, port)
    }

    async fn dial(transport: &mut Named<tcp::tokio::Transport>, address: &str) -> Result<(), String> {
        let how = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let dial = transport.dial(address.parse().unwrap(), how).map_err(|error| error.to_string())?;
        dial.await.map(|_| ()).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn it_dials_names_and_addresses_but_not_itself() {
        let (mut one, port) = listening().await;
        let mut other = plain();
        assert_eq!(dial(&mut other, &format!("/ip4/127.0.0.1/tcp/{port}")).await, Ok(()));
        assert_eq!(dial(&mut other, &format!("/dns4/localhost/tcp/{port}")).await, Ok(()));
        let itself = dial(&mut one, &format!("/dns4/localhost/tcp/{port}")).await.unwrap_err();
        assert!(itself.contains("this node itself"), "{itself}");
    }

    #[tokio::test]
    async fn it_takes_the_kind_of_address_that_is_meant() {
        for (address, ip) in [
            ("/dns4/localhost/tcp/1", "/ip4/127.0.0.1/tcp/1"),
            ("/dns/127.0.0.9/tcp/1", "/ip4/127.0.0.9/tcp/1"),
        ] {
            let address: Multiaddr = address.parse().unwrap();
            let (place, name) = name(&address).unwrap();
            let found = look_up(&address, place, &name).await.unwrap();
            assert!(found.contains(&ip.parse().unwrap()), "{address}: {found:?}");
        }
        let address: Multiaddr = "/dns6/127.0.0.1/tcp/1".parse().unwrap();
        let (place, name) = name(&address).unwrap();
        assert_eq!(look_up(&address, place, &name).await.unwrap(), Vec::<Multiaddr>::new());
    }
}
