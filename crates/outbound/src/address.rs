//! Which addresses belong to the public Internet.
//!
//! IPv6 forms that carry an IPv4 address (mapped, compatible, NAT64, 6to4, Teredo, ISATAP) are
//! judged by what they carry.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is an ordinary unicast one of the public Internet.
///
/// False for private, shared (CGNAT), loopback, link-local, unique-local, multicast, broadcast,
/// unspecified, documentation, benchmark and reserved addresses, for the metadata services of
/// clouds, and for IPv6 addresses that carry such an IPv4 address.
///
/// ```
/// # use duologue_outbound::is_public;
/// assert!(is_public("1.1.1.1".parse().unwrap()));
/// assert!(!is_public("169.254.169.254".parse().unwrap()));
/// assert!(!is_public("::ffff:10.0.0.1".parse().unwrap()));
/// ```
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

/// Ranges of IPv4 that aren't the public Internet: network and prefix length.
const NOT_PUBLIC: &[(Ipv4Addr, u32)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    // Protocol assignments, with a metadata service at .192.
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    // Relays of 6to4, withdrawn.
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    // A cloud's host agent, on an address that looks public.
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    // Multicast, and all that is reserved above it.
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];

fn is_public_v4(address: Ipv4Addr) -> bool {
    let bits = address.to_bits();
    !NOT_PUBLIC.iter().any(|(network, length)| (bits ^ network.to_bits()) >> (32 - length) == 0)
}

/// Ranges within global unicast (2000::/3) that aren't the public Internet.
const NOT_PUBLIC_V6: &[(Ipv6Addr, u32)] = &[
    // Benchmarks, ORCHID, ORCHIDv2, drone identifiers.
    (Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0), 48),
    (Ipv6Addr::new(0x2001, 0x10, 0, 0, 0, 0, 0, 0), 28),
    (Ipv6Addr::new(0x2001, 0x20, 0, 0, 0, 0, 0, 0), 28),
    (Ipv6Addr::new(0x2001, 0x30, 0, 0, 0, 0, 0, 0), 28),
    // Documentation.
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let bits = address.to_bits();
    match segments {
        // Mapped, compatible (loopback and unspecified are among these), NAT64.
        [0, 0, 0, 0, 0, 0xffff, ..] | [0, 0, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => {
            return is_public_v4(Ipv4Addr::from_bits(low32(bits)));
        }
        // 6to4.
        [0x2002, ..] if !is_public_v4(Ipv4Addr::from_bits(low32(bits >> 80))) => return false,
        // Teredo: the server, and the client with its bits inverted.
        [0x2001, 0, ..]
            if !is_public_v4(Ipv4Addr::from_bits(low32(bits >> 64)))
                || !is_public_v4(Ipv4Addr::from_bits(!low32(bits))) =>
        {
            return false;
        }
        _ => {}
    }
    // ISATAP: an interface id that names an IPv4 address.
    if matches!(segments, [_, _, _, _, 0 | 0x200, 0x5efe, ..]) && !is_public_v4(Ipv4Addr::from_bits(low32(bits))) {
        return false;
    }
    // Everything outside global unicast is local, multicast or unassigned.
    segments[0] >> 13 == 1
        && !NOT_PUBLIC_V6.iter().any(|(network, length)| (bits ^ network.to_bits()) >> (128 - length) == 0)
}

fn low32(bits: u128) -> u32 {
    (bits & u128::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public(address: &str) -> bool {
        is_public(address.parse().unwrap())
    }

    #[test]
    fn the_public_internet_is_public() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "11.0.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.255.255",
            "172.32.0.1",
            "169.253.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450:4001::5",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ] {
            assert!(public(address), "{address}");
        }
    }

    #[test]
    fn the_rest_is_not() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
        ] {
            assert!(!public(address), "{address}");
        }
        for address in [
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:a00:1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "100::1",
            "2001:db8::1",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "5f00::1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            // Teredo: a private server; a client 127.0.0.1.
            "2001:0:a00:1::",
            "2001:0:808:808:0:0:80ff:fffe",
            "2606:4700::5efe:10.0.0.1",
            "2606:4700::200:5efe:169.254.169.254",
        ] {
            assert!(!public(address), "{address}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_form_that_carries_an_address_is_judged_like_it(bits: u32) {
            let v4 = Ipv4Addr::from_bits(bits);
            let [a, b, c, d] = v4.octets().map(u16::from);
            let (high, low) = (a << 8 | b, c << 8 | d);
            let expected = is_public_v4(v4);
            proptest::prop_assert_eq!(is_public_v6(v4.to_ipv6_mapped()), expected);
            proptest::prop_assert_eq!(is_public_v6(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low)), expected);
            proptest::prop_assert_eq!(is_public_v6(Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1)), expected);
        }
    }
}
