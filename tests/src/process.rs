//! A real program under test: started, watched, and killed when its handle goes.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;

use tokio::process::{Child, Command};

/// A running program; its output goes to the test's standard error.
pub struct Process {
    child: Child,
}

impl Process {
    #[track_caller]
    pub fn start(program: &Path, arguments: &[impl AsRef<std::ffi::OsStr>]) -> Process {
        Process::with_output(program, arguments, Stdio::inherit())
    }

    /// Started with what it prints on standard output going to `output`.
    #[track_caller]
    pub fn with_output(
        program: &Path,
        arguments: &[impl AsRef<std::ffi::OsStr>],
        output: Stdio,
    ) -> Process {
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.display()));
        Process { child }
    }

    pub fn pid(&self) -> u32 {
        self.child.id().expect("still running")
    }

    /// kill -9, and waits until the kernel has taken it away.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Asks it to end and tells its exit code.
    pub async fn terminate(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_raw(self.pid().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().await.unwrap().code()
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }
}

/// A loopback address that was free a moment ago.
pub fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// Installs the one TLS provider, which any HTTP client needs; later calls do nothing.
pub fn tls() {
    rustls::crypto::ring::default_provider().install_default().ok();
}
