//! A user's own kernels: the crates of `examples/`, by `muster kernel PATH`, by mpirun, and from job scripts; killed,
//! resumed, verified.
//!
//! `make test` builds the crates before this runs. They link MPI: where there is none, what needs them says so and
//! passes over.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

/// A folder of one test's own, with the examples in its `target/release`; removed when the test ends.
struct Place(PathBuf);

impl Place {
    /// `None` where the examples cannot be built.
    fn new(name: &str) -> Option<Self> {
        let built = |name: &str| Path::new(MUSTER).with_file_name(name);
        if !built("pi-rank").exists() {
            eprintln!("passed over: no MPI here, so that the examples were not built");
            return None;
        }
        let path = std::env::temp_dir().join(format!("me-{name}-{}", std::process::id()));
        std::fs::create_dir_all(path.join("target/release")).unwrap();
        for program in ["pi-rank", "power-rank", "words-rank"] {
            let at = path.join("target/release").join(program);
            std::os::unix::fs::symlink(built(program), at).unwrap();
        }
        Some(Place(path))
    }

    fn command(&self, program: &str, words: &str) -> Command {
        let mut command = Command::new(program);
        command.args(words.split_whitespace()).current_dir(&self.0).env("MUSTER_STATE", self.0.join("state"));
        for name in ["MUSTER_SIMD", "SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_CPUS_PER_TASK", "MUSTER_RUN"] {
            command.env_remove(name);
        }
        command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
        command
    }

    /// `muster kernel ./target/release/PROGRAM FLAGS`.
    fn kernel(&self, words: &str) -> Command {
        self.command(MUSTER, &format!("kernel ./target/release/{words}"))
    }

