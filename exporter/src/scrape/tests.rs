//! One collector that hangs, fails or panics hurts no other.

use super::*;
use crate::collectors::CollectError;
use crate::exposition::{Format, render_all};
use async_trait::async_trait;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

const VALUE: Desc = Desc::gauge("value", "A value.").with_labels(&["of"]);

type Work = Box<dyn Fn() -> Result<(), CollectError> + Send + Sync>;

struct Fake(&'static str, Work);

#[async_trait]
impl Collector for Fake {
    async fn collect(&self, out: &mut Families) -> Result<(), CollectError> {
        (self.1)()?;
        out.add(&VALUE, &[self.0], 1.0);
        Ok(())
    }
}

struct Forever;

#[async_trait]
impl Collector for Forever {
    async fn collect(&self, _: &mut Families) -> Result<(), CollectError> {
        std::future::pending().await
    }
}

fn scraper(time_out: Duration, fakes: Vec<(&'static str, Arc<dyn Collector>)>) -> Scraper {
    let slot = |(name, collector)| Slot { name, collector, state: Arc::default() };
    let slots = fakes.into_iter().map(|fake| Arc::new(slot(fake))).collect();
    Scraper { slots, time_out, metrics: ScrapeMetrics::default() }
}

fn fake(
    name: &'static str,
    work: impl Fn() -> Result<(), CollectError> + Send + Sync + 'static,
) -> (&'static str, Arc<dyn Collector>) {
    (name, Arc::new(Fake(name, Box::new(work))))
}

async fn page(scraper: &Scraper, limit: Option<Duration>) -> String {
    let parts = scraper.scrape(limit).await;
    let parts: Vec<_> = parts.iter().map(AsRef::as_ref).collect();
    render_all(&parts, Format::Text004)
}

#[tokio::test]
async fn a_bad_one_hurts_no_other() {
    let (release, blocked) = mpsc::channel::<()>();
    let blocked = Mutex::new(blocked);
    let hang = move || {
        blocked.lock().unwrap().recv().ok();
        Ok(())
    };
    let fails = || Err(CollectError::parse("/proc/x".as_ref(), "sense", "nonsense"));
    let scraper = scraper(
        Duration::from_secs(1),
        vec![
            fake("hangs", hang),
            ("waits", Arc::new(Forever)),
            fake("panics", || panic!("boom")),
            fake("fails", fails),
            fake("absent", || Err(CollectError::Absent("gpu"))),
            fake("works", || Ok(())),
        ],
    );
    for round in [1, 2] {
        let page = page(&scraper, None).await;
        for (name, success) in
            [("hangs", 0), ("waits", 0), ("panics", 0), ("fails", 0), ("absent", 1), ("works", 1)]
        {
            let line = format!("collector_success{{collector=\"{name}\"}} {success}\n");
            assert!(page.contains(&line), "{name} in round {round}: {page}");
        }
        assert!(page.contains("value{of=\"works\"} 1\n"), "{page}");
        assert!(page.contains("last_success_timestamp_seconds{collector=\"works\"}"), "{page}");
        assert!(!page.contains("last_success_timestamp_seconds{collector=\"fails\"}"), "{page}");
    }
    let count =
        |family: &Family<Label, Counter>, name| family.get_or_create(&[("collector", name)]).get();
    let ScrapeMetrics { failures, skipped } = &scraper.metrics;
    assert_eq!((count(failures, "fails"), count(failures, "works")), (2, 0));
    assert_eq!((count(skipped, "hangs"), count(skipped, "waits")), (1, 0));
    // Once the read comes back, the collector works again.
    drop(release);
    let deadline = clock::monotonic() + Duration::from_secs(10);
    while !page(&scraper, None).await.contains("value{of=\"hangs\"} 1\n") {
        assert!(clock::monotonic() < deadline, "stays skipped");
    }
}

#[tokio::test]
async fn scrapes_at_the_same_time_share_one_run() {
    let runs = Arc::new(AtomicUsize::new(0));
    let (release, blocked) = mpsc::channel::<()>();
    let (counted, blocked) = (Arc::clone(&runs), Mutex::new(blocked));
    let work = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        blocked.lock().unwrap().recv().ok();
        Ok(())
    };
    let scraper = scraper(Duration::from_secs(20), vec![fake("one", work)]);
    let wait = || page(&scraper, None);
    let free = async {
        tokio::task::yield_now().await;
        release.send(()).unwrap();
    };
    let (a, b, c, ()) = tokio::join!(wait(), wait(), wait(), free);
    assert!(a.contains("value{of=\"one\"} 1") && b.contains("value") && c.contains("value"));
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[test]
fn never_takes_longer_than_the_scraper_waits() {
    for (header, want) in [
        ("10", Some(9800)),
        ("0.3", Some(150)),
        ("1e300", None),
        ("-1", None),
        ("0", None),
        ("1e-9", None),
        ("NaN", None),
        ("soon", None),
        ("", None),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert("x-prometheus-scrape-timeout-seconds", header.parse().unwrap());
        assert_eq!(limit(&headers), want.map(Duration::from_millis), "{header}");
    }
    assert_eq!(limit(&HeaderMap::new()), None);
}
