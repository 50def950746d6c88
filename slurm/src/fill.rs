//! One option into the jobspec: its value is read, and put where it belongs. What nobody takes is a mistake of ours, and
//! a test finds it.

use crate::flags::Flags;
use crate::options::{Place, Support};
use crate::words::{Given, Mistake};
use crate::{dependency, hostlist, moment, own, resource, value};
use muster_core::cluster::Constraint;
use muster_core::jobspec::{Gres, GresPer, InvalidDependency, JobSpec, Requeue};

/// What `--nice` without a value takes off.
const NICE: i64 = 100;
/// The most that may be taken off or added, as Slurm has it.
const MOST_NICE: i64 = (1 << 31) - 3;
/// What `--priority=TOP` stands for: the largest number that is none of Slurm's marks.
const TOP: u32 = u32::MAX - 2;

/// Puts one option into the spec, by what becomes of it in the place.
pub(crate) fn fill(spec: &mut JobSpec, given: &Given, place: Place) -> Result<(), Mistake> {
    match given.option.support(place) {
        Support::Honoured => honour(spec, given, place).map(|_taken| ()),
        Support::Ignored(_) => {
            let one = One { given, place };
            if given.option.long == "mail-type" && place != Place::Here && !value::mail_types(&given.value) {
                return Err(one.invalid("a list of BEGIN, END, FAIL, REQUEUE, ALL and such"));
            }
            spec.labels.insert(given.option.long.to_owned(), given.value.clone());
            Ok(())
        }
        // It is told with the other refusals.
        Support::Refused(_) => Ok(()),
    }
}

/// The devices that the options ask for, the last of each kind winning. Options that say the same are one.
pub(crate) fn devices(given: &[Given], place: Place) -> Vec<Gres> {
    let mut out = Vec::new();
    for long in ["gres", "gpus-per-node", "gpus-per-task", "gpus"] {
        let last =
            given.iter().rfind(|g| g.option.long == long && g.option.support(place) == Support::Honoured);
        for gres in last.and_then(|one| gres(long, &one.value)).into_iter().flatten() {
            if !out.contains(&gres) {
                out.push(gres);
            }
        }
    }
    out
}

/// Puts an option that is honoured into the spec; false when nobody here takes it.
fn honour(spec: &mut JobSpec, given: &Given, place: Place) -> Result<bool, Mistake> {
    let one = One { given, place };
    Ok(files(spec, &one)?
        || size(spec, &one)?
        || queue(spec, &one)?
        || when(spec, &one)?
        || needs(spec, &one)?
        || Flags::default().take(given))
}

/// An option, with what its mistakes are called.
struct One<'a> {
    given: &'a Given,
    place: Place,
}

impl One<'_> {
    fn long(&self) -> &'static str {
        self.given.option.long
    }

    fn value(&self) -> &str {
        &self.given.value
    }

    /// The value, which must be there.
    fn text(&self) -> Result<String, Mistake> {
        let what = || self.usage(format!("option '--{}' requires an argument", self.long()));
        if self.value().is_empty() { Err(what()) } else { Ok(self.value().to_owned()) }
    }

    fn usage(&self, what: impl Into<String>) -> Mistake {
        Mistake::usage(&self.given.origin, what)
    }

    fn refusal(&self, what: impl Into<String>) -> Mistake {
        Mistake::refusal(&self.given.origin, what)
    }

    /// What sbatch finds while it reads.
    fn invalid(&self, expected: &str) -> Mistake {
        let (long, value) = (self.long(), self.value());
        self.usage(format!("Invalid --{long} specification: '{value}', expected {expected}"))
    }

    /// What Slurm's controller finds, and sbatch tells.
    fn submission(&self, what: impl Into<String>) -> Mistake {
        match self.place {
            Place::Here => self.refusal(what),
            Place::Queue(_) => self.refusal(format!("Batch job submission failed: {}", what.into())),
        }
    }

    fn count(&self) -> Result<u32, Mistake> {
        // Two names, one option.
        let long = if self.long() == "tasks-per-node" { "ntasks-per-node" } else { self.long() };
        value::count(long, self.value()).map_err(|what| self.refusal(what))
    }
}

