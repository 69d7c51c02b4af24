//! The queue through restarts, torn ends, flipped bytes and a full disk quota.

use super::segment::HEADER;
use super::*;

const LIMIT: u64 = 16 << 20;

fn open(folder: &Path) -> Queue {
    Queue::open(folder, LIMIT).unwrap().0
}

/// Everything from where the queue is to go on.
fn rest(queue: &Queue) -> Vec<Record> {
    let (mut from, mut found) = (queue.position().0, Vec::new());
    loop {
        let records = queue.read(from, 100).unwrap();
        match records.last() {
            None => return found,
            Some(last) => from = last.end,
        }
        found.extend(records);
    }
}

fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(|one| String::from_utf8(one.payload.clone()).unwrap()).collect()
}

fn push(queue: &Queue, texts: &[&str]) {
    for text in texts {
        assert_eq!(queue.push(text.as_bytes(), 2).unwrap(), Lost::default());
    }
}

#[test]
fn what_was_pushed_is_there_until_it_is_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let long = "x".repeat(1000);
    let queue = open(folder.path());
    push(&queue, &["a", "b", &long, "c"]);
    assert_eq!(texts(&rest(&queue)), ["a", "b", &long, "c"]);
    drop(queue);

    let queue = open(folder.path());
    let records = rest(&queue);
    assert_eq!((texts(&records).len(), queue.size().0, queue.position().1), (4, 8, 0));
    let ends: Vec<_> = records.iter().take(2).map(|record| (record.end, 2)).collect();
    assert_eq!(queue.delivered(&ends, 3).unwrap(), Lost::default());
    assert_eq!(queue.size().0, 4);
    push(&queue, &["d"]);
    drop(queue);

    let queue = open(folder.path());
    assert_eq!(texts(&rest(&queue)), [&long, "c", "d"]);
    assert_eq!((queue.size().0, queue.position().1), (6, 3));
}

#[test]
fn a_torn_end_is_cut_wherever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    push(&open(folder.path()), &["one", "two", "three"]);
    let path = segment::path(folder.path(), 1);
    let whole = fs::read(&path).unwrap();
    let second = 2 * (HEADER + 3);
    for end in second..whole.len() {
        fs::write(&path, &whole[..end]).unwrap();
        let (queue, lost) = Queue::open(folder.path(), LIMIT).unwrap();
        assert_eq!(lost.bytes, (end - second) as u64, "cut at {end}");
        push(&queue, &["four"]);
        assert_eq!(texts(&rest(&queue)), ["one", "two", "four"], "cut at {end}");
    }
}

#[test]
fn a_flipped_byte_costs_what_follows_it_in_its_segment_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    push(&open(folder.path()), &["one", "two"]);
    let path = segment::path(folder.path(), 1);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
        let (queue, lost) = Queue::open(folder.path(), LIMIT).unwrap();
        push(&queue, &["three"]);
        let want: &[&str] = if at < HEADER + 3 { &["three"] } else { &["one", "three"] };
        assert_eq!(texts(&rest(&queue)), want, "flipped at {at}");
        assert!(lost.bytes > 0);
    }
    // While it runs.
    fs::write(&path, &whole).unwrap();
    let queue = open(folder.path());
    let mut bytes = whole.clone();
    bytes[HEADER] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let records = rest(&queue);
    assert_eq!(texts(&records), [""]);
    queue.delivered(&[(records[0].end, 0)], 1).unwrap();
    assert_eq!(rest(&queue), []);
}

#[test]
fn a_broken_position_begins_at_the_oldest() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    push(&queue, &["one", "two"]);
    let records = rest(&queue);
    queue.delivered(&[(records[0].end, 2)], 1).unwrap();
    drop(queue);
    let path = folder.path().join(POSITION);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(texts(&rest(&open(folder.path()))), ["one", "two"], "flipped at {at}");
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(texts(&rest(&open(folder.path()))), ["two"]);
}

#[test]
fn the_oldest_goes_when_it_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(folder.path());
    let payload = vec![7; 100_000];
    let (mut lost, mut pushed) = (0, 0);
    while lost == 0 {
        lost += queue.push(&payload, 5).unwrap().samples;
        pushed += 1;
    }
    let bytes = queue.size().1;
    assert!(bytes <= LIMIT && bytes > LIMIT / 2, "{bytes}");
    // A reader that was at the beginning goes on with what is left.
    let left = queue.read(Place { segment: 1, offset: 0 }, 1).unwrap();
    assert_eq!(left[0].end.segment, 2);
    assert_eq!(rest(&queue).len() as u64, pushed - lost / 5);

    // All of it delivered: one segment stays.
    let ends: Vec<_> = rest(&queue).iter().map(|record| (record.end, record.samples)).collect();
    assert_eq!(queue.delivered(&ends, 1).unwrap(), Lost::default());
    assert_eq!(queue.size().0, 0);
    let segments = numbers(folder.path()).unwrap();
    assert_eq!(segments.len(), 1);
    assert_eq!(open(folder.path()).size().0, 0);
}
