//! `muster simulate` on an excerpt of a real log: figures, files, and what it says of bad input.

use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const EXCERPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scheduler/core/tests/replay/excerpt.swf");

/// A record of a job that can be replayed.
const LINE: &str = "1 0 -1 100 4 -1 -1 4 200 -1 -1 1 -1 -1 -1 -1 -1 -1";

fn simulate(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_muster")).arg("simulate").args(words).output().unwrap()
}

/// What it prints when all is well.
fn printed(words: &[&str]) -> String {
    let output = simulate(words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json(words: &[&str]) -> Value {
    serde_json::from_str(&printed(words)).unwrap()
}

/// What it says when something is wrong.
fn refused(words: &[&str]) -> String {
    let output = simulate(words);
    assert_eq!(output.status.code(), Some(2), "{words:?}");
    assert_eq!(output.stdout, b"", "{words:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn file(folder: &TempDir, name: &str, bytes: impl AsRef<[u8]>) -> String {
    let path: PathBuf = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn one_policy_is_an_object_with_every_figure() {
    let easy = json(&[EXCERPT, "--policy", "easy", "--json"]);
    // The hash that the core's tests know, too.
    assert_eq!(easy["schedule_hash"], "f9eb293e6b19acf8");
    assert_eq!((&easy["jobs"], &easy["procs"], &easy["policy"]), (&500.into(), &100.into(), &"easy".into()));
    let figures = [
        "mean_bounded_slowdown",
        "mean_wait_s",
        "p95_wait_s",
        "max_wait_s",
        "mean_turnaround_s",
        "utilisation",
        "makespan_s",
        "max_queue",
        "wall_s",
    ];
    for figure in figures {
        assert!(easy[figure].as_f64().is_some_and(|value| value > 0.0), "{figure}: {}", easy[figure]);
    }
    assert_eq!(json(&[EXCERPT, "--json"])["policy"], "easy");
    let other = json(&[EXCERPT, "--mode", "per-event", "--json"]);
    assert_eq!((&other["mode"], &other["schedule_hash"]), (&"per-event".into(), &"22ff7c4801439ac4".into()));
}

#[test]
fn options_change_what_is_replayed() {
    let all = json(&[EXCERPT, "--json"]);
    let first = json(&[EXCERPT, "--json", "--first", "100"]);
    assert_eq!(first["jobs"], 100);
    let procs = json(&[EXCERPT, "--json", "--procs", "200"]);
    assert_eq!(procs["procs"], 200);
    assert!(procs["mean_wait_s"].as_f64() < all["mean_wait_s"].as_f64());
    let few = json(&[EXCERPT, "--json", "--procs", "10"]);
    assert_eq!(few["dropped_jobs"].as_u64().unwrap() + few["jobs"].as_u64().unwrap(), 500);
    assert_ne!(json(&[EXCERPT, "--json", "--perfect"])["schedule_hash"], all["schedule_hash"]);
}

#[test]
fn several_policies_are_compared() {
    let ways: [&[&str]; 3] = [
        &["--compare", "easy,easy-sjf"],
        &["--policy", "easy,easy-sjf"],
        &["--policy", "easy", "--policy", "easy-sjf"],
    ];
    for way in ways {
        let words = [&[EXCERPT, "--json"], way].concat();
        let both = json(&words);
        assert_eq!((&both[0]["policy"], &both[1]["policy"]), (&"easy".into(), &"easy-sjf".into()));
        assert_eq!(both[1]["schedule_hash"], "1083f9bf2a3371e4");
    }
    let table = printed(&[EXCERPT, "--compare", "fcfs,easy"]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].ends_with("excerpt.swf: 500 jobs on 100 processors"), "{table}");
    assert!(lines[3].starts_with("fcfs ") && lines[3].contains("50695e1329847aa1"), "{table}");
    assert!(lines[6] == "beside fcfs:" && lines[7].starts_with("easy ") && lines[7].contains("-"), "{table}");
}

#[test]
fn start_times_and_the_picture_are_written() {
    let folder = TempDir::new().unwrap();
    let (out, plot) = (folder.path().join("starts"), folder.path().join("waits.svg"));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    printed(&[EXCERPT, "--policy", "cons", "--out", &text(&out)]);
    let starts = std::fs::read_to_string(out).unwrap();
    assert_eq!((starts.lines().count(), starts.lines().next()), (500, Some("1 0")));

    let words = [EXCERPT, "--compare", "fcfs,easy,cons", "--plot", &text(&plot)];
    printed(&words);
    let svg = std::fs::read_to_string(&plot).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    assert_eq!((svg.matches("<polyline ").count(), svg.contains("NaN")), (6, false));
    printed(&words);
    assert_eq!(std::fs::read_to_string(&plot).unwrap(), svg);
}

#[test]
fn a_packed_trace_is_the_same_trace() {
    let folder = TempDir::new().unwrap();
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(&std::fs::read(EXCERPT).unwrap()).unwrap();
    let packed = packer.finish().unwrap();
    let path = file(&folder, "excerpt.swf.gz", &packed);
    assert_eq!(json(&[&path, "--json"])["schedule_hash"], "f9eb293e6b19acf8");
    let cut = file(&folder, "cut.swf.gz", &packed[..packed.len() / 2]);
    assert!(refused(&[&cut]).contains("is damaged or cut off as gzip"));
}

#[test]
fn bad_input_says_what_is_wrong_and_where() {
    let folder = TempDir::new().unwrap();
    let wide = LINE.replace(" 4 ", " 11 ");
    let cases: [(&str, String, &[&str]); 6] = [
        ("short", format!("; MaxProcs: 10\n{LINE}\n1 2 3\n"), &["short:3: has 3 fields", "--lenient"]),
        (
            "two",
            format!("; MaxProcs: 10\nx{LINE}\n{}\n", LINE.replace("100", "99999999999999999999")),
            &[
                "two:2: field 1, `x1`, is not a whole number",
                "two:3: field 4, `99999999999999999999`, is beyond",
            ],
        ),
        ("headless", LINE.into(), &["the header has no `; MaxProcs: N`", "--procs N"]),
        ("empty", String::new(), &["MaxProcs"]),
        ("jobless", "; MaxProcs: 10\n".into(), &["there is no job to replay: of 0"]),
        ("wide", format!("; MaxProcs: 10\n{wide}\n"), &["of 1,", "1 took more than the 10 there are"]),
    ];
    for (name, text, wanted) in cases {
        let told = refused(&[&file(&folder, name, text)]);
        for part in wanted {
            assert!(told.starts_with("muster: error: ") && told.contains(part), "{name}: {told}");
        }
    }
    let many = "1\n".repeat(100);
    let told = refused(&[&file(&folder, "many", many)]);
    assert!(told.lines().count() == 21 && told.contains("80 more lines are malformed"), "{told}");
    assert!(refused(&["no/such.swf"]).contains("no/such.swf: cannot be read"));
}

#[test]
fn malformed_lines_are_left_out_where_that_is_asked_for() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "trace", format!("; MaxProcs: 10\n{LINE}\nnonsense\n1 2 3\n"));
    let lenient = json(&[&path, "--lenient", "--json"]);
    assert_eq!((&lenient["jobs"], &lenient["malformed_lines"]), (&1.into(), &2.into()));
    assert!(printed(&[&path, "--lenient"]).contains("left out: 2 malformed lines"));
}

#[test]
fn a_policy_that_is_none_is_told_the_nearest() {
    let told = refused(&[EXCERPT, "--compare", "esy,easy,con"]);
    assert!(told.contains("there is no policy `esy`; did you mean `easy`?"), "{told}");
    assert!(told.contains("there is no policy `con`; did you mean `cons`?"), "{told}");
    assert!(
        refused(&[EXCERPT, "--policy", "easy,cons", "--out", "x"])
            .contains("takes the start times of one policy")
    );
    assert!(refused(&[EXCERPT, "--first", "0"]).contains("--first"));
    assert!(refused(&[EXCERPT, "--procs", "4294967296"]).contains("--procs"));
}

#[test]
fn a_trace_is_replayed_on_hosts() {
    let one = json(&[EXCERPT, "--json", "--hosts", "1", "--shape", "1x100"]);
    assert_eq!(one["schedule_hash"], "f9eb293e6b19acf8", "one host of one domain is a pool of processors");
    let many = json(&[EXCERPT, "--json", "--hosts", "25", "--shape", "2x2x8G", "--policy", "fcfs"]);
    assert_eq!((&many["procs"], &many["schedule_hash"]), (&100.into(), &"50695e1329847aa1".into()));
    let promised = json(&[EXCERPT, "--json", "--hosts", "100", "--shape", "1x1", "--policy", "cons"]);
    assert_eq!(promised["schedule_hash"], "b92d9db1ab071c8e", "so are hosts of one core each");
    for (words, told) in [
        (["--hosts", "2", "--shape", "2x"].as_slice(), "--shape: `2x` is not a shape"),
        (&["--hosts", "1000000", "--shape", "1x65535"], "are more than"),
        (&["--hosts", "2"], "--shape"),
    ] {
        let said = refused(&[&[EXCERPT], words].concat());
        assert!(said.contains(told), "{words:?}: {said}");
    }
}

#[test]
fn malleable_jobs_are_told_beside_rigid_ones() {
    let none = json(&[EXCERPT, "--malleable", "0", "--json"]);
    assert_eq!(
        (&none["schedule_hash"], &none["malleable"]["resizes"]),
        (&"f9eb293e6b19acf8".into(), &0.into())
    );
    let all = json(&[EXCERPT, "--malleable", "100%", "--resize-cost", "30", "--json"]);
    let resized = &all["malleable"];
    assert_eq!((&resized["jobs"], &resized["resize_cost_s"]), (&500.into(), &30.into()));
    assert!(all["mean_turnaround_s"].as_f64() < resized["mean_turnaround_before_s"].as_f64());
    assert!(printed(&[EXCERPT, "--malleable", "0.2"]).contains("(20 %) are malleable"));

    assert!(refused(&[EXCERPT, "--malleable", "20"]).contains("such as 20%"));
    assert!(refused(&[EXCERPT, "--malleable", "1", "--policy", "easy,cons"]).contains("not with cons"));
    assert!(refused(&[EXCERPT, "--malleable", "1", "--mode", "per-event"]).contains("not with --mode"));
    assert!(refused(&[EXCERPT, "--resize-cost", "60"]).contains("--malleable"));
}

#[test]
fn a_journal_is_replayed_as_a_trace_is() {
    const JOURNAL: &str = "scheduler/core/tests/journal-v4.bin";
    let replayed = json(&[JOURNAL, "--json"]);
    assert_eq!((&replayed["jobs"], &replayed["procs"]), (&6.into(), &12.into()));
    // The first job ends at 30 s and the second, which takes all processors for 21 s, at 51; the third came at 4.
    assert_eq!(replayed["max_wait_s"], 47);
    let cut = std::env::temp_dir().join(format!("muster-cut-journal-{}", std::process::id()));
    std::fs::write(&cut, &std::fs::read(JOURNAL).unwrap()[..500]).unwrap();
    let said = refused(&[cut.to_str().unwrap()]);
    std::fs::remove_file(&cut).unwrap();
    assert!(said.contains("ends inside a record"), "{said}");
}
