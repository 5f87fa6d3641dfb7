// SPDX-License-Identifier: Apache-2.0
//! The names under which scripts see tools.

/// The identifier that stands for a tool's name in scripts: each character that cannot stand in an
/// identifier becomes `_` (javascript-surface, section *Tools*). ASCII only, as on the public host.
pub fn script_name(name: &str) -> String {
    let mut identifier: String = name
        .chars()
        .enumerate()
        .map(|(at, c)| {
            let stands = c == '_' || c == '$' || c.is_ascii_alphabetic();
            if stands || (at > 0 && c.is_ascii_digit()) {
                c
            } else {
                '_'
            }
        })
        .collect();
    if identifier.is_empty() {
        identifier.push('_');
    }
    identifier
}

#[cfg(test)]
mod tests {
    use super::script_name;

    #[test]
    fn what_cannot_stand_in_an_identifier_becomes_an_underscore() {
        for (name, expected) in [
            ("get-profile", "get_profile"),
            ("a.b/c d", "a_b_c_d"),
            ("$ok_1", "$ok_1"),
            ("2nd.place", "_nd_place"),
            ("größe", "gr__e"),
            ("", "_"),
        ] {
            assert_eq!(script_name(name), expected, "{name:?}");
        }
    }
}
