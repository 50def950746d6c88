//! `muster run [options] job.sh [args]`: runs a job script here, without a daemon.

use crate::request::{self, After, Request, Told};
use crossbeam_channel::unbounded;
use muster_core::payload::Program;
use muster_slurm::Place;
use muster_slurm::flags::{Flags, Says};
use muster_worker::progress::{Event, Progress, Style};
use muster_worker::script::{Happening, Outcome, ScriptJob, run as run_script};
use muster_worker::{command, state};
use std::io::IsTerminal;
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
        Err(told) => {
            request::complain(&told);
            ExitCode::from(command::BAD_INPUT)
        }
    }
}

/// Reads command line, environment and script into a job.
fn prepare(args: &RunScriptArgs) -> Result<(ScriptJob, bool), Told> {
    let request = request::read(&args.words, After::Script, Place::Here)?;
    let quiet = Flags::of(&request.given).says == Says::Nothing;
    let Request { spec, program: Program::Script { text, args: script_args }, .. } = request else {
        unreachable!("nothing else was asked for");
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
        text,
        args: script_args,
        state: state::dir(),
        submit_dir: here,
        follow: args.follow || (!args.no_follow && std::io::stdout().is_terminal()),
        kill_wait: KILL_WAIT,
    };
    Ok((job, quiet))
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
