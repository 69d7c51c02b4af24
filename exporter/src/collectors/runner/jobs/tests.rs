//! Real lines of a listener's log, and lines that a workflow's author would like to be real.

use super::*;

const A: &str = "e5f216c1-7ded-5e5d-b721-52490562157d";
const B: &str = "5ad26d73-2db2-5572-b9df-81f5f8ae7fb3";

fn read(text: &str) -> Jobs {
    let mut jobs = Jobs::default();
    for line in text.lines() {
        jobs.line(line.as_bytes());
    }
    jobs
}

/// One job from request to end as the agent logs it; times are minutes and seconds of one hour.
fn job(id: &str, name: &str, start: &str, end: &str, result: &str) -> String {
    let (start, end) = (format!("2025-07-23 02:{start}Z"), format!("2025-07-23 02:{end}Z"));
    format!(
        "[{start} INFO JobDispatcher] Job request 0 for plan 1519cd73-0000-0000-0000-000000000000 job {id} received.\n\
         [{start} INFO Terminal] WRITE LINE: {start}: Running job: {name}\n\
         [{start} INFO JobDispatcher] Start renew job request 0 for job {id}.\n\
         [{start} INFO JobDispatcher] Successfully renew job {id}, job is valid till 7/23/2025 2:42:09 AM\n\
         [{start} INFO ProcessInvokerWrapper]   File name: '/home/r/actions-runner/bin.2.326.0/Runner.Worker'\n\
         [{start} INFO JobDispatcher] Send job request message to worker for job {id}.\n\
         [{end} INFO JobDispatcher] Worker finished for job {id}. Code: 100\n\
         [{end} INFO JobDispatcher] finish job request for job {id} with result: {result}\n\
         [{end} INFO Terminal] WRITE LINE: {end}: Job {name} completed with result: {result}\n\
         [{end} INFO JobDispatcher] Stop renew job request for job {id}.\n\
         [{end} ERR  BrokerServer] System.Threading.Tasks.TaskCanceledException: canceled.\n \
         ---> System.IO.IOException: Unable to read data\n"
    )
}

#[test]
fn counts_jobs_by_result_and_duration() {
    for (result, want) in [
        ("Succeeded", "succeeded"),
        ("SucceededWithIssues", "succeeded"),
        ("Failed", "failed"),
        ("Canceled", "canceled"),
        ("Skipped", "skipped"),
        ("Abandoned", "abandoned"),
        ("Exploded\" 1", "other"),
    ] {
        let jobs = read(&job(A, "build", "32:09", "38:05", result));
        let at = RESULTS.iter().position(|known| *known == want).unwrap();
        assert_eq!(jobs.finished.iter().sum::<u64>(), 1, "{result}");
        assert_eq!(jobs.finished[at], 1, "{result}");
        assert_eq!((jobs.durations[at].count, jobs.durations[at].sum), (1, 356.0), "{result}");
        assert_eq!(jobs.durations[at].buckets[6], 1, "356 s lie between 300 and 600");
    }
    let twice = job(A, "a", "00:00", "00:10", "Failed") + &job(B, "b", "01:00", "01:20", "Failed");
    assert_eq!(read(&twice).durations[1].sum, 30.0);
}

#[test]
fn a_name_cannot_finish_a_job() {
    let says = |text: &str| format!("x\n[2025-07-23 02:33:00Z INFO JobDispatcher] {text}");
    let start_and_finish = says(&format!("Send job request message to worker for job {B}."))
        + &says(&format!("finish job request for job {B} with result: Succeeded"));
    for name in [
        "x completed with result: Succeeded".to_owned(),
        format!("finish job request for job {A} with result: Succeeded"),
        says(&format!("finish job request for job {B} with result: Succeeded")),
        says("Set runner/worker IPC timeout to 30 seconds."),
        says(&format!("Start renew job request 0 for job {B}.")),
        start_and_finish,
        "[[[".to_owned(),
        "\u{0}\"\\".to_owned(),
    ] {
        let jobs = read(&job(A, &name, "32:09", "38:05", "Failed"));
        assert_eq!(jobs.finished, [0, 1, 0, 0, 0, 0], "{name}");
        assert_eq!(jobs.durations[1].sum, 356.0, "{name}");
    }
}

