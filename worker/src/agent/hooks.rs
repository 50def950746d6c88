//! Prolog and epilog: programs of whoever runs the host, before and after each attempt there, as in Slurm.
//!
//! Part of step 7 of a job's way (DESIGN section 4). Invariants: what a job has set is not around them, but for what Slurm
//! gives them (`SLURM_*`, `MUSTER_*`); nobody else can have written them; they are held as the job is, and are killed
//! [`MOST`] after their start.

use super::errand::Errand;
use super::guise::Users;
use super::leader::{self, Plan};
use super::prepare::{self, Around, Failure};
use super::remote::last_words;
use super::slot::Slot;
use muster_core::payload::Payload;
use muster_core::protocol::clerk::Launch;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use std::ffi::CString;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long one may take.
pub(super) const MOST: Duration = Duration::from_secs(300);

/// What whoever runs a host has set for all that runs there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Runs before each attempt, which does not begin when it fails.
    pub prolog: Option<PathBuf>,
    /// Runs when all else of an attempt is over.
    pub epilog: Option<PathBuf>,
    /// The networks between hosts that MPI may use, as `ADDRESS/BITS`; the private ones of this host's interfaces where
    /// there are none.
    pub networks: Vec<String>,
    /// How many GPUs it hands out: who has asked for none sees none.
    pub gpus: u32,
    /// Whose jobs run there.
    pub users: Users,
}

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    Prolog,
    Epilog,
}

/// One that runs.
pub(super) struct Hooked {
    pub(super) pid: Pid,
    name: PathBuf,
    out: File,
}

impl Hook {
    fn word(self) -> &'static str {
        match self {
            Hook::Prolog => "prolog",
            Hook::Epilog => "epilog",
        }
    }

    fn of(self, site: &Site) -> Option<&Path> {
        match self {
            Hook::Prolog => site.prolog.as_deref(),
            Hook::Epilog => site.epilog.as_deref(),
        }
    }

    /// Starts it, if there is one.
    ///
    /// # Errors
    /// Why it does not start.
    pub(super) fn start(
        self,
        (errand, launch, payload): (&Errand, &Launch, &Payload),
        around: &Around,
        slot: &Slot,
    ) -> Result<Option<Hooked>, Failure> {
        let Some(path) = self.of(&errand.site) else { return Ok(None) };
        let failed = |why: String| Failure {
            unfit: self == Hook::Prolog,
            ..Failure::of_host(format!("the {} {why}", self.word()))
        };
        check(path).map_err(failed)?;
        let io = |error: std::io::Error| failed(format!("{} cannot be started: {error}", path.display()));
        let out = File::from(memfd_create("muster", MemfdFlags::CLOEXEC).map_err(|e| io(e.into()))?);
        let text = |bytes: &[u8]| CString::new(bytes).map_err(|error| io(error.into()));
        let mut environment = prepare::for_hook((errand, launch, payload), around)?;
        environment.push(text(format!("SLURM_SCRIPT_CONTEXT={}_slurmd", self.word()).as_bytes())?);
        let program = text(path.as_os_str().as_bytes())?;
        let streams = [
            File::open("/dev/null").map_err(io)?,
            out.try_clone().map_err(io)?,
            out.try_clone().map_err(io)?,
        ];
        let words = vec![program.clone()];
        let folder = c"/".to_owned();
        let plan =
            Plan { program, words, environment, folder, streams, umask: 0o022, data_limit: None, user: None };
        let pid = leader::start(&plan, slot.cradle(), slot.limits_memory()).map_err(io)?;
        Ok(Some(Hooked { pid, name: path.to_owned(), out }))
    }
}

impl Hooked {
    /// That it has failed, in how many words.
    pub(super) fn failed(&self, hook: Hook, how: leader::Status) -> String {
        let how = match how {
            leader::Status::Exited(code) => format!("exited with {code}"),
            leader::Status::Signalled(signal) => format!("was ended by signal {signal}"),
        };
        let said = last_words(&self.out);
        let said = said.trim_end().lines().last().map(|line| format!(": {line}")).unwrap_or_default();
        format!("the {} {} {how}{said}", hook.word(), self.name.display())
    }
}

/// Whether a file may be one of these: it can be run, and nobody but this user and the administrator can write it.
///
/// # Errors
/// Why not.
pub fn check(path: &Path) -> Result<(), String> {
    let name = path.display();
    if !path.is_absolute() {
        return Err(format!("{name} has no absolute path"));
    }
    let meta = std::fs::metadata(path).map_err(|error| format!("{name}: {error}"))?;
    let me = rustix::process::getuid().as_raw();
    let mode = meta.permissions().mode();
    if !meta.is_file() || mode & 0o111 == 0 {
        return Err(format!("{name} is no program: `chmod +x {name}` makes it one"));
    }
    if ![0, me].contains(&meta.uid()) || mode & 0o022 != 0 {
        return Err(format!(
            "{name} can be written by others: `chown` it to this user or root, and `chmod go-w {name}`"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn it_is_a_program_that_nobody_else_can_write() {
        let scratch = Scratch::new("hooks");
        let path = scratch.path().join("prolog");
        assert!(check(Path::new("prolog")).unwrap_err().contains("absolute"));
        assert!(check(&path).unwrap_err().contains("No such file"));
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o644);
        assert!(check(&path).unwrap_err().contains("chmod +x"));
        mode(0o775);
        assert!(check(&path).unwrap_err().contains("written by others"));
        mode(0o755);
        assert_eq!(check(&path), Ok(()));
        assert!(check(scratch.path()).unwrap_err().contains("no program"));
    }
}
