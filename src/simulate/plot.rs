//! Waits and utilisation over time, as a picture (SVG).
//!
//! Two panels over one axis of days: the mean wait of the jobs that were submitted in each stretch of time, and the
//! share of the processors that ran jobs in it. Invariant: the picture depends on trace and schedules alone.

use muster_core::policy::Policy;
use muster_core::trace::Trace;
use muster_core::trace::replay::Schedule;
use std::fmt::Write;

/// Stretches of time.
const STRETCHES: usize = 150;
const WIDTH: f64 = 960.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
/// Height of a panel.
const HEIGHT: f64 = 220.0;
/// Tops of the panels.
const TOPS: [f64; 2] = [76.0, 362.0];
/// Policies in a row of the legend, and how high a row is.
const IN_ROW: usize = 6;
const ROW: f64 = 20.0;
/// Okabe, Ito 2008: told apart by people who see colours differently.
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];

/// The picture of schedules of one trace.
pub(super) fn svg(trace: &Trace, schedules: &[(Policy, Schedule)]) -> String {
    let span = Span::new(trace, schedules);
    let waits: Vec<Vec<Option<f64>>> = schedules.iter().map(|(_, s)| span.waits(trace, s)).collect();
    let busy: Vec<Vec<Option<f64>>> = schedules.iter().map(|(_, s)| span.busy(trace, s)).collect();
    let worst = waits.iter().flatten().flatten().copied().fold(0.0, f64::max);
    // All moves down by the rows of the legend after the first.
    let down = (schedules.len().max(1) - 1) / IN_ROW;
    let down = down as f64 * ROW;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        TOPS[1] + HEIGHT + 50.0 + down
    );
    legend(&mut out, schedules);
    let _ = writeln!(out, "<g transform=\"translate(0 {down})\">");
    panel(
        &mut out,
        &span,
        0,
        ("mean wait by submission, hours", if worst > 0.0 { worst } else { 1.0 }),
        &waits,
    );
    panel(&mut out, &span, 1, ("utilisation, %", 100.0), &busy);
    out + "</g>\n</svg>\n"
}

/// How the line of a schedule looks: colours first, then the same in dashes.
fn pen(i: usize) -> String {
    let dashes = if i < COLOURS.len() { "" } else { " stroke-dasharray=\"4 2\"" };
    format!("stroke=\"{}\"{dashes}", COLOURS[i % COLOURS.len()])
}

/// The time from the first submission to the last end of all schedules, cut into stretches.
struct Span {
    from: i64,
    seconds: f64,
}

impl Span {
    fn new(trace: &Trace, schedules: &[(Policy, Schedule)]) -> Span {
        let from = trace.jobs[0].submit.0;
        let ends = schedules.iter().flat_map(|(_, s)| s.ends.iter().map(|end| end.0));
        Span { from, seconds: (ends.max().unwrap_or(from) - from).max(1) as f64 }
    }

    /// Where a moment lies, in stretches.
    fn at(&self, time: i64) -> f64 {
        (time - self.from) as f64 / self.seconds * STRETCHES as f64
    }

    /// Mean waits of the jobs that were submitted in each stretch, hours; none where none was.
    fn waits(&self, trace: &Trace, schedule: &Schedule) -> Vec<Option<f64>> {
        let mut sums = vec![(0.0, 0_u32); STRETCHES];
        for (job, start) in trace.jobs.iter().zip(&schedule.starts) {
            let sum = &mut sums[(self.at(job.submit.0) as usize).min(STRETCHES - 1)];
            *sum = (sum.0 + (*start - job.submit) as f64 / 3600.0, sum.1 + 1);
        }
        sums.into_iter().map(|(sum, jobs)| (jobs > 0).then(|| sum / f64::from(jobs))).collect()
    }

