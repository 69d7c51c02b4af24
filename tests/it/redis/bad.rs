//! Redis that is loading, alone, slow, gone or no Redis: a state that says so, and the rest of the
//! page.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pitcrew_tests::certificates::write_secret;
use pitcrew_tests::process::free_address;
use pitcrew_tests::redis::{Redis, ask};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{Exporter, LONG};

fn exporter(redis: &Redis, more: &str) -> Exporter {
    Exporter::new(&format!("{{ name: r, url: '{}', streams: [s]{more} }}", redis.url()))
}

#[tokio::test]
async fn a_server_that_is_not_there_or_takes_no_more_clients() {
    let address = free_address();
    let gone = Exporter::new(&format!("{{ name: r, url: 'redis://{address}', streams: [s] }}"));
    gone.page().await.is("unreachable");
    let nowhere = Exporter::new("{ name: r, url: 'redis://nowhere.invalid', streams: [s] }");
    nowhere.page().await.is("unreachable");
    let no_file = Exporter::new("{ name: r, url: 'unix:///no/such/socket', streams: [s] }");
    no_file.page().await.is("unreachable");
    let redis = Redis::start(&[]).await;
    let mut client = redis.client().await;
    let _: () = ask(&mut client, "CONFIG SET maxclients 1").await;
    // It says why and closes, which may overtake what it said.
    let page = exporter(&redis, "").page().await;
    let refused = r#"queue_server_state{server="r",state="refused"}"#;
    page.is(if page.get(refused) == Some(1.0) { "refused" } else { "closed" });
}