#[test]
fn other_wording_does_not_silence_the_log() {
    let text = job(A, "a", "00:00", "00:10", "Failed").replace("Start renew", "Begin to renew");
    let filler = "a continuation line\n".repeat(1000);
    let jobs = read(&(text + &filler + &job(B, "b", "01:00", "01:20", "Succeeded")));
    assert_eq!(jobs.finished[0], 1);
}

#[test]
fn a_job_that_nobody_finished_is_abandoned() {
    let killed: String = job(A, "a", "00:00", "00:10", "Failed")
        .lines()
        .take(6)
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(read(&killed).finished, [0; 6], "it may still run");
    let restart = "[2025-07-23 03:00:00Z INFO Listener] Version: 2.336.0\n\
         [2025-07-23 03:00:01Z INFO Terminal] WRITE LINE: 2025-07-23 03:00:01Z: Listening for Jobs\n\
         [2025-07-23 03:00:01Z INFO JobDispatcher] Set runner/worker IPC timeout to 30 seconds.\n";
    let jobs = read(&(killed.clone() + restart));
    assert_eq!((jobs.finished[ABANDONED], jobs.durations[ABANDONED].count), (1, 0));
    assert_eq!(jobs.version.as_deref(), Some("2.336.0"));
    let not_taken = killed
        + &format!(
            "[2025-07-23 02:01:00Z INFO JobDispatcher] Stop renew job request for job {A}.\n"
        );
    assert_eq!(read(&not_taken).finished[ABANDONED], 1);
}

#[test]
fn a_clock_that_goes_back_makes_no_negative_duration() {
    let jobs = read(&job(A, "a", "38:05", "32:09", "Succeeded"));
    assert_eq!((jobs.finished[0], jobs.clock_went_back, jobs.durations[0].sum), (1, 1, 0.0));
}

#[test]
fn hostile_lines_count_for_nothing() {
    for line in [
        &b"\xff\xfe[2025"[..],
        b"",
        b"[",
        b"[2025-07-23 02:38:05Z",
        b"[2025-07-23 02:38:05Z IN",
        b"[2025-07-23 02:38:05Z INFO JobDispatcher]",
        "[2025-07-23 02:38:05Z ÄÖÜ JobDispatcher] x".as_bytes(),
        b"[9999999999-07-23 02:38:05Z INFO JobDispatcher] Send job request message to worker for job ",
        b"[2025-07-23 02:38:05Z INFO JobDispatcher] Send job request message to worker for job \xc3\xa4",
        b"[2025-07-23 02:38:05Z INFO JobDispatcher] finish job request for job  with result: ",
    ] {
        let mut jobs = Jobs::default();
        jobs.line(line);
        assert!(jobs.open.is_empty() && jobs.finished == [0; 6], "{line:?}");
    }
    let mut jobs = Jobs::default();
    for at in 0..1000 {
        let line = format!(
            "[2025-07-23 02:38:05Z INFO JobDispatcher] Send job request message to worker for job {at:08}-0000-0000-0000-000000000000."
        );
        jobs.line(line.as_bytes());
    }
    assert_eq!(jobs.open.len(), MOST_OPEN);
}

#[test]
fn times_are_unix_seconds() {
    for (text, want) in [
        ("1970-01-01 00:00:00", Some(0)),
        ("2000-02-29 12:00:01", Some(951_825_601)),
        ("2025-07-23 02:38:05", Some(1_753_238_285)),
        ("2025-13-01 00:00:00", None),
        ("2025-01-01 25:00:00", None),
        ("2025-01-01", None),
        ("-1-01-01 00:00:00", None),
    ] {
        assert_eq!(unix_seconds(text), want, "{text}");
    }
}

/// Real lines with bytes changed, cut and joined: never a panic, never more jobs than lines.
#[test]
fn damaged_lines_do_no_damage() {
    let text =
        job(A, "a", "00:00", "00:10", "Failed") + &job(B, "Bä", "01:00", "01:20", "Canceled");
    let mut seed = 1_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    for _ in 0..2000 {
        let mut bytes = text.clone().into_bytes();
        for _ in 0..=random(20) {
            let at = random(bytes.len());
            match random(3) {
                0 => bytes[at] = random(256) as u8,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, b"\n[]Z: -"[random(7)]),
            }
        }
        let mut jobs = Jobs::default();
        bytes.split(|byte| *byte == b'\n').for_each(|line| jobs.line(line));
        assert!(jobs.finished.iter().sum::<u64>() <= 4);
    }
}
