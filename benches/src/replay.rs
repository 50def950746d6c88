//! Replays of workload traces on one thread: complete logs where `MUSTER_TRACES` names a folder of `*.swf.gz`, else a
//! trace that is made here.

use crate::measure::{Series, say};
use muster_core::policy::Policy;
use muster_core::trace::replay::{Mode, replay as schedule};
use muster_core::trace::{Trace, TraceOptions, swf};
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Instant;

/// The folder of traces.
const VARIABLE: &str = "MUSTER_TRACES";

/// Repeats behind each figure; conservative backfilling takes long and is as steady.
const REPEATS: [(&str, usize); 4] = [("easy", 15), ("default", 7), ("unicep+easy", 7), ("cons", 3)];

/// Unpack, parse and replay, beside its floor: unpack and parse alone.
pub(crate) fn replay() -> Result<(), String> {
    for (name, bytes) in traces()? {
        let parse = || -> Result<Trace, String> {
            let text = swf::unpack(bytes.clone()).map_err(|e| format!("{name} {e}"))?;
            Trace::new(&swf::read(&text), TraceOptions::default()).map_err(|e| format!("{name}: {e}"))
        };
        println!("  {name}: {} jobs", parse()?.jobs.len());
        let floor = Series::of(REPEATS[0].1, || milliseconds(|| parse().map(drop)))?;
        say("floor: unpack and parse", "ms", &floor);
        for (policy, repeats) in REPEATS {
            let policy: Policy = policy.parse().map_err(|e| format!("{e}"))?;
            let one = || parse().map(|trace| drop(schedule(&trace, policy, Mode::Batch)));
            say(&format!("parse and replay {policy}"), "ms", &Series::of(repeats, || milliseconds(one))?);
        }
    }
    Ok(())
}

fn milliseconds(one: impl FnOnce() -> Result<(), String>) -> Result<f64, String> {
    let began = Instant::now();
    one()?;
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

/// Names and bytes, in the order of the names.
fn traces() -> Result<Vec<(String, Vec<u8>)>, String> {
    let Some(folder) = std::env::var_os(VARIABLE).map(PathBuf::from) else {
        println!("  {VARIABLE} names no folder of traces: a made trace is replayed");
        return Ok(vec![("made".into(), made(50_000).into_bytes())]);
    };
    let wrong = |e: std::io::Error| format!("{}: {e}", folder.display());
    let mut out = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".swf.gz") || name.ends_with(".swf") {
            out.push((name, std::fs::read(&path).map_err(wrong)?));
        }
    }
    out.sort();
    if out.is_empty() { Err(format!("{} has no *.swf.gz", folder.display())) } else { Ok(out) }
}

/// A trace of so many jobs on 256 processors, busy to nine tenths.
fn made(jobs: usize) -> String {
    let mut state = 1_u64;
    // Knuth's numbers (MMIX); the high bits are the good ones.
    let mut below = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    let mut out = String::from("; MaxProcs: 256\n");
    let mut now = 0;
    for id in 1..=jobs {
        now += below(1000);
        let width = 1 << below(7);
        let longest = 1 << (6 + below(9));
        let run = 10 + below(longest);
        let estimate = run * (1 + below(5)) + 60;
        let _ =
            writeln!(out, "{id} {now} -1 {run} {width} -1 -1 {width} {estimate} -1 -1 1 -1 -1 -1 -1 -1 -1");
    }
    out
}
