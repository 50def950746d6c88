//! `muster down`: ends the pool's controller and agent. What is known stays on disk.

use super::Which;
use super::client::{Client, Failed, exit};
use serde_json::Value;
use std::process::ExitCode;

pub(crate) fn run(which: &Which) -> ExitCode {
    exit(down(which))
}

/// Waits until nobody holds the lock of the controller: then all that it knew is on disk.
fn wait_until_gone(state: &std::path::Path) {
    if let Ok(lock) = std::fs::File::open(muster_scheduler::home::lock(state)) {
        let _ = rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockShared);
    }
}

fn down(which: &Which) -> Result<(), Failed> {
    let state = which.pool();
    let pool: Value = Client::new(&state).get("/v1/pool")?;
    Client::new(&state).post::<_, Value>("/v1/pool/down", &Value::Null)?;
    wait_until_gone(&state);
    let (running, jobs) = (&pool["running"], &pool["jobs"]);
    println!("the pool in {} is down; {jobs} jobs are kept for the next `muster up`", state.display());
    if running.as_u64() > Some(0) {
        println!("{running} of them run, and go on until the lease of this host ends");
    }
    Ok(())
}
