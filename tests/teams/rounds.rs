//! Kernels of rounds, and kernels of tables, killed inside a round: they go on inside the round, with one hash.

use super::place::groups;
use super::{Place, answer, hash, mpi};
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

/// Rounds of some tenths of a second, as without memory the rows are made anew in each.
const LONG: &str = "kernel k-means --generate mixture:2e6x16x8 --clusters 40 --rounds 9 --tolerance 0 --json";
/// Rounds enough that a run is not over before its ledger has blocks of a later one, twice in a row.
const LONGER: &str =
    "kernel k-means --generate mixture:2e6x16x8 --clusters 40 --rounds 40 --tolerance 0 --json";
const FORGETFUL: &str = "--memory-limit 192K --progress json";

/// Jobs over a table, and the round in which they are killed; kernels of one round do not count them.
const TABLES: [(&str, Option<u64>); 5] = [
    ("kernel linreg groups*.csv --y x --x n --json", None),
    ("kernel histogram groups*.csv --of x,n --json", Some(1)),
    ("kernel quantile groups*.csv --of x,n --at 0.1,0.9 --json", Some(2)),
    ("kernel group-by groups*.csv --by word,n --compute sum(x),max(x) --limit 9 --json", None),
    (r"kernel log-scan (\w+),(\d+), groups*.csv --group-by 1,2 --top 9 --json", None),
];
/// Some 100 MB.
const ROWS: u32 = 5_000_000;

/// Runs the job until blocks of this round or a later one are done and so many seconds have passed, kills a process of
/// it, and waits for the end. Its answer is short: nobody reads it before.
fn killed_inside(
    place: &Place,
    words: &str,
    (round, after_s): (Option<u64>, f64),
    victim: impl Fn(u32, &[u64]) -> u64,
) -> Output {
    let mut command = place.muster(words);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut pids = Vec::new();
    let inside = lines.by_ref().any(|line| {
        let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        if event["event"] == "team" {
            pids = event["pids"].as_array().unwrap().iter().map(|p| p.as_u64().unwrap()).collect();
        }
        let late = event["elapsed_s"].as_f64() >= Some(after_s);
        late && event["round"].as_u64() >= round && event["done"].as_u64() > Some(5) && !pids.is_empty()
    });
    assert!(inside, "the job ended before blocks of round {round:?} were done: {words}");
    // A fast machine may be done by now, and the process gone: what the job says tells whether the kill hit.
    let _ = Command::new("kill").args(["-KILL", &victim(child.id(), &pids).to_string()]).status().unwrap();
    // Somebody must read what is said, or the pipe fills.
    lines.for_each(drop);
    child.wait_with_output().unwrap()
}

#[test]
fn a_rank_killed_inside_a_round_costs_no_bit() {
    if !mpi() {
        return;
    }
    let place = Place::new("round");
    let reference = hash(&place.run(&format!("{LONG} --progress none")));
    for victim in [0, 2] {
        let words = format!("{LONG} {FORGETFUL} --ranks 3 --threads 1");
        let answer = answer(&killed_inside(&place, &words, (Some(3), 0.0), |_, pids| pids[victim]));
        assert_eq!(
            (&answer["hash"], &answer["attempts"]),
            (&reference[..].into(), &2.into()),
            "rank {victim}"
        );
    }
}

#[test]
fn a_rank_killed_over_a_table_costs_no_bit() {
    if !mpi() {
        return;
    }
    let place = Place::new("table");
    groups(&place, ROWS);
    // What takes a tenth of a second over one file is over before a kill arrives: it has the same file under more names.
    for n in 0..12 {
        std::fs::hard_link(place.0.join("groups.csv"), place.0.join(format!("groups{n}.csv"))).unwrap();
    }
    for (job, round) in TABLES {
        let reference = hash(&place.run(&format!("{job} --progress none")));
        let words = format!("{job} --progress json --ranks 3 --threads 1");
        // A kill that comes after the last block costs no attempt, and is tried again.
        let hit = (0..10).any(|_| {
            let answer = answer(&killed_inside(&place, &words, (round, 0.0), |_, pids| pids[1]));
            assert_eq!(answer["hash"], reference[..], "{job}");
            answer["attempts"] == 2
        });
        assert!(hit, "ten kills, and none before the end: {job}");
    }
}

#[test]
fn muster_killed_inside_a_round_goes_on_inside_it() {
    let place = Place::new("inside");
    let reference = hash(&place.run(&format!("{LONGER} --progress none")));
    // The ledger is written once a second: a kill may come before blocks of a later round are in it.
    for more in ["", "--resume", "--resume", "--resume"] {
        killed_inside(&place, &format!("{LONGER} {FORGETFUL} {more}"), (Some(3), 1.3), |muster, _| {
            muster.into()
        });
        let listed = answer(&place.run("ledger list --json"));
        let (round, done) = (&listed[0]["round"], &listed[0]["done"]);
        if round.as_u64() >= Some(3) && done.as_u64() > Some(0) {
            let resumed =
                answer(&place.run(&format!("{LONGER} --resume --ranks 2 --threads 1 --team threads")));
            assert_eq!(resumed["hash"], reference[..]);
            assert_eq!((&resumed["resumed_round"], &resumed["resumed_blocks"]), (round, done));
            return;
        }
    }
    panic!("four kills and no round from the third on with blocks in the ledger");
}
