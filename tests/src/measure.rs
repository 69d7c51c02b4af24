//! For benchmarks: what a running process has cost, as the kernel counts it, and samples for it.

use std::fs;

use anyhow::{Context, Result, ensure};

/// Seconds of user and system time of all threads, those that ended included.
pub fn processor_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("no name")?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let field =
        |at: usize| -> Result<f64> { Ok(fields.get(at).context("a field is missing")?.parse()?) };
    let ticks = field(11)? + field(12)?;
    Ok(ticks / rustix::param::clock_ticks_per_second() as f64)
}

/// Sends one remote write 1.0 body to the server at `url`, which has to take it.
pub async fn write(client: &reqwest::Client, url: &str, body: Vec<u8>) -> Result<()> {
    let request = client.post(format!("{url}/api/v1/write")).body(body);
    let request = request
        .header("content-type", "application/x-protobuf")
        .header("content-encoding", "snappy")
        .header("x-prometheus-remote-write-version", "0.1.0");
    let answer = request.send().await?;
    let status = answer.status();
    ensure!(status.is_success(), "{status}: {}", answer.text().await?);
    Ok(())
}

/// Resident memory in megabytes.
pub fn resident_megabytes(pid: u32) -> Result<f64> {
    megabytes(pid, "VmRSS:")
}

/// The most that it ever was.
pub fn peak_megabytes(pid: u32) -> Result<f64> {
    megabytes(pid, "VmHWM:")
}

fn megabytes(pid: u32, name: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0 / 1e6)
}

pub fn median(values: Vec<f64>) -> f64 {
    percentile(values, 0.5)
}

/// The value below which this share of all lies.
pub fn percentile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * share) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}
