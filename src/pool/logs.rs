//! `muster logs [-f] N`: the output of a job, wherever it runs or ran.

use super::Which;
use super::client::{Client, Failed, exit};
use super::job::{Meant, meant};
use muster_worker::command::BAD_INPUT;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

/// Which output.
#[derive(clap::Args)]
pub(crate) struct LogsArgs {
    #[command(flatten)]
    which: Which,
    /// Go on until the job is over
    #[arg(short, long)]
    follow: bool,
    /// Its standard error, where that is a file of its own
    #[arg(long)]
    error: bool,
    /// The job, or an element `12_3`
    job: String,
}

/// How often output that is followed is asked for: nothing tells of what a job writes.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

pub(crate) fn run(args: &LogsArgs) -> ExitCode {
    exit(print(args))
}

fn print(args: &LogsArgs) -> Result<(), Failed> {
    let Meant { job, elements } = meant(&args.job)?;
    let element = match elements[..] {
        [] => String::new(),
        [(first, last)] if first == last => format!("&element={first}"),
        _ => return Err(Failed::new("the output of one element at a time: write 12_3", BAD_INPUT)),
    };
    let client = Client::new(&args.which.pool());
    let (mut from, mut out) = (0, std::io::stdout().lock());
    loop {
        let path = format!("/v1/jobs/{job}/output?error={}&from={from}{element}", args.error);
        let (bytes, over) = client.bytes(&path)?;
        from += bytes.len() as u64;
        let written = out.write_all(&bytes).and_then(|()| out.flush());
        if let Err(error) = written {
            let broken = error.kind() == std::io::ErrorKind::BrokenPipe;
            return if broken { Ok(()) } else { Err(Failed::new(format!("standard output: {error}"), 1)) };
        }
        if bytes.is_empty() {
            if over || !args.follow {
                return Ok(());
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}
