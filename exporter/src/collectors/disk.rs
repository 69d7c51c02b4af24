//! Operations, bytes and time per block device from `/proc/diskstats`.

use std::fs;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use regex::Regex;

use super::{CollectError, Collector, read};
use crate::config::Config;
use crate::metric::{Desc, Families};

/// Partitions and devices without hardware, left out as node_exporter does.
const EXCLUDED: &str = r"^(ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$";

const INFO: Desc = Desc::gauge("node_disk_info", "Info of /sys/block/<block_device>.")
    .with_labels(&["device", "major", "minor", "path", "wwn", "model", "serial", "revision"]);

const fn counter(name: &'static str, help: &'static str) -> Desc {
    Desc::counter(name, help).with_labels(&["device"])
}

const MILLIS: f64 = 0.001;
/// A sector of the kernel's counting, whatever the hardware's.
const SECTOR: f64 = 512.0;

/// In the order of the columns after the name, with what one of it is worth.
#[rustfmt::skip]
const COLUMNS: [(Desc, f64); 17] = [
    (counter("node_disk_reads_completed_total", "The total number of reads completed successfully."), 1.0),
    (counter("node_disk_reads_merged_total", "The total number of reads merged."), 1.0),
    (counter("node_disk_read_bytes_total", "The total number of bytes read successfully."), SECTOR),
    (counter("node_disk_read_time_seconds_total", "The total number of seconds spent by all reads."), MILLIS),
    (counter("node_disk_writes_completed_total", "The total number of writes completed successfully."), 1.0),
    (counter("node_disk_writes_merged_total", "The number of writes merged."), 1.0),
    (counter("node_disk_written_bytes_total", "The total number of bytes written successfully."), SECTOR),
    (counter("node_disk_write_time_seconds_total", "This is the total number of seconds spent by all writes."), MILLIS),
    (Desc::gauge("node_disk_io_now", "The number of I/Os currently in progress.").with_labels(&["device"]), 1.0),
    (counter("node_disk_io_time_seconds_total", "Total seconds spent doing I/Os."), MILLIS),
    (counter("node_disk_io_time_weighted_seconds_total", "The weighted # of seconds spent doing I/Os."), MILLIS),
    (counter("node_disk_discards_completed_total", "The total number of discards completed successfully."), 1.0),
    (counter("node_disk_discards_merged_total", "The total number of discards merged."), 1.0),
    (counter("node_disk_discarded_sectors_total", "The total number of sectors discarded successfully."), 1.0),
    (counter("node_disk_discard_time_seconds_total", "This is the total number of seconds spent by all discards."), MILLIS),
    (counter("node_disk_flush_requests_total", "The total number of flush requests completed successfully"), 1.0),
    (counter("node_disk_flush_requests_time_seconds_total", "This is the total number of seconds spent by all flush requests."), MILLIS),
];

pub(super) const DESCS: &[Desc] = &{
    let mut all = [INFO; 18];
    let mut column = 0;
    while column < COLUMNS.len() {
        all[column + 1] = COLUMNS[column].0;
        column += 1;
    }
    all
};

pub(super) fn build(config: &Config) -> Box<dyn Collector> {
    let host = &config.collectors.host;
    Box::new(Disk {
        stats: host.proc_root.join("diskstats"),
        udev: host.root.join("run/udev/data"),
        excluded: Regex::new(EXCLUDED).expect("a constant that the tests compile"),
    })
}

struct Disk {
    stats: PathBuf,
    /// Where udev keeps what it knows of `b<major>:<minor>`.
    udev: PathBuf,
    excluded: Regex,
}

struct Device<'a> {
    number: [&'a str; 2],
    name: &'a str,
    /// As many as this kernel has: discards came with 4.18, flushes with 5.5.
    values: Vec<f64>,
}

