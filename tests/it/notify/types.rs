//! What goes to Slack, beside the types that Slack publishes for TypeScript.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use pitcrew_tests::fake_slack::{BOT_TOKEN, FakeSlack};
use pitcrew_tests::fake_webhook::FakeWebhook;
use pitcrew_tests::peers;
use pitcrew_tests::wait::until;
use serde_json::Value;

use super::bench::{Bench, firing, resolved};
use super::slack::patient;

const LIMIT: Duration = Duration::from_secs(30);

/// What a message may have is said by the types; what the methods take beside it stands here.
const PRELUDE: &str = "
import type { KnownBlock, MessageAttachment } from './slack-types/dist/index';
type Attachment = Omit<MessageAttachment, 'blocks'> & { blocks?: KnownBlock[] };
interface Message {
  text?: string; blocks?: KnownBlock[]; attachments?: Attachment[];
  channel?: string; ts?: string; thread_ts?: string; reply_broadcast?: boolean;
  parse?: 'none'; link_names?: boolean; unfurl_links?: boolean; unfurl_media?: boolean;
  username?: string; icon_emoji?: string; icon_url?: string;
}
// @ts-expect-error a header takes plain text alone: the check can fail
export const wrong: Message = { blocks: [{ type: 'header', text: { type: 'mrkdwn', text: 'x' } }] };
// @ts-expect-error an attachment has no such key
export const more: Message = { attachments: [{ colour: 'red' }] };
";

#[tokio::test]
async fn every_payload_has_slacks_published_types() {
    let folder = tempfile::tempdir().unwrap();
    let (slack, hook) = (FakeSlack::start().await, FakeWebhook::slack().await);
    let file = format!(
        "
route: {{ receiver: team, group_by: [alertname], group_wait: 50ms, group_interval: 100ms }}
receivers:
  - name: team
    slack_configs: [ {{ api_url: '{0}', send_resolved: true }},
      {{ api_url: '{0}', channel: '#ci', username: crew, icon_emoji: ':fire:', send_resolved: true,
         title: T, title_link: 'http://x/', pretext: P, text: X, fallback: F, color: danger,
         footer: O, short_fields: true, fields: [ {{ title: a, value: b }} ],
         image_url: 'http://x/i.png', callback_id: c, mrkdwn_in: [text, pretext],
         actions: [ {{ type: button, text: Open, url: 'http://x/', style: primary }},
           {{ type: button, text: Do, name: do, value: v,
              confirm: {{ text: 'sure?', title: S, ok_text: go, dismiss_text: stop }} }} ] }} ]
",
        hook.url
    );
    let receivers = format!(
        "[ {{ name: team, slack_bot: {{ token: {BOT_TOKEN}, channel: '#ci', api_url: '{}',
           signing_secret: s, users: [U1] }} }} ]",
        slack.url
    );
    let bench = Bench::start_with(folder.path(), &file, &receivers, patient()).await;
    let one = |host: &str| {
        let mut alert = firing(&[
            ("alertname", "A"),
            ("severity", "warning"),
            ("instance", host),
            ("job", "ci"),
        ]);
        let link = "https://x.test/A.md".to_owned();
        Arc::make_mut(&mut alert.annotations).insert("runbook_url".to_owned(), link);
        alert
    };
    bench.send(vec![one("a")]).await;
    until(LIMIT, "one is told", async || slack.messages().len() == 1).await;
    bench.send(vec![one("a"), one("b")]).await;
    until(LIMIT, "two are told", async || slack.messages()[0].edits == 1).await;
    bench.send(vec![resolved(&one("a")), resolved(&one("b"))]).await;
    until(LIMIT, "the end is told", async || slack.messages()[0].edits == 2).await;
    until(LIMIT, "and to the webhooks", async || hook.accepted().len() >= 6).await;
    bench.stop().await;

    let calls = slack.calls().into_iter().map(|call| call.body);
    let bodies = calls.chain(hook.accepted().into_iter().map(|request| request.body));
    let mut text = PRELUDE.to_owned();
    for (at, body) in bodies.enumerate() {
        assert!(matches!(body, Value::Object(_)));
        text.push_str(&format!("export const m{at}: Message = {body};\n"));
    }
    let peers = peers::root();
    let source = peers.join("slack-check.ts");
    fs::write(&source, text).unwrap();
    let said = complaints(&source);
    assert!(said.is_empty(), "{said}");
}

/// What TypeScript's compiler says of the file.
#[expect(clippy::disallowed_methods, reason = "a short run of a program, in a test")]
fn complaints(source: &Path) -> String {
    let compiler = peers::root().join("typescript/lib/tsc.js");
    assert!(compiler.exists(), "make peers fetches {}", compiler.display());
    let output = Command::new("node")
        .arg(compiler)
        .args(["--noEmit", "--strict", "--target", "es2022", "--module", "esnext"])
        .args(["--moduleResolution", "bundler", "--skipLibCheck", "--typeRoots"])
        .arg(peers::root().join("no-other-types"))
        .arg(source)
        .output()
        .expect("Node.js is installed: make peers asks for it");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.success() {
        true => said,
        false => format!("{}: {said}", output.status),
    }
}
