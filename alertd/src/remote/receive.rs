//! The receiver: a write request's body to the store, and what the sender is told. No HTTP.

use std::time::Duration;

use super::Protocol;
use super::message::{self, Failure, Outcome};
use crate::model::labels::Labels;
use crate::model::querier::{Appended, Appender, Incoming};
use crate::model::sample::{Sample, Timestamp};

/// Largest body as it comes, compressed.
pub const MAX_BODY: usize = 16 * 1024 * 1024;
/// Largest message after decompression.
pub const MAX_MESSAGE: usize = 64 * 1024 * 1024;
/// Samples later than this from now are refused: the store would refuse the true ones that come
/// after them.
const FUTURE: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    #[error("body is not compressed with snappy: {0}")]
    NotSnappy(String),
    #[error("message has {found} bytes after decompression, expected at most {MAX_MESSAGE}")]
    TooLarge { found: usize },
    #[error(transparent)]
    Message(#[from] Failure),
}

/// Stores what can be stored. Blocks while the store makes it durable.
///
/// # Errors
/// When the body is none, or the store takes nothing now.
pub fn write(
    protocol: Protocol,
    body: &[u8],
    store: &dyn Appender,
    now: Timestamp,
) -> Result<Outcome, WriteError> {
    let not_snappy = |error: snap::Error| WriteError::NotSnappy(error.to_string());
    // What the body says of itself, so it is looked at before memory is taken for it.
    let found = snap::raw::decompress_len(body).map_err(not_snappy)?;
    if found > MAX_MESSAGE {
        return Err(WriteError::TooLarge { found });
    }
    let message = snap::raw::Decoder::new().decompress_vec(body).map_err(not_snappy)?;
    let sink = &mut |batch: &[Incoming<'_>]| store.append_incoming(batch);
    Ok(message::decode(protocol, &message, now.plus(FUTURE), sink)?)
}

/// What a queue's record holds; `None` when it cannot be read.
pub(super) fn samples(payload: &[u8]) -> Option<Vec<(Labels, Sample)>> {
    if snap::raw::decompress_len(payload).ok()? > MAX_MESSAGE {
        return None;
    }
    let plain = snap::raw::Decoder::new().decompress_vec(payload).ok()?;
    let mut found = Vec::new();
    message::decode(Protocol::V1, &plain, Timestamp(i64::MAX), &mut |batch| {
        for incoming in batch {
            let pairs =
                incoming.labels.iter().map(|(name, value)| ((*name).into(), (*value).into()));
            let labels = Labels::from_sorted(pairs.collect());
            found.extend(incoming.samples.iter().map(|sample| (labels.clone(), *sample)));
        }
        Ok(Appended::default())
    })
    .ok()?;
    Some(found)
}

impl Outcome {
    /// What was refused, for the sender; `None` when nothing was.
    ///
    /// Exemplars do not count: they are no samples, and a sender could do nothing about them.
    pub fn refusal(&self) -> Option<String> {
        let native = [("native histograms, which are not supported", self.histograms)];
        let reasons = self.appended.refused().into_iter().chain(native);
        let reasons: Vec<_> = reasons
            .filter(|(_, count)| *count > 0)
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        if reasons.is_empty() && self.bad_series == 0 {
            return None;
        }
        let refused = self.appended.refused().iter().map(|(_, count)| count).sum::<usize>();
        let all = self.appended.accepted + refused + self.histograms;
        let mut text = format!("{} of {all} samples refused", refused + self.histograms);
        if !reasons.is_empty() {
            text.push_str(": ");
            text.push_str(&reasons.join(", "));
        }
        if let Some(complaint) = &self.complaint {
            text.push_str("; ");
            text.push_str(complaint);
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::querier::StoreError;
    use crate::remote::encode;

    struct Full;

    impl Appender for Full {
        fn append(&self, _: &[(Labels, Sample)]) -> Result<Appended, StoreError> {
            Err(StoreError::Unavailable("disk is full".to_owned()))
        }
    }

    fn error(body: &[u8]) -> String {
        write(Protocol::V1, body, &Full, Timestamp(0)).unwrap_err().to_string()
    }

    #[test]
    fn bodies_that_are_none() {
        // A few bytes that announce 4 GiB and 64 MiB more than are allowed.
        let huge = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0];
        assert!(error(&huge).contains("4294967295 bytes after decompression"), "{}", error(&huge));
        let above = [0x81, 0x80, 0x80, 0x20, 0];
        assert!(error(&above).contains("67108865 bytes"), "{}", error(&above));
        for body in [&b""[..], b"\xff\xff\xff\xff\xff\xff", b"\x05hello"] {
            assert!(error(body).starts_with("body is not compressed with snappy"), "{body:?}");
        }
        let text = snap::raw::Encoder::new().compress_vec(b"hello").unwrap();
        assert!(error(&text).starts_with("not a protobuf message"), "{}", error(&text));
    }

    #[test]
    fn a_store_that_takes_nothing_is_an_error_and_not_a_refusal() {
        let sample = Sample { timestamp: Timestamp(0), value: 0.0 };
        let labels = Labels::from_pairs([("__name__", "m")]);
        let body = encode::samples(Protocol::V1, &[(labels, sample)]);
        let error = write(Protocol::V1, &body, &Full, Timestamp(0));
        let unavailable = |error: &WriteError| {
            matches!(error, WriteError::Message(Failure::Store(StoreError::Unavailable(_))))
        };
        assert!(error.as_ref().is_err_and(unavailable), "{error:?}");
    }

    #[test]
    fn the_sender_is_told_how_many_and_why() {
        let outcome = Outcome {
            appended: Appended { accepted: 4, out_of_order: 2, too_new: 1, ..Appended::default() },
            histograms: 1,
            exemplars: 9,
            ..Outcome::default()
        };
        let want = "4 of 8 samples refused: 2 out_of_order, 1 too_new, 1 native histograms, which \
                    are not supported";
        assert_eq!(outcome.refusal().as_deref(), Some(want));
        assert_eq!(Outcome { exemplars: 1, ..Outcome::default() }.refusal(), None);
        let complaint = Some("there is no __name__ in {}".to_owned());
        let outcome = Outcome { bad_series: 1, complaint, ..Outcome::default() };
        let want = "0 of 0 samples refused; there is no __name__ in {}";
        assert_eq!(outcome.refusal().as_deref(), Some(want));
    }
}
