// SPDX-License-Identifier: Apache-2.0
//! Where a host is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The address of a host that listens for gRPC.
///
/// Written as `http://HOST:PORT` (also `grpc://`), `https://HOST:PORT`, or `unix:PATH` (also `unix://PATH`
/// and `grpc+unix://PATH`, as a host announces it).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// TCP without encryption.
    Http {
        /// A name or an IP address, and a port.
        authority: String,
    },
    /// TCP with TLS.
    Https {
        /// A name or an IP address, and a port.
        authority: String,
    },
    /// A Unix socket.
    Unix {
        /// Its path.
        path: PathBuf,
    },
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It begins with no scheme that is known here.
    #[error("{0} is no address of a host: write http://HOST:PORT, https://HOST:PORT or unix:PATH")]
    Scheme(String),
    /// It has no name or no port, or more than these.
    #[error("{0} is no address of a host: a name or IP address and a port are all that it has")]
    Authority(String),
    /// It names no socket.
    #[error("{0} is no address of a host: the path of the socket is missing")]
    Path(String),
}

impl Address {
    /// Whether a text is meant as an address and not as a path: it begins with `unix:` or with the scheme
    /// of a URL, known here or not. The path of a program that looks so is written with `./` before it.
    pub fn is_meant_by(text: &str) -> bool {
        text.starts_with("unix:")
            || text.split_once("://").is_some_and(|(scheme, _)| {
                let mut characters = scheme.chars();
                characters.next().is_some_and(|c| c.is_ascii_alphabetic())
                    && characters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
            })
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let after = |scheme| text.strip_prefix(scheme);
        let path = |path: &str| match path {
            "" => Err(AddressError::Path(text.to_owned())),
            path => Ok(Self::Unix { path: path.into() }),
        };
        for scheme in ["grpc+unix://", "unix://", "unix:"] {
            if let Some(rest) = after(scheme) {
                return path(rest);
            }
        }
        let authority = |rest: &str| {
            let rest = rest.strip_suffix('/').unwrap_or(rest);
            let port = rest.rsplit_once(':').map(|(host, port)| {
                !host.is_empty() && !host.contains(['/', '@']) && port.parse::<u16>().is_ok()
            });
            match port {
                Some(true) => Ok(rest.to_owned()),
                Some(false) | None => Err(AddressError::Authority(text.to_owned())),
            }
        };
        if let Some(rest) = after("http://").or_else(|| after("grpc://")) {
            let authority = authority(rest)?;
            return Ok(Self::Http { authority });
        }
        if let Some(rest) = after("https://") {
            let authority = authority(rest)?;
            return Ok(Self::Https { authority });
        }
        Err(AddressError::Scheme(text.to_owned()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { authority } => write!(f, "http://{authority}"),
            Self::Https { authority } => write!(f, "https://{authority}"),
            Self::Unix { path } => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_in_every_form_and_written_in_one() {
        for (text, written) in [
            ("http://127.0.0.1:7000", "http://127.0.0.1:7000"),
            ("grpc://[::1]:7000/", "http://[::1]:7000"),
            ("https://host.example:443", "https://host.example:443"),
            ("unix:/run/host.sock", "unix:/run/host.sock"),
            ("unix:///run/host.sock", "unix:/run/host.sock"),
            ("grpc+unix:///run/host.sock", "unix:/run/host.sock"),
            ("unix:host.sock", "unix:host.sock"),
        ] {
            let address: Address = text.parse().expect(text);
            assert_eq!(address.to_string(), written);
        }
    }

    #[test]
    fn an_address_is_told_from_a_path() {
        for address in [
            "grpc://127.0.0.1:7000",
            "http://[::1]:80",
            "grpc+unix:///run/host",
            "unix:host",
            "ftp://host:1",
        ] {
            assert!(Address::is_meant_by(address), "{address}");
        }
        for path in [
            "code_mode_host",
            "/opt/host",
            "a b://c",
            "://x",
            "./grpc://x",
            "./unix:host",
            "grpc:/x",
            "",
        ] {
            assert!(!Address::is_meant_by(path), "{path}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_forms() {
        for text in ["/opt/host", "ftp://host:1", "", "host:7000"] {
            let error = text.parse::<Address>().expect_err(text);
            assert_eq!(error, AddressError::Scheme(text.to_owned()));
        }
        for text in [
            "http://host",
            "http://:7000",
            "http://host:x",
            "http://host:99999",
            "http://host:80/path",
            "https://user@host:80",
        ] {
            let error = text.parse::<Address>().expect_err(text);
            assert_eq!(error, AddressError::Authority(text.to_owned()));
        }
        assert!("unix:".parse::<Address>().is_err());
    }
}
