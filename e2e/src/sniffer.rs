//! Sees every packet of a network namespace, and keeps where connections were asked for.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;
use socket2::{Domain, Protocol, Socket, Type};

/// `ETH_P_ALL` of `linux/if_ether.h`.
const ALL: u16 = 3;
/// The number of TCP in IP headers.
const TCP: u8 = 6;

/// Listens in the background until dropped.
#[derive(Debug)]
pub struct Sniffer {
    asked: Arc<Mutex<BTreeMap<IpAddr, u64>>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sniffer {
    /// Begins to keep the addresses that are asked for a connection to this port.
    ///
    /// # Errors
    /// Fails where the system does not let it, as without being root.
    pub fn listen(port: u16) -> Result<Self> {
        let protocol = Protocol::from(i32::from(ALL.to_be()));
        let mut socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol))?;
        let _ = socket.set_recv_buffer_size(32 << 20);
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let (asked, ends) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let thread = {
            let (asked, ends): (Arc<Mutex<BTreeMap<IpAddr, u64>>>, _) =
                (Arc::clone(&asked), Arc::clone(&ends));
            std::thread::spawn(move || {
                let mut packet = [0; 128];
                while !ends.load(Ordering::Relaxed) {
                    let Ok(length) = socket.read(&mut packet) else { continue };
                    if let Some((ip, to)) = connects(&packet[..length])
                        && to == port
                    {
                        *asked.lock().unwrap_or_else(PoisonError::into_inner).entry(ip).or_default() += 1;
                    }
                }
            })
        };
        Ok(Self { asked, ends, thread: Some(thread) })
    }

    /// The addresses that were asked, so far, with how often.
    #[must_use]
    pub fn asked(&self) -> BTreeMap<IpAddr, u64> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Sniffer {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Where a packet asks for a connection, if it does.
fn connects(packet: &[u8]) -> Option<(IpAddr, u16)> {
    let (ip, protocol, rest) = match packet.first()? >> 4 {
        4 => {
            let to: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
            (IpAddr::V4(Ipv4Addr::from(to)), *packet.get(9)?, usize::from(packet[0] & 0xf) * 4)
        }
        6 => {
            let to: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
            (IpAddr::V6(Ipv6Addr::from(to)), *packet.get(6)?, 40)
        }
        _ => return None,
    };
    let tcp = packet.get(rest..)?;
    let port = u16::from_be_bytes([*tcp.get(2)?, *tcp.get(3)?]);
    // SYN without ACK.
    (protocol == TCP && tcp.get(13)? & 0x12 == 0x02).then_some((ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(version: u8, protocol: u8, flags: u8) -> Vec<u8> {
        let mut bytes = match version {
            4 => {
                let mut head = vec![0; 20];
                (head[0], head[9]) = (0x45, protocol);
                head[16..20].copy_from_slice(&[10, 0, 0, 1]);
                head
            }
            _ => {
                let mut head = vec![0; 40];
                (head[0], head[6], head[24], head[39]) = (version << 4, protocol, 0xfd, 1);
                head
            }
        };
        let mut tcp = vec![0; 20];
        (tcp[2], tcp[3], tcp[13]) = (0x1f, 0x90, flags);
        bytes.extend(tcp);
        bytes
    }

    #[test]
    fn it_sees_who_is_asked_for_a_connection() {
        for (packet, expected) in [
            (packet(4, TCP, 0x02), Some("10.0.0.1")),
            (packet(6, TCP, 0x02), Some("fd00::1")),
            (packet(4, TCP, 0x12), None),
            (packet(4, TCP, 0x10), None),
            (packet(4, 17, 0x02), None),
            (packet(5, TCP, 0x02), None),
            (packet(4, TCP, 0x02)[..30].to_vec(), None),
            (Vec::new(), None),
        ] {
            let expected = expected.map(|ip| (ip.parse().unwrap(), 8080));
            assert_eq!(connects(&packet), expected, "{packet:?}");
        }
    }
}
