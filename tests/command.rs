//! The kernel `command` on the real binaries: any program, one hash over every kind of team, and nothing left behind.
//!
//! The binaries are built by `make test` before this runs. Where there is no mpirun or no Python, what needs it says
//! so and passes over.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

/// A folder of one test's own: state directory and working directory.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("mc-{name}-{}-{n}", std::process::id()));
        std::fs::create_dir_all(path.join("tmp")).unwrap();
        Place(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// `muster kernel command FLAGS -- PROGRAM`
    fn command(&self, flags: &str, program: &[&str]) -> Command {
        let mut command = Command::new(MUSTER);
        command.args(["kernel", "command"]).args(flags.split_whitespace()).arg("--").args(program);
        self.settle(command)
    }

    fn muster(&self, words: &str) -> Output {
        let mut command = Command::new(MUSTER);
        command.args(words.split_whitespace());
        self.settle(command).output().unwrap()
    }

    fn settle(&self, mut command: Command) -> Command {
        command.current_dir(&self.0).env("MUSTER_STATE", self.path("state")).env("TMPDIR", self.path("tmp"));
        for name in ["MUSTER_SIMD", "SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_CPUS_PER_TASK", "MUSTER_RUN"] {
            command.env_remove(name);
        }
        command
    }

    /// What is left of ours in the folder for temporary files.
    fn scratch(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path("tmp")).unwrap().flatten();
        let names = entries.map(|e| e.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.contains("muster")).collect()
    }

    /// A pipe with a name, on which runs tell what they do.
    fn pipe(&self, name: &str) {
        assert!(Command::new("mkfifo").arg(self.path(name)).status().unwrap().success());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn answer(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}\n{}", output.status, said(output));
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stdout)))
}

/// Whether teams over MPI can be tested here.
fn mpi() -> bool {
    let here = Path::new(MUSTER).with_file_name("muster-rank").exists() && on_path("mpirun");
    if !here {
        eprintln!("passed over: no mpirun or no muster-rank here");
    }
    here
}

fn on_path(program: &str) -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap()).any(|dir| dir.join(program).exists())
}

/// The kinds of team to compare.
fn teams() -> Vec<String> {
    let shapes = [(1, 1), (2, 1), (3, 2), (5, 1)];
    let mut kinds = vec!["threads"];
    if mpi() {
        kinds.push("mpi");
    }
    let team = |kind: &&str, (ranks, threads)| format!("--team {kind} --ranks {ranks} --threads {threads}");
    kinds.iter().flat_map(|kind| shapes.map(|shape| team(kind, shape))).collect()
}

/// The processes whose environment or command line has `word` in it, but this one.
fn holding(word: &str) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|&pid| pid != std::process::id())
        .filter(|pid| {
            ["environ", "cmdline"].iter().any(|file| {
                let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                bytes.windows(word.len()).any(|window| window == word.as_bytes())
            })
        })
        .collect()
}

/// Waits until no process has `word` in its environment or command line.
fn none_left(word: &str) {
    while !holding(word).is_empty() {
        std::thread::yield_now();
    }
}

fn kill(signal: &str, pid: u32) {
    assert!(Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status().unwrap().success());
}

const PI: &str = r#"
import os, random, json
random.seed(int(os.environ["MUSTER_SEED"]))
share = range(int(os.environ["MUSTER_START"]), int(os.environ["MUSTER_END"]))
hits = sum(random.random() ** 2 + random.random() ** 2 < 1 for _ in share)
print(json.dumps({"darts": len(share), "hits": hits, "mean": hits / 7}))
"#;

