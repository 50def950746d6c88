//! The kernel itself: one run of the program for each block, tried again if the user says so, and the merge.

use super::answer::CommandAnswer;
use super::files;
use super::guard::Guard;
use super::partial::{Blob, CommandPartial, Part};
use super::process::{Allowance, Failing, Failure, run};
use super::program;
use super::runs::{self, Share, quoted};
use super::sums::Sums;
use crate::fold::Fold;
use crate::kernel::{Input, Kernel, Order, Work};
use glob::Pattern;
use muster_spec::command::{CommandSpec, MAX_ANSWER, Merge};
use muster_spec::quantity::{Bytes, InputPath};
use muster_spec::{Class, Grid, Problem, Problems};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};

/// First and last block of a left and of a right partial.
type Pair = ((u32, u32), (u32, u32));

/// The prepared kernel.
pub struct CommandKernel {
    spec: CommandSpec,
    folder: PathBuf,
    program: PathBuf,
    pattern: Option<Pattern>,
    inputs: Vec<Input>,
    /// Started with the first run; guards start one at a time.
    guard: OnceLock<Guard>,
    starting: Mutex<()>,
}

impl Kernel for CommandKernel {
    type Spec = CommandSpec;
    type Partial = CommandPartial;
    type Answer = CommandAnswer;

    const NAME: &'static str = "command";

    fn resolve(mut spec: CommandSpec) -> Result<CommandSpec, Problems> {
        let mut problems = spec.problems();
        let folder = match &spec.chdir {
            Some(folder) => Ok(folder.path().to_owned()),
            None => std::env::current_dir(),
        };
        match folder {
            Ok(folder) => spec.chdir = Some(InputPath(folder)),
            Err(why) => problems.push(Problem::new("--chdir", format!("this folder cannot be named: {why}"))),
        }
        problems.extend(spec.out.as_ref().and_then(|out| check_out(out.path(), spec.files.is_some())));
        if let Err(more) = CommandKernel::prepare(&spec) {
            problems
                .extend(more.0.into_iter().filter(|problem| !problems.contains(problem)).collect::<Vec<_>>());
        }
        Problems::check(problems).map(|()| spec)
    }

    fn identity(spec: &CommandSpec) -> CommandSpec {
        spec.identity()
    }

    fn prepare(spec: &CommandSpec) -> Result<Self, Problems> {
        let mut problems = spec.problems();
        let folder =
            spec.chdir.as_ref().map_or_else(|| PathBuf::from("."), |folder| folder.path().to_owned());
        if !folder.is_dir() {
            let what = format!("{} is not a folder on this host", folder.display());
            problems.push(Problem::new("--chdir", what));
        }
        let pattern = spec.files.as_deref().map(Pattern::new).transpose().unwrap_or_else(|error| {
            problems.push(Problem::new("--files", format!("is not a pattern: {error}")));
            None
        });
        let word = spec.words.first().map_or("", String::as_str);
        let program = match program::find(word, &folder) {
            Ok(program) => program,
            Err(problem) => {
                problems.extend((!word.is_empty()).then_some(problem));
                return Err(Problems(problems));
            }
        };
        let inputs = program::inputs(spec, &program, &folder).unwrap_or_else(|more| {
            problems.extend(more.0);
            Vec::new()
        });
        Problems::check(problems)?;
        let (guard, starting) = (OnceLock::new(), Mutex::new(()));
        Ok(CommandKernel { spec: spec.clone(), folder, program, pattern, inputs, guard, starting })
    }

    fn grid(&self) -> Grid {
        self.spec.grid()
    }

    fn class(&self) -> Class {
        Class::Exact
    }

    fn order(&self) -> Order {
        match (self.spec.merge, &self.spec.merge_with) {
            (Merge::Sum, None) => Order::Free,
            _ => Order::Tree,
        }
    }

    fn work(&self) -> Work {
        Work { total: self.spec.count.0 as f64, unit: "indices".into() }
    }

