//! TLS, users with few permissions, and Sentinels.

use std::fs;

use pitcrew_tests::certificates::{Authority, write_secret};
use pitcrew_tests::process::free_address;
use pitcrew_tests::redis::{Redis, ask};

use super::Exporter;

#[tokio::test]
async fn tls_with_our_own_authority_and_not_with_another() {
    let (authority, other) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("ca.pem"), &authority.pem).unwrap();
    fs::write(path("other.pem"), &other.pem).unwrap();
    for (name, identity) in [
        ("server", authority.identity("127.0.0.1")),
        ("client", authority.identity("pitcrew")),
        ("stranger", other.identity("pitcrew")),
    ] {
        fs::write(path(&format!("{name}.pem")), &identity.pem).unwrap();
        write_secret(folder.path().join(format!("{name}.key")).as_path(), &identity.key_pem());
    }
    let port = free_address().rsplit_once(':').unwrap().1.to_owned();
    let [cert, key, ca] = ["server.pem", "server.key", "ca.pem"].map(path);
    let redis = Redis::start(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca,
        "--tls-auth-clients",
        "yes",
    ])
    .await;
    let _: String = ask(&mut redis.client().await, "XADD s * n 1").await;
    let with = |host: &str, tls: &str| {
        Exporter::new(&format!(
            "{{ name: r, url: 'rediss://{host}:{port}', streams: [s], tls: {{ {tls} }} }}"
        ))
    };
    let own = |name: &str| {
        let [cert, key] = [".pem", ".key"].map(|end| path(&format!("{name}{end}")));
        format!("cert_file: '{cert}', key_file: '{key}'")
    };
    let [ca, other] = ["ca.pem", "other.pem"].map(|name| format!("ca_file: '{}'", path(name)));
    let good = with("127.0.0.1", &format!("{ca}, {}", own("client")));
    let page = good.page().await;
    page.is("ok");
    page.has(&[(r#"queue_depth{server="r",queue="s"}"#, 1.0)]);
    let by_name = format!("{ca}, {}, server_name: 127.0.0.1", own("client"));
    with("localhost", &by_name).page().await.is("ok");
    for (host, tls) in [
        ("127.0.0.1", format!("{other}, {}", own("client"))),
        // The certificate is the address's.
        ("localhost", format!("{ca}, {}", own("client"))),
        ("127.0.0.1", format!("ca_file: '{}'", path("missing.pem"))),
        ("127.0.0.1", format!("ca_file: '{}'", path("client.key"))),
    ] {
        with(host, &tls).page().await.is("tls");
    }
    // TLS 1.3 tells a client that it is refused only after the handshake.
    for tls in [ca.clone(), format!("{ca}, {}", own("stranger"))] {
        let page = with("127.0.0.1", &tls).page().await;
        page.has(&[(r#"queue_server_up{server="r"}"#, 0.0)]);
    }
    let plain =
        Exporter::new(&format!("{{ name: r, url: 'redis://127.0.0.1:{port}', streams: [s] }}"));
    plain.page().await.has(&[(r#"queue_server_up{server="r"}"#, 0.0)]);
}

#[tokio::test]
async fn a_user_who_may_run_what_is_needed_and_no_more() {
    let redis = Redis::start(&[]).await;
    let mut client = redis.client().await;
    for key in ["jobs:a", "jobs:b", "private"] {
        let _: String = ask(&mut client, &format!("XADD {key} * n 1")).await;
        let _: () = ask(&mut client, &format!("XGROUP CREATE {key} g 0")).await;
    }
    let _: u64 = ask(&mut client, "RPUSH jobs:list a").await;
    let read = "XREADGROUP GROUP g c COUNT 1 STREAMS jobs:a >";
    let _: redis::Value = ask(&mut client, read).await;
    let file = redis.folder().join("password");
    write_secret(&file, "hunter2");
    let rules = "ACL SETUSER pitcrew on >hunter2 resetkeys %R~jobs:* -@all +time +scan +xlen \
                 +xinfo|groups +xinfo|consumers +xpending +xrange +xrevrange +llen";
    let _: () = ask(&mut client, rules).await;
    let exporter = |streams: &str| {
        Exporter::new(&format!(
            "{{ name: r, url: '{}', streams: [{streams}], lists: ['jobs:*'], username: pitcrew, \
             password_file: '{}' }}",
            redis.url(),
            file.display()
        ))
    };
    let page = exporter("'jobs:*', private").page().await;
    page.is("ok");
    page.has(&[
        (r#"queue_depth{server="r",queue="jobs:list"}"#, 1.0),
        (r#"queue_group_pending{server="r",queue="jobs:a",group="g"}"#, 1.0),
        (r#"queue_group_deliveries_max{server="r",queue="jobs:a",group="g"}"#, 1.0),
        (r#"queue_unreadable{server="r",queue="private",reason="no_permission"}"#, 1.0),
    ]);
    assert!(!page.queues().contains("jobs:a\",reason"), "{}", page.queues());
    // Without the right to see entries: no ages of what waits, and everything else.
    let _: () = ask(&mut client, "ACL SETUSER pitcrew -xrange -time").await;
    let page = exporter("'jobs:*'").page().await;
    page.is("ok");
    page.has(&[
        (r#"queue_group_lag{server="r",queue="jobs:b",group="g"}"#, 1.0),
        (r#"queue_unreadable{server="r",queue="jobs:b",reason="no_permission"}"#, 1.0),
    ]);
    page.lacks(&[
        r#"queue_group_oldest_undelivered_timestamp_seconds{"#,
        "queue_server_clock_skew_seconds{",
    ]);
    exporter("private")
        .page()
        .await
        .has(&[(r#"queue_unreadable{server="r",queue="private",reason="no_permission"}"#, 1.0)]);
    let alone = Exporter::new(&format!(
        "{{ name: r, url: '{}', streams: [private], username: pitcrew, password_file: '{}' }}",
        redis.url(),
        file.display()
    ));
    alone.page().await.is("permission");
    let _: () = ask(&mut client, "ACL SETUSER pitcrew -scan").await;
    exporter("'jobs:*'")
        .page()
        .await
        .has(&[(r#"queue_unreadable{server="r",queue="jobs:*",reason="no_permission"}"#, 1.0)]);
}

#[tokio::test]
async fn sentinels_tell_who_is_primary_now() {
    let mut first = Redis::start(&[]).await;
    let second = Redis::start(&[]).await;
    let _: String = ask(&mut first.client().await, "XADD s * n 1").await;
    let _: () =
        ask(&mut second.client().await, &format!("REPLICAOF 127.0.0.1 {}", first.port)).await;
    let sentinel = Redis::sentinel("jobs", first.port);
    sentinel.ready().await;
    // The first of the two addresses answers nothing at all.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = format!("'{}', '{}'", silent.local_addr().unwrap(), sentinel.address());
    let settings = |master: &str| {
        format!(
            "{{ name: r, streams: [s], timeout: 3s, \
             sentinel: {{ master: {master}, addresses: [{addresses}] }} }}"
        )
    };
    Exporter::new(&settings("unknown")).page().await.is("unreachable");
    let exporter = Exporter::new(&settings("jobs"));
    let page = exporter.page().await;
    page.is("ok");
    page.has(&[(r#"queue_depth{server="r",queue="s"}"#, 1.0)]);
    pitcrew_tests::wait::until(super::LONG, "the Sentinel knows the replica", async || {
        let known: redis::Value = ask(&mut sentinel.client().await, "SENTINEL replicas jobs").await;
        let found: u64 = match known {
            redis::Value::Array(replicas) => replicas.len() as u64,
            _ => 0,
        };
        found == 1
            && second.info("replication", "master_link_status").await.as_deref() == Some("up")
    })
    .await;
    first.kill().await;
    // The other becomes primary; only there a second entry can be added.
    let count = r#"queue_depth{server="r",queue="s"}"#;
    pitcrew_tests::wait::until(super::LONG, "the second one is primary", async || {
        second.info("replication", "role").await.as_deref() == Some("master")
    })
    .await;
    let _: String = ask(&mut second.client().await, "XADD s * n 2").await;
    exporter.page_with(count, 2.0).await.is("ok");
}
