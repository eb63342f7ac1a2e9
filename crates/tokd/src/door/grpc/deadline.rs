//! The deadline that a call brings with it (`grpc-timeout`): past it nobody waits for the answer.

use std::time::Duration;

use hyper::HeaderMap;

/// Longer than any call takes, also one that verifies a long audit trail; what is asked for beyond is as good as this.
pub(super) const LONGEST: Duration = Duration::from_secs(3600);

/// `grpc-timeout`: one to eight digits and a unit (gRPC over HTTP/2, "Timeout"). What cannot be read is no deadline.
pub(super) fn of(headers: &HeaderMap) -> Duration {
    let read = || {
        let text = headers.get("grpc-timeout")?.to_str().ok()?;
        let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let amount: u64 = digits.parse().ok()?;
        match unit {
            "H" => Some(Duration::from_secs(amount * 3600)),
            "M" => Some(Duration::from_secs(amount * 60)),
            "S" => Some(Duration::from_secs(amount)),
            "m" => Some(Duration::from_millis(amount)),
            "u" => Some(Duration::from_micros(amount)),
            "n" => Some(Duration::from_nanos(amount)),
            _ => None,
        }
    };
    read().unwrap_or(LONGEST).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        let timeout = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().unwrap());
            of(&headers)
        };
        assert_eq!(timeout("250m"), Duration::from_millis(250));
        assert_eq!(timeout("2S"), Duration::from_secs(2));
        assert_eq!(timeout("1M"), Duration::from_secs(60));
        assert_eq!(timeout("99999999u"), Duration::from_micros(99_999_999));
        assert_eq!(timeout("5n"), Duration::from_nanos(5));
        for none in ["", "S", "1", "1s ", "-1S", "+1S", "1.5S", "123456789m", "99999999H", "\u{e9}"] {
            assert_eq!(timeout(none), LONGEST, "{none:?}");
        }
        assert_eq!(of(&HeaderMap::new()), LONGEST);
    }
}
