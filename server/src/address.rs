//! Addresses that nodes and clients are told to connect to.

use std::net::{IpAddr, Ipv6Addr};

/// The most bytes an address can have: a DNS name of 253 and a port.
pub const ADDRESS_MAX_BYTES: usize = 259;

/// Why a text is not an address. Displays as what is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// Not of the form.
    #[error("must be host:port, such as node1.example:7601, 10.0.0.1:7601 or [2001:db8::1]:7601")]
    Malformed,
    /// No port, 0, or above 65535.
    #[error("must end in a port from 1 to 65535")]
    BadPort,
    /// `0.0.0.0` or `[::]`.
    #[error("is a wildcard: others cannot connect to it; state the address by which they reach this node")]
    Wildcard,
}

/// Checks an address that others connect to: a host name or an IP address, and a port.
pub fn check(address: &str) -> Result<(), BadAddress> {
    let (host, port) = address.rsplit_once(':').ok_or(BadAddress::Malformed)?;
    if address.len() > ADDRESS_MAX_BYTES {
        return Err(BadAddress::Malformed);
    }
    if port.starts_with('+') || !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Err(BadAddress::BadPort);
    }
    match host_ip(host)? {
        Some(ip) if ip.is_unspecified() => Err(BadAddress::Wildcard),
        _ => Ok(()),
    }
}

/// Whether the address is known to lead back to the machine it is used on.
pub fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host == "localhost" || matches!(host_ip(host), Ok(Some(ip)) if ip.is_loopback())
}

fn host_ip(host: &str) -> Result<Option<IpAddr>, BadAddress> {
    if let Some(v6) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return v6.parse::<Ipv6Addr>().map(|ip| Some(ip.into())).map_err(|_| BadAddress::Malformed);
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        // A bare IPv6 address before a port is ambiguous.
        return if ip.is_ipv4() { Ok(Some(ip)) } else { Err(BadAddress::Malformed) };
    }
    let label = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if host.trim_end_matches('.').split('.').all(label) { Ok(None) } else { Err(BadAddress::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_checked() {
        for good in ["localhost:1", "10.0.0.1:65535", "[::1]:7601", "node-1.example.com:7600", "a_b:7600"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("", BadAddress::Malformed),
            ("host", BadAddress::Malformed),
            (":7600", BadAddress::Malformed),
            ("a b:7600", BadAddress::Malformed),
            ("::1:7600", BadAddress::Malformed),
            ("http://host:7600", BadAddress::Malformed),
            ("host:0", BadAddress::BadPort),
            ("host:65536", BadAddress::BadPort),
            ("host:+80", BadAddress::BadPort),
            ("0.0.0.0:7600", BadAddress::Wildcard),
            ("[::]:7600", BadAddress::Wildcard),
        ] {
            assert_eq!(check(bad), Err(why), "{bad}");
        }
    }

    #[test]
    fn loopback_is_recognised() {
        assert!(is_loopback("localhost:1") && is_loopback("127.0.0.1:1") && is_loopback("[::1]:1"));
        assert!(!is_loopback("10.0.0.1:1") && !is_loopback("node1:1"));
    }
}
