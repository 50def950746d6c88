//! The promises, on the real binaries: one hash over every kind of team and vector width, and over kills of anything.
//!
//! The binaries are built by `make test` before this runs. Where there is no mpirun, what needs it says so and passes
//! over.

mod place;
mod rounds;

use place::{JOBS, MUSTER, Place, answer, hash, levels, mpi, mpirun_of, numbers};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

#[test]
fn one_hash_over_teams_and_vector_widths() {
    let place = Place::new("teams");
    numbers(&place);
    let levels = levels(&place);
    assert!(levels.contains(&"scalar"));
    let mut kinds = vec!["threads"];
    if mpi() {
        kinds.push("mpi");
    }
    for job in JOBS {
        let reference = hash(&place.run(&format!("kernel {job} --json --progress none")));
        for (nth, (ranks, threads)) in
            [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2), (5, 1), (5, 2)].iter().enumerate()
        {
            for (k, kind) in kinds.iter().enumerate() {
                // Every level with every kind of team; not every one of the products.
                let level = levels[(nth + k) % levels.len()];
                let words = format!(
                    "kernel {job} --json --progress none --team {kind} --ranks {ranks} --threads {threads}"
                );
                let output = place.muster(&words).env("MUSTER_SIMD", level).output().unwrap();
                let answer = answer(&output);
                assert_eq!(answer["hash"], reference[..], "{words} {level}");
                assert_eq!((&answer["ranks"], &answer["simd"]), (&(*ranks).into(), &level.into()), "{words}");
                assert_eq!(answer["threads"], ranks * threads, "{words}");
            }
        }
    }
    assert!(
        std::fs::read_dir(place.0.join("state/ledgers")).unwrap().next().is_none(),
        "ledgers go with the answer"
    );
}

#[test]
fn a_team_started_by_hand_has_the_same_hash() {
    if !mpi() {
        return;
    }
    let place = Place::new("hand");
    let reference = hash(&place.run(&format!("kernel {} --json", JOBS[0])));
    let rank = Path::new(MUSTER).with_file_name("muster-rank");
    let mut command = Command::new("mpirun");
    command.args(["--oversubscribe", "-n", "3"]).arg(&rank).args(JOBS[0].split(' ')).arg("--json");
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    let output = command.env("MUSTER_STATE", place.0.join("state")).output().unwrap();
    assert_eq!(hash(&output), reference);
    let described = Command::new(&rank).arg("describe").args(JOBS[0].split(' ')).output().unwrap();
    let described: serde_json::Value = serde_json::from_slice(&described.stdout).unwrap();
    assert_eq!((&described["kernel"], &described["class"]), (&"monte-carlo".into(), &"portable-f64".into()));
}

/// A job that runs for some seconds, and what it says meanwhile.
struct Working {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStderr>>,
    pids: Vec<u64>,
}

const LONG: &str = "kernel monte-carlo --option asian --steps 64 --paths 3e7 --json --progress json";

