//! What kind an address is, by the IANA special-purpose registries for IPv4 and IPv6 (RFC 6890 and those that
//! extend it, as of 2025) and by what clouds put beside them.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The kind of an address that is not of the public internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named as the registries name them")]
pub enum Class {
    Unspecified,
    ThisNetwork,
    Loopback,
    Private,
    Shared,
    LinkLocal,
    Metadata,
    UniqueLocal,
    SiteLocal,
    ProtocolAssignments,
    Documentation,
    Benchmarking,
    Multicast,
    Broadcast,
    Reserved,
    Discard,
    Compatible,
    Translated,
    LocalNat64,
    SixToFour,
    Teredo,
    Orchid,
    SegmentRouting,
}

impl Class {
    /// What it is called in a sentence: "a … address".
    pub fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::ThisNetwork => "this-network (0.0.0.0/8)",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::Shared => "shared (carrier NAT)",
            Self::LinkLocal => "link-local",
            Self::Metadata => "cloud metadata",
            Self::UniqueLocal => "unique-local",
            Self::SiteLocal => "site-local",
            Self::ProtocolAssignments => "protocol-assignment",
            Self::Documentation => "documentation",
            Self::Benchmarking => "benchmarking",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Reserved => "reserved",
            Self::Discard => "discard-only",
            Self::Compatible => "IPv4-compatible IPv6",
            Self::Translated => "IPv4-translated IPv6",
            Self::LocalNat64 => "local NAT64",
            Self::SixToFour => "6to4",
            Self::Teredo => "Teredo",
            Self::Orchid => "ORCHID",
            Self::SegmentRouting => "segment-routing",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where clouds answer their machines' questions about themselves, credentials included. Most lie in ranges that
/// are special anyway and are named for the words' sake; Azure's lies among public addresses.
const METADATA_V4: [[u8; 4]; 9] = [
    [169, 254, 169, 254],
    [169, 254, 169, 253],
    [169, 254, 170, 2],
    [169, 254, 170, 23],
    [169, 254, 42, 42],
    [169, 254, 0, 23],
    [100, 100, 100, 200],
    [192, 0, 0, 192],
    [168, 63, 129, 16],
];
const METADATA_V6: [[u16; 8]; 4] = [
    [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254],
    [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23],
    [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254],
    [0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42],
];

const RANGES_V4: [(Ipv4Addr, u32, Class); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 32, Class::Unspecified),
    (Ipv4Addr::new(255, 255, 255, 255), 32, Class::Broadcast),
    (Ipv4Addr::new(0, 0, 0, 0), 8, Class::ThisNetwork),
    (Ipv4Addr::new(10, 0, 0, 0), 8, Class::Private),
    (Ipv4Addr::new(100, 64, 0, 0), 10, Class::Shared),
    (Ipv4Addr::new(127, 0, 0, 0), 8, Class::Loopback),
    (Ipv4Addr::new(169, 254, 0, 0), 16, Class::LinkLocal),
    (Ipv4Addr::new(172, 16, 0, 0), 12, Class::Private),
    (Ipv4Addr::new(192, 0, 0, 0), 24, Class::ProtocolAssignments),
    (Ipv4Addr::new(192, 0, 2, 0), 24, Class::Documentation),
    (Ipv4Addr::new(192, 88, 99, 0), 24, Class::SixToFour),
    (Ipv4Addr::new(192, 168, 0, 0), 16, Class::Private),
    (Ipv4Addr::new(198, 18, 0, 0), 15, Class::Benchmarking),
    (Ipv4Addr::new(198, 51, 100, 0), 24, Class::Documentation),
    (Ipv4Addr::new(203, 0, 113, 0), 24, Class::Documentation),
    (Ipv4Addr::new(224, 0, 0, 0), 4, Class::Multicast),
];

const RANGES_V6: [([u16; 8], u32, Class); 21] = [
    ([0, 0, 0, 0, 0, 0, 0, 0], 128, Class::Unspecified),
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, Class::Loopback),
    ([0, 0, 0, 0, 0, 0, 0, 0], 96, Class::Compatible),
    ([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, Class::Translated),
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, Class::LocalNat64),
    ([0x100, 0, 0, 0, 0, 0, 0, 0], 63, Class::Discard),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, Class::Teredo),
    ([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, Class::Benchmarking),
    ([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28, Class::Orchid),
    ([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28, Class::Orchid),
    ([0x2001, 0x30, 0, 0, 0, 0, 0, 0], 28, Class::Orchid),
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, Class::ProtocolAssignments),
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, Class::Documentation),
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, Class::SixToFour),
    ([0x3ffe, 0, 0, 0, 0, 0, 0, 0], 16, Class::Reserved),
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, Class::Documentation),
    ([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, Class::SegmentRouting),
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, Class::UniqueLocal),
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, Class::LinkLocal),
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, Class::SiteLocal),
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, Class::Multicast),
];

/// The well-known prefix of NAT64 (RFC 6052): what lies in it is the IPv4 address at its end.
const NAT64: Ipv6Addr = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0);
/// What IANA has opened of IPv6 for the public internet.
const GLOBAL: Ipv6Addr = Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0);

/// The kind of an address; `None` for one of the public internet.
pub fn class(ip: IpAddr) -> Option<Class> {
    match ip {
        IpAddr::V4(ip) => class_v4(ip),
        IpAddr::V6(ip) => class_v6(ip),
    }
}

fn class_v4(ip: Ipv4Addr) -> Option<Class> {
    if METADATA_V4.contains(&ip.octets()) {
        return Some(Class::Metadata);
    }
    let reserved = (ip.octets()[0] >= 240).then_some(Class::Reserved);
    RANGES_V4.iter().find(|(net, bits, _)| within_v4(ip, *net, *bits)).map(|(.., class)| *class).or(reserved)
}

fn class_v6(ip: Ipv6Addr) -> Option<Class> {
    if let Some(embedded) = ip.to_ipv4_mapped() {
        return class_v4(embedded);
    }
    if within_v6(ip, NAT64, 96) {
        return class_v4(last_four(ip));
    }
    if METADATA_V6.contains(&ip.segments()) {
        return Some(Class::Metadata);
    }
    let range = RANGES_V6.iter().find(|(net, bits, _)| within_v6(ip, Ipv6Addr::from(*net), *bits));
    range.map(|(.., class)| *class).or_else(|| {
        if within_v6(ip, GLOBAL, 3) { isatap(ip).and_then(class_v4) } else { Some(Class::Reserved) }
    })
}

/// The IPv4 address in an ISATAP interface identifier (RFC 5214).
fn isatap(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let words = ip.segments();
    (words[4] & !0x0200 == 0 && words[5] == 0x5efe).then(|| last_four(ip))
}

fn last_four(ip: Ipv6Addr) -> Ipv4Addr {
    let octets = ip.octets();
    Ipv4Addr::new(octets[12], octets[13], octets[14], octets[15])
}

fn within_v4(ip: Ipv4Addr, net: Ipv4Addr, bits: u32) -> bool {
    (ip.to_bits() ^ net.to_bits()).leading_zeros() >= bits
}

fn within_v6(ip: Ipv6Addr, net: Ipv6Addr, bits: u32) -> bool {
    (ip.to_bits() ^ net.to_bits()).leading_zeros() >= bits
}
