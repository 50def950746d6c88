//! `muster run [options] job.sh [args]`: runs a job script here, without a daemon.

use crate::check;
use crossbeam_channel::unbounded;
use muster_slurm::variables::from_environment;
use muster_slurm::{Given, Mistake, Origin, Place, Script, jobspec, words};
use muster_worker::progress::{Event, Progress, Style};
use muster_worker::script::{Happening, Outcome, ScriptJob, run as run_script};
use muster_worker::{command, state};
use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How long a job may take to end after SIGTERM: Slurm's KillWait.
const KILL_WAIT: Duration = Duration::from_secs(30);

/// A script, and the options of sbatch before it.
#[derive(clap::Args)]
pub(crate) struct RunScriptArgs {
    /// Show the job's output as well as write it [default: where standard output is a terminal]
    #[arg(long, overrides_with = "no_follow")]
    follow: bool,
    /// Do not show the job's output
    #[arg(long)]
    no_follow: bool,
    /// Options of sbatch, the script (standard input without one), and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "[OPTIONS] SCRIPT [ARGS]")]
    words: Vec<String>,
}

pub(crate) fn run(args: &RunScriptArgs) -> ExitCode {
    match prepare(args) {
        Ok((job, quiet)) => start(&job, quiet),
        Err(mistakes) => {
            for (place, what) in mistakes {
                eprintln!("muster: error: {place}{what}");
            }
            ExitCode::from(command::BAD_INPUT)
        }
    }
}

type Told = Vec<(String, String)>;

fn told(name: &str, mistakes: Vec<Mistake>) -> Told {
    let one = |m: Mistake| match m.origin {
        Origin::CommandLine => (String::new(), m.what),
        Origin::Directive { line, column } => (format!("{name}:{line}:{column}: "), m.what),
    };
    mistakes.into_iter().map(one).collect()
}

/// Reads command line, environment and script into a job.
fn prepare(args: &RunScriptArgs) -> Result<(ScriptJob, bool), Told> {
    let line: Vec<_> = args.words.iter().map(|w| (w.clone(), Origin::CommandLine)).collect();
    let (mut given, mut mistakes): (Vec<Given>, Vec<Mistake>) = (Vec::new(), Vec::new());
    let used = words::read(&line, &mut given, &mut mistakes);
    if !mistakes.is_empty() {
        return Err(told("", mistakes));
    }
    let mut rest = args.words[used..].iter();
    let wrap = given.iter().rfind(|g| g.option.long == "wrap").map(|g| g.value.clone());
    let (name, bytes) = match (wrap, rest.next()) {
        (Some(_), Some(_)) => {
            return Err(vec![(String::new(), "Script arguments not permitted with --wrap option".into())]);
        }
        (Some(command), None) => (
            "wrap".to_owned(),
            format!("#!/bin/sh\n# This script was created by muster run --wrap.\n\n{command}\n").into(),
        ),
        (None, Some(path)) => (path.clone(), check::read_script(path)?),
        (None, None) => ("sbatch".to_owned(), standard_input()?),
    };
    let script = Script::read(&bytes).map_err(|m| told(&name, m))?;
    let mut all = Vec::new();
    words::read(&script.words, &mut all, &mut mistakes);
    all.extend(from_environment(Place::Here, |name| std::env::var(name).ok()));
    all.extend(given);
    let short = PathBuf::from(&name).file_name().map_or(name.clone(), |n| n.to_string_lossy().into_owned());
    let spec = match jobspec(&all, &short, Place::Here) {
        Ok(spec) if mistakes.is_empty() => spec,
        spec => {
            mistakes.extend(spec.err().into_iter().flatten());
            return Err(told(&name, mistakes));
        }
    };
    if spec.size.nodes > 1 {
        eprintln!(
            "muster: warning: --nodes={}: this host is the only one; the job runs on it alone",
            spec.size.nodes
        );
    }
    let here =
        std::env::current_dir().map_err(|e| vec![(String::new(), format!("no working directory: {e}"))])?;
    let job = ScriptJob {
        spec,
        text: script.text,
        args: rest.cloned().collect(),
        state: state::dir(),
        submit_dir: here,
        follow: args.follow || (!args.no_follow && std::io::stdout().is_terminal()),
        kill_wait: KILL_WAIT,
    };
    Ok((job, all.iter().any(|g| g.option.long == "quiet")))
}

fn standard_input() -> Result<Vec<u8>, Told> {
    let mut bytes = Vec::new();
    match std::io::stdin().read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(e) => Err(vec![(String::new(), format!("cannot read a script from standard input: {e}"))]),
    }
}

fn start(job: &ScriptJob, quiet: bool) -> ExitCode {
    let (send, interrupt) = unbounded();
    let _ = command::on_interrupt(move || send.send(()).is_ok());
    let mut progress = Progress::new(if quiet { Style::None } else { Style::Auto }, None);
    let outcome = run_script(job, &interrupt, &mut |happening| match happening {
        Happening::Started(label, output) if !quiet => {
            progress.say(&format!(
                "job {label} ({}): started, output in {}",
                job.spec.name,
                output.display()
            ));
        }
        // A job that is followed shows its own progress.
        Happening::Progress(_, line) if !job.follow || std::io::stderr().is_terminal() => {
            if let Ok(event) = serde_json::from_str::<Event>(line) {
                progress.tell(&event);
            }
        }
        Happening::Ended(label, outcome, elapsed) if !quiet => {
            let how = match outcome {
                Outcome::Completed => "COMPLETED".into(),
                Outcome::Failed(code) => format!("FAILED (exit code {code})"),
                Outcome::Timeout => "TIMEOUT".into(),
                Outcome::Cancelled => "CANCELLED".to_owned(),
            };
            progress.say(&format!(
                "job {label} ({}): {how} after {:.1} s",
                job.spec.name,
                elapsed.as_secs_f64()
            ));
        }
        _ => {}
    });
    match outcome {
        Ok(outcome) => ExitCode::from(outcome.exit_code()),
        Err(why) => {
            eprintln!("muster: error: {why}");
            ExitCode::from(command::BAD_INPUT)
        }
    }
}
