//! Messages of both versions, well formed and not.

use super::super::encode::Body;
use super::super::wire::{put_bytes, put_number};
use super::*;
use crate::model::sample::stale_marker;

type Kept = Vec<(String, Vec<(i64, u64)>)>;

const LATEST: Timestamp = Timestamp(1_000_000);

/// Everything that reached the store, values bit for bit, and the outcome.
fn read(protocol: Protocol, message: &[u8]) -> Result<(Kept, Outcome), Failure> {
    let mut kept = Kept::new();
    let outcome = decode(protocol, message, LATEST, &mut |batch| {
        let mut appended = Appended::default();
        for incoming in batch {
            let names = incoming.labels.iter().map(|(name, _)| *name).collect::<Vec<_>>();
            assert!(names.is_sorted(), "{names:?}");
            let labels = incoming.labels.iter().map(|(name, value)| format!("{name}={value}"));
            let samples = incoming.samples.iter();
            let samples = samples.map(|sample| (sample.timestamp.0, sample.value.to_bits()));
            kept.push((labels.collect::<Vec<_>>().join(","), samples.collect()));
            appended.accepted += incoming.samples.len();
        }
        Ok(appended)
    })?;
    Ok((kept, outcome))
}

fn plain(body: Body) -> Vec<u8> {
    snap::raw::Decoder::new().decompress_vec(&body.finish()).unwrap()
}

fn sample(time: i64, value: f64) -> Sample {
    Sample { timestamp: Timestamp(time), value }
}

#[test]
fn values_and_times_are_exact() {
    let values = [
        0.0,
        -0.0,
        1.5,
        f64::NAN,
        stale_marker(),
        f64::from_bits(0xfff8_0000_0000_0001),
        f64::INFINITY,
        f64::MIN_POSITIVE,
    ];
    let samples: Vec<_> = (-4..4).zip(values).map(|(time, value)| sample(time, value)).collect();
    for protocol in [Protocol::V1, Protocol::V2] {
        let mut body = Body::new(protocol);
        body.series([("__name__", "m"), ("größe", "🦀")], &samples);
        body.series([("__name__", "m"), ("a", "m")], &samples[..1]);
        let (kept, outcome) = read(protocol, &plain(body)).unwrap();
        let want: Vec<_> = (-4..4).zip(values.map(f64::to_bits)).collect();
        let want = vec![
            ("__name__=m,größe=🦀".to_owned(), want.clone()),
            ("__name__=m,a=m".to_owned(), want[..1].to_vec()),
        ];
        assert_eq!(kept, want, "{protocol:?}");
        assert_eq!(outcome.appended, Appended { accepted: 9, ..Appended::default() });
    }
}

#[test]
fn labels_that_can_be_and_that_cannot() {
    for (labels, want) in [
        (&[("b", "2"), ("__name__", "m"), ("a", "1")][..], Ok("__name__=m,a=1,b=2")),
        (&[("__name__", "m"), ("a", ""), ("b", "1")], Ok("__name__=m,b=1")),
        (&[("__name__", "m"), ("", "x")], Err("a label has no name")),
        (&[("__name__", "m"), ("a", "1"), ("a", "1")], Err("a label name stands twice")),
        (&[("a", "1"), ("__name__", "m"), ("a", "2")], Err("a label name stands twice")),
        (&[("__name__", "m"), ("a", ""), ("a", "2")], Err("a label name stands twice")),
        (&[("__name__", ""), ("a", "1")], Err("there is no __name__")),
        (&[("a", "1")], Err("there is no __name__")),
        (&[], Err("there is no __name__")),
    ] {
        for protocol in [Protocol::V1, Protocol::V2] {
            let mut body = Body::new(protocol);
            body.series(labels.iter().copied(), &[sample(1, 1.0), sample(LATEST.0 + 1, 1.0)]);
            body.series([("__name__", "good")], &[sample(1, 1.0)]);
            let (kept, outcome) = read(protocol, &plain(body)).unwrap();
            let kept: Vec<_> = kept.iter().map(|(labels, _)| labels.as_str()).collect();
            match want {
                Ok(want) => {
                    assert_eq!(kept, [want, "__name__=good"]);
                    assert_eq!(
                        (outcome.appended.too_new, outcome.bad_series),
                        (1, 0),
                        "{labels:?}"
                    );
                }
                Err(want) => {
                    assert_eq!(kept, ["__name__=good"]);
                    let complaint = outcome.complaint.unwrap();
                    assert!(complaint.starts_with(want), "{labels:?}: {complaint}");
                    assert_eq!((outcome.appended.bad_labels, outcome.bad_series), (2, 1));
                }
            }
        }
    }
}

