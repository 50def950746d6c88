//! What a rank program says of a request: `PROGRAM describe` prints it, `muster kernel PROGRAM` and the queue read it.
//!
//! Step 8 of a job's way (DESIGN section 4) begins here for a user's own kernel: the program alone knows its flags.

use crate::command::RunArgs;
use crate::program::Described;
use crate::wire::VERSION;
use muster_spec::Problem;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// The variable that says by which path the user named the program of a job, whose file lies elsewhere on its hosts.
pub const PROGRAM: &str = "MUSTER_PROGRAM";

/// A checked request: what to compute, and how to run it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Description {
    /// The version of the messages that the program's ranks speak.
    version: u32,
    /// What to compute.
    #[serde(flatten)]
    pub described: Described,
    /// How to run it.
    pub run: RunArgs,
}

/// The version alone: what comes with another one is not looked at.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// What a program answers.
pub enum Told {
    /// The request.
    Description(Box<Description>),
    /// Nothing to compute: it has printed its help, or what is wrong with its flags, and this is its exit code.
    Done(ExitCode),
}

impl Description {
    /// Of this program.
    pub fn new(described: Described, run: RunArgs) -> Self {
        Description { version: VERSION, described, run }
    }

    /// Asks `program` what `words` (a kernel's name, where it has several, and flags) stand for. Its complaints go to
    /// standard error, and its help to standard output.
    ///
    /// # Errors
    /// When it cannot be run, or is no rank program of this version.
    pub fn ask(program: &Path, words: &[OsString]) -> Result<Told, Problem> {
        let place = || program.display().to_string();
        let output = Command::new(program)
            .arg("describe")
            .args(words)
            .env_remove(crate::launch::FOREMAN)
            .stderr(Stdio::inherit())
            .output()
            .map_err(|e| {
                Problem::new(place(), format!("cannot be run: {e}")).hint("cargo build --release builds it")
            })?;
        if !output.status.success() {
            let code = output.status.code().and_then(|code| u8::try_from(code).ok());
            return code.map(|code| Told::Done(code.into())).ok_or_else(|| {
                Problem::new(place(), format!("ended while it was asked for its request ({})", output.status))
            });
        }
        match serde_json::from_slice::<Versioned>(&output.stdout) {
            Ok(Versioned { version: VERSION }) => {}
            Ok(Versioned { version }) => {
                let what = format!("speaks version {version}, and this muster version {VERSION}");
                return Err(Problem::new(place(), what).hint("build both from the same source"));
            }
            Err(_) if words.iter().any(|w| ["-h", "--help", "-V", "--version"].iter().any(|h| w == h)) => {
                let _ = std::io::stdout().write_all(&output.stdout);
                return Ok(Told::Done(ExitCode::SUCCESS));
            }
            Err(_) => {
                let what = "is not a rank program: `describe` did not print a request";
                return Err(Problem::new(place(), what)
                    .hint("its main is muster_rank::main!(MyKernel), see docs/writing-a-kernel.md"));
            }
        }
        let mut told: Box<Description> = serde_json::from_slice(&output.stdout)
            .map_err(|e| Problem::new(place(), format!("its request cannot be read: {e}")))?;
        if let (Some(named), Some(file)) = (std::env::var_os(PROGRAM), &mut told.described.program) {
            file.path = named.into();
        }
        Ok(Told::Description(told))
    }
}
