// SPDX-License-Identifier: Apache-2.0
//! The values of constants in sources, and of the quantities that documents give for them.
//!
//! Both are numbers in one unit: bytes, microseconds, or what is counted.

/// Units of the documents, and what one is.
const UNITS: [(&str, u128); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("bytes", 1),
    ("µs", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("min", 60_000_000),
    ("h", 3_600_000_000),
];

/// What a document says a number is: `4 MiB`, `1,000`, `30 s`. Words after the unit are passed over.
pub(crate) fn quantity(text: &str) -> Option<u128> {
    let mut words = text.split_whitespace();
    let number: u128 = words.next()?.replace(',', "").parse().ok()?;
    let unit = words.next().unwrap_or_default();
    let unit = UNITS
        .iter()
        .find(|(name, _)| *name == unit.trim_end_matches(','));
    number.checked_mul(unit.map_or(1, |(_, factor)| *factor))
}

/// The value of a constant of this name in a source, as far as it is a number of plain arithmetic or a `Duration`.
pub(crate) fn value_of(source: &str, name: &str) -> Option<u128> {
    let (_, after) = source.split_once(&format!("const {name}:"))?;
    let (_, expression) = after.split_once('=')?;
    let (expression, _) = expression.split_once(';')?;
    value(expression.trim())
}

fn value(expression: &str) -> Option<u128> {
    for (constructor, factor) in [
        ("Duration::from_micros(", 1),
        ("Duration::from_millis(", 1_000),
        ("Duration::from_secs(", 1_000_000),
    ] {
        if let Some(inner) = expression.strip_prefix(constructor) {
            return value(inner.strip_suffix(')')?)?.checked_mul(factor);
        }
    }
    if let Some((left, right)) = expression.split_once("<<") {
        return value(left.trim())?.checked_shl(u32::try_from(value(right.trim())?).ok()?);
    }
    if let Some((left, right)) = expression.split_once('*') {
        return value(left.trim())?.checked_mul(value(right.trim())?);
    }
    expression.replace('_', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_read_from_their_source() {
        let source = "const A: u64 = 64 << 20;\npub const B: Duration = Duration::from_secs(60 * 60);\n\
                      const C: usize = 10_000;\nconst D: usize = size_of::<u8>();\n\
                      const E: Duration = Duration::from_millis(1_500);\n";
        for (name, expected) in [
            ("A", Some(64 << 20)),
            ("B", Some(3_600_000_000)),
            ("C", Some(10_000)),
            ("D", None),
            ("E", Some(1_500_000)),
            ("F", None),
        ] {
            assert_eq!(value_of(source, name), expected, "{name}");
        }
    }

    #[test]
    fn documents_give_quantities_with_units() {
        for (text, expected) in [
            ("64 MiB", Some(64 << 20)),
            ("10,000", Some(10_000)),
            ("256 calls", Some(256)),
            ("30 s, from start to end", Some(30_000_000)),
            ("100 µs", Some(100)),
            ("1 h", Some(3_600_000_000)),
            ("many", None),
        ] {
            assert_eq!(quantity(text), expected, "{text}");
        }
    }
}