    fn inputs(&self) -> Vec<Input> {
        self.inputs.clone()
    }

    fn fold(&self, block: u32, _: &mut Fold) -> Result<CommandPartial, Problems> {
        let share = Share::of(&self.spec, block);
        let mut tries = 1;
        loop {
            match self.run_block(block, &share) {
                Ok(partial) => return Ok(partial),
                Err(wrong) if wrong.may_pass && tries <= self.spec.retries => tries += 1,
                Err(wrong) => return Err(self.explain(block, &share, (wrong, tries))),
            }
        }
    }

    fn merge(&self, left: CommandPartial, right: CommandPartial) -> Result<CommandPartial, Problems> {
        let blocks = (left.blocks, right.blocks);
        let (taken, limit) = (left.bytes() + right.bytes(), Bytes(MAX_ANSWER));
        if taken > limit.0 {
            let what =
                format!("the runs hand over more than {} bytes together, which rank 0 cannot hold", limit.0);
            return Err(Problem::new(of_blocks(blocks), what)
                .hint("let each run write its result where it belongs, and print what is left to merge")
                .into());
        }
        left.join(right, &mut |name, left, right| match (left, right) {
            (Part::Sums(left), Part::Sums(right)) => {
                left.plus(right).map(Part::Sums).map_err(|difference| self.differ(name, blocks, difference))
            }
            (Part::Bytes(left), Part::Bytes(right)) => match &self.spec.merge_with {
                None => Ok(Part::Bytes(Blob([left.0, right.0].concat()))),
                Some(command) => self.merge_with(command, (name, blocks), [left, right]).map(Part::Bytes),
            },
            _ => Err(Problem::new(of_blocks(blocks), "the ledger holds another kind of partial")
                .hint("--fresh starts again")
                .into()),
        })
    }

    fn finish(&self, root: CommandPartial) -> Result<CommandAnswer, Problems> {
        CommandAnswer::deliver(&self.spec, root)
    }
}

/// Refuses a place that cannot be written to, before any work is done.
fn check_out(path: &Path, folder: bool) -> Option<Problem> {
    let refuse = |what: String| Some(Problem::new("--out", what));
    if folder && path.exists() && !files::is_free(path, &BTreeMap::new()) {
        return refuse(format!("{} is there, and is not an empty folder", path.display()));
    }
    if !folder && path.is_dir() {
        return refuse(format!("{} is a folder, and a file was expected", path.display()));
    }
    files::probe(path).err().and_then(|why| refuse(format!("cannot write {}: {why}", path.display())))
}

/// Why a block has no partial.
struct Wrong {
    what: String,
    hint: Option<String>,
    /// Whether another try may help.
    may_pass: bool,
}

impl Wrong {
    fn new(what: impl Into<String>) -> Wrong {
        Wrong { what: what.into(), hint: None, may_pass: true }
    }
}

impl CommandKernel {
    /// The guard of this process's runs.
    fn guard(&self) -> Result<&Guard, Wrong> {
        let _one = self.starting.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(guard) = self.guard.get() {
            return Ok(guard);
        }
        let started = Guard::start().map_err(|why| Wrong {
            what: format!("cannot start sh to watch over the runs, or make a folder for them: {why}"),
            hint: Some(format!("TMPDIR names another folder than {}", std::env::temp_dir().display())),
            may_pass: false,
        })?;
        Ok(self.guard.get_or_init(|| started))
    }

