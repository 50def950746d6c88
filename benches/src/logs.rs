//! Log-scan of a large access log beside ripgrep and DuckDB.

use crate::measure::{pairs, say};
use crate::process::{self, Tool, tool};
use crate::python::Script;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Some 2 GB.
const LINES: &str = "12500000";
const PAIRS: usize = 7;
/// What is counted: requests that failed, those of one address, those that name a number below a folder, and known
/// browsers. The first two are texts that are rare: both tools wait for memory. The others are tried all the time.
const COUNTED: [&str; 4] =
    [r#"" 50\d "#, r"^19\.66\.1\.", r"GET /[a-z]+/\d+ HTTP", r"(Chrome|Firefox|Safari)/\d+"];
/// What is grouped, by its first group: the status, the path, the address.
const GROUPED: [&str; 3] = [r#"" (\d{3}) "#, r#""[A-Z]+ (\S+) HTTP"#, r"^(\S+) "];

/// Seconds of whole commands; of DuckDB those of a warm query in a process that is up already.
pub(crate) fn log_scan() -> Result<(), String> {
    let muster = tool(Tool::Muster)?;
    let peer = Script::find(&muster, "log_scan.py", "duckdb")?;
    let log = peer.make("access.log", &[LINES])?;
    let ours = |pattern: &str, more: &[&str]| {
        let path = log.display().to_string();
        let words = ["kernel", "log-scan", pattern, &path, "--no-ledger", "--progress", "none"];
        Ok(process::answer_of(&muster, &[&words, more].concat())?.wall_s)
    };
    for pattern in COUNTED {
        let ripgrep = || {
            let mut command = Command::new("rg");
            command.args(["--count", pattern]).arg(&log).stdin(Stdio::null()).stdout(Stdio::null());
            let began = Instant::now();
            let status = command.status().map_err(|e| format!("no ripgrep (tools/setup --bench): {e}"))?;
            // 1: no line matches.
            if status.code().is_some_and(|code| code < 2) {
                Ok(began.elapsed().as_secs_f64())
            } else {
                Err(format!("ripgrep: {status}"))
            }
        };
        println!("  lines of {pattern}");
        let (a, b, ratio) = pairs(PAIRS, ripgrep, || ours(pattern, &[]))?;
        say("ripgrep", "s", &a);
        say("muster", "s", &b);
        say("ripgrep / muster", "times", &ratio);
    }
    for pattern in GROUPED {
        println!("  lines by {pattern}");
        let duckdb = || peer.run::<f64>(&["time", "access.log", pattern]);
        let (a, b, ratio) = pairs(PAIRS, duckdb, || ours(pattern, &["--group-by", "1", "--top", "100"]))?;
        say("DuckDB", "s", &a);
        say("muster", "s", &b);
        say("DuckDB / muster", "times", &ratio);
    }
    Ok(())
}
