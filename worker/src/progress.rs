//! What a foreman tells the world while it works: bars on a terminal, lines otherwise, JSON for programs.
//!
//! Inside `muster run` the events also go, as JSON lines, down the pipe that `MUSTER_PROGRESS_FD` names, so that the
//! terminal shows live bars while the script's own output goes to its file.

use crate::placement::{self, PoolSeen};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Deserialize, Serialize};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// The variable that names the pipe to `muster run`.
pub const PROGRESS_FD: &str = "MUSTER_PROGRESS_FD";

/// Something worth telling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// A team is folding.
    Team {
        /// The kernel's name.
        kernel: String,
        /// Which team this is, from 1.
        attempt: u32,
        /// How many ranks.
        ranks: u32,
        /// How many threads in all.
        threads: u32,
        /// The process of each rank, in order.
        pids: Vec<u32>,
        /// The vector instructions of rank 0.
        simd: String,
    },
    /// Blocks were finished.
    Progress {
        /// The kernel's name.
        kernel: String,
        /// Which round, from 1, where the kernel goes round.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        round: Option<u32>,
        /// Finished blocks of the round.
        done: u32,
        /// Blocks in all.
        blocks: u32,
        /// Which team.
        attempt: u32,
        /// Seconds since the foreman began.
        elapsed_s: f64,
        /// Units of work a second.
        rate: f64,
        /// The unit.
        unit: String,
    },
    /// A team was lost, and the next one starts.
    Lost {
        /// Which team.
        attempt: u32,
        /// How many there may be.
        of: u32,
        /// Why.
        why: String,
        /// Blocks in the ledger.
        kept: u32,
        /// Blocks in all.
        blocks: u32,
        /// The round in the ledger, from 1, where the kernel goes round.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        round: Option<u32>,
    },
    /// The team is stopping at the user's wish.
    Draining,
    /// Something is not as it should be, without harm to the answer.
    Warning {
        /// What.
        text: String,
    },
    /// Where the team's threads ran and their memory lay.
    Placement {
        /// Which team.
        attempt: u32,
        /// The pools of all ranks, in order.
        pools: Vec<PoolSeen>,
    },
    /// The answer is out.
    Answer {
        /// The kernel's name.
        kernel: String,
        /// The answer's hash.
        hash: String,
    },
}

/// How to show events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
pub enum Style {
    /// Bars where standard error is a terminal, lines otherwise.
    Auto,
    /// A bar, redrawn in place.
    Bar,
    /// A line every now and then.
    Lines,
    /// One JSON object a line.
    Json,
    /// Warnings alone.
    None,
}

/// Shows events on standard error.
pub struct Progress {
    style: Style,
    bar: Option<ProgressBar>,
    shown: Option<Instant>,
    pipe: Option<std::fs::File>,
}

impl Progress {
    /// Shows events in `style`; `pipe` gets them all as JSON lines.
    pub fn new(style: Style, pipe: Option<std::fs::File>) -> Self {
        let style = match style {
            Style::Auto if std::io::stderr().is_terminal() => Style::Bar,
            // `muster run` shows it; the script's output file is for what the script has to say.
            Style::Auto if pipe.is_some() => Style::None,
            Style::Auto => Style::Lines,
            style => style,
        };
        Progress { style, bar: None, shown: None, pipe }
    }

    /// Shows one event.
    pub fn tell(&mut self, event: &Event) {
        let last = matches!(event, Event::Progress { round: None, done, blocks, .. } if done == blocks);
        let every =
            if self.style == Style::Lines { Duration::from_secs(5) } else { Duration::from_millis(100) };
        if matches!(event, Event::Progress { .. }) && !last {
            if self.shown.is_some_and(|at| at.elapsed() < every) {
                return;
            }
            self.shown = Some(Instant::now());
        }
        let json = || serde_json::to_string(event).expect("an event encodes");
        if let Some(pipe) = &mut self.pipe
            && writeln!(pipe, "{}", json()).is_err()
        {
            self.pipe = None;
        }
        match self.style {
            Style::Json => eprintln!("{}", json()),
            Style::Bar => self.draw(event),
            Style::Lines => say(&line(event)),
            // A placement comes only when it was asked for.
            Style::None
                if matches!(event, Event::Warning { .. } | Event::Lost { .. } | Event::Placement { .. }) =>
            {
                say(&line(event));
            }
            _ => {}
        }
    }

