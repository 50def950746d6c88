//! K-means of ten million rows of Parquet beside scikit-learn, from the same start.

use crate::measure::{pairs, say};
use crate::process::{self, Tool, tool};
use crate::python::Script;
use serde::Deserialize;

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

/// Seconds a round after the first, and seconds of the whole with reading, both with all of this host's cores.
pub(crate) fn k_means() -> Result<(), String> {
    let muster = tool(Tool::Muster)?;
    let peer = Script::find(&muster, "k_means.py", "sklearn, duckdb")?;
    let (rows, start) = (peer.make("rows.parquet", &["start.csv"])?, peer.place.join("start.csv"));
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
        let took: Fitted = peer.run(&["fit", "rows.parquet", "start.csv", &ROUNDS.to_string()])?;
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
