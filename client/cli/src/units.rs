// SPDX-License-Identifier: Apache-2.0
//! Durations and sizes as people write them.

use std::time::Duration;

/// Reads a duration such as `250ms`, `1.5s`, `5m`, `1h`, or `30` for seconds.
///
/// # Errors
/// In words for people, for zero, a negative number and anything else.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds_per_unit = match unit {
        "ms" => Some(0.001),
        "" | "s" => Some(1.0),
        "m" => Some(60.0),
        "h" => Some(3600.0),
        _ => None,
    };
    seconds_per_unit
        .and_then(|unit| number.parse::<f64>().ok().map(|number| number * unit))
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "write a number above 0 with ms, s, m or h, such as 30s".to_owned())
}

/// Reads a size in bytes such as `4096`, `64KiB`, `64MiB` or `1GiB`.
///
/// # Errors
/// In words for people, for zero and anything that is no size.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" | "B" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };
    factor
        .and_then(|factor: u64| number.parse::<u64>().ok()?.checked_mul(factor))
        .filter(|size| *size > 0)
        .ok_or_else(|| {
            "write a whole number above 0 of bytes, or with KiB, MiB or GiB, such as 64MiB"
                .to_owned()
        })
}

/// A size in bytes for people.
pub fn readable_size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{} KiB", bytes.div_ceil(1024)),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    #[test]
    fn durations_are_read_in_every_unit() {
        for (text, milliseconds) in [
            ("250ms", 250),
            ("1.5s", 1_500),
            ("30", 30_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for text in ["", "0", "0s", "-1s", "1d", "s", "1.2.3s", "inf", "1e3s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_in_every_unit() {
        for (text, bytes) in [
            ("1", 1),
            ("2KiB", 2_048),
            ("64MiB", 67_108_864),
            ("1GiB", 1 << 30),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "1.5MiB", "64MB", "-1", "99999999999GiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_readable() {
        assert_eq!(readable_size(1023), "1023 bytes");
        assert_eq!(readable_size(1025), "2 KiB");
        assert_eq!(readable_size(3 * 1_048_576 / 2), "1.5 MiB");
    }
}
