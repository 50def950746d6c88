//! From a command line to what it asks for: options of sbatch, then a script, a command or a kernel.

use crate::check;
use muster_core::jobspec::{JobSpec, Work};
use muster_core::payload::Program;
use muster_slurm::variables::from_environment;
use muster_slurm::{Given, Mistake, Origin, Place, Script, jobspec, words};
use muster_worker::program::ProgramFile;
use std::io::Read;
use std::path::PathBuf;

/// What a command line asks for.
pub(crate) struct Request {
    /// What it needs.
    pub(crate) spec: JobSpec,
    /// What it runs.
    pub(crate) program: Program,
    /// All options, those of the command line last.
    pub(crate) given: Vec<Given>,
    /// The program of the user's own that has its kernel.
    pub(crate) kernel: Option<ProgramFile>,
}

/// What is wrong: where, and what.
pub(crate) type Told = Vec<(String, String)>;

/// Says everything that is wrong.
pub(crate) fn complain(told: &Told) {
    for (place, what) in told {
        eprintln!("muster: error: {place}{what}");
    }
}

/// What may follow the options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// A script, or standard input.
    Script,
    /// The same; or a command, after `--`; or a kernel, after `--kernel`.
    Anything,
}

/// Reads the words of a command line, the script, and the environment.
///
/// # Errors
/// Everything that is wrong.
pub(crate) fn read(line: &[String], after: After, place: Place) -> Result<Request, Told> {
    let kernel = match after {
        After::Anything => line.iter().position(|word| word == "--kernel"),
        After::Script => None,
    };
    let options = &line[..kernel.unwrap_or(line.len())];
    let origin: Vec<_> = options.iter().map(|w| (w.clone(), Origin::CommandLine)).collect();
    let (mut given, mut mistakes): (Vec<Given>, Vec<Mistake>) = (Vec::new(), Vec::new());
    let used = words::read(&origin, &mut given, &mut mistakes);
    if !mistakes.is_empty() {
        return Err(told("", mistakes));
    }
    let rest = &options[used..];
    let dashes = used > 0 && options[used - 1] == "--";
    if let Some(at) = kernel {
        return of_kernel((&line[at + 1..], rest), given, place);
    }
    if after == After::Anything && dashes {
        return of_command(rest, given, place);
    }
    of_script(rest, given, place)
}

fn of_kernel(
    (words, stray): (&[String], &[String]),
    given: Vec<Given>,
    place: Place,
) -> Result<Request, Told> {
    let wrong = |what: &str| Err(vec![(String::new(), what.to_owned())]);
    if let Some(word) = stray.first() {
        return wrong(&format!("`{word}` stands before --kernel and is no option: kernels take no script"));
    }
    let Some(name) = words.first().cloned() else {
        return wrong("--kernel needs a kernel's name: `muster kernel --help` lists them");
    };
    let mut request = finish((&name, &name), (given, Vec::new()), Program::Kernel(words.to_vec()), place)?;
    // What is wrong with them was said.
    let description = crate::kernel::describe(words).map_err(|_| Vec::new())?;
    request.spec.work =
        if description.described.inputs.is_empty() { Work::Kernel } else { Work::KernelOnFiles };
    request.kernel = description.described.program;
    Ok(request)
}

fn of_command(words: &[String], given: Vec<Given>, place: Place) -> Result<Request, Told> {
    let Some(command) = words.first() else {
        return Err(vec![(String::new(), "there is no command after --".into())]);
    };
    let name = short(command);
    finish(("", &name), (given, Vec::new()), Program::Command(words.to_vec()), place)
}

fn of_script(rest: &[String], given: Vec<Given>, place: Place) -> Result<Request, Told> {
    let wrap = given.iter().rfind(|g| g.option.long == "wrap").map(|g| g.value.clone());
    let (name, bytes) = match (wrap, rest.first()) {
        (Some(_), Some(_)) => {
            return Err(vec![(String::new(), "Script arguments not permitted with --wrap option".into())]);
        }
        (Some(command), None) => (
            "wrap".to_owned(),
            format!("#!/bin/sh\n# This script was created by muster run --wrap.\n\n{command}\n").into(),
        ),
        (None, Some(path)) => (path.clone(), check::read_script(path)?),
        (None, None) => ("sbatch".to_owned(), standard_input()?),
    };
    let script = Script::read(&bytes).map_err(|m| told(&name, m))?;
    let (mut directives, mut mistakes) = (Vec::new(), Vec::new());
    words::read(&script.words, &mut directives, &mut mistakes);
    if !mistakes.is_empty() {
        // All that is wrong is said at once.
        mistakes.extend(jobspec(&directives, &name, place).err().into_iter().flatten());
        return Err(told(&name, mistakes));
    }
    let args = rest.iter().skip(1).cloned().collect();
    let program = Program::Script { text: script.text, args };
    finish((&name, &short(&name)), (given, directives), program, place)
}

fn short(path: &str) -> String {
    PathBuf::from(path).file_name().map_or(path.to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Directives, the environment, and the command line become one jobspec.
fn finish(
    (file, name): (&str, &str),
    (line, directives): (Vec<Given>, Vec<Given>),
    program: Program,
    place: Place,
) -> Result<Request, Told> {
    let mut given = directives;
    given.extend(from_environment(place, |name| std::env::var(name).ok()));
    given.extend(line);
    let spec = jobspec(&given, name, place).map_err(|mistakes| told(file, mistakes))?;
    Ok(Request { spec, program, given, kernel: None })
}

fn told(name: &str, mistakes: Vec<Mistake>) -> Told {
    let one = |m: Mistake| match m.origin {
        Origin::CommandLine => (String::new(), m.what),
        Origin::Directive { line, column } => (format!("{name}:{line}:{column}: "), m.what),
    };
    mistakes.into_iter().map(one).collect()
}

fn standard_input() -> Result<Vec<u8>, Told> {
    let mut bytes = Vec::new();
    match std::io::stdin().read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(e) => Err(vec![(String::new(), format!("cannot read a script from standard input: {e}"))]),
    }
}
