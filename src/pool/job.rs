//! `muster cancel|hold|release|requeue JOB...` and `muster show job N`.

use super::Which;
use super::client::{Client, Failed, exit};
use super::{history, queue};
use muster_scheduler::api::Which as Elements;
use muster_scheduler::listing::JobDetail;
use muster_worker::command::BAD_INPUT;
use serde_json::Value;
use std::process::ExitCode;

/// Which jobs.
#[derive(clap::Args)]
pub(crate) struct JobsArgs {
    #[command(flatten)]
    which: Which,
    /// Jobs `12`, elements of arrays `12_3` or `12_[1-4,7]`
    #[arg(value_name = "JOB", required = true)]
    jobs: Vec<String>,
}

/// What is shown.
#[derive(clap::Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    which: Which,
    #[command(subcommand)]
    what: Shown,
}

#[derive(clap::Subcommand)]
enum Shown {
    /// Everything about a job
    Job {
        /// Its number
        job: u32,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// A job, and elements of it where some are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meant {
    pub(crate) job: u32,
    pub(crate) elements: Vec<(u32, u32)>,
}

/// `12`, `12_3`, `12_[1-4,7]`.
pub(crate) fn meant(text: &str) -> Result<Meant, Failed> {
    let wrong = || {
        let what = format!("`{text}` names no job: write 12, 12_3 for an element, or 12_[1-4,7] for some");
        Failed::new(what, BAD_INPUT)
    };
    let number = |text: &str| text.parse::<u32>().ok();
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some((number(first)?, number(last)?)).filter(|(first, last)| first <= last)
    };
    let (job, rest) = text.split_once('_').map_or((text, None), |(job, rest)| (job, Some(rest)));
    let elements = match rest {
        None => Some(Vec::new()),
        Some(rest) => {
            let inner = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(rest);
            inner.split(',').map(range).collect()
        }
    };
    number(job).zip(elements).map(|(job, elements)| Meant { job, elements }).ok_or_else(wrong)
}

pub(crate) fn change(args: &JobsArgs, verb: &str) -> ExitCode {
    let client = Client::new(&args.which.pool());
    let one = |text: &String| {
        let Meant { job, elements } = meant(text)?;
        client.post::<_, Value>(&format!("/v1/jobs/{job}/{verb}"), &Elements { elements }).map(drop)
    };
    // Each is tried, whatever becomes of the others.
    let failed: Vec<Failed> = args.jobs.iter().filter_map(|job| one(job).err()).collect();
    failed.iter().map(Failed::report).next_back().unwrap_or(ExitCode::SUCCESS)
}

pub(crate) fn show(args: &ShowArgs) -> ExitCode {
    let Shown::Job { job, json } = args.what;
    exit(show_job(args, job, json))
}

fn show_job(args: &ShowArgs, job: u32, json: bool) -> Result<(), Failed> {
    let detail: JobDetail = Client::new(&args.which.pool()).get(&format!("/v1/jobs/{job}"))?;
    if json {
        println!("{}", serde_json::to_string_pretty(&detail).expect("a job encodes"));
        return Ok(());
    }
    print!("{}", queue::text(&detail.rows));
    let spec = &detail.spec;
    println!();
    println!("nodes      {}", spec.size.nodes);
    println!("cpus       {}", spec.size.cpus());
    println!(
        "output     {}",
        spec.files.output.as_deref().unwrap_or("slurm-%j.out, of an array slurm-%A_%a.out")
    );
    if let Some(directory) = &spec.files.chdir {
        println!("directory  {directory}");
    }
    if let Some(comment) = &spec.queue.comment {
        println!("comment    {comment}");
    }
    println!("requeue    {}", if spec.queue.requeue == Default::default() { "yes" } else { "no" });
    if !detail.attempts.is_empty() {
        print!("\n{}", history::text(&detail.attempts));
    }
    if !detail.over && detail.rows.iter().any(|row| row.state == "PENDING") {
        println!("\n`muster why {job}` tells why it waits, and until when");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn jobs_and_elements_are_named_as_slurm_does() {
        let meant = |text: &str| super::meant(text).ok().map(|m| (m.job, m.elements));
        assert_eq!(meant("12"), Some((12, vec![])));
        assert_eq!(meant("12_3"), Some((12, vec![(3, 3)])));
        assert_eq!(meant("12_[1-4,7]"), Some((12, vec![(1, 4), (7, 7)])));
        for wrong in ["", "a", "12_", "12_[]", "12_[4-1]", "12_x", "-1"] {
            assert_eq!(meant(wrong), None, "{wrong}");
        }
    }
}
