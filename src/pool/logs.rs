//! `muster logs [-f] N`: the output of a job.

use super::Which;
use super::client::{Client, Failed, exit};
use super::job::{Meant, meant};
use muster_worker::command::BAD_INPUT;
use serde::Deserialize;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
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

/// Where a job's streams are.
#[derive(Deserialize)]
struct Streams {
    output: PathBuf,
    error: PathBuf,
    over: bool,
}

/// How often a file that is followed is looked at: nothing tells of what other hosts write to it.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

pub(crate) fn run(args: &LogsArgs) -> ExitCode {
    exit(print(args))
}

fn print(args: &LogsArgs) -> Result<(), Failed> {
    let Meant { job, elements } = meant(&args.job)?;
    let path = match elements[..] {
        [] => format!("/v1/jobs/{job}/streams"),
        [(first, last)] if first == last => format!("/v1/jobs/{job}/streams?element={first}"),
        _ => return Err(Failed::new("the output of one element at a time: write 12_3", BAD_INPUT)),
    };
    let client = Client::new(&args.which.dir());
    let mut at = 0;
    loop {
        let streams: Streams = client.get(&path)?;
        let file = if args.error { &streams.error } else { &streams.output };
        let read = copy_from(file, &mut at);
        match read {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !streams.over && args.follow => {}
            Err(error) => {
                let what = format!("{}: {error} (it is there once the job has begun)", file.display());
                return Err(Failed::new(what, 1));
            }
            Ok(()) => {}
        }
        if !args.follow || streams.over {
            return Ok(());
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Prints what is in a file from `at` on.
fn copy_from(path: &PathBuf, at: &mut u64) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(*at))?;
    let mut bytes = Vec::new();
    *at += file.read_to_end(&mut bytes)? as u64;
    let mut out = std::io::stdout().lock();
    out.write_all(&bytes)?;
    out.flush()
}
