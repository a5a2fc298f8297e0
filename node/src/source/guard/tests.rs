use core::net::{Ipv4Addr, Ipv6Addr};
use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// What is refused, by class, as it may stand in a URL.
const REFUSED: &[(Class, &[&str])] = &[
    (
        Class::Loopback,
        &[
            "127.0.0.1",
            "127.0.0.1.",
            "127.1",
            "127.0.1",
            "127.255.255.254",
            "127.127.127.127",
            "2130706433",
            "2130706433.",
            "017700000001",
            "0x7f000001",
            "0X7F000001",
            "0x7f.0.0.1",
            "0x7f.1",
            "0177.0.0.1",
            "0177.0.0.01",
            "00000177.1",
            "0x7f.0.0.0x1",
            "127.0x000001",
            "127.0.0.0x1",
            "%31%32%37.0.0.1",
            "127%2e0%2e0%2e1",
            "127。0。0。1",
            "127．0．0．1",
            "127｡0｡0｡1",
            "１２７.0.0.1",
            "①②⑦.0.0.1",
            "𝟭𝟮𝟳.𝟬.𝟬.𝟭",
            "%EF%BC%91%32%37.1",
            "localhost",
            "LOCALHOST",
            "localhost.",
            "LocalHost.",
            "a.localhost",
            "a.b.localhost.",
            "ｌｏｃａｌｈｏｓｔ",
            "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ",
            "local\u{ad}host",
            "%6c%6f%63alhost",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[0000::0001]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::FFFF:7F00:0001]",
            "[0:0:0:0:0:ffff:127.0.0.1]",
            "[64:ff9b::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[0064:FF9B:0:0:0:0:7f00:0001]",
            "[2a00::5efe:127.0.0.1]",
            "[2a00::200:5efe:7f00:1]",
        ],
    ),
    (
        Class::Private,
        &[
            "10.0.0.0",
            "10.0.0.1",
            "10.255.255.255",
            "10.1",
            "0xa.1",
            "012.1",
            "167772161",
            "0x0a000001",
            "172.16.0.0",
            "172.16.0.1",
            "172.31.255.255",
            "172.20.1",
            "0xac100001",
            "2886729729",
            "0254.020.0.1",
            "192.168.0.0",
            "192.168.0.1",
            "192.168.1.1.",
            "192.168.257",
            "192.168.255.255",
            "0xc0.0xa8.1.1",
            "0300.0250.1.1",
            "3232235777",
            "192。168。1。1",
            "１９２.１６８.１.１",
            "[::ffff:10.0.0.1]",
            "[::ffff:c0a8:101]",
            "[64:ff9b::10.1.2.3]",
            "[64:ff9b::ac10:1]",
            "[2600::5efe:192.168.1.1]",
            "[2600::200:5efe:10.0.0.1]",
        ],
    ),
    (
        Class::Shared,
        &[
            "100.64.0.0",
            "100.64.0.1",
            "100.127.255.255",
            "100.100.1",
            "0x64400001",
            "[::ffff:100.64.0.1]",
            "[64:ff9b::6440:1]",
        ],
    ),
    (
        Class::LinkLocal,
        &[
            "169.254.0.0",
            "169.254.0.1",
            "169.254.255.255",
            "169.254.1",
            "0xa9fe0001",
            "[::ffff:169.254.1.1]",
            "[64:ff9b::169.254.1.1]",
            "[fe80::]",
            "[fe80::1]",
            "[febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff]",
            "[FE80:0::0:1]",
        ],
    ),
    (
        Class::Metadata,
        &[
            "169.254.169.254",
            "169.254.43518",
            "2852039166",
            "0xa9fea9fe",
            "0xa9.0xfe.0xa9.0xfe",
            "0251.0376.0251.0376",
            "025177524776",
            "169。254。169。254",
            "%31%36%39.254.169.254",
            "①⑥⑨.254.169.254",
            "[::ffff:169.254.169.254]",
            "[::ffff:a9fe:a9fe]",
            "[64:ff9b::a9fe:a9fe]",
            "[64:ff9b::169.254.169.254]",
            "169.254.170.2",
            "169.254.170.23",
            "169.254.169.253",
            "169.254.42.42",
            "169.254.0.23",
            "100.100.100.200",
            "0x646464c8",
            "192.0.0.192",
            "168.63.129.16",
            "0xa83f8110",
            "[::ffff:168.63.129.16]",
            "[fd00:ec2::254]",
            "[fd00:0ec2:0:0:0:0:0:254]",
            "[fd00:ec2::23]",
            "[fd20:ce::254]",
            "[fd00:42::42]",
        ],
    ),
    (
        Class::Unspecified,
        &[
            "0.0.0.0",
            "0",
            "0x0",
            "00",
            "0.0",
            "0.0.0.0.",
            "0x",
            "[::]",
            "[0:0:0:0:0:0:0:0]",
            "[::ffff:0.0.0.0]",
            "[64:ff9b::]",
        ],
    ),
    (
        Class::ThisNetwork,
        &["0.0.0.1", "0.1", "1", "0x1", "0.255.255.255", "0.1.2.3", "[::ffff:0.0.0.1]", "[64:ff9b::1]"],
    ),
    (
        Class::ProtocolAssignments,
        &[
            "192.0.0.0",
            "192.0.0.1",
            "192.0.0.8",
            "192.0.0.9",
            "192.0.0.170",
            "192.0.0.255",
            "[2001:1::1]",
            "[2001:1ff:ffff::]",
            "[2001:3::1]",
            "[2001:4:112::1]",
            "[2001:100::1]",
        ],
    ),
    (
        Class::Documentation,
        &[
            "192.0.2.0",
            "192.0.2.1",
            "192.0.2.255",
            "198.51.100.1",
            "203.0.113.0",
            "203.0.113.255",
            "0xcb007101",
            "[2001:db8::1]",
            "[2001:db8:ffff::]",
            "[3fff::1]",
            "[3fff:fff::]",
        ],
    ),
    (
        Class::SixToFour,
        &[
            "192.88.99.0",
            "192.88.99.1",
            "192.88.99.255",
            "[2002::]",
            "[2002:7f00:1::]",
            "[2002:a00:1::1]",
            "[2002:a9fe:a9fe::]",
            "[2002:808:808::1]",
        ],
    ),
    (
        Class::Benchmarking,
        &["198.18.0.0", "198.18.0.1", "198.19.255.255", "0xc6120001", "[2001:2::1]", "[2001:2:0:ffff::]"],
    ),
    (
        Class::Multicast,
        &[
            "224.0.0.0",
            "224.0.0.1",
            "239.255.255.255",
            "0xe0000001",
            "[::ffff:224.0.0.1]",
            "[ff00::]",
            "[ff02::1]",
            "[ff0e::1]",
            "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]",
        ],
    ),
    (
        Class::Reserved,
        &[
            "240.0.0.0",
            "240.0.0.1",
            "255.255.255.254",
            "0xf0000001",
            "[::ffff:240.0.0.1]",
            "[1::1]",
            "[200::1]",
            "[400::1]",
            "[1fff::1]",
            "[3ffe::1]",
            "[4000::1]",
            "[8000::1]",
            "[a000::1]",
            "[fbff::1]",
            "[fe00::1]",
            "[::1:0:0:0]",
            "[64:ff9b:0:1::1]",
        ],
    ),
    (
        Class::Broadcast,
        &[
            "255.255.255.255",
            "4294967295",
            "0xffffffff",
            "037777777777",
            "255.255.65535",
            "[::ffff:255.255.255.255]",
            "[64:ff9b::ffff:ffff]",
        ],
    ),
    (
        Class::Compatible,
        &["[::127.0.0.1]", "[::7f00:1]", "[::2]", "[::8.8.8.8]", "[::ffff]", "[::a9fe:a9fe]"],
    ),
    (Class::Translated, &["[::ffff:0:127.0.0.1]", "[::ffff:0:8.8.8.8]", "[::ffff:0:7f00:1]"]),
    (Class::LocalNat64, &["[64:ff9b:1::1]", "[64:ff9b:1::127.0.0.1]", "[64:ff9b:1:ffff:ffff:ffff:8.8.8.8]"]),
    (Class::Teredo, &["[2001::]", "[2001::1]", "[2001:0:53aa:64c:0:0:80ff:fffe]", "[2001:0:ffff::]"]),
    (
        Class::Orchid,
        &["[2001:10::1]", "[2001:1f:ffff::]", "[2001:20::1]", "[2001:2f:ffff::]", "[2001:30::1]"],
    ),
    (Class::UniqueLocal, &["[fc00::]", "[fc00::1]", "[fd00::1]", "[fdff:ffff::1]", "[fd12:3456:789a::1]"]),
    (Class::SiteLocal, &["[fec0::]", "[fec0::1]", "[feff::1]"]),
    (Class::Discard, &["[100::]", "[100::1]", "[100:0:0:1::1]"]),
    (Class::SegmentRouting, &["[5f00::1]", "[5f00:ffff::]"]),
];

