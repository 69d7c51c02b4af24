//! Open file descriptions of the whole host from `/proc/sys/fs/file-nr`.

use std::path::PathBuf;

use async_trait::async_trait;

use super::{CollectError, Collector, number, read};
use crate::config::Config;
use crate::metric::{Desc, Families};

const ALLOCATED: Desc =
    Desc::gauge("node_filefd_allocated", "File descriptor statistics: allocated.");
const MAXIMUM: Desc = Desc::gauge("node_filefd_maximum", "File descriptor statistics: maximum.");
pub(super) const DESCS: &[Desc] = &[ALLOCATED, MAXIMUM];

pub(super) fn build(config: &Config) -> Box<dyn Collector> {
    Box::new(FileFd(config.collectors.host.proc_root.join("sys/fs/file-nr")))
}

struct FileFd(PathBuf);

#[async_trait]
impl Collector for FileFd {
    async fn collect(&self, out: &mut Families) -> Result<(), CollectError> {
        let text = read(&self.0)?;
        // The number between the two is always 0 since Linux 2.6.
        let mut fields = text.split_ascii_whitespace();
        out.set(&ALLOCATED, number(&self.0, fields.next().unwrap_or(""))?);
        out.set(&MAXIMUM, number(&self.0, fields.nth(1).unwrap_or(""))?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::collectors::test::{Case, check};

    #[test]
    fn reads_the_first_and_the_last_number() {
        let want = "node_filefd_allocated 638\nnode_filefd_maximum 2466177\n";
        check(
            super::build,
            &[
                Case { files: &[("proc/sys/fs/file-nr", "638\t0\t2466177\n")], want: Ok(want) },
                Case { files: &[("proc/sys/fs/file-nr", "638")], want: Err("expected a number") },
            ],
        );
    }
}
