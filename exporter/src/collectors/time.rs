//! This host's clock.

use async_trait::async_trait;

use super::{CollectError, Collector};
use crate::clock;
use crate::config::Config;
use crate::metric::{Desc, Families};

const NOW: Desc = Desc::gauge("node_time_seconds", "System time in seconds since epoch (1970).");
pub(super) const DESCS: &[Desc] = &[NOW];

pub(super) fn build(_: &Config) -> Box<dyn Collector> {
    Box::new(Time)
}

struct Time;

#[async_trait]
impl Collector for Time {
    async fn collect(&self, out: &mut Families) -> Result<(), CollectError> {
        out.set(&NOW, clock::unix_seconds());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::clock::unix_seconds;
    use crate::collectors::test::collect;

    #[test]
    fn tells_the_time() {
        let before = unix_seconds();
        let page = collect(super::build, "/nowhere".as_ref()).unwrap();
        let now: f64 = page.trim().strip_prefix("node_time_seconds ").unwrap().parse().unwrap();
        assert!((before..=unix_seconds()).contains(&now), "{page}");
    }
}
