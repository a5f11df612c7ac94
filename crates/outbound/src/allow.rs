//! What the operator opens besides the public Internet.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use crate::Error;

/// Hosts, addresses and networks that may be reached although they aren't public.
///
/// An entry is one of
///
/// | entry | opens |
/// |---|---|
/// | `*` | everything |
/// | `10.0.0.0/8`, `fd00::/8` | the addresses of a network |
/// | `10.1.2.3`, `10.1.2.3:8080`, `[fd00::1]:8080` | an address, on one port if it is given |
/// | `crm.internal`, `crm.internal:8080` | a host name, whatever it resolves to |
/// | `*.internal` | all names below it |
///
/// Addresses open a target whatever name led to it; a name opens only URLs that say that name.
///
/// ```
/// # use duologue_outbound::AllowList;
/// let list: AllowList = "127.0.0.1:8080, 10.0.0.0/8, *.internal".parse().unwrap();
/// assert!(list.allows("any.name", 8080, "127.0.0.1".parse().unwrap()));
/// assert!(!list.allows("any.name", 80, "127.0.0.1".parse().unwrap()));
/// ```
#[derive(Clone, Debug, Default)]
pub struct AllowList(Vec<Entry>);

#[derive(Clone, Debug)]
enum Entry {
    Everything,
    Network {
        network: IpAddr,
        length: u32,
        port: Option<u16>,
    },
    Host {
        name: String,
        port: Option<u16>,
    },
    /// A suffix with its leading dot.
    Below {
        suffix: String,
        port: Option<u16>,
    },
}

impl AllowList {
    /// Opens nothing: only the public Internet is reached.
    pub fn none() -> Self {
        AllowList::default()
    }

    /// Opens everything.
    pub(crate) fn everything() -> Self {
        AllowList(vec![Entry::Everything])
    }

    /// Reads entries; empty ones are skipped.
    ///
    /// # Errors
    /// [`Error::Settings`], naming the first entry that can't be understood.
    pub fn new<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        let entries = entries.into_iter().map(str::trim).filter(|entry| !entry.is_empty());
        Ok(AllowList(entries.map(entry).collect::<Result<_, _>>()?))
    }

    /// Whether this address, to which `host` led, may be reached on this port. `host` is as in a
    /// URL: lower case, without brackets.
    pub fn allows(&self, host: &str, port: u16, address: IpAddr) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        let address = address.to_canonical();
        let on = |wanted: &Option<u16>| wanted.is_none_or(|wanted| wanted == port);
        self.0.iter().any(|entry| match entry {
            Entry::Everything => true,
            Entry::Network { network, length, port } => on(port) && contains(*network, *length, address),
            Entry::Host { name, port } => on(port) && name == host,
            Entry::Below { suffix, port } => on(port) && host.len() > suffix.len() && host.ends_with(suffix.as_str()),
        })
    }
}

impl FromStr for AllowList {
    type Err = Error;

    /// Entries between commas or white space.
    fn from_str(text: &str) -> Result<Self, Error> {
        AllowList::new(text.split([',', ' ', '\n', '\t']))
    }
}

fn entry(text: &str) -> Result<Entry, Error> {
    let unusable = || Error::Settings(format!("\"{text}\" is no host, address or network to allow"));
    if text == "*" {
        return Ok(Entry::Everything);
    }
    if let Some((network, length)) = text.split_once('/') {
        let network: IpAddr = network.parse().map_err(|_| unusable())?;
        let length: u32 = length.parse().map_err(|_| unusable())?;
        if length > bits(network) {
            return Err(unusable());
        }
        return Ok(Entry::Network { network, length, port: None });
    }
    if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(Entry::Network {
            network: address.to_canonical(),
            length: bits(address.to_canonical()),
            port: None,
        });
    }
    if let Ok(socket) = text.parse::<SocketAddr>() {
        let network = socket.ip().to_canonical();
        return Ok(Entry::Network { network, length: bits(network), port: Some(socket.port()) });
    }
    let (name, port) = match text.rsplit_once(':') {
        Some((name, port)) => (name, Some(port.parse().map_err(|_| unusable())?)),
        None => (text, None),
    };
    let (below, name) = match name.strip_prefix("*.") {
        Some(name) => (true, name),
        None => (false, name),
    };
    // The same rules as for a URL's host, so that the two can be compared as texts.
    match url::Host::parse(name) {
        Ok(url::Host::Domain(name)) if !name.contains('*') => {
            let name = name.trim_end_matches('.');
            Ok(match below {
                true => Entry::Below { suffix: format!(".{name}"), port },
                false => Entry::Host { name: name.to_owned(), port },
            })
        }
        _ => Err(unusable()),
    }
}

fn bits(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn contains(network: IpAddr, length: u32, address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            (network.to_bits() ^ address.to_bits()).checked_shr(32 - length).unwrap_or(0) == 0
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            (network.to_bits() ^ address.to_bits()).checked_shr(128 - length).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(list: &str, host: &str, port: u16, address: &str) -> bool {
        list.parse::<AllowList>().unwrap().allows(host, port, address.parse().unwrap())
    }

    #[test]
    fn networks_open_addresses() {
        assert!(allows("10.0.0.0/8", "x", 80, "10.9.9.9"));
        assert!(allows("10.0.0.0/8", "x", 80, "::ffff:10.9.9.9"));
        assert!(!allows("10.0.0.0/8", "x", 80, "11.0.0.1"));
        assert!(allows("0.0.0.0/0", "x", 80, "127.0.0.1"));
        assert!(!allows("0.0.0.0/0", "x", 80, "::1"));
        assert!(allows("fd00::/8", "x", 80, "fd12::1"));
        assert!(allows("::1", "x", 80, "::1") && allows("[::1]", "x", 80, "::1"));
        assert!(allows("[::1]:80", "x", 80, "::1") && !allows("[::1]:80", "x", 81, "::1"));
    }

    #[test]
    fn names_open_urls_that_say_them() {
        assert!(allows("Crm.Internal", "crm.internal", 80, "10.0.0.1"));
        assert!(allows("crm.internal", "crm.internal.", 80, "10.0.0.1"));
        assert!(allows("crm.internal:8080", "crm.internal", 8080, "10.0.0.1"));
        assert!(!allows("crm.internal:8080", "crm.internal", 80, "10.0.0.1"));
        assert!(!allows("crm.internal", "evil.crm.internal", 80, "10.0.0.1"));
        assert!(allows("*.internal", "a.b.internal", 80, "10.0.0.1"));
        assert!(!allows("*.internal", "internal", 80, "10.0.0.1"));
        assert!(!allows("*.internal", "evilinternal", 80, "10.0.0.1"));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["10.0.0.0/33", "10.0.0/8", "a:b", "a b/c", "ex*mple", "http://x"] {
            assert!(text.parse::<AllowList>().is_err(), "{text}");
        }
        assert!(!"".parse::<AllowList>().unwrap().allows("x", 80, "10.0.0.1".parse().unwrap()));
    }
}