    /// The size of the logs of all ledgers.
    fn ledger_bytes(&self) -> u64 {
        let ledgers = std::fs::read_dir(self.0.join("state/ledgers")).into_iter().flatten().flatten();
        ledgers.filter_map(|dir| Some(std::fs::metadata(dir.path().join("ledger.log")).ok()?.len())).sum()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn answer(mut command: Command) -> Value {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, said(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", said(&output.stdout)))
}

/// Text in lines of many lengths, of more than two blocks, and how many words it has of each length.
fn text(place: &Place) -> Value {
    let (mut text, mut lengths) = (String::new(), std::collections::BTreeMap::<usize, u64>::new());
    let mut seed = 7u32;
    while text.len() < 9_000_000 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let length = (seed >> 27) as usize;
        text.push_str(&"w".repeat(length));
        text.push(if seed.is_multiple_of(9) { '\n' } else { ' ' });
        if length > 0 {
            *lengths.entry(length).or_default() += 1;
        }
    }
    std::fs::write(place.0.join("text.txt"), text).unwrap();
    serde_json::to_value(lengths).unwrap()
}

const JOBS: [&str; 3] = ["pi-rank --points 5e6", "power-rank --rows 3000 --rounds 12", "words-rank text.txt"];

#[test]
fn one_hash_however_an_example_is_started() {
    let Some(place) = Place::new("teams") else { return };
    let lengths = text(&place);
    for job in JOBS {
        let (program, flags) = job.split_once(' ').unwrap();
        let name = program.trim_end_matches("-rank");
        let reference = answer(place.kernel(&format!("{job} --json --progress none")));
        for how in
            ["--team threads --ranks 1 --threads 1", "--team threads --ranks 3", "--ranks 1", "--ranks 3"]
        {
            let answer =
                answer(place.kernel(&format!("{program} {name} {flags} --json --progress none {how}")));
            assert_eq!(answer["hash"], reference["hash"], "{job} {how}");
            let ranks = how.split_whitespace().skip_while(|w| *w != "--ranks").nth(1).unwrap();
            assert_eq!(answer["ranks"].to_string(), ranks, "{job} {how}");
        }
        let by_hand = format!("--oversubscribe -n 3 target/release/{job} --json --progress none");
        assert_eq!(answer(place.command("mpirun", &by_hand))["hash"], reference["hash"], "{by_hand}");
        match name {
            "pi" => {
                let (pi, error) = (&reference["answer"]["pi"], &reference["answer"]["standard_error"]);
                let off = pi.as_f64().unwrap() - std::f64::consts::PI;
                assert!(off.abs() < 4.0 * error.as_f64().unwrap(), "{reference}");
            }
            "power" => {
                assert!((reference["answer"].as_f64().unwrap() - eigenvalue(3000, 12)).abs() < 1e-9);
                assert_eq!(reference["rounds"], 12);
            }
            _ => assert_eq!(reference["answer"], lengths),
        }
    }
}

/// The estimate of the largest eigenvalue after so many rounds.
fn eigenvalue(rows: usize, rounds: u32) -> f64 {
    let mut x = vec![1.0 / (rows as f64).sqrt(); rows];
    let mut length = 0.0;
    for _ in 0..rounds {
        let row = |i: usize| (0..rows).map(|j| x[j] / (1 + i.abs_diff(j)) as f64).sum::<f64>();
        let product: Vec<f64> = (0..rows).map(row).collect();
        length = product.iter().map(|p| p * p).sum::<f64>().sqrt();
        x = product.iter().map(|p| p / length).collect();
    }
    length
}

#[test]
fn a_job_script_runs_each_example() {
    let Some(place) = Place::new("scripts") else { return };
    text(&place);
    let path =
        format!("{}:{}", Path::new(MUSTER).parent().unwrap().display(), std::env::var("PATH").unwrap());
    for (name, small) in [("pi", "--points 5e6"), ("power", "--rows 3000"), ("words", "text.txt")] {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/{name}/{name}.sh"));
        let mut script = std::fs::read_to_string(script).unwrap();
        for large in ["--points 1e10", "--rows 20000"] {
            script = script.replace(large, &format!("{small} --json"));
        }
        std::fs::write(place.0.join("job.sh"), script.replace("\"$1\"", "\"$1\" --json")).unwrap();
        let mut run = place.command(MUSTER, "run --quiet --output answer.json job.sh text.txt");
        let output = run.env("PATH", &path).output().unwrap();
        let wrote = std::fs::read_to_string(place.0.join("answer.json")).unwrap();
        assert!(output.status.success(), "{name}: {}\n{wrote}", said(&output.stderr));
        let ran: Value = serde_json::from_str(&wrote).unwrap_or_else(|e| panic!("{e}: {wrote}"));
        let reference = answer(place.kernel(&format!("{name}-rank {small} --json --progress none")));
        assert_eq!((&ran["hash"], &ran["ranks"]), (&reference["hash"], &2.into()), "{name}");
    }
}

/// A job of some seconds, read until its ledger holds the state of a later round and more blocks of a round are done.
fn inside_a_round(place: &Place, more: &str) -> (Child, Vec<u64>, impl Iterator<Item = String> + use<>) {
    let mut command = place.kernel(&format!("{LONG} --json --progress json {more}"));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut pids = Vec::new();
    let found = lines.by_ref().any(|line| {
        let event: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        if event["event"] == "team" {
            pids = event["pids"].as_array().unwrap().iter().map(|p| p.as_u64().unwrap()).collect();
        }
        // The state of a round is a vector of 64,000 bytes; the log holds one round's at least.
        let inside = event["done"].as_u64() > Some(0) && event["round"].as_u64() > Some(3);
        inside && place.ledger_bytes() > 60_000
    });
    assert!(found, "the job ended before its ledger held a round");
    (child, pids, lines)
}

const LONG: &str = "power-rank --rows 8000 --rounds 40";

fn kill(pid: u64) {
    assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
}

#[test]
fn killed_inside_a_round_it_goes_on_inside_a_round() {
    let Some(place) = Place::new("kill") else { return };
    let reference = answer(place.kernel(&format!("{LONG} --json --progress none")));
    for team in ["--team threads", "--ranks 2 --threads 1"] {
        let (child, pids, lines) = inside_a_round(&place, team);
        kill(*pids.last().unwrap());
        lines.for_each(drop);
        let output = child.wait_with_output().unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&answer["hash"], &answer["attempts"]), (&reference["hash"], &2.into()), "{team}");
    }
    let (mut child, _, lines) = inside_a_round(&place, "");
    child.kill().unwrap();
    lines.for_each(drop);
    child.wait().unwrap();
    let listed = place.command(MUSTER, "ledger list --json").output().unwrap();
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert!(listed[0]["round"].as_u64() > Some(1), "{listed}");
    another_build_is_refused(&place);
    let resumed = answer(place.kernel(&format!("{LONG} --json --progress none --resume")));
    assert_eq!(resumed["hash"], reference["hash"]);
    assert_eq!(
        (&resumed["resumed_round"], &resumed["resumed_blocks"]),
        (&listed[0]["round"], &listed[0]["done"])
    );
    assert_eq!(place.ledger_bytes(), 0, "the ledger goes with the answer");
}

