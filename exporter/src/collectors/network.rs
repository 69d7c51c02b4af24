//! Traffic per network device from `/proc/net/dev`.

use std::path::PathBuf;

use async_trait::async_trait;

use super::{CollectError, Collector, read};
use crate::config::Config;
use crate::metric::{Desc, Families};

const fn counter(name: &'static str, help: &'static str) -> Desc {
    Desc::counter(name, help).with_labels(&["device"])
}

/// In the order of the columns.
#[rustfmt::skip]
pub(super) const DESCS: &[Desc] = &[
    counter("node_network_receive_bytes_total", "Network device statistic receive_bytes."),
    counter("node_network_receive_packets_total", "Network device statistic receive_packets."),
    counter("node_network_receive_errs_total", "Network device statistic receive_errs."),
    counter("node_network_receive_drop_total", "Network device statistic receive_drop."),
    counter("node_network_receive_fifo_total", "Network device statistic receive_fifo."),
    counter("node_network_receive_frame_total", "Network device statistic receive_frame."),
    counter("node_network_receive_compressed_total", "Network device statistic receive_compressed."),
    counter("node_network_receive_multicast_total", "Network device statistic receive_multicast."),
    counter("node_network_transmit_bytes_total", "Network device statistic transmit_bytes."),
    counter("node_network_transmit_packets_total", "Network device statistic transmit_packets."),
    counter("node_network_transmit_errs_total", "Network device statistic transmit_errs."),
    counter("node_network_transmit_drop_total", "Network device statistic transmit_drop."),
    counter("node_network_transmit_fifo_total", "Network device statistic transmit_fifo."),
    counter("node_network_transmit_colls_total", "Network device statistic transmit_colls."),
    counter("node_network_transmit_carrier_total", "Network device statistic transmit_carrier."),
    counter("node_network_transmit_compressed_total", "Network device statistic transmit_compressed."),
];

pub(super) fn build(config: &Config) -> Box<dyn Collector> {
    Box::new(Network(config.collectors.host.proc_root.join("net/dev")))
}

struct Network(PathBuf);

#[async_trait]
impl Collector for Network {
    async fn collect(&self, out: &mut Families) -> Result<(), CollectError> {
        let text = read(&self.0)?;
        // The first two lines are headings.
        let devices: Vec<(&str, [f64; 16])> = text
            .lines()
            .skip(2)
            .map(|line| {
                parse(line)
                    .ok_or_else(|| CollectError::parse(&self.0, "a device and 16 numbers", line))
            })
            .collect::<Result<_, _>>()?;
        for (column, desc) in DESCS.iter().enumerate() {
            for (device, values) in &devices {
                out.add(desc, &[device], values[column]);
            }
        }
        Ok(())
    }
}

fn parse(line: &str) -> Option<(&str, [f64; 16])> {
    let (device, rest) = line.rsplit_once(':')?;
    let (mut values, mut fields) = ([0.0; 16], rest.split_ascii_whitespace());
    for value in &mut values {
        *value = fields.next()?.parse().ok()?;
    }
    Some((device.trim(), values))
}

#[cfg(test)]
mod tests {
    use crate::collectors::test::{Case, check};

    #[test]
    fn reads_columns_per_device() {
        let head = "Inter-| Receive | Transmit\n face |bytes packets\n";
        let line = "  eth0:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n";
        let want = "node_network_receive_bytes_total{device=\"eth0\"} 1\n\
            node_network_receive_compressed_total{device=\"eth0\"} 7\n\
            node_network_receive_drop_total{device=\"eth0\"} 4\n\
            node_network_receive_errs_total{device=\"eth0\"} 3\n\
            node_network_receive_fifo_total{device=\"eth0\"} 5\n\
            node_network_receive_frame_total{device=\"eth0\"} 6\n\
            node_network_receive_multicast_total{device=\"eth0\"} 8\n\
            node_network_receive_packets_total{device=\"eth0\"} 2\n\
            node_network_transmit_bytes_total{device=\"eth0\"} 9\n\
            node_network_transmit_carrier_total{device=\"eth0\"} 15\n\
            node_network_transmit_colls_total{device=\"eth0\"} 14\n\
            node_network_transmit_compressed_total{device=\"eth0\"} 16\n\
            node_network_transmit_drop_total{device=\"eth0\"} 12\n\
            node_network_transmit_errs_total{device=\"eth0\"} 11\n\
            node_network_transmit_fifo_total{device=\"eth0\"} 13\n\
            node_network_transmit_packets_total{device=\"eth0\"} 10\n";
        check(
            super::build,
            &[
                Case { files: &[("proc/net/dev", &format!("{head}{line}"))], want: Ok(want) },
                Case { files: &[("proc/net/dev", head)], want: Ok("") },
                Case {
                    files: &[("proc/net/dev", &format!("{head} lo: 1 2\n"))],
                    want: Err("a device and 16 numbers, found \" lo: 1 2\""),
                },
            ],
        );
    }
}