/// Names, streams and what goes along.
fn files(spec: &mut JobSpec, one: &One) -> Result<bool, Mistake> {
    match one.long() {
        "job-name" => spec.name = one.text()?,
        "output" => spec.files.output = Some(one.text()?),
        "error" => spec.files.error = Some(one.text()?),
        "input" => spec.files.input = Some(one.text()?),
        "chdir" => spec.files.chdir = Some(one.text()?),
        "open-mode" => {
            spec.files.append = match one.value().to_lowercase().as_str() {
                "a" | "append" => true,
                "t" | "truncate" => false,
                _ => return Err(one.invalid("append or truncate")),
            }
        }
        "export" => spec.export = value::export(one.value()),
        "signal" => spec.signal = Some(value::early_signal(one.value()).map_err(|what| one.usage(what))?),
        _ => return Ok(false),
    }
    Ok(true)
}

/// How large it is, and how long.
fn size(spec: &mut JobSpec, one: &One) -> Result<bool, Mistake> {
    let usage = |what: String| one.usage(what);
    match one.long() {
        "time" => spec.time_limit_s = value::time_s("time", one.value()).map_err(usage)?,
        "array" => spec.array = Some(value::array(one.value()).map_err(|what| one.submission(what))?),
        "nodes" => {
            let most = one.value().rsplit('-').next().unwrap_or(one.value());
            spec.size.nodes = value::nodes(one.value()).map_err(usage)?;
            spec.size.max_nodes = Some(value::nodes(most).map_err(usage)?);
        }
        "ntasks" => spec.size.ntasks = Some(one.count()?),
        "cpus-per-task" => spec.size.cpus_per_task = Some(one.count()?),
        "ntasks-per-node" | "tasks-per-node" => spec.size.ntasks_per_node = Some(one.count()?),
        "mem" => spec.size.memory = Some(value::memory_per_node(one.value()).map_err(usage)?),
        "mem-per-cpu" => spec.size.memory = Some(value::memory_per_cpu(one.value()).map_err(usage)?),
        _ => return Ok(false),
    }
    Ok(true)
}

