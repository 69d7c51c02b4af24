//! Memory in bytes, field by field, from `/proc/meminfo`.

use std::path::PathBuf;

use async_trait::async_trait;

use super::{CollectError, Collector, number, read};
use crate::config::Config;
use crate::metric::{Desc, Families, Kind};

/// The kernel names the fields: `Active(anon)` becomes `Active_anon`.
pub(super) const DESCS: &[Desc] = &[
    Desc::gauge("node_memory_<field>_bytes", "Memory information field in bytes."),
    Desc::gauge("node_memory_<field>", "Memory information field that is a count of pages."),
];

pub(super) fn build(config: &Config) -> Box<dyn Collector> {
    Box::new(Memory(config.collectors.host.proc_root.join("meminfo")))
}

struct Memory(PathBuf);

#[async_trait]
impl Collector for Memory {
    async fn collect(&self, out: &mut Families) -> Result<(), CollectError> {
        let text = read(&self.0)?;
        let wrong = |line: &str| CollectError::parse(&self.0, "`name: number [kB]`", line);
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let (field, rest) = line.split_once(':').ok_or_else(|| wrong(line))?;
            let mut parts = rest.split_ascii_whitespace();
            let value = number(&self.0, parts.next().unwrap_or(""))?;
            let (factor, unit) = match parts.next() {
                Some("kB") => (1024.0, "_bytes"),
                None => (1.0, ""),
                Some(_) => return Err(wrong(line)),
            };
            let field = field.trim().replace('(', "_").replace(')', "");
            let help = format!("Memory information field {field}{unit}.");
            out.set_named(format!("node_memory_{field}{unit}"), help, Kind::Gauge, value * factor);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::collectors::test::{Case, check};

    #[test]
    fn names_fields_as_node_exporter() {
        let text = "MemTotal:       49368184 kB\nActive(anon):  1 kB\nHugePages_Total:   7\n\
            DirectMap1G: 0 kB\n\n";
        let want = "node_memory_Active_anon_bytes 1024\nnode_memory_DirectMap1G_bytes 0\n\
            node_memory_HugePages_Total 7\nnode_memory_MemTotal_bytes 50553020416\n";
        check(
            super::build,
            &[
                Case { files: &[("proc/meminfo", text)], want: Ok(want) },
                Case { files: &[("proc/meminfo", "MemTotal: x kB")], want: Err("a number") },
                Case { files: &[("proc/meminfo", "MemTotal: 1 MB")], want: Err("MemTotal: 1 MB") },
                Case { files: &[("proc/meminfo", "MemTotal")], want: Err("found \"MemTotal\"") },
            ],
        );
    }
}
