//! Folders of a test's own, the jobs that tests run in them, and what comes out.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

/// A folder of one test's own: state directory and working directory.
pub(crate) struct Place(pub(crate) PathBuf);

impl Place {
    pub(crate) fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("mt-{name}-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Place(path)
    }

    pub(crate) fn muster(&self, words: &str) -> Command {
        let mut command = Command::new(MUSTER);
        command.args(words.split_whitespace()).current_dir(&self.0).env("MUSTER_STATE", self.0.join("state"));
        for name in ["MUSTER_SIMD", "SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_CPUS_PER_TASK", "MUSTER_RUN"] {
            command.env_remove(name);
        }
        command
    }

    pub(crate) fn run(&self, words: &str) -> Output {
        self.muster(words).output().unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn answer(output: &Output) -> serde_json::Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}", output.status);
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stdout)))
}

pub(crate) fn hash(output: &Output) -> String {
    answer(output)["hash"].as_str().unwrap().to_owned()
}

/// Whether teams over MPI can be tested here.
pub(crate) fn mpi() -> bool {
    let here = Path::new(MUSTER).with_file_name("muster-rank").exists()
        && std::env::split_paths(&std::env::var_os("PATH").unwrap()).any(|dir| dir.join("mpirun").exists());
    if !here {
        eprintln!("passed over: no mpirun or no muster-rank here");
    }
    here
}

/// The vector widths of this host.
pub(crate) fn levels(place: &Place) -> Vec<&'static str> {
    let has = |level: &&str| {
        let mut command = place.muster("kernel monte-carlo --option european --paths 64 --no-ledger");
        command.env("MUSTER_SIMD", level).output().unwrap().status.success()
    };
    ["avx512", "avx2", "neon", "scalar"].into_iter().filter(has).collect()
}

/// Kernels, small.
pub(crate) const JOBS: [&str; 13] = [
    "monte-carlo --option asian --steps 12 --paths 150001 --greeks",
    "moments --generate normal:1500001",
    "moments numbers.csv --missing NA",
    "group-by groups.csv --by word,n --compute count,sum(x),mean(x),min(x),max(x),sum(n)",
    "group-by groups.csv --by word --where n>20 --compute variance(x),stddev(x),median(x),quantile(x,0.99)",
    "histogram numbers.csv --missing NA --of x,c --bins 7 --bins width=30",
    "quantile numbers.csv --missing NA --at 0,0.5,0.99 --method linear",
    "linreg numbers.csv --missing NA --y c --x x,1/x",
    r#"log-scan ^"?(\w+)(,)? groups.csv --group-by 1,2 --top 100"#,
    r"log-scan \d\de(-?\d+)$ groups.csv --group-by 1",
    "k-means --generate mixture:90001x5x7 --clusters 9 --rounds 7",
    "k-means numbers.csv --missing NA --clusters 5 --scale --memory-limit 1M",
    "monte-carlo --option asian --steps 12 --paths 150001 --device software",
];

pub(crate) fn numbers(place: &Place) {
    let mut text = "x,\"a, b\",c,1/x\n".to_owned();
    for i in 0..60_000u32 {
        let b =
            if i % 11 == 0 { "NA".into() } else { format!("\"{}\"", i.wrapping_mul(2_654_435_761) >> 12) };
        let (x, c) = (f64::from(i * 37 % 1009) + 0.5, u64::from(i).pow(2) % 1013);
        text += &format!("{x},{b},{c},{}\n", 1.0 / x);
    }
    std::fs::write(place.0.join("numbers.csv"), text).unwrap();
    groups(place, 50_000);
}

/// Writes rows of a few frequent words and many rare ones, a whole number that is missing at times, and numbers of all
/// sizes.
pub(crate) fn groups(place: &Place, rows: u32) {
    let mut file = std::io::BufWriter::new(std::fs::File::create(place.0.join("groups.csv")).unwrap());
    writeln!(file, "word,n,x").unwrap();
    for i in 0..rows {
        let drawn = i.wrapping_mul(2_654_435_761) >> 7;
        let n = if drawn % 13 == 0 { String::new() } else { (drawn % 41).to_string() };
        let (x, power) = (i64::from(drawn) - (1 << 24), drawn as i32 % 37 - 18);
        match ["the", "of", "and", ""].get(drawn as usize % 7) {
            Some(frequent) => writeln!(file, "{frequent},{n},{x}e{power}").unwrap(),
            None => writeln!(file, "\"w, {}\",{n},{x}e{power}", drawn % 2003).unwrap(),
        }
    }
    file.flush().unwrap();
}

/// The launcher that `pid` has started.
pub(crate) fn mpirun_of(pid: u32) -> u64 {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let all = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let more =
        all.filter_map(|t| std::fs::read_to_string(t.path().join("children")).ok()).collect::<String>();
    (children + &more).split_whitespace().next().expect("muster has started mpirun").parse().unwrap()
}
