//! Mail through a real server: every way to secure it and to log in, and every way to be refused.

use std::sync::Arc;
use std::time::Duration;

use pitcrew_alertd::notify::Settings;
use pitcrew_tests::certificates::{Authority, write_secret};
use pitcrew_tests::smtp_server::{PASSWORD, SmtpServer, USER};
use pitcrew_tests::wait::until;
use tempfile::TempDir;

use super::bench::{Bench, firing, hundredth, resolved};

const LIMIT: Duration = Duration::from_secs(30);
/// Longer than a handshake takes on a busy machine.
const ATTEMPT: Duration = Duration::from_secs(5);

/// Certificates of one authority in a folder, and the servers and receivers that use them.
struct Post {
    folder: TempDir,
}

impl Post {
    fn new() -> Post {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let write = |name: &str, text: &str| write_secret(&folder.path().join(name), text);
        write("ca.pem", &authority.pem);
        write("other-ca.pem", &Authority::new().pem);
        for name in ["localhost", "elsewhere.test", "client"] {
            let identity = authority.identity(name);
            write(&format!("{name}.pem"), &identity.pem);
            write(&format!("{name}.key"), &identity.key_pem());
        }
        Post { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// A server with the certificate of `name`.
    async fn server(&self, tls: &str, name: &str, more: &[&str]) -> SmtpServer {
        let (cert, key) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        let mut arguments = vec!["--tls", tls, "--cert", &cert, "--key", &key];
        arguments.extend(more);
        SmtpServer::start(self.folder.path(), &arguments).await
    }

    async fn plain(&self, more: &[&str]) -> SmtpServer {
        SmtpServer::start(self.folder.path(), more).await
    }

    /// Tells one alert through the server; `keys` are those of `email_configs`.
    async fn tell(&self, port: u16, keys: &str) -> (Bench, TempDir) {
        let data = tempfile::tempdir().unwrap();
        let settings = Settings { attempt_timeout: ATTEMPT, ..hundredth() };
        let bench = Bench::start(data.path(), &file(port, keys), settings).await;
        bench.send(vec![firing(&[("alertname", "A"), ("severity", "critical")])]).await;
        (bench, data)
    }

    /// The same for what must not get through: what was recorded as the reason.
    async fn refused(&self, server: &SmtpServer, keys: &str, why: &str) {
        let data = tempfile::tempdir().unwrap();
        let deadline = Duration::from_millis(100);
        let settings = Settings { attempt_timeout: ATTEMPT, deadline, ..hundredth() };
        let bench = Bench::start(data.path(), &file(server.port, keys), settings).await;
        bench.send(vec![firing(&[("alertname", "A")])]).await;
        until(LIMIT, why, async || !bench.outbox.failures(1).await.unwrap().is_empty()).await;
        let error = &bench.outbox.failures(1).await.unwrap()[0].error;
        assert!(error.contains(why) && !error.contains(PASSWORD), "{error}, not {why}");
        assert!(server.mails().is_empty(), "{why}");
        bench.stop().await;
    }
}

fn file(port: u16, keys: &str) -> String {
    format!(
        "
route: {{ receiver: team, group_by: [alertname], group_wait: 0s, group_interval: 300ms }}
receivers:
  - name: team
    email_configs:
      - {{ to: 'a@x.test, B <b@x.test>', from: 'Pit <p@x.test>', smarthost: 'localhost:{port}',
          hello: pitcrew.test, send_resolved: true{keys} }}
"
    )
}

fn login(more: &str) -> String {
    format!(", auth_username: {USER}, auth_password: {PASSWORD}{more}")
}

#[tokio::test]
async fn every_way_to_secure_it_and_to_log_in() {
    let post = Post::new();
    let (ca, none) =
        (format!(", tls_config: {{ ca_file: '{}' }}", post.path("ca.pem")), String::new());
    let clients = post.path("ca.pem");
    let plain = ", require_tls: false";
    // TLS | the server's arguments | the receiver's keys | login that the server saw
    for (tls, arguments, keys, saw) in [
        ("", vec![], format!("{plain}{none}"), None),
        ("", vec!["--auth", "PLAIN"], format!("{plain}{}", login("")), Some("PLAIN ")),
        ("", vec!["--auth", "LOGIN"], format!("{plain}{}", login("")), Some("LOGIN")),
        (
            "",
            vec!["--auth", "CRAM-MD5"],
            format!("{plain}{}", login(&format!(", auth_secret: {PASSWORD}"))),
            Some("CRAM-MD5"),
        ),
        ("starttls", vec![], ca.clone(), None),
        (
            "starttls",
            vec!["--auth", "PLAIN"],
            format!("{ca}{}", login(", auth_identity: other")),
            Some("PLAIN other"),
        ),
        ("starttls", vec!["--auth", "LOGIN"], format!("{ca}{}", login("")), Some("LOGIN")),
        (
            "starttls",
            vec!["--clients", &clients],
            format!(
                ", tls_config: {{ ca_file: '{}', cert_file: '{}', key_file: '{}' }}",
                post.path("ca.pem"),
                post.path("client.pem"),
                post.path("client.key")
            ),
            None,
        ),
        ("starttls", vec![], ", tls_config: { insecure_skip_verify: true }".to_owned(), None),
    ] {
        let what = format!("{tls} {arguments:?} {keys}");
        let server = match tls {
            "" => post.plain(&arguments).await,
            tls => post.server(tls, "localhost", &arguments).await,
        };
        let (bench, _data) = post.tell(server.port, &keys).await;
        until(LIMIT, &what, async || !server.mails().is_empty()).await;
        let mail = &server.mails()[0];
        assert_eq!((mail.encrypted, mail.login.as_deref()), (!tls.is_empty(), saw), "{what}");
        assert_eq!((mail.from.as_str(), mail.hello.as_str()), ("p@x.test", "pitcrew.test"));
        assert_eq!(mail.to, ["a@x.test", "b@x.test"]);
        bench.stop().await;
    }
    // Another name in the certificate, which the configuration expects.
    let server = post.server("starttls", "elsewhere.test", &[]).await;
    let keys = format!(
        ", tls_config: {{ ca_file: '{}', server_name: elsewhere.test }}",
        post.path("ca.pem")
    );
    let (bench, _data) = post.tell(server.port, &keys).await;
    until(LIMIT, "server_name", async || !server.mails().is_empty()).await;
    bench.stop().await;
}

#[tokio::test]
async fn tls_from_the_first_byte() {
    let post = Post::new();
    let server = post.server("implicit", "localhost", &["--auth", "PLAIN"]).await;
    let ca = post.path("ca.pem");
    let keys =
        format!(", force_implicit_tls: true, tls_config: {{ ca_file: '{ca}' }}{}", login(""));
    let data = tempfile::tempdir().unwrap();
    let settings = Settings { attempt_timeout: ATTEMPT, ..hundredth() };
    // Debian's amtool is older than the key.
    let bench =
        Bench::start_unchecked(data.path(), &file(server.port, &keys), "[]", settings).await;
    bench.send(vec![firing(&[("alertname", "A")])]).await;
    until(LIMIT, "the mail", async || !server.mails().is_empty()).await;
    let mail = &server.mails()[0];
    assert_eq!((mail.encrypted, mail.login.as_deref()), (true, Some("PLAIN ")));
    bench.stop().await;
}

#[tokio::test]
async fn nothing_is_sent_where_it_should_not_be() {
    let post = Post::new();
    let ca = |name: &str| format!(", tls_config: {{ ca_file: '{}' }}", post.path(name));
    let server = post.server("starttls", "localhost", &[]).await;
    post.refused(&server, &ca("other-ca.pem"), "invalid peer certificate").await;
    post.refused(&server, "", "invalid peer certificate").await;
    post.refused(&server, ", require_tls: false", "530").await;
    let elsewhere = post.server("starttls", "elsewhere.test", &[]).await;
    post.refused(&elsewhere, &ca("ca.pem"), "certificate not valid for name \"localhost\"").await;
    let ca_pem = post.path("ca.pem");
    let clients = post.server("starttls", "localhost", &["--clients", &ca_pem]).await;
    // TLS 1.3 tells the client of a missing certificate with the first answer.
    post.refused(&clients, &ca("ca.pem"), "cannot reach localhost").await;
    let plain = post.plain(&[]).await;
    post.refused(&plain, "", "it offers no STARTTLS, and require_tls is true").await;
    let auth = post.server("starttls", "localhost", &["--auth", "PLAIN"]).await;
    let wrong = format!("{}, auth_username: {USER}, auth_password: wrong", ca("ca.pem"));
    post.refused(&auth, &wrong, "login: 535").await;
    let cram = post.server("starttls", "localhost", &["--auth", "CRAM-MD5"]).await;
    let no_secret = format!("{}{}", ca("ca.pem"), login(""));
    post.refused(&cram, &no_secret, "none of these has its secret").await;
    let refuses = post.plain(&["--answer", "554"]).await;
    post.refused(&refuses, ", require_tls: false", "refused: 554 not taken").await;
    let both = ["--refuse", "a@x.test=550", "--refuse", "b@x.test=550"];
    let nobody = post.plain(&both).await;
    post.refused(&nobody, ", require_tls: false", "refused: 550 not this one").await;
    let silent = post.plain(&["--hang"]).await;
    post.refused(&silent, ", require_tls: false", "no answer from").await;
}

#[tokio::test]
async fn greylisting_is_waited_out_and_one_recipient_holds_up_no_other() {
    let post = Post::new();
    let grey = post.plain(&["--grey", "2"]).await;
    let (bench, _data) = post.tell(grey.port, ", require_tls: false").await;
    until(LIMIT, "the third attempt", async || grey.mails().len() == 1).await;
    until(LIMIT, "it is recorded", async || bench.outbox.depth().await.unwrap().0 == 0).await;
    let retried = bench.metric("pitcrew_alertd_notifications_total", "retried");
    assert!((retried - 2.0).abs() < f64::EPSILON, "{retried}");
    bench.stop().await;

    let one = post.plain(&["--refuse", "b@x.test=550"]).await;
    let (bench, _data) = post.tell(one.port, ", require_tls: false").await;
    until(LIMIT, "the other has it", async || one.mails().len() == 1).await;
    until(LIMIT, "it is recorded", async || bench.outbox.depth().await.unwrap().0 == 0).await;
    assert_eq!(one.mails()[0].to, ["a@x.test"]);
    bench.stop().await;

    let later = post.plain(&["--later", "b@x.test"]).await;
    let (bench, _data) = post.tell(later.port, ", require_tls: false").await;
    until(LIMIT, "both have it", async || later.mails().len() == 2).await;
    until(LIMIT, "it is recorded", async || bench.outbox.depth().await.unwrap().0 == 0).await;
    let mails = later.mails();
    let to: Vec<_> = mails.iter().map(|mail| mail.to.join(" ")).collect();
    assert_eq!(to, ["a@x.test", "b@x.test"], "nobody has it twice");
    assert_eq!(mails[0].header("Message-ID"), mails[1].header("Message-ID"));
    bench.stop().await;
}

#[tokio::test]
async fn a_group_is_one_thread_that_any_mail_program_can_show() {
    let post = Post::new();
    let server = post.plain(&[]).await;
    let data = tempfile::tempdir().unwrap();
    let settings = Settings { attempt_timeout: ATTEMPT, ..hundredth() };
    let keys = ", require_tls: false, headers: { X-Team: ci, Reply-To: crew@x.test }";
    let bench = Bench::start(data.path(), &file(server.port, keys), settings.clone()).await;
    let hostile = "</td><script>alert(1)</script>\r\nBcc: c@x.test \u{1f525} \u{202e}";
    let mut alert = firing(&[("alertname", "A"), ("severity", "critical"), ("runner", hostile)]);
    Arc::make_mut(&mut alert.annotations)
        .insert("runbook_url".into(), "https://x.test/A.md".into());
    Arc::make_mut(&mut alert.annotations).insert("description".into(), ".\r\n.\r\nQUIT\r\n".into());
    bench.send(vec![alert.clone()]).await;
    until(LIMIT, "the first mail", async || server.mails().len() == 1).await;
    until(LIMIT, "it is recorded", async || bench.outbox.depth().await.unwrap().0 == 0).await;
    // The thread outlives the program.
    bench.stop().await;
    let bench = Bench::start(data.path(), &file(server.port, keys), settings).await;
    bench.send(vec![resolved(&alert)]).await;
    until(LIMIT, "the end", async || server.mails().len() == 2).await;
    let mails = server.mails();
    let (first, last) = (&mails[0], &mails[1]);
    let id = first.header("Message-ID");
    assert!(id.starts_with('<') && id.ends_with("@x.test>"), "{id}");
    assert_eq!((first.header("References"), first.header("In-Reply-To")), Default::default());
    assert_eq!((last.header("References"), last.header("In-Reply-To")), (id.clone(), id.clone()));
    assert_ne!(last.header("Message-ID"), id);
    assert_eq!(first.header("Subject"), "[FIRING:1] A");
    assert_eq!(last.header("Subject"), "[RESOLVED] A");
    assert_eq!(first.header("X-Team"), "ci");
    assert_eq!(
        (first.header("Importance"), last.header("Importance")),
        ("high".into(), String::new())
    );
    assert_eq!(first.header("Auto-Submitted"), "auto-generated");
    assert_eq!(first.header("Bcc"), "");
    assert_eq!(first.to, ["a@x.test", "b@x.test"]);
    let parts = first.parts();
    let [text, html] = &parts[..] else { panic!("{parts:?}") };
    assert!(text.contains("runner: </td><script>") && text.contains("\n.\n.\nQUIT"), "{text}");
    assert!(text.contains("runbook: https://x.test/A.md"), "{text}");
    assert!(html.contains("&lt;script&gt;") && !html.contains("<script"), "{html}");
    assert!(html.contains("\u{1f525}") && !html.contains('\u{202e}'), "{html}");
    bench.stop().await;
}

#[tokio::test]
async fn the_configurations_own_words_replace_ours() {
    let post = Post::new();
    let server = post.plain(&[]).await;
    let data = tempfile::tempdir().unwrap();
    std::fs::write(
        data.path().join("own.tmpl"),
        "{{ define \"email.default.subject\" }}own {{ .Status }} {{ .CommonLabels.x }}{{ end }}",
    )
    .unwrap();
    let text = format!(
        "
templates: ['*.tmpl']
route: {{ receiver: team, group_by: [alertname], group_wait: 0s, group_interval: 300ms }}
receivers:
  - name: team
    email_configs:
      - {{ to: '{{{{ .CommonLabels.team }}}}@x.test', from: p@x.test, smarthost: 'localhost:{}',
          require_tls: false, headers: {{ X-Who: '{{{{ .CommonLabels.x }}}}' }},
          html: '<p title=\"{{{{ .CommonLabels.x }}}}\">{{{{ .CommonLabels.x }}}}</p>',
          text: 'all: {{{{ len .Alerts }}}} {{{{ .Nonsense }}}}' }}
",
        server.port
    );
    let settings = Settings { attempt_timeout: ATTEMPT, ..hundredth() };
    let bench = Bench::start(data.path(), &text, settings).await;
    let hostile = "\"><script>\r\nBcc: c@x.test";
    bench.send(vec![firing(&[("alertname", "A"), ("team", "crew"), ("x", hostile)])]).await;
    until(LIMIT, "the mail", async || !server.mails().is_empty()).await;
    let mail = &server.mails()[0];
    assert_eq!(mail.to, ["crew@x.test"]);
    assert!(mail.header("Subject").starts_with("own firing \"><script>"), "{mail:?}");
    assert!(mail.header("X-Who").starts_with("\"><script>"), "{mail:?}");
    assert_eq!(mail.header("Bcc"), "");
    let parts = mail.parts();
    // A template that fails costs its text alone.
    assert!(parts[0].contains("<error expanding template"), "{}", parts[0]);
    assert!(parts[1].starts_with("<p title=") && !parts[1].contains("<script>"), "{}", parts[1]);
    bench.stop().await;
}