    fn run_block(&self, block: u32, share: &Share) -> Result<CommandPartial, Wrong> {
        let guard = self.guard()?;
        let mut command = Command::new(&self.program);
        command.arg0(&self.spec.words[0]).args(self.spec.words[1..].iter().map(|word| share.fill(word)));
        command.current_dir(&self.folder).stdin(Stdio::null());
        share.tell(guard.watch(&mut command));
        let own = self.pattern.as_ref().map(|_| tempfile::tempdir_in(guard.scratch())).transpose();
        let own = own.map_err(|why| Wrong::new(format!("cannot make a folder for its files: {why}")))?;
        if let Some(own) = &own {
            command.env("MUSTER_OUT", own.path());
        }
        let allowance = self.allowance();
        let printed =
            run(&mut command, allowance).map_err(|failure| self.failed(&self.spec.words[0], failure))?;
        let (Some(own), Some(pattern)) = (&own, &self.pattern) else {
            let part = self.part("", printed)?;
            return Ok(CommandPartial { blocks: (block, block), parts: [(String::new(), part)].into() });
        };
        let found = files::gather(own.path(), pattern, self.spec.limit.0)
            .map_err(|why| Wrong::new(format!("cannot read its files: {why}")))?
            .ok_or_else(|| over_limit("wrote", self.spec.limit.0, "into the files that match"))?;
        let parts = found.into_iter().map(|(name, blob)| Ok((name.clone(), self.part(&name, blob.0)?)));
        Ok(CommandPartial { blocks: (block, block), parts: parts.collect::<Result<_, Wrong>>()? })
    }

    fn allowance(&self) -> Allowance {
        Allowance { timeout: self.spec.timeout.map(|t| t.duration()), bytes: self.spec.limit.0 }
    }

    fn part(&self, name: &str, bytes: Vec<u8>) -> Result<Part, Wrong> {
        if self.order() == Order::Tree {
            return Ok(Part::Bytes(Blob(bytes)));
        }
        Sums::read(&bytes).map(Part::Sums).map_err(|garbage| Wrong {
            what: format!(
                "{} holds {} at line {}, column {}",
                of_output(name),
                garbage.what,
                garbage.line,
                garbage.column
            ),
            hint: Some("--merge sum needs numbers in the same frame from every run".into()),
            may_pass: true,
        })
    }

    /// A process that did not succeed, in words.
    fn failed(&self, word: &str, Failure { how, said }: Failure) -> Wrong {
        let mut wrong = match how {
            Failing::NotStarted(why) => {
                let mut wrong = Wrong::new(format!("cannot start '{word}': {why}"));
                wrong.hint = Some("does its first line name an interpreter, such as #!/bin/sh?".into());
                wrong.may_pass = false;
                return wrong;
            }
            Failing::Exit(code) => Wrong::new(format!("'{word}' ended with exit code {code}")),
            Failing::Signal(number) => {
                Wrong::new(format!("'{word}' was killed by signal {number}{}", signal_name(number)))
            }
            Failing::TimedOut(limit) => {
                let mut wrong = Wrong::new(format!("'{word}' took longer than {} s", limit.as_secs_f64()));
                wrong.hint = Some("--timeout TIME allows more".into());
                wrong
            }
            Failing::TooMuch(limit) => over_limit("printed", limit, "on its standard output"),
        };
        if said.is_empty() {
            wrong.what += ", and said nothing on standard error";
        } else {
            wrong.what += &format!("; the last lines of its standard error:\n    {}\n", said.join("\n    "));
        }
        wrong
    }

    /// The problem that a user sees: which block, what, and how to try it alone.
    fn explain(&self, block: u32, share: &Share, (wrong, tries): (Wrong, u32)) -> Problems {
        let indices = self.spec.indices(block);
        let place = format!("block {block} (indices {} to {})", indices.start, indices.end - 1);
        let what = match tries {
            1 => wrong.what,
            n => format!("{n} tries failed; in the last, {}", wrong.what),
        };
        let alone = format!("by itself: {}", share.alone(&self.spec, &self.folder));
        let hint = wrong.hint.map_or_else(|| alone.clone(), |hint| format!("{hint}; {alone}"));
        Problem::new(place, what).hint(hint).into()
    }

    fn differ(
        &self,
        name: &str,
        blocks: Pair,
        (line, column, left, right): (usize, usize, String, String),
    ) -> Problems {
        let what = format!(
            "{} has other words between its numbers in some blocks than in others, at line {line}, column {column}: \
             {left} here and {right} there (# is a number)",
            of_output(name)
        );
        Problem::new(of_blocks(blocks), what)
            .hint("--merge sum needs numbers in the same frame from every run; --merge-with takes anything")
            .into()
    }

