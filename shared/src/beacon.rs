//! Beacons: what a node says of itself every few seconds, under its own signature.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::batch::MAX_NETWORK;
use crate::codec;
use crate::ids::{Hash, LogId, Origin};
use crate::status::State;
use crate::time::Micros;

/// What a beacon's signature begins with, so that it can pass for nothing else that the key signs.
pub const BEACON_TAG: &[u8] = b"anode/1 beacon\n";
/// The version of the beacon's format.
pub const VERSION: u8 = 1;
/// The longest beacon with its signature, in bytes: all lists at their limits with ordinary contents.
pub const MAX_BEACON: usize = 16 << 10;
/// The longest text in a beacon, in bytes: a multiaddr with a DNS name and a peer id fits.
pub const MAX_TEXT: usize = 320;
/// The most addresses, own heads, links and shards in a beacon, each.
pub const MAX_LIST: usize = 64;
/// The shortest time between two beacons of a node: who said less would be taken for dead before any packet could be late.
pub const MIN_INTERVAL_MS: u32 = 500;
/// The longest time between two beacons of a node: beyond, nobody could tell silence from death.
pub const MAX_INTERVAL_MS: u32 = 60_000;
/// Bytes of a signature.
const SIGNATURE: usize = 64;

/// What a node says of itself. The order of the fields is the format: see `FORMAT.md`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beacon {
    /// The beacon format's version.
    pub version: u8,
    /// The network that the node belongs to.
    pub network: String,
    /// Who speaks.
    pub origin: Origin,
    /// Which start of the node: a Unix second above 32 random bits, rising.
    pub run: u64,
    /// Which beacon of that start, from 1.
    pub sequence: u64,
    /// When it was signed, as its clock says.
    pub time: Micros,
    /// How long until the next one, in milliseconds.
    pub interval_ms: u32,
    /// The node's name in dashboards.
    pub name: String,
    /// The version of its software.
    pub software: String,
    /// The version of the repair protocol that it speaks.
    pub protocol: u32,
    /// Multiaddrs at which it can be reached.
    pub addresses: Vec<String>,
    /// The shards that it carries: bits and value.
    pub shards: Vec<(u8, u32)>,
    /// The logs of this start and how far they reach.
    pub heads: Vec<OwnHead>,
    /// A digest of all that it holds: [`crate::repair::Digest::whole`].
    pub digest: u64,
    /// The peers that it is connected to.
    pub links: Vec<Link>,
    /// What it has to do.
    pub load: Load,
    /// Its components that are on.
    pub components: Vec<ComponentState>,
    /// The Cassandra keyspace that it archives to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<Hash>,
    /// Whether this is its last word: it shuts down.
    pub leaving: bool,
}

/// How far an own log reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnHead {
    /// The log.
    pub log: LogId,
    /// Its newest seq.
    pub head: u64,
    /// Hash of the header of the batch that ends there.
    pub hash: Hash,
    /// The oldest seq that its origin still holds.
    pub floor: u64,
}

/// A connection to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The other end.
    pub peer: Origin,
    /// The round trip, in microseconds; 0 where it was not measured yet.
    pub rtt_us: u32,
}

/// What a node has to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Records a second that it accepts itself.
    pub records_per_s: u32,
    /// Thousandths of a core that it uses.
    pub cpu_permille: u32,
    /// Bytes that its store holds.
    pub store_bytes: u64,
    /// Subscribers that are connected.
    pub subscribers: u32,
    /// Sources that are registered.
    pub sources: u32,
}

/// How one component is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentState {
    /// Its name.
    pub name: String,
    /// 0 ok, 1 degraded, 2 down, 3 off; others are read as degraded.
    pub state: u8,
}

impl ComponentState {
    /// Names a component's state.
    pub fn new(name: &str, state: State) -> Self {
        let state = match state {
            State::Ok => 0,
            State::Degraded => 1,
            State::Down => 2,
            State::Off => 3,
        };
        Self { name: name.to_owned(), state }
    }

    /// The state in words.
    pub fn state(&self) -> State {
        match self.state {
            0 => State::Ok,
            2 => State::Down,
            3 => State::Off,
            _ => State::Degraded,
        }
    }
}

/// Why bytes are no beacon of the one who should have signed them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant says itself in words")]
pub enum BeaconError {
    #[error("the beacon has {0} bytes; at most 16384 are taken")]
    TooLong(usize),
    #[error("the beacon is malformed: {0}")]
    Malformed(String),
    #[error("the beacon's format version is {0}; this node reads 1")]
    Version(u8),
    #[error("the signature does not fit the beacon and its origin")]
    Signature,
}