/// Its partials may be others.
fn another_build_is_refused(place: &Place) {
    let (program, other) = (place.0.join("target/release/power-rank"), place.0.join("target/release/other"));
    std::fs::copy(&program, &other).unwrap();
    let mut bytes = std::fs::OpenOptions::new().append(true).open(&other).unwrap();
    std::io::Write::write_all(&mut bytes, b"\0").unwrap();
    drop(bytes);
    let words = format!("{} --resume", LONG.replace("power-rank", "other"));
    let output = place.kernel(&words).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output.stderr).contains("done by another build of this program"),
        "{}",
        said(&output.stderr)
    );
}

#[test]
fn receipts_of_examples_are_verified_by_their_programs() {
    let Some(place) = Place::new("verify") else { return };
    text(&place);
    for job in JOBS {
        let made = answer(place.kernel(&format!("{job} --json --progress none --receipt r.json")));
        assert!(made["receipt"].as_str().unwrap().ends_with("/r.json"));
        let program = format!("target/release/{}", job.split(' ').next().unwrap());
        let run =
            |words: &str| place.command(&place.0.join(&program).to_string_lossy(), words).output().unwrap();
        let verified = run("verify r.json --all");
        assert!(verified.status.success(), "{job}: {}{}", said(&verified.stdout), said(&verified.stderr));
        assert!(run("replay r.json 0").status.success());
        let refused = place.command(MUSTER, "verify r.json").output().unwrap();
        assert_eq!(refused.status.code(), Some(2));
        assert!(said(&refused.stderr).contains("is not built in (`/"), "{}", said(&refused.stderr));
    }
    let text = std::fs::read_to_string(place.0.join("text.txt")).unwrap();
    std::fs::write(place.0.join("text.txt"), text.replacen("ww ", "w w", 1)).unwrap();
    let changed =
        place.command(&place.0.join("target/release/words-rank").to_string_lossy(), "verify r.json --all");
    assert_eq!({ changed }.output().unwrap().status.code(), Some(1), "an input that changed shows");
}

#[test]
fn errors_and_help_pass_through() {
    let Some(place) = Place::new("errors") else { return };
    std::fs::write(place.0.join("target/release/plain"), "#!/bin/sh\necho hello\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(place.0.join("target/release/plain"), mode).unwrap();
    let run = |words: &str| -> Output { place.kernel(words).output().unwrap() };
    for (words, code, wanted) in [
        ("pi-rank --points 0", 2, "--points: is 0, but must be at least 1"),
        ("pi-rank --bogus", 2, "unexpected argument '--bogus'"),
        ("pi-rank --points 10 --output nosuch/x", 2, "cannot write nosuch/x"),
        ("words-rank nosuch.txt", 2, "nosuch.txt: cannot be read"),
        ("power-rank --rows 0", 2, "0 is not in 1.."),
        ("nosuch", 2, "cannot be run"),
        ("plain", 2, "is not a rank program"),
        ("pi-rank --points 10 --hosts nosuch --ranks 1", 2, "--hosts: cannot read nosuch"),
    ] {
        let output = run(words);
        assert_eq!(output.status.code(), Some(code), "{words}: {}", said(&output.stderr));
        assert!(said(&output.stderr).contains(wanted), "{words}: {}", said(&output.stderr));
    }
    let help = run("pi-rank --help");
    let text = said(&help.stdout);
    assert!(
        help.status.success() && text.contains("--points <POINTS>") && text.contains("--resume"),
        "{text}"
    );
    assert!(text.contains("Usage: pi-rank [OPTIONS]"), "{text}");
}
