//! Dials the addresses of one name: the first that answers is taken (RFC 8305, "happy eyeballs").

use std::io;
use std::net::SocketAddr;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use socket2::{SockRef, TcpKeepalive};
use std::time::Duration;
use tokio::net::TcpStream;

use crate::source::limits::HEAD_START;

/// After how much silence a connection is probed, and how often: one whose peer is gone ends within a minute, also
/// where the source itself may be silent for hours.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(30))
    .with_interval(Duration::from_secs(10))
    .with_retries(3);

/// Connects to the first of the addresses that answers: each has a short head start before the next one is tried beside it.
///
/// # Errors
/// With the last address that failed, where none answered.
pub(super) async fn dial(
    addresses: &[SocketAddr],
) -> Result<(TcpStream, SocketAddr), (SocketAddr, io::Error)> {
    let mut waiting = interleave(addresses).into_iter();
    let mut trying: FuturesUnordered<_> = waiting.next().map(try_one).into_iter().collect();
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let mut failed = (nowhere, io::Error::new(io::ErrorKind::NotFound, "there is no address to dial"));
    loop {
        tokio::select! {
            tried = trying.next() => match tried {
                Some(Ok(connected)) => return Ok(connected),
                Some(Err(error)) => {
                    failed = error;
                    trying.extend(waiting.next().map(try_one));
                }
                None => return Err(failed),
            },
            () = tokio::time::sleep(HEAD_START), if waiting.len() > 0 => {
                trying.extend(waiting.next().map(try_one));
            }
        }
    }
}

async fn try_one(address: SocketAddr) -> Result<(TcpStream, SocketAddr), (SocketAddr, io::Error)> {
    let connect = async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE)?;
        Ok(stream)
    };
    connect.await.map(|stream| (stream, address)).map_err(|error| (address, error))
}

/// The addresses with their families in turn, so that a family without a route costs one head start.
fn interleave(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let Some(first) = addresses.first() else { return Vec::new() };
    let (ours, others): (Vec<_>, Vec<_>) =
        addresses.iter().copied().partition(|address| address.is_ipv4() == first.is_ipv4());
    let (mut ours, mut others) = (ours.into_iter(), others.into_iter());
    let mut order = Vec::with_capacity(addresses.len());
    while order.len() < addresses.len() {
        order.extend(ours.next());
        order.extend(others.next());
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_the_families_in_turn() {
        for (addresses, expected) in [
            (&[][..], &[][..]),
            (&["1.1.1.1:1", "1.1.1.2:1"], &["1.1.1.1:1", "1.1.1.2:1"]),
            (
                &["[2600::1]:1", "[2600::2]:1", "[2600::3]:1", "1.1.1.1:1"],
                &["[2600::1]:1", "1.1.1.1:1", "[2600::2]:1", "[2600::3]:1"],
            ),
        ] {
            let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
            assert_eq!(interleave(&parse(addresses)), parse(expected));
        }
    }
}