/// What looks alike and is public.
const PUBLIC: &[&str] = &[
    "1.0.0.0",
    "1.1.1.1",
    "8.8.8.8",
    "134744072",
    "0x08080808",
    "8.8.2056",
    "010.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "191.255.255.255",
    "192.0.1.0",
    "192.0.3.0",
    "192.31.196.1",
    "192.52.193.1",
    "192.88.98.255",
    "192.88.100.0",
    "192.167.255.255",
    "192.169.0.0",
    "192.175.48.1",
    "198.17.255.255",
    "198.20.0.0",
    "198.51.99.255",
    "198.51.101.0",
    "203.0.112.255",
    "203.0.114.0",
    "223.255.255.255",
    "168.63.129.15",
    "168.63.129.17",
    "[2000::1]",
    "[2001:200::1]",
    "[2001:4860:4860::8888]",
    "[2001:db7:ffff::]",
    "[2001:db9::]",
    "[2003::1]",
    "[2001:7fff::]",
    "[2606:4700::1111]",
    "[2620:4f:8000::1]",
    "[2a00:1450::1]",
    "[3ffd::1]",
    "[::ffff:8.8.8.8]",
    "[::ffff:808:808]",
    "[64:ff9b::8.8.8.8]",
    "[64:ff9b::808:808]",
    "[2600::5efe:8.8.8.8]",
    "example.com",
    "127.0.0.1.example.com",
    "localhost.example.com",
    "notlocalhost",
    "mylocalhost",
    "10.example.com",
    "xn--bcher-kva.example",
    "127.0.0.1.nip.io",
    "localhost.localdomain",
    "metadata.google.internal",
    "127.0.0.1..",
];

