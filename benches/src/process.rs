//! What is measured from outside: whole commands, ours and the peers'.

use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Something to run.
pub(crate) enum Tool {
    /// The command.
    Muster,
    /// A program in C.
    Peer(&'static str),
}

/// Where a tool is: beside this program.
///
/// # Errors
/// When it has not been built.
pub(crate) fn tool(which: Tool) -> Result<PathBuf, String> {
    let here = std::env::current_exe().map_err(|e| e.to_string())?;
    let release = here.parent().ok_or("this program lies nowhere")?;
    let path = match which {
        Tool::Muster => release.join("muster"),
        Tool::Peer(name) => release.join("../peers").join(name),
    };
    if path.exists() {
        Ok(path)
    } else {
        Err(format!("{} is not built (make bench builds it)", path.display()))
    }
}

/// What an answer took.
pub(crate) struct Took {
    /// From the first span to the root's partial, as the team measured it.
    pub(crate) fold_s: f64,
    /// The whole command.
    pub(crate) wall_s: f64,
    /// CPU time of the command and what it started.
    pub(crate) cpu_s: f64,
}

#[derive(Deserialize)]
struct Answer {
    fold_s: f64,
}

/// Runs `muster` with these words.
///
/// # Errors
/// When it fails.
pub(crate) fn answer(muster: &Path, words: &str) -> Result<Took, String> {
    answer_of(muster, &words.split(' ').collect::<Vec<_>>())
}

/// The same, of words that may have blanks.
///
/// # Errors
/// When it fails.
pub(crate) fn answer_of(muster: &Path, words: &[&str]) -> Result<Took, String> {
    let (before, began) = (children_s(), Instant::now());
    let output = Command::new(muster).args(words).arg("--json").output().map_err(|e| e.to_string())?;
    let (wall_s, cpu_s) = (began.elapsed().as_secs_f64(), children_s() - before);
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let answer: Answer = serde_json::from_slice(&output.stdout).map_err(|e| e.to_string())?;
    Ok(Took { fold_s: answer.fold_s, wall_s, cpu_s })
}

/// CPU seconds of the children that have ended, from /proc/self/stat.
fn children_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let field =
        |i: usize| after_name.split_whitespace().nth(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    // Fields 16 and 17 of proc(5), in hundredths of a second.
    (field(13) + field(14)) / 100.0
}

#[derive(Deserialize)]
struct PeerSaid {
    path_steps_per_second: f64,
}

/// Path-steps a second of a peer, as it measured its compute part.
///
/// # Errors
/// When it fails.
pub(crate) fn peer_rate(peer: &Path, paths: u64) -> Result<f64, String> {
    let output =
        Command::new(peer).args([&paths.to_string(), "252", "1"]).env("OMP_NUM_THREADS", "2").output();
    let output = output.map_err(|e| e.to_string())?;
    let said: PeerSaid = serde_json::from_slice(&output.stdout).map_err(|e| e.to_string())?;
    Ok(said.path_steps_per_second)
}

/// Seconds of two ranks of `program` on this host, with the settings that Muster starts a team with where there is no
/// fabric.
///
/// # Errors
/// When there is no mpirun, or it fails.
pub(crate) fn two_ranks(program: &Path) -> Result<f64, String> {
    let mut command = Command::new("mpirun");
    command.args(["-n", "2"]).arg(program);
    for (name, value) in [
        ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
        ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
        ("OMPI_MCA_plm", "rsh"),
        ("OMPI_MCA_pml", "ob1"),
        ("OMPI_MCA_btl", "self,vader,tcp"),
        ("OMPI_MCA_mtl", "^ofi,psm,psm2"),
        ("OMPI_MCA_hwloc_base_binding_policy", "none"),
        ("OMPI_MCA_rmaps_base_oversubscribe", "1"),
        ("HWLOC_COMPONENTS", "-linux:pci"),
        ("HWLOC_PLUGINS_PATH", "/dev/null"),
    ] {
        command.env(name, value);
    }
    timed(command)
}

/// Seconds of `muster --version`.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn bare(muster: &Path) -> Result<f64, String> {
    let mut command = Command::new(muster);
    command.arg("--version");
    timed(command)
}

fn timed(mut command: Command) -> Result<f64, String> {
    let began = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match status.map_err(|e| e.to_string())?.success() {
        true => Ok(began.elapsed().as_secs_f64()),
        false => Err("it failed".into()),
    }
}