/// Who pays, and where it stands in line.
fn queue(spec: &mut JobSpec, one: &One) -> Result<bool, Mistake> {
    let queue = &mut spec.queue;
    match one.long() {
        "partition" => {
            let names = one.text()?.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>();
            if names.iter().any(String::is_empty) {
                return Err(one.submission("Invalid partition name specified"));
            }
            queue.partitions = names;
        }
        "account" => queue.account = Some(one.text()?),
        "qos" => queue.qos = Some(one.text()?),
        "reservation" => queue.reservation = Some(one.text()?),
        "comment" => queue.comment = Some(one.text()?),
        "requeue" => queue.requeue = Requeue::Allowed,
        "no-requeue" => queue.requeue = Requeue::Never,
        "priority" => {
            let top = one.value().eq_ignore_ascii_case("top").then_some(TOP);
            let number = || one.value().parse().ok().filter(|&priority| priority <= TOP);
            queue.priority = Some(top.or_else(number).ok_or_else(|| one.invalid("a number from 0, or TOP"))?);
        }
        "nice" => {
            let number = match one.value() {
                "" => Some(NICE),
                text => text.parse().ok(),
            };
            let within = number.filter(|n| (-MOST_NICE..=MOST_NICE).contains(n)).map(|n| n as i32);
            let expected = || one.invalid(&format!("a number from -{MOST_NICE} to {MOST_NICE}"));
            queue.nice = within.ok_or_else(expected)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// What must be true before it starts.
fn when(spec: &mut JobSpec, one: &One) -> Result<bool, Mistake> {
    let Place::Queue(now) = one.place else { return Ok(false) };
    let when = &mut spec.when;
    let time = || moment::parse(one.value(), now).ok_or_else(|| one.invalid(moment::EXPECTED)).map(Some);
    match one.long() {
        "hold" => when.hold = true,
        "begin" => when.begin = time()?,
        "deadline" => when.deadline = time()?,
        "time-min" => {
            when.least_time_s = value::time_s("time-min", one.value()).map_err(|what| one.usage(what))?;
        }
        "dependency" => {
            let what = || one.submission("Job dependency problem");
            when.dependency = dependency::parse(one.value()).ok_or_else(what)?;
        }
        "kill-on-invalid-dep" => {
            when.invalid_dependency = match one.value().to_lowercase().as_str() {
                "yes" => InvalidDependency::End,
                "no" => InvalidDependency::Keep,
                _ => return Err(one.invalid("yes or no")),
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// What its hosts must have, and be.
fn needs(spec: &mut JobSpec, one: &One) -> Result<bool, Mistake> {
    let needs = &mut spec.needs;
    match one.long() {
        "constraint" => {
            let what = |why| one.submission(format!("Invalid feature specification: {why}"));
            Constraint::parse(one.value()).map_err(what)?;
            needs.constraint = Some(one.text()?);
        }
        "nodelist" => needs.include = hosts(one)?,
        "exclude" => needs.exclude = hosts(one)?,
        // They are put together when all is read: see `devices`.
        long @ ("gres" | "gpus" | "gpus-per-node" | "gpus-per-task") => {
            let what = || {
                let expected = if long == "gres" { "gpu[:TYPE][:COUNT]" } else { "[TYPE:]COUNT" };
                let what = "Invalid generic resource (gres) specification";
                one.refusal(format!("{what}: '{}', expected {expected}", one.value()))
            };
            gres(long, one.value()).ok_or_else(what)?;
        }
        "licenses" => {
            let what = || one.submission("Invalid license specification");
            needs.licences = resource::licences(one.value()).ok_or_else(what)?;
        }
        "exclusive" => {
            needs.exclusive = match one.value().to_lowercase().as_str() {
                "" => true,
                kind @ ("user" | "mcs" | "topo") => {
                    let what = "hosts are shared with all or with nobody: say --exclusive";
                    return Err(one.refusal(format!("--exclusive={kind} is refused: {what}")));
                }
                _ => return Err(one.invalid("no value")),
            }
        }
        "spread-job" => needs.spread = true,
        "label" => {
            let label = own::label(one.value()).ok_or_else(|| one.invalid("KEY=VALUE"))?.to_owned();
            if !needs.labels.contains(&label) {
                needs.labels.push(label);
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Hosts by name, each once.
fn hosts(one: &One) -> Result<Vec<String>, Mistake> {
    let what = |why: String| one.submission(format!("Invalid node name specified: {why}"));
    let mut names: Vec<String> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for name in hostlist::parse(one.value()).map_err(|why| what(why.to_string()))? {
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')) {
            return Err(what(format!("'{name}'; a list in a file is not read")));
        }
        if seen.insert(name.clone()) {
            names.push(name);
        }
    }
    Ok(names)
}

fn gres(long: &str, value: &str) -> Option<Vec<Gres>> {
    match long {
        "gres" => resource::gres(value),
        "gpus-per-node" => resource::gpus(value, GresPer::Host),
        "gpus-per-task" => resource::gpus(value, GresPer::Task),
        _ => resource::gpus(value, GresPer::Job),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::Now;
    use crate::options::OPTIONS;
    use crate::own::OWN;
    use crate::words::Origin;

    #[test]
    fn what_is_honoured_is_taken() {
        for place in [Place::Here, Place::Queue(Now::default())] {
            for option in OPTIONS.iter().chain(OWN).filter(|o| o.support(place) == Support::Honoured) {
                for value in ["", "1", "x"] {
                    let written = String::new();
                    let given = Given { option, value: value.into(), written, origin: Origin::CommandLine };
                    let taken = honour(&mut JobSpec::named("x"), &given, place);
                    assert_ne!(taken, Ok(false), "--{}={value}", option.long);
                }
            }
        }
    }
}
