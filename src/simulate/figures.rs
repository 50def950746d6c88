//! The figures of schedules, as a table for people and as JSON for programs.

use muster_core::policy::Policy;
use muster_core::trace::Trace;
use muster_core::trace::malleable::Share;
use muster_core::trace::replay::{Mode, Schedule, replay};
use muster_core::trace::report::Report;
use serde::Serialize;
use std::fmt::Write;
use std::path::Path;

/// Where the jobs come from.
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) trace: &'a Trace,
    /// Lines of the file that were left out.
    pub(super) malformed: usize,
}

/// What `--json` prints of one policy.
#[derive(Serialize)]
pub(super) struct Figures {
    trace: String,
    policy: String,
    mode: &'static str,
    #[serde(flatten)]
    report: Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    malleable: Option<Resized>,
    /// Jobs that cannot be replayed.
    dropped_jobs: usize,
    malformed_lines: usize,
    /// Reading the trace and replaying it, seconds.
    wall_s: f64,
}

/// Which share of the jobs is malleable, what a resize costs in seconds, and how many there were.
pub(super) type Resizes = (Share, u32, u64);

/// What malleable jobs changed, beside the same trace with rigid jobs alone under the same policy.
#[derive(Serialize)]
pub(super) struct Resized {
    share: String,
    resize_cost_s: u32,
    /// How many jobs are malleable.
    jobs: usize,
    resizes: u64,
    /// The mean wait of the jobs that are not.
    rigid_mean_wait_s: f64,
    /// The mean wait of the same jobs when all are rigid.
    rigid_mean_wait_before_s: f64,
    /// The mean turnaround of all jobs when all are rigid.
    mean_turnaround_before_s: f64,
}

impl Resized {
    /// `schedule` is one of `trace`, of which the share was resized at this cost so many times.
    pub(super) fn new(trace: &Trace, schedule: &Schedule, how: Resizes) -> Resized {
        let (share, resize_cost_s, resizes) = how;
        let before = replay(trace, "easy".parse().expect("it is a policy"), Mode::Batch);
        let rigid: Vec<usize> = (0..trace.jobs.len()).filter(|at| !share.holds(trace.jobs[*at].id)).collect();
        let wait = |schedule: &Schedule| {
            let waits: i64 = rigid.iter().map(|at| schedule.starts[*at] - trace.jobs[*at].submit).sum();
            waits as f64 / rigid.len().max(1) as f64
        };
        Resized {
            share: share.to_string(),
            resize_cost_s,
            jobs: trace.jobs.len() - rigid.len(),
            resizes,
            rigid_mean_wait_s: wait(schedule),
            rigid_mean_wait_before_s: wait(&before),
            mean_turnaround_before_s: Report::new(trace, &before).mean_turnaround_s,
        }
    }
}

impl Figures {
    pub(super) fn new(
        source: &Source<'_>,
        how: (Policy, Mode),
        what: (Report, Option<Resized>),
        wall_s: f64,
    ) -> Figures {
        let ((policy, mode), (report, malleable)) = (how, what);
        Figures {
            trace: source.path.display().to_string(),
            policy: policy.to_string(),
            mode: match mode {
                Mode::Batch => "batch",
                Mode::PerEvent => "per-event",
            },
            report,
            malleable,
            dropped_jobs: source.trace.dropped.total(),
            malformed_lines: source.malformed,
            wall_s,
        }
    }
}

/// One object, or an array of them.
pub(super) fn json(all: &[Figures]) -> String {
    let text = match all {
        [one] => serde_json::to_string_pretty(one),
        several => serde_json::to_string_pretty(several),
    };
    text.expect("figures encode") + "\n"
}

/// What was replayed, a row for each policy, and how the others compare with the first.
pub(super) fn text(source: &Source<'_>, all: &[Figures]) -> String {
    let trace = source.trace;
    let mut out =
        format!("{}: {} jobs on {} processors", source.path.display(), trace.jobs.len(), trace.procs);
    let dropped = trace.dropped;
    let reasons = [
        (dropped.not_run, "did not run"),
        (dropped.no_processors, "took no processors"),
        (dropped.too_wide, "took more than there are"),
        (dropped.no_submit, "have no time of submission"),
    ];
    for (count, why) in reasons.into_iter().filter(|(count, _)| *count > 0) {
        let _ = write!(out, "; left out: {count} that {why}");
    }
    if source.malformed > 0 {
        let _ = write!(out, "; left out: {} malformed lines", source.malformed);
    }
    let width = all.iter().map(|f| f.policy.len()).max().unwrap_or(0).max(6);
    let _ = write!(
        out,
        "\n\n{:<width$}  slowdown  mean wait   95 % wait  worst wait  turnaround  utilisation  queue  \
         schedule          replayed in\n",
        "policy"
    );
    for f in all {
        let r = &f.report;
        let _ = writeln!(
            out,
            "{:<width$}  {:>8.2}  {:>9}  {:>10}  {:>10}  {:>10}  {:>9.2} %  {:>5}  {}  {:>9.3} s",
            f.policy,
            r.mean_bounded_slowdown,
            hours(r.mean_wait_s),
            hours(r.p95_wait_s as f64),
            hours(r.max_wait_s as f64),
            hours(r.mean_turnaround_s),
            r.utilisation * 100.0,
            r.max_queue,
            r.schedule_hash,
            f.wall_s
        );
    }
    for resized in all.iter().filter_map(|f| Some((f, f.malleable.as_ref()?))) {
        out.push_str(&resized_text(resized));
    }
    if let [first, others @ ..] = all
        && !others.is_empty()
    {
        let _ = writeln!(out, "\nbeside {}:", first.policy);
        for f in others {
            let (a, b) = (&first.report, &f.report);
            let _ = writeln!(
                out,
                "{:<width$}  {:>8}  {:>9}  {:>10}  {:>10}  {:>10}  {:>+8.2} points",
                f.policy,
                change(a.mean_bounded_slowdown, b.mean_bounded_slowdown),
                change(a.mean_wait_s, b.mean_wait_s),
                change(a.p95_wait_s as f64, b.p95_wait_s as f64),
                change(a.max_wait_s as f64, b.max_wait_s as f64),
                change(a.mean_turnaround_s, b.mean_turnaround_s),
                (b.utilisation - a.utilisation) * 100.0
            );
        }
    }
    out
}

/// How much better it is than with rigid jobs alone.
fn resized_text((figures, resized): (&Figures, &Resized)) -> String {
    format!(
        "\n{} jobs ({}) are malleable, and were resized {} times at {} s each; beside rigid jobs alone: turnaround {}, \
         mean wait of the rigid jobs {}\n",
        resized.jobs,
        resized.share,
        resized.resizes,
        resized.resize_cost_s,
        change(resized.mean_turnaround_before_s, figures.report.mean_turnaround_s),
        change(resized.rigid_mean_wait_before_s, resized.rigid_mean_wait_s)
    )
}

fn hours(seconds: f64) -> String {
    format!("{:.2} h", seconds / 3600.0)
}

/// `-33.1 %`; a dash where there was nothing to compare with.
fn change(from: f64, to: f64) -> String {
    if from > 0.0 { format!("{:+.1} %", (to / from - 1.0) * 100.0) } else { "-".into() }
}
