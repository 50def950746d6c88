//! `muster down`: ends the pool's controller and agent. What is known stays on disk.

use super::Which;
use super::client::{Client, Failed, exit};
use serde_json::Value;
use std::process::ExitCode;

pub(crate) fn run(which: &Which) -> ExitCode {
    exit(down(which))
}

fn down(which: &Which) -> Result<(), Failed> {
    let state = which.dir();
    let pool: Value = Client::new(&state).get("/v1/pool")?;
    Client::new(&state).post::<_, Value>("/v1/pool/down", &Value::Null)?;
    let (running, jobs) = (&pool["running"], &pool["jobs"]);
    println!("the pool in {} goes down; {jobs} jobs are kept for the next `muster up`", state.display());
    if running.as_u64() > Some(0) {
        println!("{running} of them run, and go on until the lease of this host ends");
    }
    Ok(())
}
