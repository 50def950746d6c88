//! The queue of one host beside what does the same without one: the journal is durable in each figure.

use crate::measure::{Series, pairs, say};
use crate::pool::{Pool, submission, submit_many};
use std::fs::File;
use std::io::Write;
use std::process::Command;
use std::time::Instant;

/// Elements of the array that is timed.
const ELEMENTS: u32 = 10_000;
/// Single jobs that are timed.
const SINGLE: usize = 200;
/// Submissions, each time of five.
const SUBMISSIONS: usize = 20_000;

pub(crate) fn queue() -> Result<(), String> {
    let pool = Pool::up(&[])?;
    array(&pool, "/bin/true")?;
    let script = pool.state.join("bench-script");
    std::fs::write(&script, "#!/bin/bash\n:\n").map_err(|error| error.to_string())?;
    array(&pool, &script.display().to_string())?;
    single(&pool)?;
    million(&pool)?;
    submissions(&pool)?;
    restart(&pool)
}

/// Many short runs of a program, or of a script by bash, as one array, beside the least that starts as many.
fn array(pool: &Pool, program: &str) -> Result<(), String> {
    let is_script = program.ends_with("script");
    let range = format!("--array=1-{ELEMENTS}");
    let options = ["submit", "--quiet", "--wait", &range, "--output=/dev/null"];
    let words: Vec<&str> = if is_script { vec![program] } else { vec!["--", program] };
    let ours = || pool.run(&[&options[..], &words].concat());
    let command = if is_script { format!("bash {program}") } else { program.to_owned() };
    let theirs = || {
        let began = Instant::now();
        let xargs = format!("seq {ELEMENTS} | xargs -P2 -n1 {command}");
        let status = Command::new("sh").args(["-c", &xargs]).status().map_err(|error| error.to_string())?;
        if status.success() { Ok(began.elapsed().as_secs_f64()) } else { Err(format!("xargs: {status}")) }
    };
    let (a, b, ratio) = pairs(7, ours, theirs)?;
    say(if is_script { "10,000 elements of a script" } else { "10,000 elements of /bin/true" }, "s", &a);
    say("floor: xargs -P2", "s", &b);
    say("array / xargs", "times", &ratio);
    Ok(())
}

/// One job from submit to end, as its client sees it, beside what one sync costs.
fn single(pool: &Pool) -> Result<(), String> {
    let mut file = File::create(pool.state.join("bench-sync")).map_err(|error| error.to_string())?;
    let (mut jobs, mut syncs) = (Vec::new(), Vec::new());
    for _ in 0..SINGLE {
        jobs.push(1e3 * pool.run(&["submit", "--quiet", "--wait", "-o", "/dev/null", "--", "/bin/true"])?);
        let began = Instant::now();
        let synced = file.write_all(&[0; 512]).and_then(|()| file.sync_data());
        synced.map_err(|error| error.to_string())?;
        syncs.push(1e3 * began.elapsed().as_secs_f64());
    }
    jobs.sort_unstable_by(f64::total_cmp);
    syncs.sort_unstable_by(f64::total_cmp);
    let (median, last) = (SINGLE / 2, SINGLE * 99 / 100);
    println!(
        "  one /bin/true, submit to end: median {:.1} ms, 99th percentile {:.1} ms",
        jobs[median], jobs[last]
    );
    println!("  fdatasync: median {:.2} ms, 99th percentile {:.2} ms", syncs[median], syncs[last]);
    Ok(())
}

/// Separate submissions through the API on the local socket, each acknowledged on disk.
fn submissions(pool: &Pool) -> Result<(), String> {
    let request = submission(true);
    let rate = || Ok(SUBMISSIONS as f64 / submit_many(pool, SUBMISSIONS, &request)?);
    say("submissions, 64 in flight", "a second", &Series::of(5, rate)?);
    Ok(())
}

/// An array of a million elements: submitted, listed, and what it takes.
fn million(pool: &Pool) -> Result<(), String> {
    let before = pool.memory_kib();
    let submitted = pool.run(&["submit", "--quiet", "--hold", "--array=1-1000000", "--", "/bin/true"])?;
    let after = pool.memory_kib();
    let listed = pool.run(&["queue", "--json"])?;
    println!("  a million elements: submitted in {:.1} ms", 1e3 * submitted);
    if let Some((before, after)) = before.zip(after) {
        println!("  controller: {} MiB before, {} MiB after", before >> 10, after >> 10);
    }
    println!("  muster queue with it: {:.1} ms", 1e3 * listed);
    Ok(())
}

/// A new life of a controller that was killed with all that is queued by now.
fn restart(pool: &Pool) -> Result<(), String> {
    let listed = pool.run(&["queue", "--json"])?;
    println!("  muster queue with {} jobs: {:.1} ms", 5 * SUBMISSIONS, 1e3 * listed);
    if let Some(memory) = pool.memory_kib() {
        println!("  controller: {} MiB", memory >> 10);
    }
    pool.kill()?;
    println!("  killed and up again: {:.2} s", pool.run(&["up", "--detach"])?);
    Ok(())
}