    /// Writes a line of the caller's own, above the bar where there is one.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => say(line),
        }
    }

    fn draw(&mut self, event: &Event) {
        match event {
            Event::Progress { kernel, round, done, blocks, rate, unit, .. } => {
                let bar = self.bar.get_or_insert_with(|| new_bar(kernel, u64::from(*blocks)));
                bar.set_position(u64::from(*done));
                let round = round.map_or_else(String::new, |round| format!("round {round}  "));
                bar.set_message(format!("{round}{} {unit}/s", scaled(*rate)));
                if done == blocks && round.is_empty() {
                    bar.finish();
                    self.bar = None;
                }
            }
            Event::Answer { .. } => drop(self.bar.take().inspect(ProgressBar::finish)),
            _ => self.say(&line(event)),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}

fn new_bar(kernel: &str, blocks: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(blocks), ProgressDrawTarget::stderr_with_hz(15));
    let style = ProgressStyle::with_template(
        "{prefix:>12} [{bar:32}] {percent:>3}%  {pos}/{len} blocks  {msg}  eta {eta}",
    );
    bar.set_style(style.expect("the template is right").progress_chars("=> "));
    bar.set_prefix(kernel.to_owned());
    bar
}

fn say(line: &str) {
    if !line.is_empty() {
        eprintln!("{line}");
    }
}

/// An event as a line for people.
pub fn line(event: &Event) -> String {
    match event {
        Event::Team { kernel, attempt, ranks, threads, simd, .. } => {
            let again = if *attempt > 1 { format!(" (attempt {attempt})") } else { String::new() };
            let (r, t) = (plural(*ranks, "rank"), plural(*threads, "thread"));
            format!("muster: {kernel} on {r}, {t}, {simd}{again}")
        }
        Event::Progress { kernel, round, done, blocks, rate, unit, .. } => {
            let percent = u64::from(*done) * 100 / u64::from(*blocks).max(1);
            let round = round.map_or_else(String::new, |round| format!("round {round}, "));
            format!(
                "muster: {kernel} {round}{percent}%, {done} of {blocks} blocks, {} {unit}/s",
                scaled(*rate)
            )
        }
        Event::Lost { attempt, of, why, kept, blocks, round } => {
            let round = round.map_or_else(String::new, |round| format!(" of round {round}"));
            format!(
                "muster: lost team {attempt} of at most {of}: {why}\n\
                 muster: going on with a new team; {kept} of {blocks} blocks{round} are in the ledger"
            )
        }
        Event::Draining => "muster: stopping at the next block; interrupt again to kill".into(),
        Event::Warning { text } => format!("muster: warning: {text}"),
        Event::Placement { pools, .. } => pools.iter().map(placement::line).collect::<Vec<_>>().join("\n"),
        Event::Answer { .. } => String::new(),
    }
}

/// `3 ranks`, `1 thread`.
pub fn plural(n: u32, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// A rate with a prefix of thousands: `612 M`.
pub fn scaled(x: f64) -> String {
    let (x, prefix) = match x.abs() {
        a if a >= 1e12 => (x / 1e12, " T"),
        a if a >= 1e9 => (x / 1e9, " G"),
        a if a >= 1e6 => (x / 1e6, " M"),
        a if a >= 1e3 => (x / 1e3, " k"),
        _ => (x, ""),
    };
    let digits = if x.abs() >= 100.0 {
        0
    } else if x.abs() >= 10.0 {
        1
    } else {
        2
    };
    format!("{x:.digits$}{prefix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_short() {
        let all: Vec<String> = [0.5, 12.34, 999.0, 1234.0, 6.12e8, 7e12].iter().map(|&x| scaled(x)).collect();
        assert_eq!(all, ["0.50", "12.3", "999", "1.23 k", "612 M", "7.00 T"]);
    }

    #[test]
    fn events_are_read_back() {
        let event = Event::Lost { attempt: 1, of: 5, why: "x".into(), kept: 3, blocks: 9, round: Some(2) };
        let json = serde_json::to_string(&event).unwrap();
        assert!(json.starts_with(r#"{"event":"lost","attempt":1"#), "{json}");
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
        assert!(line(&event).contains("3 of 9 blocks of round 2"));
    }
}
