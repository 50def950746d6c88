//! The scout: looks for the input files of kernels on this host, one job at a time, beside all else.
//!
//! The program that would compute the kernel says what its words stand for here (`muster describe`), and is ended when it
//! takes too long.

use super::{AgentConfig, Payloads, guise, programs};
use crate::description::Description;
use crossbeam_channel::{Receiver, bounded};
use muster_core::job::inputs::{Found, Lack};
use muster_core::payload::{Payload, Program};
use muster_core::protocol::format::Format;
use muster_core::protocol::inputs::LookFor;
use muster_core::protocol::probe::{Finding, ProbeId};
use muster_kernels::hash::first16;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// After so many seconds it gives a job's files up.
const MOST_S: u32 = 60;

/// Looks for what is asked until nobody asks any more, and tells each finding: with this muster, and programs of users in
/// this state directory.
pub(super) fn look(
    here: (&AgentConfig, &Path),
    payloads: &dyn Payloads,
    asked: &Receiver<(ProbeId, Vec<u8>)>,
    tell: impl Fn(ProbeId, Finding),
) {
    for (id, what) in asked {
        tell(id, find(here, payloads, &what));
    }
}

fn find((config, state): (&AgentConfig, &Path), payloads: &dyn Payloads, what: &[u8]) -> Finding {
    let LookFor { owner, spec } = Format::Message.decode(what).map_err(|e| Lack::Spec(e.to_string()))?;
    let blob = spec.payload.ok_or_else(|| Lack::Spec("the job does not say what it runs".into()))?;
    let bytes = payloads.fetch(blob).map_err(Lack::Spec)?;
    let payload: Payload = Format::Message.decode(&bytes).map_err(|e| Lack::Spec(e.to_string()))?;
    let Program::Kernel(words) = &payload.program else {
        return Err(Lack::Spec("the job is no kernel".into()));
    };
    programs::lay(state, (&payload, spec.program), payloads).map_err(Lack::Spec)?;
    let own = programs::path(state, &payload, spec.program);
    let name = own.map(PathBuf::into_os_string).into_iter().chain(words.first().map(OsString::from)).next();
    let folder = PathBuf::from(spec.files.chdir.as_ref().unwrap_or(&payload.submit_dir));
    let folder = Path::new(&payload.submit_dir).join(folder);
    let user = guise::of(config.site.users, &owner).map_err(|failure| Lack::Spec(failure.why))?;
    let is_there = || folder.is_dir();
    let there = match &user {
        Some(user) => user.act(is_there).map_err(|e| Lack::Spec(e.to_string()))?,
        None => is_there(),
    };
    if !there {
        return Err(Lack::Missing(folder.display().to_string()));
    }
    let mut command = Command::new(&config.program);
    command.arg("describe").args(name).args(words.iter().skip(1));
    match &user {
        Some(user) => user.dress(&mut command, &folder),
        None => drop(command.current_dir(folder)),
    }
    command.env_clear().envs(payload.environment);
    let (code, out, err) = run(command)?;
    if code != Some(0) {
        return Err(lack(&err));
    }
    let description: Description =
        serde_json::from_slice(&out).map_err(|e| Lack::Spec(format!("its description: {e}")))?;
    let described = description.described;
    let mut print = blake3::Hasher::new();
    for input in &described.inputs {
        print
            .update(input.path.as_os_str().as_encoded_bytes())
            .update(&[0])
            .update(&input.bytes.to_le_bytes());
    }
    Ok(Found {
        spec: described.step(),
        class: described.class.to_string(),
        blocks: described.grid.blocks(),
        files: described.inputs.len() as u32,
        bytes: described.inputs.iter().map(|input| input.bytes).sum(),
        print: first16(&print.finalize()),
    })
}

type Ran = (Option<i32>, Vec<u8>, String);

/// Runs a command to its end, or kills it when it takes too long.
fn run(mut command: Command) -> Result<Ran, Lack> {
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.map_err(|e| Lack::Spec(format!("muster describe: {e}")))?;
    let (mut out, mut err) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let (send, read) = bounded(2);
    let both = send.clone();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = out.read_to_end(&mut bytes);
        let _ = send.send((true, bytes));
    });
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = err.read_to_end(&mut bytes);
        let _ = both.send((false, bytes));
    });
    let end = std::time::Instant::now() + Duration::from_secs(u64::from(MOST_S));
    let (mut printed, mut complained) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        match read.recv_deadline(end) {
            Ok((true, bytes)) => printed = bytes,
            Ok((false, bytes)) => complained = bytes,
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(Lack::Late(MOST_S));
            }
        }
    }
    let status = child.wait().map_err(|e| Lack::Spec(e.to_string()))?;
    Ok((status.code(), printed, String::from_utf8_lossy(&complained).into_owned()))
}

/// What is lacking, by what the program complains of.
fn lack(complaint: &str) -> Lack {
    let first = complaint.lines().next().unwrap_or("it ended without a word");
    let first = first.trim_start_matches("muster: ").trim_start_matches("error: ");
    match first.split_once(": ") {
        Some((path, why)) if path.contains('/') && why.contains("No such file") => Lack::Missing(path.into()),
        Some((path, why)) if path.contains('/') => Lack::Unreadable { path: path.into(), why: why.into() },
        _ => Lack::Spec(first.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_tell_what_is_lacking() {
        let missing = lack("muster: error: /data/a.csv: No such file or directory (os error 2)\nmore");
        assert_eq!(missing, Lack::Missing("/data/a.csv".into()));
        let unreadable = lack("muster: error: /data/a.csv: Permission denied");
        assert!(matches!(unreadable, Lack::Unreadable { .. }));
        assert_eq!(
            lack("muster: error: paths must be positive"),
            Lack::Spec("paths must be positive".into())
        );
    }
}