    /// The share of the processors that ran jobs in each stretch, per cent.
    fn busy(&self, trace: &Trace, schedule: &Schedule) -> Vec<Option<f64>> {
        let mut busy = vec![0.0; STRETCHES];
        let times = schedule.starts.iter().zip(&schedule.ends);
        for (job, (start, end)) in trace.jobs.iter().zip(times) {
            let (from, to) = (self.at(start.0), self.at(end.0));
            // A malleable job's processors are drawn as if it had held as many all the time.
            let held = f64::from(job.width) * job.run as f64 / ((*end - *start).max(1) as f64);
            let stretches = from as usize..(to.ceil() as usize).min(STRETCHES);
            for stretch in stretches {
                let inside = to.min((stretch + 1) as f64) - from.max(stretch as f64);
                busy[stretch] += inside.max(0.0) * held;
            }
        }
        busy.into_iter().map(|busy| Some(busy / f64::from(trace.procs) * 100.0)).collect()
    }
}

fn legend(out: &mut String, schedules: &[(Policy, Schedule)]) {
    for (i, (policy, _)) in schedules.iter().enumerate() {
        let x = LEFT + (i % IN_ROW) as f64 * (WIDTH - LEFT - RIGHT) / IN_ROW as f64;
        let y = 24.0 + (i / IN_ROW) as f64 * ROW;
        let (end, text, below) = (x + 24.0, x + 30.0, y + 4.0);
        let _ = writeln!(
            out,
            "<line x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{end:.1}\" y2=\"{y:.1}\" {} stroke-width=\"2\"/>\
             <text x=\"{text:.1}\" y=\"{below:.1}\">{policy}</text>",
            pen(i)
        );
    }
}

/// A panel with its axes, and a line for each schedule.
fn panel(out: &mut String, span: &Span, which: usize, axis: (&str, f64), series: &[Vec<Option<f64>>]) {
    let (title, top) = axis;
    let (above, below) = (TOPS[which], TOPS[which] + HEIGHT);
    let right = WIDTH - RIGHT;
    let _ = writeln!(out, "<text x=\"{LEFT}\" y=\"{:.1}\" font-weight=\"bold\">{title}</text>", above - 10.0);
    for tick in ticks(top) {
        let y = below - tick / top * HEIGHT;
        let _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>",
            LEFT - 6.0,
            y + 4.0
        );
    }
    let days = span.seconds / 86_400.0;
    for tick in ticks(days) {
        let x = LEFT + tick / days * (right - LEFT);
        let _ = writeln!(
            out,
            "<line x1=\"{x:.1}\" y1=\"{below}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"black\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick}</text>",
            below + 4.0,
            below + 18.0
        );
    }
    let _ = writeln!(
        out,
        "<line x1=\"{LEFT}\" y1=\"{below}\" x2=\"{right}\" y2=\"{below}\" stroke=\"black\"/>\
         <text x=\"{right}\" y=\"{:.1}\" text-anchor=\"end\">days since the first submission</text>",
        below + 34.0
    );
    for (i, values) in series.iter().enumerate() {
        let mut points = String::new();
        for (stretch, value) in values.iter().enumerate().filter_map(|(i, v)| v.map(|v| (i, v))) {
            let x = LEFT + (stretch as f64 + 0.5) / STRETCHES as f64 * (right - LEFT);
            let _ = write!(points, "{x:.1},{:.1} ", below - value / top * HEIGHT);
        }
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" {} stroke-width=\"1.3\" stroke-opacity=\"0.85\"/>",
            points.trim_end(),
            pen(i)
        );
    }
}

/// From 0 to at most `top`, four to ten round numbers.
fn ticks(top: f64) -> Vec<f64> {
    let rough = top / 8.0;
    let unit = 10.0_f64.powi(rough.log10().floor() as i32);
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * unit);
    let step = steps.into_iter().find(|step| *step >= rough).unwrap_or(steps[3]);
    // Rounded, for a tenth has no exact binary fraction.
    (0..=(top / step) as usize).map(|i| (i as f64 * step * 1e6).round() / 1e6).collect()
}
