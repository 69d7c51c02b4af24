//! From a rule that fires to Slack's consent.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use pitcrew_exporter::clock::monotonic;
use pitcrew_tests::fake_webhook::FakeWebhook;
use pitcrew_tests::measure::{median, percentile};

use crate::fleet::{self, ALARM, Fleet};
use crate::sides::{Setup, Side};

const TARGETS: usize = 50;
const CROSSINGS: usize = 200;

pub(super) async fn run(folder: &Path) -> Result<()> {
    let slack = FakeWebhook::slack().await;
    let mut fleet = Fleet::new(TARGETS, 10);
    let rules = fleet.rules(100, "1s");
    let notifications = format!(
        "route: {{ receiver: r, group_by: [alertname, instance], group_wait: 1s }}\nreceivers: [ {{ name: r, slack_configs: [ {{ api_url: '{}', text: '{{{{ range .Alerts }}}}{{{{ .Labels.alertname }}}} {{{{ .Labels.instance }}}} {{{{ .StartsAt.UnixMilli }}}};{{{{ end }}}}' }} ] }} ]\n",
        slack.url
    );
    let setup = Setup { rules: &rules, notifications: &notifications, more: "" };
    let side = Side::ours(folder, &setup).await?;
    for body in fleet.bodies(|_, _| false) {
        side.write(body).await?;
    }
    let (wall, clock) = (fleet::now(), monotonic());
    tokio::time::sleep(Duration::from_secs(3)).await;
    for number in 0..CROSSINGS {
        let body = fleet::one(number % 10, number / 10 * 2 % TARGETS, ALARM + number as f64);
        side.write(body).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(4)).await;
    let mut times = Vec::new();
    for request in slack.accepted() {
        let text = request.body["attachments"][0]["text"].as_str().context("no text")?;
        let fired = text.trim_end_matches(';').rsplit(' ').next().context("no time")?;
        let fired: f64 = fired.parse().with_context(|| text.to_owned())?;
        let at = wall.0 as f64 + request.at.duration_since(clock).as_secs_f64() * 1000.0;
        times.push((at - fired) / 1000.0 - 1.0);
    }
    ensure!(times.len() >= CROSSINGS / 2, "{} messages", times.len());
    println!(
        "\nFiring → accepted by Slack's fake, beyond group_wait, {} messages: median {:.3} s, p99 {:.3} s",
        times.len(),
        median(times.clone()),
        percentile(times, 0.99)
    );
    side.end().await
}
