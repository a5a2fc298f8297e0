//! A name server on loopback that says what a test wants, and that each of its answers holds for an hour.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// The type of a record that holds an IPv4 address.
const A: u16 = 1;
/// For how long answers hold, in seconds.
const HOUR: u32 = 3_600;

/// A running name server.
#[derive(Debug)]
pub struct Names {
    known: Arc<Mutex<Known>>,
    _task: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Known {
    names: BTreeMap<String, Vec<Ipv4Addr>>,
    asked: BTreeMap<String, usize>,
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Names {
    /// Starts a server that knows no name.
    ///
    /// # Errors
    /// Fails where the address is taken.
    pub async fn start(address: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind(address).await.with_context(|| address.to_string())?;
        let known: Arc<Mutex<Known>> = Arc::default();
        let mut task = JoinSet::new();
        task.spawn(serve(socket, known.clone()));
        Ok(Self { known, _task: task })
    }

    /// Says what a name means from now on.
    pub fn say(&self, name: &str, addresses: &[Ipv4Addr]) {
        lock(&self.known).names.insert(name.to_owned(), addresses.to_vec());
    }

    /// How often it was asked for the addresses of a name.
    #[must_use]
    pub fn asked(&self, name: &str) -> usize {
        lock(&self.known).asked.get(name).copied().unwrap_or(0)
    }
}

async fn serve(socket: UdpSocket, known: Arc<Mutex<Known>>) {
    let mut question = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut question).await {
        let answer = answer(&question[..length], &mut lock(&known));
        if let Some(answer) = answer {
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

/// The name in a question, its type, and where the question ends.
fn read(question: &[u8]) -> Option<(String, u16, usize)> {
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(question.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let kind = question.get(at..at + 2)?.try_into().map(u16::from_be_bytes).ok()?;
    Some((labels.join("."), kind, at + 4))
}

/// As RFC 1035 has it: the question again, and an address record for each address.
fn answer(question: &[u8], known: &mut Known) -> Option<Vec<u8>> {
    let (name, kind, end) = read(question)?;
    let addresses = known.names.get(&name).cloned();
    // No such name, where it is not known.
    let code = if addresses.is_some() { 0 } else { 3 };
    let found = addresses.unwrap_or_default();
    if kind == A {
        *known.asked.entry(name).or_default() += 1;
    }
    let found = if kind == A { found } else { Vec::new() };
    let count = u16::try_from(found.len()).ok()?.to_be_bytes();
    let mut bytes = question.get(..2)?.to_vec();
    bytes.extend([0x85, 0x80 | code, 0, 1, count[0], count[1], 0, 0, 0, 0]);
    bytes.extend(question.get(12..end)?);
    for address in found {
        // The name is the one at byte 12; class IN.
        bytes.extend([0xc0, 12, 0, 1, 0, 1]);
        bytes.extend(HOUR.to_be_bytes());
        bytes.extend([0, 4]);
        bytes.extend(address.octets());
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_answers_what_it_knows() {
        let question = |name: &str, kind: u8| {
            let mut bytes = vec![7, 8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            for label in name.split('.') {
                bytes.push(u8::try_from(label.len()).unwrap());
                bytes.extend(label.as_bytes());
            }
            bytes.extend([0, 0, kind, 0, 1]);
            bytes
        };
        let mut known = Known::default();
        known.names.insert("a.example".to_owned(), vec![[127, 0, 0, 2].into(), [127, 0, 0, 3].into()]);
        for (name, kind, code, count) in
            [("A.example", 1, 0, 2), ("a.example", 28, 0, 0), ("b.example", 1, 3, 0)]
        {
            let asked = question(name, kind);
            let told = answer(&asked, &mut known).unwrap();
            assert_eq!((&told[..2], told[3] & 15, told[7]), (&[7, 8][..], code, count), "{name} {kind}");
            assert_eq!(told.len(), asked.len() + 16 * usize::from(count), "{name} {kind}");
        }
        assert_eq!(known.asked.get("a.example"), Some(&1));
        assert_eq!(answer(&[0; 12], &mut known), None, "a question that is cut short");
    }
}