/// What is no URL at all, so that nothing of it is ever dialled.
const NO_URL: &[&str] = &[
    "[fe80::1%eth0]",
    "[fe80::1%25eth0]",
    "[::1%lo]",
    "[::1%251]",
    "[::1",
    "::1",
    "127.0.0.256",
    "256.0.0.1",
    "127.0.0.0.1",
    "0x7f.0.0.0.1",
    "4294967296",
    "0x100000000",
    "08.0.0.1",
    "127.0.0.09",
    "1.2.3.4.5",
    "[::ffff:127.0.0.256]",
    "[::127.1]",
    "[127.0.0.1]",
    "[::1].",
    "a b",
    "127.0.0.1%00",
    "127.0.0.1%20",
    "exa<mple",
    "%",
    "[v1.x]",
    "local%00host",
    "[::ffff:127.1]",
    "xn--a",
];

fn judge(guard: &Guard, host: &str) -> Option<Result<(), Refusal>> {
    Url::parse(&format!("http://{host}/")).ok().map(|url| guard.check_url(&url))
}

#[test]
fn it_refuses_what_is_not_public_in_any_spelling() {
    let guard = Guard::default();
    let mut forms = BTreeSet::new();
    for (expected, hosts) in REFUSED {
        for host in *hosts {
            assert!(forms.insert(*host), "{host} stands here twice");
            match judge(&guard, host) {
                Some(Err(Refusal::Address { class, .. })) => assert_eq!(class, *expected, "{host}"),
                other => panic!("{host} is {expected}, but the guard says {other:?}"),
            }
            for scheme in ["https", "ws", "wss"] {
                let url = Url::parse(&format!("{scheme}://user:word@{host}:8443/path?query#part")).unwrap();
                assert!(guard.check_url(&url).is_err(), "{url}");
            }
        }
    }
    assert!(forms.len() >= 250, "{} forms", forms.len());
}

