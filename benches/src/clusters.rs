//! K-means of ten million rows of Parquet beside scikit-learn, from the same start.

use crate::measure::{pairs, say};
use crate::process::{self, Tool, tool};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Rounds whose time is told: those after the first.
const ROUNDS: u32 = 20;
/// Interleaved pairs: a peer's run takes the better part of a minute.
const PAIRS: usize = 3;

/// What the peer says, in seconds.
#[derive(Deserialize)]
struct Fitted {
    read_s: f64,
    one_s: f64,
    many_s: f64,
}

/// Python with scikit-learn and pyarrow, the peer's script, and a folder for its files.
struct Peer {
    python: PathBuf,
    script: PathBuf,
    place: PathBuf,
}

impl Peer {
    fn find(muster: &Path) -> Result<Peer, String> {
        let target = muster.parent().and_then(Path::parent).ok_or("muster lies nowhere")?;
        let python = target.join("venv/bin/python");
        let there = Command::new(&python).args(["-c", "import sklearn, pyarrow"]).output();
        if !there.is_ok_and(|output| output.status.success()) {
            let venv = target.join("venv");
            return Err(format!(
                "no scikit-learn and pyarrow in {0} (python3 -m venv {0} && {0}/bin/pip install scikit-learn pyarrow)",
                venv.display()
            ));
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/k_means.py");
        let place = target.join("bench");
        std::fs::create_dir_all(&place).map_err(|e| e.to_string())?;
        Ok(Peer { python, script, place })
    }

    fn run(&self, words: &[&str]) -> Result<Vec<u8>, String> {
        let mut command = Command::new(&self.python);
        let output = command.arg(&self.script).args(words).current_dir(&self.place).output();
        let output = output.map_err(|e| e.to_string())?;
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Makes the files, unless a run before has.
    fn make(&self) -> Result<(), String> {
        if self.place.join("rows.parquet").exists() {
            return Ok(());
        }
        self.run(&["make", "new.parquet", "start.csv"])?;
        std::fs::rename(self.place.join("new.parquet"), self.place.join("rows.parquet"))
            .map_err(|e| e.to_string())
    }

    fn fit(&self) -> Result<Fitted, String> {
        let said = self.run(&["fit", "rows.parquet", "start.csv", &ROUNDS.to_string()])?;
        serde_json::from_slice(&said).map_err(|e| e.to_string())
    }
}

/// Seconds a round after the first, and seconds of the whole with reading, both with all of this host's cores.
pub(crate) fn k_means() -> Result<(), String> {
    let muster = tool(Tool::Muster)?;
    let peer = Peer::find(&muster)?;
    peer.make()?;
    let (rows, start) = (peer.place.join("rows.parquet"), peer.place.join("start.csv"));
    let fit = |rounds: u32| {
        let (rows, start) = (rows.display(), start.display());
        let job = format!("kernel k-means {rows} --start {start} --rounds {rounds} --tolerance 0");
        process::answer(&muster, &format!("{job} --no-ledger --progress none"))
    };
    let (mut ours_s, mut theirs_s) = (Vec::new(), Vec::new());
    let each = |many: f64, one: f64| (many - one) / f64::from(ROUNDS);
    let ours = || {
        let (one, many) = (fit(1)?, fit(1 + ROUNDS)?);
        ours_s.push(many.wall_s);
        Ok(each(many.fold_s, one.fold_s))
    };
    let theirs = || {
        let took = peer.fit()?;
        theirs_s.push(took.read_s + took.many_s);
        Ok(each(took.many_s, took.one_s))
    };
    let (a, b, ratio) = pairs(PAIRS, theirs, ours)?;
    say("scikit-learn, a round", "s", &a);
    say("muster, a round", "s", &b);
    say("scikit-learn / muster", "times", &ratio);
    let totals: Vec<f64> = theirs_s.iter().zip(&ours_s).skip(1).map(|(theirs, ours)| theirs / ours).collect();
    println!("  with reading, {} rounds: scikit-learn / muster {totals:.2?} times", 1 + ROUNDS);
    Ok(())
}
