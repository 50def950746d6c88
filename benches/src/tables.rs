//! Group-by of large tables beside DuckDB and Polars, whichever is faster that time; and what a ledger costs.

use crate::measure::{pairs, say};
use crate::process::{self, Took, Tool, tool};
use crate::python::Script;
use std::path::Path;

/// File, values of each of its two keys, rows.
const TABLES: [(&str, &str, &str); 4] = [
    ("hundred.parquet", "10", "50000000"),
    ("million.parquet", "1000", "50000000"),
    ("hundred.csv", "10", "20000000"),
    ("million.csv", "1000", "20000000"),
];
const PAIRS: usize = 7;

fn grouped(muster: &Path, file: &Path, more: &str) -> Result<Took, String> {
    let sums = "count,sum(x),sum(y),sum(z)";
    let job = format!("kernel group-by {} --by a,b --compute {sums} --limit 100", file.display());
    process::answer(muster, &format!("{job} --progress none {more}"))
}

/// Seconds of the whole command, beside those of one warm query in a process that is up already.
pub(crate) fn group_by() -> Result<(), String> {
    let muster = tool(Tool::Muster)?;
    let peer = Script::find(&muster, "group_by.py", "duckdb, polars")?;
    for (name, keys, rows) in TABLES {
        let file = peer.make(name, &[keys, rows])?;
        let theirs = || {
            let by = |engine| peer.run::<f64>(&["time", engine, name]);
            Ok(by("duckdb")?.min(by("polars")?))
        };
        let ours = || Ok(grouped(&muster, &file, "--no-ledger")?.wall_s);
        let (a, b, ratio) = pairs(PAIRS, theirs, ours)?;
        println!("  {name}, {rows} rows");
        say("the better of both", "s", &a);
        say("muster", "s", &b);
        say("the better / muster", "times", &ratio);
    }
    let million = peer.place.join("million.parquet");
    let with = || Ok(grouped(&muster, &million, "--fresh")?.cpu_s);
    let without = || Ok(grouped(&muster, &million, "--no-ledger")?.cpu_s);
    let (a, b, ratio) = pairs(PAIRS, with, without)?;
    say("with a ledger", "s of CPU", &a);
    say("without", "s of CPU", &b);
    say("with / without", "times", &ratio);
    Ok(())
}
