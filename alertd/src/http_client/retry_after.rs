//! `Retry-After`: when somebody who refused a request wants to be asked again.

use std::time::{Duration, SystemTime};

use lettre::message::header::{Date, Header};
use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::clock;

/// Seconds, or a date.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = SystemTime::from(Date::parse(text).ok()?);
    let at = date.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(at.saturating_sub(Duration::from_secs_f64(clock::now().seconds().max(0.0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(read("7"), Some(Duration::from_secs(7)));
        assert_eq!(read("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert!(read("Fri, 21 Oct 2101 07:28:00 GMT").unwrap() > Duration::from_secs(86_400));
        assert_eq!(read("soon"), None);
    }
}
