// SPDX-License-Identifier: Apache-2.0
//! Addresses of hosts, told from paths.

use std::path::Path;

/// Whether this is an address such as `grpc://127.0.0.1:7000` and no path.
pub fn is_address(host: &Path) -> bool {
    let text = host.to_string_lossy();
    text.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty()
            && scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_from_a_path() {
        for address in [
            "grpc://127.0.0.1:7000",
            "http://[::1]:80",
            "grpc+unix:///run/host",
        ] {
            assert!(is_address(Path::new(address)), "{address}");
        }
        for path in [
            "code_mode_host",
            "/opt/host",
            "a b://c",
            "://x",
            "./grpc:/x",
        ] {
            assert!(!is_address(Path::new(path)), "{path}");
        }
    }
}