#[tokio::test]
async fn a_wrong_password_and_one_that_is_changed() {
    let redis = Redis::start(&[]).await;
    let mut client = redis.client().await;
    let _: String = ask(&mut client, "XADD s * n 1").await;
    let _: () = ask(&mut client, "CONFIG SET requirepass hunter2").await;
    exporter(&redis, "").page().await.is("password");
    let file = redis.folder().join("password");
    let of_file = format!(", password_file: '{}'", file.display());
    let exporter = exporter(&redis, &of_file);
    exporter.page().await.is("secret");
    write_secret(&file, "wrong\n");
    let page = exporter.page().await;
    page.is("password");
    assert!(!page.0.contains("hunter2") && !page.0.contains("wrong\""));
    write_secret(&file, "hunter2\n");
    let page = exporter.page().await;
    page.is("ok");
    page.has(&[(r#"queue_depth{server="r",queue="s"}"#, 1.0)]);
    // Everybody has to sign in again, with another password.
    let _: () = ask(&mut client, "CONFIG SET requirepass hunter3").await;
    let _: u64 = ask(&mut client, "CLIENT KILL TYPE normal SKIPME yes").await;
    exporter.page().await.is("password");
    write_secret(&file, "hunter3\n");
    exporter.page().await.is("ok");
}

#[tokio::test]
async fn a_server_that_loads_its_data() {
    let mut redis = Redis::start(&["--appendonly", "no"]).await;
    let mut client = redis.client().await;
    for n in 0..2000 {
        let _: String = ask(&mut client, &format!("XADD s{n} * n 1")).await;
    }
    let _: String = ask(&mut client, "XADD s * n 1").await;
    let _: () = ask(&mut client, "SAVE").await;
    redis.kill().await;
    // 2,000 keys at 5 ms each; between them it answers.
    let slow = ["--key-load-delay", "5000", "--loading-process-events-interval-bytes", "1024"];
    redis.again(&slow);
    let exporter = exporter(&redis, "");
    let loading = r#"queue_server_state{server="r",state="loading"}"#;
    exporter.page_with(loading, 1.0).await.is("loading");
    let page = exporter.page_with(r#"queue_server_up{server="r"}"#, 1.0).await;
    page.is("ok");
    page.has(&[(r#"queue_depth{server="r",queue="s"}"#, 1.0)]);
}

#[tokio::test]
async fn a_replica_which_is_read_only_and_then_alone() {
    let mut primary = Redis::start(&[]).await;
    let replica = Redis::start(&[]).await;
    let _: String = ask(&mut primary.client().await, "XADD s * n 1").await;
    let _: () = ask(&mut primary.client().await, "XGROUP CREATE s g 0").await;
    let mut client = replica.client().await;
    let _: () = ask(&mut client, &format!("REPLICAOF 127.0.0.1 {}", primary.port)).await;
    let exporter = exporter(&replica, "");
    let page = exporter.page_with(r#"queue_server_replica_link_up{server="r"}"#, 1.0).await;
    page.is("ok");
    let version = replica.info("server", "redis_version").await.unwrap();
    let info = format!(
        "queue_server_info{{server=\"r\",version=\"{version}\",mode=\"standalone\",role=\"replica\"}}"
    );
    page.has(&[(&info, 1.0)]);
    let page = exporter.page_with(r#"queue_depth{server="r",queue="s"}"#, 1.0).await;
    page.has(&[(r#"queue_group_lag{server="r",queue="s",group="g"}"#, 1.0)]);
    primary.kill().await;
    let page = exporter.page_with(r#"queue_server_replica_link_up{server="r"}"#, 0.0).await;
    page.has(&[(r#"queue_depth{server="r",queue="s"}"#, 1.0)]);
    let _: () = ask(&mut client, "CONFIG SET replica-serve-stale-data no").await;
    exporter.page().await.is("primary_down");
}

#[tokio::test]
async fn a_server_that_hangs_or_is_busy_with_a_script() {
    let redis = Redis::start(&["--busy-reply-threshold", "50"]).await;
    let exporter = exporter(&redis, ", timeout: 500ms");
    exporter.page().await.is("ok");
    let pid = rustix::process::Pid::from_raw(redis.pid().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    exporter.page().await.is("timeout");
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    exporter.page_with(r#"queue_server_up{server="r"}"#, 1.0).await;
    let mut client = redis.client().await;
    let endless = tokio::spawn(async move {
        let mut script = redis::cmd("EVAL");
        script.arg("while true do end").arg(0);
        script.query_async::<redis::Value>(&mut client).await.ok();
    });
    let busy = r#"queue_server_state{server="r",state="busy"}"#;
    exporter.page_with(busy, 1.0).await.is("busy");
    let mut killer = redis::cmd("SCRIPT");
    let mut other = redis.client().await;
    let _: () = killer.arg("KILL").query_async(&mut other).await.unwrap();
    endless.await.unwrap();
    exporter.page().await.is("ok");
}

/// The reply to `HELLO`, or enough of it.
const HELLO: &[u8] = b"*2\r\n$4\r\nrole\r\n$6\r\nmaster\r\n";

/// Something on a port that greets like a Redis if it is told to, says `then` to what is asked
/// next, and goes or stays.
async fn impostor(greets: bool, then: Vec<u8>, stays: bool) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let visits = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&visits);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let then = then.clone();
            tokio::spawn(async move {
                let mut asked = [0; 4096];
                let mut greeting = greets;
                while stream.read(&mut asked).await.is_ok_and(|read| read > 0) {
                    let greeted = std::mem::take(&mut greeting);
                    let answer = if greeted { HELLO } else { &then };
                    if stream.write_all(answer).await.is_err() || !(greeted || stays) {
                        return;
                    }
                }
            });
        }
    });
    (address, visits)
}

#[tokio::test]
async fn whatever_is_no_redis_or_goes_in_the_middle() {
    let then = |rest: &[u8]| [HELLO, b"*2\r\n$1\r\n1\r\n$1\r\n0\r\n", rest].concat();
    for (greets, said, stays, want) in [
        (false, b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), true, "protocol"),
        (false, b"".to_vec(), true, "timeout"),
        (false, b"".to_vec(), false, "closed"),
        (false, b"-LOADING Redis is loading the dataset in memory\r\n".to_vec(), true, "loading"),
        (false, b"-DENIED Redis is running in protected mode\r\n".to_vec(), true, "refused"),
        (false, b"-ERR max number of clients reached\r\n".to_vec(), false, "refused"),
        // Gone between the length and the groups, and in the middle of a reply.
        (true, then(b":5\r\n"), false, "closed"),
        (true, then(b":5\r\n*1\r\n*10\r\n$4\r\nna"), false, "closed"),
        (true, then(b":5\r\n"), true, "timeout"),
        (true, then(b":5\r\n$2\r\nxx\r\n"), true, "protocol"),
        (true, then(b"$3\r\nten\r\n*0\r\n"), true, "protocol"),
        (true, then(b":-5\r\n*0\r\n"), true, "protocol"),
        (true, then(b":5\r\n*1\r\n*2\r\n$4\r\nname\r\n$1\r\ng\r\n"), true, "protocol"),
        (true, then(b":5\r\n*1000000000\r\n"), true, "timeout"),
        (true, then(b":5\r\n$9000000000000000000\r\nx"), true, "timeout"),
        (true, then(&b"*1\r\n".repeat(100_000)), true, "protocol"),
    ] {
        let (address, _) = impostor(greets, said.clone(), stays).await;
        let exporter = Exporter::new(&format!(
            "{{ name: r, url: 'redis://{address}', streams: [s], timeout: 500ms }}"
        ));
        let page = exporter.page().await;
        let told = String::from_utf8_lossy(&said);
        let state = format!("queue_server_state{{server=\"r\",state=\"{want}\"}}");
        assert_eq!(page.get(&state), Some(1.0), "{told:?}:\n{}", page.queues());
        page.is(want);
    }
}

/// A server that never stops talking costs a bounded number of bytes and its own time.
#[tokio::test]
async fn a_reply_without_end_is_cut_off() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let chunk = vec![b'x'; 1 << 20];
        stream.write_all(b"$5000000000\r\n").await.unwrap();
        while stream.write_all(&chunk).await.is_ok() {
            count.fetch_add(chunk.len(), Ordering::Relaxed);
        }
    });
    let settings = format!("{{ name: r, url: 'redis://{address}', streams: [s], timeout: 15s }}");
    Exporter::new(&settings).page().await.is("protocol");
    let sent = sent.load(Ordering::Relaxed);
    assert!((64 << 20..80 << 20).contains(&sent), "{sent} bytes");
}

#[tokio::test]
async fn one_of_two_servers_is_down_and_the_other_is_told() {
    let redis = Redis::start(&[]).await;
    let _: String = ask(&mut redis.client().await, "XADD s * n 1").await;
    let (hangs, visits) = impostor(false, Vec::new(), true).await;
    let exporter = Exporter::new(&format!(
        "[ {{ name: hangs, url: 'redis://{hangs}', streams: [s], timeout: 200ms }}, \
         {{ name: r, url: '{}', streams: [s] }} ]",
        redis.url()
    ));
    let page = exporter.page().await;
    page.is("ok");
    page.has(&[
        (r#"queue_depth{server="r",queue="s"}"#, 1.0),
        (r#"queue_server_up{server="hangs"}"#, 0.0),
    ]);
    pitcrew_tests::wait::until(LONG, "each scrape asks anew", async || {
        exporter.page().await;
        visits.load(Ordering::Relaxed) > 1
    })
    .await;
}