#[async_trait]
impl Collector for Disk {
    async fn collect(&self, out: &mut Families) -> Result<(), CollectError> {
        let text = read(&self.stats)?;
        let mut devices = Vec::new();
        for line in text.lines() {
            let device = parse(line).ok_or_else(|| {
                CollectError::parse(&self.stats, "major, minor, name and 11 numbers or more", line)
            })?;
            if !self.excluded.is_match(device.name) {
                devices.push(device);
            }
        }
        for Device { number: [major, minor], name, .. } in &devices {
            let known = Udev::read(&self.udev.join(format!("b{major}:{minor}")));
            let serial = match known.get("SCSI_IDENT_SERIAL") {
                "" => known.get("ID_SERIAL_SHORT"),
                serial => serial,
            };
            let (path, wwn) = (known.get("ID_PATH"), known.get("ID_WWN"));
            let (model, revision) = (known.get("ID_MODEL"), known.get("ID_REVISION"));
            out.add(&INFO, &[name, major, minor, path, wwn, model, serial, revision], 1.0);
        }
        for (column, (desc, worth)) in COLUMNS.iter().enumerate() {
            for device in &devices {
                if let Some(value) = device.values.get(column) {
                    out.add(desc, &[device.name], value * worth);
                }
            }
        }
        Ok(())
    }
}

fn parse(line: &str) -> Option<Device<'_>> {
    let mut fields = line.split_ascii_whitespace();
    let (number, name) = ([fields.next()?, fields.next()?], fields.next()?);
    let values = fields.take(COLUMNS.len()).map(|field| field.parse().ok());
    let values: Vec<f64> = values.collect::<Option<_>>()?;
    (values.len() >= 11).then_some(Device { number, name, values })
}

/// What udev found out about a device; empty where there is no udev.
struct Udev(String);

impl Udev {
    fn read(path: &Path) -> Udev {
        Udev(fs::read_to_string(path).unwrap_or_default())
    }

    fn get(&self, property: &str) -> &str {
        let lines = self.0.lines().filter_map(|line| line.strip_prefix("E:")?.split_once('='));
        lines.filter(|(name, _)| *name == property).map(|(_, value)| value).next().unwrap_or("")
    }
}

#[cfg(test)]
mod tests {
    use crate::collectors::test::{Case, check, collect};
    use std::fs;

    #[test]
    fn reads_columns_with_their_units() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("proc")).unwrap();
        fs::create_dir_all(folder.path().join("root/run/udev/data")).unwrap();
        let stats = "   8 0 sda 1 2 3 4000 5 6 7 8000 9 10000 11000 12 13 14 15000 16 17000 99\n\
            \x20  8 1 sda1 1 2 3 4 5 6 7 8 9 10 11\n 7 0 loop0 0 0 0 0 0 0 0 0 0 0 0\n\
            259 0 nvme0n1 0 0 0 0 0 0 0 0 0 0 0\n";
        fs::write(folder.path().join("proc/diskstats"), stats).unwrap();
        let udev = "S:disk\nE:ID_MODEL=PERC_H730\nE:ID_SERIAL_SHORT=abc\"\nE:ID_PATH=pci-0\n";
        fs::write(folder.path().join("root/run/udev/data/b8:0"), udev).unwrap();
        let page = collect(super::build, folder.path()).unwrap();
        for want in [
            "node_disk_read_bytes_total{device=\"sda\"} 1536\n",
            "node_disk_read_time_seconds_total{device=\"sda\"} 4\n",
            "node_disk_written_bytes_total{device=\"sda\"} 3584\n",
            "node_disk_io_now{device=\"sda\"} 9\n",
            "node_disk_io_time_seconds_total{device=\"sda\"} 10\n",
            "node_disk_discarded_sectors_total{device=\"sda\"} 14\n",
            "node_disk_flush_requests_time_seconds_total{device=\"sda\"} 17\n",
            "node_disk_reads_completed_total{device=\"nvme0n1\"} 0\n",
            "node_disk_info{device=\"sda\",major=\"8\",minor=\"0\",path=\"pci-0\",wwn=\"\",\
             model=\"PERC_H730\",serial=\"abc\\\"\",revision=\"\"} 1\n",
        ] {
            assert!(page.contains(want), "{want} is not in {page}");
        }
        for unwanted in ["sda1", "loop0", "discards_completed_total{device=\"nvme0n1\"}"] {
            assert!(!page.contains(unwanted), "{unwanted} is in {page}");
        }
    }

    #[test]
    fn refuses_other_shapes() {
        check(
            super::build,
            &[
                Case { files: &[("proc/diskstats", "")], want: Ok("") },
                Case {
                    files: &[("proc/diskstats", "8 0 sda 1 2\n")],
                    want: Err("found \"8 0 sda"),
                },
                Case {
                    files: &[("proc/diskstats", "8 0 sda a\n")],
                    want: Err("11 numbers or more"),
                },
            ],
        );
    }
}