#[test]
fn it_lets_through_what_is_public() {
    for host in PUBLIC {
        assert_eq!(judge(&Guard::default(), host), Some(Ok(())), "{host}");
    }
}

#[test]
fn it_meets_no_url_in_what_parses_as_none() {
    for host in NO_URL {
        assert_eq!(judge(&Guard::default(), host), None, "{host}");
    }
}

#[test]
fn it_refuses_schemes_and_urls_without_a_host() {
    for text in [
        "file:///etc/passwd",
        "ftp://example.com/",
        "gopher://127.0.0.1:70/",
        "data:,x",
        "mailto:a@b",
        "unix:/run/x",
        "foo://127.0.0.1/",
    ] {
        let refusal = Guard::new(Allowed::All).check_url(&Url::parse(text).unwrap());
        assert!(matches!(refusal, Err(Refusal::Scheme(_))), "{text}: {refusal:?}");
    }
}

#[test]
fn it_says_what_is_refused_and_what_would_allow_it() {
    for (host, expected) in [
        (
            "0x7f.1",
            "127.0.0.1:80 is a loopback address; to let sources reach it, start the node with --allow-private-sources 127.0.0.1:80",
        ),
        (
            "[::ffff:10.0.0.1]:8080",
            "::ffff:10.0.0.1 is at 10.0.0.1:8080, a private address; to let sources reach it, start the node with --allow-private-sources 10.0.0.1:8080",
        ),
        (
            "[fd00::1]",
            "[fd00::1]:80 is a unique-local address; to let sources reach it, start the node with --allow-private-sources [fd00::1]:80",
        ),
        (
            "A.localhost.",
            "a.localhost:80 is a loopback address; to let sources reach it, start the node with --allow-private-sources a.localhost:80",
        ),
    ] {
        assert_eq!(judge(&Guard::default(), host).unwrap().unwrap_err().to_string(), expected);
    }
    let refusal = Guard::default().allows("sensor.lan", "169.254.169.254:80".parse().unwrap()).unwrap_err();
    assert!(
        refusal.to_string().starts_with("sensor.lan is at 169.254.169.254:80, a cloud metadata address;"),
        "{refusal}"
    );
}

#[test]
fn it_obeys_the_option_to_the_letter() {
    let these =
        |list: &str| Guard::new(Allowed::These(list.split(',').map(|one| one.parse().unwrap()).collect()));
    for (list, host, address, expected) in [
        ("127.0.0.1:80", "127.0.0.1", "127.0.0.1:80", true),
        ("127.0.0.1:80", "a.example", "127.0.0.1:80", true),
        ("127.0.0.1:80", "127.0.0.1", "127.0.0.1:81", false),
        ("127.0.0.1:80", "127.0.0.1", "127.0.0.2:80", false),
        ("127.0.0.1:80", "127.0.0.1", "[64:ff9b::127.0.0.1]:80", false),
        ("a.lan:80", "a.lan", "10.0.0.1:80", true),
        ("a.lan:80", "b.lan", "10.0.0.1:80", false),
        ("a.lan:80,10.0.0.2:81", "b.lan", "10.0.0.2:81", true),
        ("a.lan:80", "example.com", "8.8.8.8:80", true),
    ] {
        let allowed = these(list).allows(host, address.parse().unwrap()).is_ok();
        assert_eq!(allowed, expected, "{list}: {host} at {address}");
    }
    for (list, host, expected) in [
        ("127.0.0.1:80", "localhost", true),
        ("localhost:80", "LOCALHOST.", true),
        ("localhost:81", "localhost", false),
        ("10.0.0.1:80", "localhost", false),
        ("10.0.0.1:80", "0xa.1", true),
    ] {
        assert_eq!(judge(&these(list), host).unwrap().is_ok(), expected, "{list}: {host}");
    }
    let all = Guard::new(Allowed::All);
    assert!(REFUSED.iter().flat_map(|(_, hosts)| *hosts).all(|host| judge(&all, host) == Some(Ok(()))));
}