#[test]
fn one_hash_over_teams_and_merges() {
    let place = Place::new("teams");
    place.write("pi.py", PI);
    let mut jobs = vec![
        ("--count 50 --block 3", vec!["sh", "-c", "seq $MUSTER_START $((MUSTER_END - 1))"]),
        ("--count 50 --block 3 --merge-with sort", vec!["sh", "-c", "echo $((MUSTER_SEED % 100))"]),
        ("--count 20 --block 1 --files *.txt --out OUT", vec!["sh", "-c", "echo {start} >$MUSTER_OUT/a.txt"]),
    ];
    if on_path("python3") {
        jobs.push(("--count 3000 --block 200 --merge sum", vec!["python3", "pi.py"]));
    }
    for (flags, program) in jobs {
        let mut hashes = Vec::new();
        for team in teams() {
            let out = format!("out-{}", hashes.len());
            let flags = format!("{} --json --progress none {team}", flags.replace("OUT", &out));
            let answer = answer(&place.command(&flags, &program).output().unwrap());
            assert_eq!((&answer["class"], &answer["attempts"]), (&"exact".into(), &1.into()));
            if flags.contains("--files") {
                let wanted: String = (0..20).map(|i| format!("{i}\n")).collect();
                assert_eq!(place.read(&format!("{out}/a.txt")), wanted);
                let _ = std::fs::remove_dir_all(place.path(&out));
            }
            hashes.push(answer["hash"].as_str().unwrap().to_owned());
        }
        assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{flags}: {hashes:?}");
    }
    assert!(
        std::fs::read_dir(place.path("state/ledgers")).unwrap().next().is_none(),
        "ledgers go with the answer"
    );
    none_left(place.path("tmp").to_str().unwrap());
    assert_eq!(place.scratch(), [""; 0]);
}

#[test]
fn the_output_is_exact_to_the_byte() {
    let place = Place::new("bytes");
    let program = ["sh", "-c", "printf '%s\\0\\n\\n' $MUSTER_START"];
    let output = place.command("--count 5 --block 2 --out raw", &program).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(std::fs::read(place.path("raw")).unwrap(), b"0\0\n\n2\0\n\n4\0\n\n");
    assert!(String::from_utf8_lossy(&output.stdout).contains("12 bytes of 3 runs in"));
    let report = place.command("--count 5 --block 2", &["echo", "{start}..{end}"]).output().unwrap();
    assert!(String::from_utf8_lossy(&report.stdout).starts_with("0..2\n2..4\n4..5\n\nclass    exact\n"));
}

/// A job whose runs wait, once they have told of themselves, until somebody lets them go on.
struct Waiting {
    child: Child,
    runs: BufReader<std::fs::File>,
}

/// Tells its process and its block on a pipe, starts a process of its own in another session, waits for the word to
/// go on (once `go` is there, nobody waits), and prints its indices.
const PATIENT: &str = r#"
[ -e go ] || { setsid sh -c "exec sleep 1000" "$TMPDIR" & echo "$$ $MUSTER_BLOCK" >runs; until [ -e go ]; do sleep 0.02; done; }
seq $MUSTER_START $((MUSTER_END - 1))
"#;

