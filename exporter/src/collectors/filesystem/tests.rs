//! The mount table, and a file system that does not answer.

use super::*;
use crate::exposition::{Format, render};
use std::fs;
use std::sync::Condvar;

const TABLE: &str = "/dev/sda1 / ext4 rw,relatime 0 0\n\
    proc /proc proc rw 0 0\n\
    tmpfs /run tmpfs rw,nosuid 0 0\n\
    overlay /var/lib/docker/overlay2/x/merged overlay rw 0 0\n\
    nas:/a\\040b /ci\\040cache\\134x nfs4 ro,vers=4.2 0 0\n\
    /dev/sda1 / ext4 rw,relatime 0 0\n";

fn mounts(root: &str, table: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mounts"), table).unwrap();
    let mut config = Config::default();
    config.collectors.host.proc_root = folder.path().into();
    config.collectors.host.root = root.into();
    let mounts = Filesystem::new(&config, space, PATIENCE).mounts().unwrap();
    let line =
        |Mount { device, point, kind, readonly }| format!("{device} {point} {kind} {readonly}");
    mounts.into_iter().map(line).collect()
}

#[test]
fn lists_each_mount_once_as_the_host_sees_it() {
    let want =
        ["/dev/sda1 / ext4 false", "tmpfs /run tmpfs false", "nas:/a\\040b /ci cache\\x nfs4 true"];
    assert_eq!(mounts("/", TABLE), want);
    let inside = "/dev/sda1 /host ext4 rw 0 0\n/dev/sdb1 /host/data xfs rw 0 0\n";
    assert_eq!(mounts("/host", inside), ["/dev/sda1 / ext4 false", "/dev/sdb1 /data xfs false"]);
}

/// While true, whoever asks for `/hangs` waits.
static DEAD: (Mutex<bool>, Condvar) = (Mutex::new(true), Condvar::new());

fn fake_space(path: &Path) -> io::Result<Space> {
    let one = Space { size: 8.0, free: 4.0, avail: 2.0, files: 16.0, files_free: 1.0 };
    match path.to_str().unwrap() {
        "/hangs" => {
            let dead = DEAD.0.lock().unwrap();
            drop(DEAD.1.wait_while(dead, |dead| *dead).unwrap());
            Ok(one)
        }
        "/fails" => Err(io::ErrorKind::PermissionDenied.into()),
        _ => Ok(one),
    }
}

#[tokio::test]
async fn a_dead_mount_is_left_alone_until_it_answers() {
    let folder = tempfile::tempdir().unwrap();
    let table = "a / ext4 rw 0 0\nb /hangs nfs rw 0 0\nc /fails ext4 ro 0 0\nd /d fuse.x rw 0 0\n";
    fs::write(folder.path().join("mounts"), table).unwrap();
    let mut config = Config::default();
    config.collectors.host.proc_root = folder.path().into();
    let collector = Filesystem::new(&config, fake_space, Duration::from_secs(1));
    let page = async || {
        let mut families = Families::default();
        collector.collect(&mut families).await.unwrap();
        render(&families, Format::Text004)
    };
    for round in [1, 2] {
        let page = page().await;
        for want in [
            "device_error{device=\"b\",fstype=\"nfs\",mountpoint=\"/hangs\"} 1\n",
            "device_error{device=\"c\",fstype=\"ext4\",mountpoint=\"/fails\"} 1\n",
            "readonly{device=\"c\",fstype=\"ext4\",mountpoint=\"/fails\"} 1\n",
            "avail_bytes{device=\"a\",fstype=\"ext4\",mountpoint=\"/\"} 2\n",
            "size_bytes{device=\"d\",fstype=\"fuse.x\",mountpoint=\"/d\"} 8\n",
        ] {
            assert!(page.contains(want), "round {round}: {want} is not in {page}");
        }
        assert!(!page.contains("size_bytes{device=\"b\""), "{page}");
        assert_eq!(lock(&collector.asked).len(), 1, "one thread waits for one dead mount");
    }
    *DEAD.0.lock().unwrap() = false;
    DEAD.1.notify_all();
    let deadline = crate::clock::monotonic() + Duration::from_secs(10);
    while !page().await.contains("size_bytes{device=\"b\"") {
        assert!(crate::clock::monotonic() < deadline, "stays left out");
    }
}

/// While true, whoever asks for a mount below `/stuck` waits.
static STUCK: (Mutex<bool>, Condvar) = (Mutex::new(true), Condvar::new());

fn stuck_space(_: &Path) -> io::Result<Space> {
    let stuck = STUCK.0.lock().unwrap();
    drop(STUCK.1.wait_while(stuck, |stuck| *stuck).unwrap());
    Err(io::ErrorKind::TimedOut.into())
}

#[tokio::test]
async fn dead_mounts_hold_a_bounded_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let table: String = (0..100).map(|at| format!("nas:/{at} /stuck/{at} nfs rw 0 0\n")).collect();
    fs::write(folder.path().join("mounts"), table).unwrap();
    let mut config = Config::default();
    config.collectors.host.proc_root = folder.path().into();
    let collector = Filesystem::new(&config, stuck_space, Duration::from_millis(20));
    for round in 1..=MOST_HANGING {
        let mut families = Families::default();
        collector.collect(&mut families).await.unwrap();
        let page = render(&families, Format::Text004);
        let told = page.lines().filter(|line| {
            line.starts_with("node_filesystem_device_error{") && line.ends_with(" 1")
        });
        assert_eq!(told.count(), 100, "round {round}");
        let hanging = lock(&collector.asked).len();
        assert!(hanging <= MOST_HANGING.min(round * MOST_FOUND), "{hanging} in round {round}");
    }
    assert_eq!(lock(&collector.asked).len(), MOST_HANGING);
    *STUCK.0.lock().unwrap() = false;
    STUCK.1.notify_all();
}
