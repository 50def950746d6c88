//! The promises at full length: every product of ranks, threads, transports and vector widths, three times; and kills at
//! random moments of everything that can be killed. `make soak` runs it on the release build, in most of an hour;
//! `make soak JOBS=group-by` runs the jobs with that in their words.

#[path = "teams/place.rs"]
mod place;

use place::{JOBS, Place, answer, groups, hash, levels, mpi, mpirun_of, numbers};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

fn main() {
    assert!(mpi(), "a soak needs mpirun and muster-rank");
    one_hash_over_every_product_three_times();
    one_hash_over_kills_at_random_moments();
}

/// Whether the words of a job are among those asked for, if any are.
fn wanted(job: &str) -> bool {
    let mut asked = std::env::args().skip(1).filter(|word| !word.starts_with('-')).peekable();
    asked.peek().is_none() || asked.any(|word| job.contains(&word))
}

/// Jobs of about a second on two cores, and at how many moments each of their processes is killed.
const SECOND: [(&str, u32); 9] = [
    ("monte-carlo --option asian --steps 64 --paths 1e7", 50),
    ("moments --generate normal:6e8", 50),
    ("k-means --generate mixture:1e6x16x8 --clusters 40 --rounds 12 --tolerance 0 --memory-limit 192K", 20),
    ("group-by groups.csv --by n --compute count,sum(x),min(x)", 20),
    ("group-by groups.csv --by word --compute variance(x),median(x)", 20),
    ("linreg groups.csv --y x --x n", 20),
    ("histogram groups.csv --of x,n", 20),
    ("quantile groups.csv --of x,n", 20),
    (r"log-scan (\w+),(\d+), groups.csv --group-by 1,2", 20),
];
/// Rows of `groups.csv`, some 200 MB.
const ROWS: u32 = 10_000_000;

fn one_hash_over_every_product_three_times() {
    let place = Place::new("product");
    numbers(&place);
    for job in JOBS.into_iter().filter(|job| wanted(job)) {
        let reference = hash(&place.run(&format!("kernel {job} --json --progress none")));
        let mut runs = 0;
        for team in ["threads", "mpi"] {
            for (ranks, threads) in [1, 2, 3, 5].into_iter().flat_map(|r| [(r, 1), (r, 2)]) {
                let words = format!(
                    "kernel {job} --json --progress none --team {team} --ranks {ranks} --threads {threads}"
                );
                for level in levels(&place).repeat(3) {
                    let output = place.muster(&words).env("MUSTER_SIMD", level).output().unwrap();
                    assert_eq!(hash(&output), reference, "{words} {level}");
                    runs += 1;
                }
            }
        }
        println!("{job}: {runs} runs, one hash {reference}");
    }
}

/// A moment between 0 and 1, another at every call.
fn random() -> f64 {
    RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64
}

fn one_hash_over_kills_at_random_moments() {
    for (job, moments) in SECOND.into_iter().filter(|(job, _)| wanted(job)) {
        let place = Place::new("moments");
        groups(&place, ROWS);
        let job = &format!("kernel {job} --json");
        let calm = place.run(&format!("{job} --progress none --ranks 3 --threads 1"));
        let (reference, fold_s) = (hash(&calm), answer(&calm)["fold_s"].as_f64().unwrap());
        for victim in ["rank 0", "rank 1", "rank 2", "mpirun", "muster"] {
            let (mut hits, mut tries, mut resumed) = (0, 0, 0);
            while hits < moments {
                tries += 1;
                assert!(tries <= 2 * moments, "{victim}: only {hits} of {tries} kills hit");
                let moment = Duration::from_secs_f64(random() * fold_s);
                let output = killed(&place, job, victim, moment);
                let answer = if output.status.success() {
                    let answer = answer(&output);
                    hits += u32::from(answer["attempts"] == 2);
                    answer
                } else {
                    assert!(victim == "muster" && output.status.code().is_none(), "{victim}: {output:?}");
                    hits += 1;
                    let answer =
                        answer(&place.run(&format!("{job} --progress none --resume --ranks 2 --threads 1")));
                    resumed += u32::from(answer["resumed_blocks"].as_u64().unwrap() > 0);
                    answer
                };
                assert_eq!(
                    answer["hash"],
                    reference[..],
                    "{victim} killed {moment:?} after its team had met"
                );
            }
            println!(
                "{job}: {victim}: {hits} kills of {tries} hit, {resumed} resumed from a ledger, one hash {reference}"
            );
        }
    }
}

/// Runs a job and kills `victim` so long after its team has met.
fn killed(place: &Place, job: &str, victim: &str, moment: Duration) -> Output {
    let mut command = place.muster(&format!("{job} --progress json --ranks 3 --threads 1"));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let event = lines.by_ref().map(|line| line.unwrap()).find_map(|line| {
        serde_json::from_str::<serde_json::Value>(&line).ok().filter(|e| e["event"] == "team")
    });
    let (pids, met) = (event.expect("the team meets")["pids"].clone(), Instant::now());
    // Somebody must read what is said, or the pipe fills.
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let reader = std::thread::spawn(move || {
        lines.for_each(drop);
        drop(end);
    });
    let pid = match victim {
        "muster" => u64::from(child.id()),
        "mpirun" => mpirun_of(child.id()),
        rank => pids[rank[5..].parse::<usize>().unwrap()].as_u64().unwrap(),
    };
    let _ = ended.recv_timeout(moment.saturating_sub(met.elapsed()));
    // It may have ended by now: such a kill does not count.
    let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status();
    let output = child.wait_with_output().unwrap();
    reader.join().unwrap();
    output
}
