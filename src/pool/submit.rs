//! `muster submit`: a script, a command or a kernel, into the queue.
//!
//! Step 3 of a job's way (DESIGN section 4): one authenticated request.

use super::Which;
use super::client::{Client, Failed, NO_POOL};
use super::table::now_ms;
use crate::request::{self, After, Request};
use muster_core::payload::{BlobId, Payload};
use muster_scheduler::accounting::Past;
use muster_scheduler::api::Submission;
use muster_scheduler::programs::Kept;
use muster_slurm::Place;
use muster_slurm::flags::{Flags, Says};
use muster_slurm::moment::Now;
use muster_worker::command::BAD_INPUT;
use muster_worker::program::ProgramFile;
use rustix::fs::Mode;
use serde_json::Value;
use std::process::ExitCode;

/// A script, a command or a kernel, with the options of sbatch before it.
#[derive(clap::Args)]
#[command(after_help = "\
muster submit [OPTIONS] SCRIPT [ARGS]        a job script with #SBATCH directives; standard input without one
muster submit [OPTIONS] -- COMMAND [ARGS]    a command, started without a shell
muster submit [OPTIONS] --kernel NAME ...    a kernel with its parameters: `muster kernel --help` lists them
--wait (-W) waits for the end, and exits as the job did; --parsable prints the job's number alone.")]
pub(crate) struct SubmitArgs {
    #[command(flatten)]
    which: Which,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Options of sbatch, then a script, a command or a kernel
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "[OPTIONS] SCRIPT [ARGS]")]
    words: Vec<String>,
}

/// How long one request waits for the end of a job, in seconds: over a network none lasts a minute.
const PATIENCE_S: u32 = 45;

pub(crate) fn run(args: &SubmitArgs) -> ExitCode {
    let now = Now {
        at: muster_core::time::Time(now_ms()),
        utc_offset_s: chrono::Local::now().offset().local_minus_utc(),
    };
    let request = match request::read(&words(args), After::Anything, Place::Queue(now)) {
        Ok(request) => request,
        Err(told) => {
            request::complain(&told);
            return ExitCode::from(BAD_INPUT);
        }
    };
    submit(args, request).unwrap_or_else(|failed| failed.report())
}

/// The words with a `--` that stands first: it is the parser's own, and taken away by it.
fn words(args: &SubmitArgs) -> Vec<String> {
    let line: Vec<String> = std::env::args().collect();
    let from = line.len() - args.words.len();
    let dashes = from > 0 && line[from..] == args.words[..] && line[from - 1] == "--";
    dashes.then(|| "--".to_owned()).into_iter().chain(args.words.iter().cloned()).collect()
}

fn submit(args: &SubmitArgs, request: Request) -> Result<ExitCode, Failed> {
    let flags = Flags::of(&request.given);
    let here = std::env::current_dir()
        .map_err(|error| Failed::new(format!("no working directory: {error}"), BAD_INPUT))?;
    let payload = Payload {
        program: request.program,
        environment: environment(),
        folder: muster_worker::folder::id(&here).ok(),
        submit_dir: here.to_string_lossy().into_owned(),
        submit_host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        umask: umask(),
        client: None,
    };
    let client = Client::new(&args.which.pool());
    let mut spec = request.spec;
    spec.program = request.kernel.map(|program| hand_over(&client, &program)).transpose()?;
    let submission = Submission { spec, payload };
    let answer: Value = client.post("/v1/jobs", &submission)?;
    let job =
        answer["job"].as_u64().ok_or_else(|| Failed::new("the pool's answer has no number", NO_POOL))?;
    match flags.says {
        _ if args.json => println!("{answer}"),
        Says::Sentence => println!("submitted job {job}"),
        Says::Number => println!("{job}"),
        Says::Nothing => {}
    }
    if !flags.wait {
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        let past: Vec<Past> = client.get(&format!("/v1/jobs/{job}/over?within_s={PATIENCE_S}"))?;
        if !past.is_empty() {
            return Ok(ExitCode::from(exit_code(&past)));
        }
    }
}

/// Has the pool keep the program of a kernel of the user's own, if it does not have it, and says by what name.
fn hand_over(client: &Client, program: &ProgramFile) -> Result<BlobId, Failed> {
    let name = program.path.display();
    let wrong = |what: String| Failed::new(what, BAD_INPUT);
    let id = program.hash.parse::<BlobId>().map_err(|error| wrong(format!("{name}: {error}")))?;
    let path = format!("/v1/programs/{id}");
    if client.get::<Kept>(&path)?.kept {
        return Ok(id);
    }
    let bytes =
        std::fs::read(&program.path).map_err(|error| wrong(format!("{name} cannot be read: {error}")))?;
    if blake3::hash(&bytes).as_bytes() != &id.0 {
        return Err(wrong(format!("{name} was built anew at this moment: submit again")));
    }
    client.put(&path, bytes)?;
    Ok(id)
}

/// The exit code of a job that is over: the highest of its elements' last attempts.
fn exit_code(past: &[Past]) -> u8 {
    let mut last: Vec<&Past> = Vec::new();
    // The newest attempt comes first.
    for one in past {
        if last.last().is_none_or(|before| before.job != one.job) {
            last.push(one);
        }
    }
    let code = |past: &&Past| match (past.outcome.as_deref(), past.exit_code, past.signal) {
        (Some("COMPLETED"), ..) => 0,
        (_, Some(code), _) if code > 0 => code,
        (_, _, Some(signal)) if signal > 0 => signal.saturating_add(128),
        _ => 1,
    };
    last.iter().map(code).max().unwrap_or(0)
}

/// The environment that a job may be given: variables that are text.
fn environment() -> Vec<(String, String)> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

fn umask() -> u32 {
    // It can only be read by setting it.
    let mask = rustix::process::umask(Mode::from_raw_mode(0o077));
    rustix::process::umask(mask);
    mask.as_raw_mode()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(job: &str, attempt: u32, outcome: &str, exit: (u8, u8)) -> Past {
        Past {
            job: job.into(),
            attempt,
            name: "j".into(),
            user: "u".into(),
            hosts: String::new(),
            cpus: 1,
            submitted_ms: 0,
            started_ms: None,
            ended_ms: None,
            outcome: Some(outcome.into()),
            exit_code: Some(exit.0),
            signal: Some(exit.1),
            why: None,
            usage: None,
        }
    }

    #[test]
    fn a_job_exits_as_the_worst_of_its_last_attempts() {
        let requeued = [past("1", 2, "COMPLETED", (0, 0)), past("1", 1, "NODE_FAIL", (1, 0))];
        assert_eq!(exit_code(&requeued), 0);
        let array = [past("1_2", 1, "FAILED", (7, 0)), past("1_1", 1, "COMPLETED", (0, 0))];
        assert_eq!(exit_code(&array), 7);
        assert_eq!(exit_code(&[past("1", 1, "FAILED", (0, 9))]), 137);
        assert_eq!(exit_code(&[past("1", 0, "CANCELLED", (0, 0))]), 1);
    }
}