    /// One partial from two, by the user's command.
    fn merge_with(
        &self,
        command: &str,
        (name, blocks): (&str, Pair),
        sides: [Blob; 2],
    ) -> Result<Blob, Problems> {
        let place = || format!("--merge-with on {} of {}", of_output(name), of_blocks(blocks));
        let io = |why: std::io::Error| {
            Problems::from(Problem::new(place(), format!("cannot write the two partials: {why}")))
        };
        let guard = self.guard().map_err(|wrong| Problem::new(place(), wrong.what))?;
        let folder =
            tempfile::Builder::new().prefix("muster-merge-").tempdir_in(guard.scratch()).map_err(io)?;
        write_sides(folder.path(), &sides).map_err(io)?;
        let mut tries = 1;
        loop {
            let mut sh = Command::new("sh");
            let both = File::open(folder.path().join("both")).map_err(io)?;
            sh.args(["-c", command, "merge"]).args(["left", "right"].map(|side| folder.path().join(side)));
            sh.current_dir(&self.folder).stdin(both).env("MUSTER_NAME", name);
            runs::environment(guard.watch(&mut sh));
            let allowance = Allowance { bytes: MAX_ANSWER, ..self.allowance() };
            match run(&mut sh, allowance) {
                Ok(merged) => return Ok(Blob(merged)),
                Err(_) if tries <= self.spec.retries => tries += 1,
                Err(failure) => {
                    let wrong = self.failed(command, failure);
                    let alone = keep_sides(&sides).map(|kept| {
                        let at = |side| quoted(&kept.join(side).display().to_string());
                        let (folder, command) = (self.folder.display().to_string(), quoted(command));
                        let words =
                            format!("sh -c {command} merge {} {} < {}", at("left"), at("right"), at("both"));
                        format!("by itself: cd {} && {words}", quoted(&folder))
                    });
                    let hint = alone.unwrap_or_else(|why| format!("the partials could not be kept: {why}"));
                    return Err(Problem::new(place(), wrong.what).hint(hint).into());
                }
            }
        }
    }
}

/// Writes both partials, each alone and one after the other.
fn write_sides(folder: &Path, [left, right]: &[Blob; 2]) -> std::io::Result<()> {
    std::fs::write(folder.join("left"), &left.0)?;
    std::fs::write(folder.join("right"), &right.0)?;
    let mut both = File::create(folder.join("both"))?;
    both.write_all(&left.0)?;
    both.write_all(&right.0)
}

/// Writes both partials where they outlive this process: for the user to try the merge.
fn keep_sides(sides: &[Blob; 2]) -> std::io::Result<PathBuf> {
    let folder = tempfile::Builder::new().prefix("muster-merge-").tempdir()?;
    write_sides(folder.path(), sides)?;
    Ok(folder.keep())
}

fn over_limit(verb: &str, bytes: u64, to: &str) -> Wrong {
    let what = format!("{verb} more than {bytes} bytes {to}");
    Wrong { what, hint: Some("--limit BYTES allows more".into()), may_pass: false }
}

fn of_output(name: &str) -> String {
    if name.is_empty() { "the standard output".into() } else { format!("the file {name}") }
}

fn of_blocks((left, right): Pair) -> String {
    let range = |(first, last): (u32, u32)| match first == last {
        true => first.to_string(),
        false => format!("{first} to {last}"),
    };
    format!("blocks {} and {}", range(left), range(right))
}

/// The name of a signal that ends programs.
fn signal_name(number: i32) -> &'static str {
    match number {
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL: often the end of memory)",
        11 => " (SIGSEGV)",
        15 => " (SIGTERM)",
        24 => " (SIGXCPU)",
        _ => "",
    }
}

#[cfg(test)]
#[path = "kernel_tests.rs"]
mod tests;