impl Waiting {
    fn start(place: &Place, flags: &str) -> Waiting {
        place.pipe("runs");
        let mut command = place.command(flags, &["sh", "-c", PATIENT]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Read and write, so that it opens at once and does not end between two runs.
        let both = std::fs::OpenOptions::new().read(true).write(true).open(place.path("runs")).unwrap();
        Waiting { child, runs: BufReader::new(both) }
    }

    /// The process of the next run that has begun.
    fn run(&mut self) -> u32 {
        let mut line = String::new();
        self.runs.read_line(&mut line).unwrap();
        line.split(' ').next().unwrap().parse().unwrap()
    }

    fn end(self) -> Output {
        self.child.wait_with_output().unwrap()
    }
}

/// Whether a process is gone, or dead and waits for whoever reaps it.
fn has_ended(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

fn parent(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap()
}

const COUNT: &str = "--count 40 --block 2 --json --progress none";

fn reference() -> String {
    (0..40).map(|i| format!("{i}\n")).collect()
}

#[test]
fn a_killed_rank_takes_its_runs_with_it_and_costs_no_bit() {
    if !mpi() {
        return;
    }
    let place = Place::new("kill");
    let mut job = Waiting::start(&place, &format!("{COUNT} --ranks 3 --threads 1"));
    let runs = [job.run(), job.run(), job.run()];
    let rank = parent(runs[1]);
    assert!(!runs.into_iter().any(has_ended));
    kill("KILL", rank);
    // The team is lost with the rank: the runs of all three end, with what they have started.
    for run in runs {
        while !has_ended(run) {
            std::thread::yield_now();
        }
    }
    place.write("go", "");
    let answer = answer(&job.end());
    assert_eq!((&answer["answer"]["output"], &answer["attempts"]), (&reference().into(), &2.into()));
    none_left(place.path("tmp").to_str().unwrap());
    assert_eq!(place.scratch(), [""; 0]);
}

#[test]
fn muster_killed_leaves_no_process_and_goes_on_from_its_ledger() {
    let place = Place::new("resume");
    let mut job = Waiting::start(&place, &format!("{COUNT} --threads 2"));
    let run = job.run();
    kill("KILL", job.child.id());
    none_left(place.path("tmp").to_str().unwrap());
    assert!(has_ended(run));
    drop(job.end());
    assert_eq!(place.scratch(), [""; 0]);
    place.write("go", "");
    let again = place.command(&format!("{COUNT} --resume"), &["sh", "-c", PATIENT]).output().unwrap();
    assert_eq!(answer(&again)["answer"]["output"], reference());
}

#[test]
fn an_interrupt_lets_runs_finish_and_a_resume_takes_their_blocks() {
    let place = Place::new("drain");
    let mut job = Waiting::start(&place, &format!("{COUNT} --threads 2").replace("none", "json"));
    let mut lines = BufReader::new(job.child.stderr.take().unwrap()).lines();
    job.run();
    job.run();
    kill("INT", job.child.id());
    let drains = lines.by_ref().any(|line| line.unwrap().contains("drain"));
    assert!(drains, "it says that it drains");
    place.write("go", "");
    let rest: String = lines.map(|line| line.unwrap() + "\n").collect();
    assert_eq!(job.end().status.code(), Some(130), "{rest}");
    assert!(rest.contains("of 20 blocks are in the ledger"), "{rest}");
    // In good order, too: even what left its session.
    none_left(place.path("tmp").to_str().unwrap());
    // Another limit is no other job: the ledger is found.
    let flags = format!("{COUNT} --resume --timeout 1h --retries 2 --limit 1M --out all");
    let again = answer(&place.command(&flags, &["sh", "-c", PATIENT]).output().unwrap());
    assert!(again["resumed_blocks"].as_u64().unwrap() >= 2, "{again}");
    assert_eq!(place.read("all"), reference());
}

#[test]
fn a_changed_script_is_refused_by_a_resume() {
    let place = Place::new("changed");
    place.write(
        "part.sh",
        "[ $MUSTER_BLOCK -lt 30 ] || [ -e mended ] || { echo broken >&2; exit 7; }; echo $MUSTER_BLOCK\n",
    );
    let flags = "--count 40 --block 1 --threads 1 --json --progress none";
    let broken = place.command(flags, &["sh", "part.sh"]).output().unwrap();
    assert_eq!(broken.status.code(), Some(2));
    assert!(
        said(&broken).contains("block 30") && said(&broken).contains("    broken\n"),
        "{}",
        said(&broken)
    );
    let script = place.read("part.sh");
    let resume = format!("{flags} --resume");
    place.write("part.sh", &format!("{script}# changed\n"));
    let refused = place.command(&resume, &["sh", "part.sh"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        said(&refused).contains("part.sh has changed since the work in the ledger was done"),
        "{}",
        said(&refused)
    );
    let fresh = flags.to_owned() + " --fresh";
    place.write("mended", "");
    let wanted: String = (0..40).map(|i| format!("{i}\n")).collect();
    assert_eq!(
        answer(&place.command(&fresh, &["sh", "part.sh"]).output().unwrap())["answer"]["output"],
        wanted
    );
}

#[test]
fn what_failed_is_gone_on_with_once_it_is_mended() {
    let place = Place::new("mended");
    let script = "[ $MUSTER_BLOCK -lt 30 ] || [ -e mended ] || exit 7; echo $MUSTER_BLOCK";
    let flags = "--count 40 --block 1 --threads 1 --json --progress none";
    let broken = place.command(flags, &["sh", "-c", script]).output().unwrap();
    assert_eq!(broken.status.code(), Some(2));
    place.write("mended", "");
    let mended =
        answer(&place.command(&format!("{flags} --resume"), &["sh", "-c", script]).output().unwrap());
    assert!(mended["resumed_blocks"].as_u64().unwrap() > 0, "what was done before the failure is kept");
    let wanted: String = (0..40).map(|i| format!("{i}\n")).collect();
    assert_eq!(mended["answer"]["output"], wanted);
}

#[test]
fn a_hanging_run_ends_at_its_time_limit_on_every_team() {
    let place = Place::new("hang");
    let script = "[ $MUSTER_BLOCK != 5 ] || sleep 1000; echo $MUSTER_BLOCK";
    for team in teams().iter().step_by(2) {
        let flags = format!("--count 8 --block 1 --timeout 200ms --retries 1 --no-ledger {team}");
        let output = place.command(&flags, &["sh", "-c", script]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{team}: {}", said(&output));
        assert!(
            said(&output).contains(
                "block 5 (indices 5 to 5): 2 tries failed; in the last, 'sh' took longer than 0.2 s"
            )
        );
    }
    none_left(place.path("tmp").to_str().unwrap());
}

#[test]
fn mistakes_exit_with_2_and_say_what_was_looked_for() {
    let place = Place::new("bad");
    for (flags, program, wanted) in [
        ("--count 5", vec!["nosuch-program"], "PROGRAM: there is no program 'nosuch-program' in the "),
        ("--count 0", vec!["true"], "--count: must be at least 1"),
        ("--count 1e9 --block 1", vec!["true"], "there can be at most 1048576 (--block 954 is the least)"),
        ("--count 5 --files *", vec!["true"], "--out"),
        ("--count 5 --merge sum", vec!["echo", "hello"], "holds no number at line 1, column 1"),
        ("--count 5 --merge sum --merge-with cat", vec!["true"], "cannot be used with"),
        ("--count 5 --timeout soon", vec!["true"], "is not a time such as 90"),
        ("", vec!["true"], "--count"),
        ("--count 5 --threads 1", vec!["false"], "'false' ended with exit code 1, and said nothing"),
    ] {
        let output = place.command(flags, &program).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags}: {}", said(&output));
        assert!(said(&output).contains(wanted), "{flags}: {}", said(&output));
    }
}

#[test]
fn receipts_are_verified_and_blocks_replayed() {
    let place = Place::new("receipt");
    place.write("part.sh", "echo $MUSTER_BLOCK $MUSTER_SEED\n");
    let made =
        place.command("--count 9 --block 2 --receipt r.json --json", &["sh", "part.sh"]).output().unwrap();
    let _ = answer(&made);
    let verified = place.muster("verify r.json --all");
    assert!(verified.status.success(), "{}", said(&verified));
    let replayed = place.muster("replay r.json 4");
    let shown = String::from_utf8_lossy(&replayed.stdout).into_owned();
    assert!(replayed.status.success() && shown.contains("\"4 "), "{shown}{}", said(&replayed));
    place.write("part.sh", "echo $MUSTER_BLOCK other\n");
    let changed = place.muster("verify r.json --all");
    assert_eq!(changed.status.code(), Some(1));
    assert!(said(&changed).contains("part.sh is not as it was"), "{}", said(&changed));
}

#[test]
fn the_example_computes_pi() {
    if !on_path("python3") {
        eprintln!("passed over: no python3 here");
        return;
    }
    let place = Place::new("example");
    let example = include_str!("../slurm/examples/command.sh");
    let mut script = std::fs::File::create(place.path("command.sh")).unwrap();
    let small = example.replace("--count 1e7 --block 1e5", "--count 2e5 --block 1e4 --team threads");
    script.write_all(small.replace("muster kernel", &format!("'{MUSTER}' kernel")).as_bytes()).unwrap();
    drop(script);
    let output = place.muster("run --no-follow command.sh");
    let mut text = String::new();
    std::fs::File::open(place.path("slurm-1.out")).unwrap().read_to_string(&mut text).unwrap();
    assert!(output.status.success(), "{text}{}", said(&output));
    let hits = text.lines().find_map(|line| line.strip_prefix("hits ")).unwrap();
    let pi = 4.0 * hits.parse::<f64>().unwrap() / 2e5;
    assert!((pi - std::f64::consts::PI).abs() < 0.02, "{pi}");
}

/// The examples of a page: its fenced blocks of shell.
fn examples(page: &str) -> Vec<&str> {
    page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_examples_of_the_page_run() {
    let place = Place::new("page");
    place.write("prices.csv", include_str!("../kernels/tests/data/sp500.csv"));
    let all = examples(include_str!("../docs/kernels.md"));
    assert!(all.len() >= 7, "{}", all.len());
    for example in all {
        let mut command = Command::new("sh");
        command.args(["-e", "-c", &example.replace("muster kernel", &format!("'{MUSTER}' kernel"))]);
        let output = place.settle(command).output().unwrap();
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && shown.contains("\nhash     "),
            "{example}{shown}{}",
            said(&output)
        );
        if example.contains("multiples of seven") {
            assert!(shown.starts_with("multiples of seven: 142858\n"), "{shown}");
        }
    }
    assert_eq!(place.read("numbers.txt"), (0..12).map(|i| format!("{i}\n")).collect::<String>());
    assert!(place.read("tables/squares-1.csv").ends_with("\n39,1521\n"));
}