#[test]
fn what_is_said_about_metrics() {
    let h = About::new(Kind::Histogram, "how long", "seconds");
    let mut v1 = Body::new(Protocol::V1);
    v1.metadata("h", &About::new(Kind::Counter, "", ""));
    v1.metadata("h", &h);
    v1.metadata("", &h);
    v1.metadata("u", &About::default());
    let mut v2 = Body::new(Protocol::V2);
    for name in ["h_bucket", "h_sum"] {
        v2.series_about([("__name__", name)], &[sample(1, 1.0)], Some(&h));
    }
    v2.series_about([("__name__", "u")], &[sample(1, 1.0)], Some(&About::default()));
    for (protocol, body, others, refused) in
        [(Protocol::V1, v1, vec!["u"], 1), (Protocol::V2, v2, vec![], 0)]
    {
        let (_, outcome) = read(protocol, &plain(body)).unwrap();
        assert_eq!((outcome.refusal(), outcome.metadata_refused), (None, refused));
        let others = others.into_iter().map(|name| (name.into(), About::default()));
        let want = Metadata::from_iter(others.chain([("h".into(), h.clone())]));
        assert_eq!(outcome.metadata, want, "{protocol:?}");
    }
    // A text that is not there costs the series, as it does in Prometheus.
    let labels = [field(4, b""), field(4, b"__name__"), field(4, b"m")].concat();
    let mut help = Vec::new();
    put_number(&mut help, 3, 9);
    let series = [field(1, &[1, 2]), field(2, b""), field(5, &help)].concat();
    let message = [labels, field(5, &series)].concat();
    let (kept, outcome) = read(Protocol::V2, &message).unwrap();
    assert_eq!((kept, outcome.bad_series, outcome.metadata.len()), (vec![], 1, 0));
    let complaint = outcome.complaint.unwrap();
    assert!(complaint.starts_with("its metadata has a number"), "{complaint}");
}

fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, number, content);
    out
}

#[test]
fn messages_that_are_none() {
    let number = |field| {
        let mut out = Vec::new();
        put_number(&mut out, field, 7);
        out
    };
    for (protocol, message) in [
        (Protocol::V1, b"hello".to_vec()),
        (Protocol::V1, number(1)),
        (Protocol::V1, field(1, &number(1))),
        (Protocol::V1, field(1, &number(2))),
        (Protocol::V1, field(1, &field(1, &number(1)))),
        (Protocol::V1, field(1, &field(2, &number(1)))),
        (Protocol::V1, field(1, &field(2, &field(2, b"x")))),
        (Protocol::V1, field(1, b"\xff")),
        (Protocol::V1, number(3)),
        (Protocol::V1, field(3, &number(2))),
        (Protocol::V2, field(5, &number(5))),
        (Protocol::V2, field(5, &field(5, &field(3, b"")))),
        (Protocol::V2, number(4)),
        (Protocol::V2, number(5)),
        (Protocol::V2, field(5, &field(1, b"\xff"))),
        (Protocol::V2, field(5, &number(2))),
    ] {
        let error = read(protocol, &message);
        assert!(matches!(error, Err(Failure::Malformed(_))), "{message:?}: {error:?}");
    }
}

#[test]
fn what_is_not_kept_is_counted() {
    let labels = field(1, &[field(1, b"__name__"), field(2, b"m")].concat());
    let no_text = field(1, &[field(1, b"__name__"), field(2, b"\xff")].concat());
    let v1 = [
        field(1, &[labels.clone(), field(4, b""), field(3, b""), field(3, b"")].concat()),
        field(1, &[no_text, field(2, b"")].concat()),
        // A field that nobody has defined yet.
        field(9, b""),
    ]
    .concat();
    let v2 = [
        field(4, b""),
        field(4, b"__name__"),
        field(4, b"\xff"),
        field(5, &[field(1, &[1, 9]), field(2, b""), field(3, b""), field(4, b"")].concat()),
        field(5, &[field(1, &[1, 2]), field(2, b""), field(4, b"")].concat()),
        field(5, &[field(1, &[1, 1, 1]), field(2, b"")].concat()),
    ]
    .concat();
    for (protocol, message, bad, complaint) in [
        (Protocol::V1, v1, 1, "a label is not UTF-8 in {}"),
        (Protocol::V2, v2, 3, "a label has a number that is not in the table of symbols in {}"),
    ] {
        let (kept, outcome) = read(protocol, &message).unwrap();
        assert_eq!(kept, vec![]);
        assert_eq!((outcome.histograms, outcome.exemplars), (1, 2), "{protocol:?}");
        assert_eq!((outcome.bad_series, outcome.appended.bad_labels), (bad, bad));
        assert_eq!(outcome.complaint.as_deref(), Some(complaint));
    }
}

#[test]
fn a_large_message_goes_to_the_store_in_steps() {
    let mut body = Body::new(Protocol::V1);
    let samples: Vec<_> = (0..1000).map(|time| sample(time, 0.0)).collect();
    let series = 2 * MOST_SAMPLES / samples.len();
    for number in 0..series {
        body.series([("__name__", "m"), ("n", number.to_string().as_str())], &samples);
    }
    let message = plain(body);
    let (mut steps, mut most) = (0, 0);
    let outcome = decode(Protocol::V1, &message, LATEST, &mut |batch| {
        steps += 1;
        let accepted = batch.iter().map(|incoming| incoming.samples.len()).sum();
        most = most.max(accepted);
        Ok(Appended { accepted, ..Appended::default() })
    });
    assert_eq!(outcome.unwrap().appended.accepted, series * samples.len());
    assert!(steps > 1 && most < MOST_SAMPLES + samples.len(), "{steps} steps, {most} at most");
}