#[test]
fn it_ends_each_range_where_the_registry_ends_it() {
    for (first, last) in [
        ("10.0.0.0", "10.255.255.255"),
        ("100.64.0.0", "100.127.255.255"),
        ("127.0.0.0", "127.255.255.255"),
        ("169.254.0.0", "169.254.255.255"),
        ("172.16.0.0", "172.31.255.255"),
        ("192.0.0.0", "192.0.0.255"),
        ("192.0.2.0", "192.0.2.255"),
        ("192.88.99.0", "192.88.99.255"),
        ("192.168.0.0", "192.168.255.255"),
        ("198.18.0.0", "198.19.255.255"),
        ("198.51.100.0", "198.51.100.255"),
        ("203.0.113.0", "203.0.113.255"),
    ] {
        let bits = |text: &str| text.parse::<Ipv4Addr>().unwrap().to_bits();
        let special = |bits: u32| class(Ipv4Addr::from_bits(bits).into()).is_some();
        let (first, last) = (bits(first), bits(last));
        assert_eq!([first - 1, first, last, last + 1].map(special), [false, true, true, false], "{first:x}");
    }
}

/// The spellings in which WHATWG URLs take an IPv4 address.
fn spell(ip: Ipv4Addr, how: [u8; 4], parts: usize, dot: &str) -> String {
    let octets = ip.octets();
    let number = |value: u32, how: u8| match how % 4 {
        0 => value.to_string(),
        1 => format!("0{value:o}"),
        2 => format!("0x{value:x}"),
        _ => format!("0X00{value:X}"),
    };
    let split = parts - 1;
    let rest = octets[split..].iter().fold(0, |sum, octet| sum << 8 | u32::from(*octet));
    let first = octets[..split].iter().zip(how).map(|(octet, how)| number(u32::from(*octet), how));
    first.chain([number(rest, how[3])]).collect::<Vec<_>>().join(dot)
}

proptest! {
    #[test]
    fn it_judges_all_spellings_of_an_address_alike(
        bits in prop_oneof![any::<u32>(), (0x7f00_0000..=0x7fff_ffffu32), (0x0a00_0000..=0x0aff_ffffu32), Just(0xa9fe_a9feu32)],
        how in any::<[u8; 4]>(),
        parts in 1usize..=4,
        dot in prop_oneof![Just("."), Just("。"), Just("．"), Just("%2e"), Just("%E3%80%82")],
        port in 1u16..,
    ) {
        let ip = Ipv4Addr::from_bits(bits);
        let guard = Guard::default();
        let expected = class(ip.into());
        let mapped = ip.to_ipv6_mapped();
        let nat64 = Ipv6Addr::from_bits(0x64_ff9b << 96 | u128::from(bits));
        for host in [spell(ip, how, parts, dot), format!("[{mapped}]"), format!("[{nat64}]")] {
            let url = Url::parse(&format!("https://{host}:{port}/")).unwrap();
            let judged = guard.check_url(&url);
            prop_assert_eq!(judged.is_err(), expected.is_some(), "{}", url);
        }
    }

    #[test]
    fn it_refuses_at_least_what_the_standard_library_calls_special(bits in any::<u32>(), wide in any::<u128>()) {
        let ip = Ipv4Addr::from_bits(bits);
        let special = ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_broadcast()
            || ip.is_documentation() || ip.is_multicast() || ip.is_unspecified() || ip.octets()[0] == 0;
        prop_assert!(!special || class(ip.into()).is_some(), "{}", ip);
        let ip = Ipv6Addr::from_bits(wide);
        let special = ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || ip.is_unique_local()
            || ip.is_unicast_link_local() || ip.segments()[0] >> 13 != 1;
        prop_assert!(!special || class(ip.into()).is_some(), "{}", ip);
    }

    #[test]
    fn it_allows_what_it_names_in_its_refusal(bits in any::<u32>(), port in 1u16..) {
        let address = SocketAddr::new(Ipv4Addr::from_bits(bits).into(), port);
        if let Err(refusal) = Guard::default().allows("a.example", address) {
            let words = refusal.to_string();
            let (_, option) = words.rsplit_once(' ').unwrap();
            let guard = Guard::new(Allowed::These(vec![option.parse().unwrap()]));
            prop_assert_eq!(guard.allows("a.example", address), Ok(()));
        }
    }
}
