//! The agent and its shepherds as processes: what they start, what they end, and what outlives what.
//!
//! This binary is its own `muster`: called with `shepherd` it is a shepherd's process, with `agent` an agent that is
//! driven over its standard streams, with `kernel` a kernel that says its words, and otherwise the tests.

mod pool;
mod stories;

use std::path::PathBuf;
use std::process::ExitCode;

type Story = (&'static str, fn());

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let state = || PathBuf::from(std::env::var_os("MUSTER_STATE").expect("a state directory"));
    match words.first().map(String::as_str) {
        Some("shepherd") => {
            pool::note_start(&state());
            told(muster_worker::agent::shepherd(&state()))
        }
        Some("agent") => told(pool::agent(state())),
        Some("kernel") => {
            println!("{}", words.join(" "));
            ExitCode::from(9)
        }
        _ => tell(&words),
    }
}

fn told(ended: Result<(), String>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the stories whose names hold one of the words, as libtest would; or lists them.
fn tell(words: &[String]) -> ExitCode {
    let flag = |name: &str| words.iter().any(|word| word == name);
    let wanted: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let meant = |name: &str| {
        wanted.is_empty()
            || wanted.iter().any(|w| if flag("--exact") { **w == name } else { name.contains(w.as_str()) })
    };
    if flag("--ignored") {
        return ExitCode::SUCCESS;
    }
    let mut failed = 0;
    for (name, story) in stories::ALL.iter().filter(|(name, _): &&Story| meant(name)) {
        if flag("--list") {
            println!("{name}: test");
            continue;
        }
        let ended = std::panic::catch_unwind(story);
        println!("test {name} ... {}", if ended.is_ok() { "ok" } else { "FAILED" });
        failed += u32::from(ended.is_err());
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