impl Working {
    fn start(place: &Place, more: &str) -> Self {
        let mut command = place.muster(&format!("{LONG} {more}"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Working { child, lines, pids: Vec::new() }
    }

    /// Reads events until this share of the blocks is done.
    fn until(&mut self, share: f64) {
        for line in self.lines.by_ref() {
            let event: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
            if event["event"] == "team" {
                self.pids = event["pids"].as_array().unwrap().iter().map(|p| p.as_u64().unwrap()).collect();
            }
            if event["done"].as_f64().unwrap_or(0.0) >= share * event["blocks"].as_f64().unwrap_or(f64::MAX) {
                return;
            }
        }
        panic!("the job ended before {share} of it was done");
    }

    fn end(mut self) -> Output {
        // Somebody must read what is said, or the pipe fills.
        self.lines.by_ref().for_each(drop);
        self.child.wait_with_output().unwrap()
    }
}

fn signal(name: &str, pid: u64) {
    assert!(Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap().success());
}

#[test]
fn a_killed_rank_or_launcher_costs_an_attempt_and_no_bit() {
    if !mpi() {
        return;
    }
    let place = Place::new("kill");
    let reference = hash(&place.run(&LONG.replace("json --progress json", "json --progress none")));
    for (victim, share) in [("rank 0", 0.3), ("rank 2", 0.5), ("mpirun", 0.4)] {
        let mut work = Working::start(&place, "--ranks 3 --threads 1");
        work.until(share);
        let pid = match victim {
            "rank 0" => work.pids[0],
            "rank 2" => work.pids[2],
            _ => mpirun_of(work.child.id()),
        };
        signal("KILL", pid);
        let answer = answer(&work.end());
        assert_eq!(answer["hash"], reference[..], "{victim}");
        assert_eq!(answer["attempts"], 2, "the kill of {victim} hit");
    }
}

#[test]
fn muster_killed_or_interrupted_goes_on_from_its_ledger() {
    let place = Place::new("resume");
    let reference = hash(&place.run(&LONG.replace("json --progress json", "json --progress none")));
    for how in ["KILL", "INT"] {
        let mut work = Working::start(&place, "");
        work.until(0.75);
        signal(how, u64::from(work.child.id()));
        let output = work.end();
        assert_eq!(output.status.code(), (how == "INT").then_some(130));
        let again = place.run(&LONG.replace("--progress json", ""));
        assert_eq!(again.status.code(), Some(2), "an unfinished ledger is neither used nor lost unasked");
        let said = String::from_utf8_lossy(&again.stderr).into_owned();
        assert!(said.contains("--resume goes on from there, --fresh starts again"), "{said}");
        let listed = place.run("ledger list --json");
        let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
        assert!(listed[0]["done"].as_u64().unwrap() > 0, "{listed}");
        let resumed = answer(&place.run(&format!("{LONG} --resume")));
        assert_eq!(resumed["hash"], reference[..], "{how}");
        assert_eq!(
            resumed["resumed_blocks"], listed[0]["done"],
            "nothing that was committed is computed again"
        );
    }
}

#[test]
fn the_ledger_of_a_thread_team_serves_a_team_of_processes() {
    if !mpi() {
        return;
    }
    let place = Place::new("move");
    let reference = hash(&place.run(&LONG.replace("json --progress json", "json --progress none")));
    let mut work = Working::start(&place, "--team threads --ranks 2 --threads 1");
    work.until(0.75);
    signal("INT", u64::from(work.child.id()));
    assert_eq!(work.end().status.code(), Some(130));
    let resumed = answer(&place.run(&format!("{LONG} --resume --ranks 2 --threads 1")));
    assert_eq!(resumed["hash"], reference[..]);
    assert!(resumed["resumed_blocks"].as_u64().unwrap() > 0);
}

#[test]
fn receipts_are_verified_and_blocks_replayed() {
    let place = Place::new("receipt");
    numbers(&place);
    let made = place.run(&format!("kernel {} --json --receipt r.json", JOBS[2]));
    assert!(answer(&made)["receipt"].as_str().unwrap().ends_with("/r.json"));
    let verified = place.run("verify r.json --all");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    let replayed = place.run("replay r.json 1");
    assert!(replayed.status.success());
    assert_eq!(place.run("replay r.json 999999").status.code(), Some(2));
    let text = std::fs::read_to_string(place.0.join("numbers.csv")).unwrap();
    std::fs::write(place.0.join("numbers.csv"), text.replacen("37.5", "38.5", 1)).unwrap();
    let changed = place.run("verify r.json --all");
    assert_eq!(changed.status.code(), Some(1), "{}", String::from_utf8_lossy(&changed.stdout));
    let said = String::from_utf8_lossy(&changed.stdout).into_owned();
    assert!(said.contains("differ from the receipt: 0"), "{said}");
    let receipt = std::fs::read_to_string(place.0.join("r.json")).unwrap();
    std::fs::write(
        place.0.join("r.json"),
        receipt.replacen("\"leaves\": \"0", "\"leaves\": \"1", 1).replacen(
            "\"leaves\": \"f",
            "\"leaves\": \"0",
            1,
        ),
    )
    .unwrap();
    let _ = place.run("verify r.json");
}

#[test]
fn memory_limits_and_outputs() {
    let place = Place::new("output");
    numbers(&place);
    let reference = hash(&place.run(&format!("kernel {} --json", JOBS[2])));
    let limited =
        place.run(&format!("kernel {} --json --threads 2 --memory-limit 128K --output out.json", JOBS[2]));
    assert!(limited.status.success() && limited.stdout.is_empty());
    let text = std::fs::read_to_string(place.0.join("out.json")).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap()["hash"], reference[..]);
    let small = place.run(&format!("kernel {} --threads 2 --memory-limit 100K", JOBS[2]));
    assert_eq!(small.status.code(), Some(2));
    let full = place.run(&format!("kernel {} --json --output /dev/full", JOBS[2]));
    assert_eq!(full.status.code(), Some(2));
    assert_eq!(
        serde_json::from_slice::<serde_json::Value>(&full.stdout).unwrap()["hash"],
        reference[..],
        "not lost"
    );
}

#[test]
fn bad_input_is_named_and_exits_with_2() {
    let place = Place::new("bad");
    std::fs::write(place.0.join("ragged.csv"), "a,b\n1,2\n3\n").unwrap();
    std::fs::write(place.0.join("empty.csv"), "").unwrap();
    std::fs::write(place.0.join("book.toml"), "[[option]]\nkind = \"european\"\nstrik = 3\n").unwrap();
    for (words, wanted) in [
        ("kernel monte-carlo", "--option: what to compute is missing"),
        (
            "kernel monte-carlo --option european --paths 0 --spot -1",
            "--spot: is -1, but must be more than 0, in money",
        ),
        ("kernel monte-carlo --option asian --volatility nan", "--volatility: is NaN"),
        ("kernel monte-carlo --option barrier", "--barrier-kind: is missing"),
        ("kernel monte-carlo --book book.toml", "strik: is not a key of an option (did you mean 'strike'?)"),
        ("kernel monte-carlo --book nosuch.toml", "cannot read"),
        ("kernel monte-carlo --prices nosuch.csv", "cannot be read"),
        ("kernel moments nosuch.csv", "cannot be read"),
        ("kernel moments empty.csv", "is empty"),
        ("kernel moments ragged.csv", "ragged.csv:3: has 1 field, and the header 2"),
        ("kernel moments --generate normal:-5", "not a whole number"),
        ("kernel moments --generate normal:10 --output nosuch/x", "cannot write nosuch/x"),
        ("kernel moments --generate normal:10 --hosts nosuch --ranks 1", "--hosts: cannot read nosuch"),
        ("kernel nosuch", "unrecognized subcommand"),
        ("verify nosuch.json", "cannot read the receipt nosuch.json"),
        ("ledger prune nosuch", "there is no ledger nosuch"),
        ("check nosuch.sh", "Unable to open file nosuch.sh"),
        ("run nosuch.sh", "Unable to open file nosuch.sh"),
        ("run --bogus x.sh", "unrecognized option '--bogus'"),
    ] {
        let output = place.run(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{words}: {said}");
        assert!(said.contains(wanted), "{words}: {said}");
    }
    let mut nowhere = place.muster("kernel monte-carlo --option european --ranks 2");
    let output = nowhere.env("PATH", "/nosuch").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("apt install openmpi-bin"));
    let many =
        place.run("kernel monte-carlo --option european --team threads --ranks 200 --threads 1 --paths 1000");
    assert!(
        many.status.success()
            && String::from_utf8_lossy(&many.stderr).contains("200 threads in 200 ranks share")
    );
}

#[test]
fn a_job_script_computes_a_kernel_on_its_tasks() {
    let place = Place::new("script");
    let script = format!(
        "#!/bin/sh\n#SBATCH --ntasks=2 -c 1 --job-name=price\n#SBATCH --partition=long # somewhere\n'{MUSTER}' kernel {} --json --team threads\n",
        JOBS[0]
    );
    std::fs::write(place.0.join("job.sh"), &script).unwrap();
    let output = place.run("run --no-follow job.sh");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("job 1 (price): COMPLETED"), "{said}");
    let text = std::fs::read_to_string(place.0.join("slurm-1.out")).unwrap();
    let json = &text[text.find('{').unwrap()..=text.rfind('}').unwrap()];
    let inside: serde_json::Value = serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}: {text}"));
    assert_eq!((&inside["ranks"], &inside["threads"]), (&2.into(), &2.into()), "one rank for each task");
    assert_eq!(inside["hash"], hash(&place.run(&format!("kernel {} --json", JOBS[0])))[..]);
    let checked = place.run("check job.sh");
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success() && said.contains("there are no partitions here"), "{said}");
    std::fs::write(place.0.join("bad.sh"), "#!/bin/sh\n#SBATCH --time=abc --hold\n").unwrap();
    let refused = place.run("check bad.sh");
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        said.contains("2:9")
            && said.contains("Invalid --time specification")
            && said.contains("refused: it needs a queue"),
        "{said}"
    );
    std::fs::write(place.0.join("bad.sh"), "#!/bin/sh\n#SBATCH --time=abc --nodes\n").unwrap();
    let refused = place.run("run bad.sh");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2));
    for wanted in ["bad.sh:2:9: Invalid --time", "bad.sh:2:20: option '--nodes' requires an argument"] {
        assert!(said.contains(wanted), "all mistakes at once: {said}");
    }
}