impl Beacon {
    /// Signs the beacon: its bytes, then the signature.
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        let mut bytes = codec::encode(self);
        let signature = key.sign(&[BEACON_TAG, &bytes].concat());
        bytes.extend_from_slice(&signature.to_bytes());
        bytes
    }

    /// Reads a signed beacon and checks all of it.
    ///
    /// # Errors
    /// When it is none, is over a limit, or its origin did not sign it.
    pub fn open(bytes: &[u8]) -> Result<Self, BeaconError> {
        if bytes.len() > MAX_BEACON {
            return Err(BeaconError::TooLong(bytes.len()));
        }
        let wrong = |why: &str| BeaconError::Malformed(why.to_owned());
        let end = bytes.len().checked_sub(SIGNATURE).ok_or_else(|| wrong("it is cut short"))?;
        let beacon: Self = codec::decode(&bytes[..end]).map_err(|error| wrong(&error.to_string()))?;
        if beacon.version != VERSION {
            return Err(BeaconError::Version(beacon.version));
        }
        beacon.check().map_err(wrong)?;
        let key = VerifyingKey::from_bytes(&beacon.origin.0).map_err(|_| BeaconError::Signature)?;
        let signature = Signature::from_slice(&bytes[end..]).map_err(|_| BeaconError::Signature)?;
        key.verify_strict(&[BEACON_TAG, &bytes[..end]].concat(), &signature)
            .map_err(|_| BeaconError::Signature)?;
        Ok(beacon)
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.network.is_empty() || self.network.len() > MAX_NETWORK {
            return Err("a network's name has 1 to 64 bytes");
        }
        let lists = [
            self.addresses.len(),
            self.shards.len(),
            self.heads.len(),
            self.links.len(),
            self.components.len(),
        ];
        if lists.into_iter().any(|length| length > MAX_LIST) {
            return Err("a list has more than 64 entries");
        }
        let components = self.components.iter().map(|component| &component.name);
        let mut texts = self.addresses.iter().chain([&self.name, &self.software]).chain(components);
        if texts.any(|text| text.len() > MAX_TEXT || text.chars().any(char::is_control)) {
            return Err("a text has at most 320 bytes, and no control characters");
        }
        if self.sequence == 0 || self.time > crate::time::MAX {
            return Err("sequence numbers run from 1, times end with the year 9999");
        }
        if !(MIN_INTERVAL_MS..=MAX_INTERVAL_MS).contains(&self.interval_ms) {
            return Err("the interval lies between 500 ms and 60 s");
        }
        if self.shards.iter().any(|(bits, value)| *bits > 16 || u64::from(*value) >> bits != 0) {
            return Err("a shard has at most 16 bits, and its number fits them");
        }
        if self.heads.iter().any(|head| head.head == 0 || head.head == u64::MAX || head.floor == 0) {
            return Err("heads and floors count from 1 and end before 2^64 - 1");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beacon(key: &SigningKey) -> Beacon {
        Beacon {
            version: VERSION,
            network: "local".into(),
            origin: Origin(key.verifying_key().to_bytes()),
            run: 5,
            sequence: 1,
            time: 7,
            interval_ms: 2_000,
            name: String::new(),
            software: String::new(),
            protocol: 1,
            addresses: Vec::new(),
            shards: vec![(0, 0)],
            heads: vec![OwnHead { log: LogId(9), head: 3, hash: Hash([1; 32]), floor: 1 }],
            digest: 0,
            links: Vec::new(),
            load: Load::default(),
            components: vec![ComponentState::new("store", State::Ok)],
            archive: None,
            leaving: false,
        }
    }

    #[test]
    fn it_reads_back_what_it_signed() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let signed = beacon(&key).sign(&key);
        assert_eq!(Beacon::open(&signed), Ok(beacon(&key)));
        for at in 0..signed.len() {
            let mut changed = signed.clone();
            changed[at] ^= 1;
            assert!(Beacon::open(&changed).is_err(), "a bit of byte {at}");
            assert!(Beacon::open(&signed[..at]).is_err(), "cut at {at}");
        }
        assert!(Beacon::open(&[signed, vec![0]].concat()).is_err());
    }

    #[test]
    fn it_refuses_what_another_signed() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let forged = beacon(&key).sign(&SigningKey::from_bytes(&[4; 32]));
        assert_eq!(Beacon::open(&forged), Err(BeaconError::Signature));
    }

    #[test]
    fn it_refuses_what_is_over_a_limit() {
        let key = SigningKey::from_bytes(&[3; 32]);
        let good = beacon(&key);
        let named = |name: &str| Beacon { name: name.to_owned(), ..good.clone() };
        for name in ["a b", "Änne", "節点"] {
            assert_eq!(Beacon::open(&named(name).sign(&key)), Ok(named(name)));
        }
        let cases: [(&str, Beacon); 14] = [
            ("network", Beacon { network: String::new(), ..good.clone() }),
            ("long network", Beacon { network: "n".repeat(65), ..good.clone() }),
            ("sequence", Beacon { sequence: 0, ..good.clone() }),
            ("time", Beacon { time: u64::MAX, ..good.clone() }),
            ("short interval", Beacon { interval_ms: MIN_INTERVAL_MS - 1, ..good.clone() }),
            ("control characters", named("\u{1b}[2Jroot")),
            ("a line's end", Beacon { software: "1\n2".into(), ..good.clone() }),
            ("an address", Beacon { addresses: vec!["/ip4/1\u{7}".into()], ..good.clone() }),
            ("interval", Beacon { interval_ms: MAX_INTERVAL_MS + 1, ..good.clone() }),
            ("text", Beacon { name: "n".repeat(MAX_TEXT + 1), ..good.clone() }),
            ("list", Beacon { addresses: vec![String::new(); MAX_LIST + 1], ..good.clone() }),
            ("shard", Beacon { shards: vec![(1, 2)], ..good.clone() }),
            ("head", Beacon { heads: vec![OwnHead { head: u64::MAX, ..good.heads[0] }], ..good.clone() }),
            ("length", Beacon { addresses: vec!["a".repeat(MAX_TEXT); MAX_LIST], ..good.clone() }),
        ];
        for (what, bad) in cases {
            let opened = Beacon::open(&bad.sign(&key));
            assert!(
                matches!(opened, Err(BeaconError::Malformed(_) | BeaconError::TooLong(_))),
                "{what}: {opened:?}"
            );
        }
        let newer = Beacon { version: 2, ..good }.sign(&key);
        assert_eq!(Beacon::open(&newer), Err(BeaconError::Version(2)));
    }
}
