//! Runs a program with a time-out and an output limit: no shell, no inherited environment.

use std::ffi::OsStr;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

/// What a program left behind.
#[derive(Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("cannot run {program}")]
    Run { program: String, source: io::Error },
    #[error("{program}: expected an end within {limit:?}, found it still running")]
    TimeOut { program: String, limit: Duration },
    #[error("{program}: expected at most {limit} bytes of output, found more")]
    TooLong { program: String, limit: usize },
}

/// Runs `program` to its end; `program` is a path or a name in the system's own folders.
///
/// The arguments reach it as they are, its environment is `PATH` and `LC_ALL` alone, its standard
/// input is empty. It is killed when the time is over, when it writes more than `output_limit`
/// bytes to either stream, and when the caller stops waiting. A bad exit status is no error here.
pub async fn run<A: AsRef<OsStr>>(
    program: &str,
    args: &[A],
    time_out: Duration,
    output_limit: usize,
) -> Result<Output, CommandError> {
    let failed = |source| CommandError::Run { program: program.to_owned(), source };
    let mut child = Command::new(program)
        .args(args)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let work = async {
        let (stdout, stderr) =
            tokio::try_join!(limited(stdout, output_limit), limited(stderr, output_limit))?;
        Ok::<_, io::Error>(match (stdout, stderr) {
            (Some(stdout), Some(stderr)) => {
                Some(Output { status: child.wait().await?, stdout, stderr })
            }
            _ => None,
        })
    };
    match tokio::time::timeout(time_out, work).await {
        Err(_) => Err(CommandError::TimeOut { program: program.to_owned(), limit: time_out }),
        Ok(Err(source)) => Err(failed(source)),
        Ok(Ok(None)) => {
            Err(CommandError::TooLong { program: program.to_owned(), limit: output_limit })
        }
        Ok(Ok(Some(output))) => Ok(output),
    }
}

/// Everything up to the end, or `None` when there is more than `limit`.
async fn limited(
    stream: Option<impl AsyncRead + Unpin>,
    limit: usize,
) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        stream.take(limit as u64 + 1).read_to_end(&mut bytes).await?;
    }
    Ok((bytes.len() <= limit).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn gives_output_and_status_of_a_clean_environment() {
        let output = run("sh", &["-c", "env; echo bad >&2; exit 3"], LONG, 4096).await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("LC_ALL=C") && !text.contains("HOME="), "{text}");
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(3), &b"bad\n"[..]));
    }

    #[tokio::test]
    async fn stops_what_hangs_floods_or_is_missing() {
        let short = Duration::from_millis(50);
        let hangs = run("sleep", &["60"], short, 10).await;
        assert!(matches!(hangs, Err(CommandError::TimeOut { .. })), "{hangs:?}");
        let floods = run("yes", &[] as &[&str], LONG, 10_000).await;
        assert!(matches!(floods, Err(CommandError::TooLong { .. })), "{floods:?}");
        let missing = run("no-such-program", &["$(reboot)"], LONG, 10).await;
        assert!(matches!(missing, Err(CommandError::Run { .. })), "{missing:?}");
    }
}
