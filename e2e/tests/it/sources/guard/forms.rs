//! Forbidden addresses: in every spelling that a URL takes, and one by one for names to point to.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

/// Addresses like those of the public internet; every source may read them.
pub(super) const PUBLIC: [&str; 2] = ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"];

/// Addresses that are spelled in every way.
const SPELLED: [Ipv4Addr; 5] = [
    Ipv4Addr::new(127, 0, 0, 1),
    Ipv4Addr::new(10, 0, 0, 1),
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(192, 168, 1, 1),
    Ipv4Addr::new(172, 16, 254, 3),
];

/// Hosts of the machine itself, and of the kinds that have no other spelling.
const OTHERS: [&str; 30] = [
    "localhost",
    "LOCALHOST",
    "localhost.",
    "a.localhost",
    "ｌｏｃａｌｈｏｓｔ",
    "local%68ost",
    "0",
    "0x0",
    "0.0.0.0",
    "127.1",
    "0177.1",
    "255.255.255.255",
    "4294967295",
    "224.0.0.1",
    "239.255.255.250",
    "168.63.129.16",
    "100.100.100.200",
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[0000::0001]",
    "[fe80::1]",
    "[FE80::1]",
    "[fd00:ec2::254]",
    "[fec0::1]",
    "[ff02::1]",
    "[2001:db8::1]",
    "[2001::1]",
    "[100::1]",
    "[5f00::1]",
];

/// Every spelling of an address that a URL takes.
fn spellings(ip: Ipv4Addr) -> Vec<String> {
    let [a, b, c, d] = ip.octets();
    let [high, low] = [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])];
    let number = u32::from(ip);
    let wide: String = ip.to_string().chars().map(|c| if c == '.' { '。' } else { wide(c) }).collect();
    let escaped: String = ip.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect();
    vec![
        ip.to_string(),
        format!("{ip}."),
        number.to_string(),
        format!("{number:#x}"),
        format!("0X{number:X}"),
        format!("0{number:o}"),
        format!("{a:#x}.{b:#x}.{c:#x}.{d:#x}"),
        format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        format!("0{a:o}.{b:#x}.{c}.{d}"),
        format!("000{a:o}.000{b:o}.000{c:o}.000{d:o}"),
        format!("{a}.{}", number & 0xff_ffff),
        format!("{a}.{b}.{}", number & 0xffff),
        format!("{a:#x}.{}", number & 0xff_ffff),
        wide,
        escaped,
        format!("user:pass@{ip}"),
        format!("93.184.216.34@{ip}"),
        format!("[::ffff:{ip}]"),
        format!("[::ffff:{high:x}:{low:x}]"),
        format!("[0:0:0:0:0:FFFF:{ip}]"),
        format!("[::{ip}]"),
        format!("[::ffff:0:{ip}]"),
        format!("[64:ff9b::{ip}]"),
        format!("[64:ff9b::{high:x}:{low:x}]"),
        format!("[64:ff9b:1::{ip}]"),
        format!("[2002:{high:x}:{low:x}::1]"),
    ]
}

fn wide(digit: char) -> char {
    digit.to_digit(10).and_then(|digit| char::from_u32('０' as u32 + digit)).unwrap_or(digit)
}

/// Hosts of URLs, each a forbidden address.
pub(super) fn forms() -> Vec<String> {
    let spelled = SPELLED.into_iter().flat_map(spellings);
    spelled.chain(OTHERS.map(str::to_owned)).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The ends and a middle of ranges that IANA keeps from the public internet, and what clouds put beside them.
const RANGES: [&str; 38] = [
    "0.0.0.0 0.0.0.1 0.255.255.255",
    "10.0.0.0 10.77.0.1 10.255.255.255",
    "100.64.0.0 100.100.100.200 100.127.255.255",
    "127.0.0.0 127.0.0.1 127.255.255.255",
    "169.254.0.0 169.254.169.254 169.254.255.255",
    "172.16.0.0 172.20.1.1 172.31.255.255",
    "192.0.0.0 192.0.0.192 192.0.0.255",
    "192.0.2.0 192.0.2.9 192.0.2.255",
    "192.88.99.0 192.88.99.1 192.88.99.255",
    "192.168.0.0 192.168.1.1 192.168.255.255",
    "198.18.0.0 198.18.7.7 198.19.255.255",
    "198.51.100.0 198.51.100.7 198.51.100.255",
    "203.0.113.0 203.0.113.7 203.0.113.255",
    "224.0.0.0 232.1.1.1 239.255.255.255",
    "240.0.0.0 250.1.1.1 255.255.255.255",
    "168.63.129.16",
    ":: ::1",
    "::2 ::ffff ::ffff:ffff",
    "::ffff:10.0.0.1 ::ffff:127.0.0.1 ::ffff:169.254.169.254",
    "::ffff:0:0:1 ::ffff:0:a00:1",
    "64:ff9b::a00:1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe",
    "64:ff9b:1:: 64:ff9b:1::a00:1 64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
    "100:: 100::1 100::ffff:ffff:ffff:ffff",
    "2001:: 2001::1 2001:0:ffff::1",
    "2001:2:: 2001:2:0:ffff::1",
    "2001:10:: 2001:1f::1",
    "2001:20:: 2001:2f::1",
    "2001:30:: 2001:3f::1",
    "2001:db8:: 2001:db8::1 2001:db8:ffff::1",
    "2002:: 2002:a00:1:: 2002:7f00:1::1",
    "3fff:: 3fff::1 3fff:fff::1",
    "3ffe:: 3ffe::1",
    "5f00:: 5f00::1 5f00:ffff::1",
    "fc00:: fc00::1 fdff:ffff::1",
    "fd00:ec2::254 fd00:ec2::23 fd20:ce::254",
    "fe80:: fe80::1 febf:ffff::1",
    "fec0:: fec0::1 feff::1",
    "ff00:: ff02::1 ff0e::1",
];

/// Forbidden addresses, one by one.
pub(super) fn addresses() -> Vec<IpAddr> {
    RANGES.iter().flat_map(|range| range.split(' ')).filter_map(|text| text.parse().ok()).collect()
}
