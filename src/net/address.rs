//! Which addresses are public, and which private ones the operator allows.
//! Source: the IANA special-purpose address registries for IPv4 and IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network in CIDR terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// Builds a network; nothing when the prefix is longer than the address.
    #[must_use]
    pub fn new(address: IpAddr, prefix_bits: u8) -> Option<Self> {
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        (prefix_bits <= bits_max).then_some(Self {
            address,
            prefix_bits,
        })
    }

    /// Tells whether the address lies in the network; an IPv4 address in IPv6 clothes counts as
    /// what it is.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => same_prefix(
                u128::from(network.to_bits()) << 96,
                u128::from(address.to_bits()) << 96,
                self.prefix_bits,
            ),
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                same_prefix(network.to_bits(), address.to_bits(), self.prefix_bits)
            }
            _ => false,
        }
    }
}

/// Compares the leading bits.
fn same_prefix(a: u128, b: u128, bits: u8) -> bool {
    // A shift by the whole width is no shift at all in Rust, hence the checked one.
    (a ^ b).checked_shr(128 - u32::from(bits)).unwrap_or(0) == 0
}

/// IPv4 ranges that are not public, each with what it is.
const SPECIAL_V4: [([u8; 4], u8); 15] = [
    ([0, 0, 0, 0], 8),       // this network
    ([10, 0, 0, 0], 8),      // private
    ([100, 64, 0, 0], 10),   // carrier-grade NAT
    ([127, 0, 0, 0], 8),     // loopback
    ([169, 254, 0, 0], 16),  // link-local, cloud metadata
    ([172, 16, 0, 0], 12),   // private
    ([192, 0, 0, 0], 24),    // protocol assignments
    ([192, 0, 2, 0], 24),    // documentation
    ([192, 88, 99, 0], 24),  // relays, withdrawn
    ([192, 168, 0, 0], 16),  // private
    ([198, 18, 0, 0], 15),   // benchmarks
    ([198, 51, 100, 0], 24), // documentation
    ([203, 0, 113, 0], 24),  // documentation
    ([224, 0, 0, 0], 4),     // multicast
    ([240, 0, 0, 0], 4),     // reserved, broadcast
];

/// Parts of the global unicast range `2000::/3` that are not public.
const SPECIAL_V6: [([u16; 2], u8); 4] = [
    ([0x2001, 0], 23),      // protocol assignments, tunnels that hide an IPv4 address
    ([0x2001, 0x0db8], 32), // documentation
    ([0x2002, 0], 16),      // tunnels that hide an IPv4 address
    ([0x3fff, 0], 20),      // documentation
];

/// Tells whether the address is one of the public internet's.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => !SPECIAL_V4.iter().any(|(base, bits)| {
            in_network(IpAddr::V4(Ipv4Addr::from(*base)), *bits, IpAddr::V4(v4))
        }),
        IpAddr::V6(v6) => {
            let base = |[a, b]: [u16; 2]| IpAddr::V6(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0));
            // Everything outside global unicast is special: loopback, local, multicast, translated.
            in_network(base([0x2000, 0]), 3, IpAddr::V6(v6))
                && !SPECIAL_V6
                    .iter()
                    .any(|(special, bits)| in_network(base(*special), *bits, IpAddr::V6(v6)))
        }
    }
}

fn in_network(address: IpAddr, prefix_bits: u8, candidate: IpAddr) -> bool {
    Network {
        address,
        prefix_bits,
    }
    .contains(candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses() {
        for (text, public) in [
            ("1.1.1.1", true),
            ("93.184.216.34", true),
            ("100.63.255.255", true),
            ("100.64.0.0", false),
            ("100.127.255.255", false),
            ("100.128.0.0", true),
            ("172.15.255.255", true),
            ("172.16.0.1", false),
            ("172.31.255.255", false),
            ("172.32.0.0", true),
            ("0.0.0.0", false),
            ("0.1.2.3", false),
            ("10.0.0.1", false),
            ("127.0.0.1", false),
            ("127.255.255.254", false),
            ("169.254.169.254", false),
            ("192.0.0.8", false),
            ("192.168.0.1", false),
            ("198.18.0.1", false),
            ("198.20.0.1", true),
            ("203.0.113.9", false),
            ("224.0.0.1", false),
            ("239.255.255.250", false),
            ("240.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:10.1.2.3", false),
            ("::ffff:8.8.8.8", true),
            ("::7f00:1", false),
            ("64:ff9b::7f00:1", false),
            ("64:ff9b:1::1", false),
            ("100::1", false),
            ("fc00::1", false),
            ("fdff::1", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
            ("2001::1", false),
            ("2001:db8::1", false),
            ("2002:7f00:1::", false),
            ("3fff::1", false),
            ("2606:4700:4700::1111", true),
            ("2a00:1450:4001:81b::200e", true),
        ] {
            assert_eq!(is_public(text.parse().unwrap()), public, "{text}");
        }
    }

    #[test]
    fn networks() {
        for (network, bits, address, inside) in [
            ("127.0.0.0", 8, "127.9.9.9", true),
            ("127.0.0.0", 8, "::ffff:127.0.0.1", true),
            ("127.0.0.0", 8, "128.0.0.1", false),
            ("10.1.2.3", 32, "10.1.2.3", true),
            ("10.1.2.3", 32, "10.1.2.2", false),
            ("0.0.0.0", 0, "255.1.1.1", true),
            ("0.0.0.0", 0, "::1", false),
            ("::1", 128, "::1", true),
            ("fd00::", 8, "fd12::1", true),
            ("::", 0, "fe80::1", true),
        ] {
            let network = Network::new(network.parse().unwrap(), bits).unwrap();
            assert_eq!(
                network.contains(address.parse().unwrap()),
                inside,
                "{network:?} {address}"
            );
        }
        assert_eq!(Network::new("1.2.3.4".parse().unwrap(), 33), None);
    }
}
