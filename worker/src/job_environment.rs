//! The environment of a job: what it gets of its submitter's, Slurm's variables, and how many threads it may use.
//!
//! Invariant: nothing that Slurm or this command had set for a job that the submitter ran in goes on to another.

use muster_core::jobspec::{Export, JobSpec};
use muster_slurm::environment::{Place, batch, thread_budget};
use muster_slurm::pattern::Names;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// What a job has of its submitter's environment whatever it exports.
const ALWAYS: [&str; 6] = ["HOME", "USER", "LOGNAME", "SHELL", "PATH", "MUSTER_STATE"];

/// Variables by name, each once.
pub(crate) type Variables = BTreeMap<OsString, OsString>;

/// The environment of the batch step of a job that was submitted from `source`.
pub(crate) fn environment(spec: &JobSpec, names: &Names, place: &Place, source: &Variables) -> Variables {
    let kept = |name: &OsStr| match &spec.export {
        Export::All(_) => true,
        Export::Only(keep, _) => ALWAYS.iter().any(|a| name == *a) || keep.iter().any(|k| name == k.as_str()),
    };
    let of_slurm = |name: &OsStr| name.as_encoded_bytes().starts_with(b"SLURM_");
    let mut out: Variables = source
        .iter()
        .filter(|(name, _)| kept(name) && !of_slurm(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let mut set = |name: String, value: String| drop(out.insert(name.into(), value.into()));
    batch(spec, names, place).into_iter().for_each(|(name, value)| set(name, value));
    for (name, value) in thread_budget(spec) {
        if !source.contains_key(OsStr::new(&name)) {
            set(name, value);
        }
    }
    let (Export::All(given) | Export::Only(_, given)) = &spec.export;
    given.iter().cloned().for_each(|(name, value)| set(name, value));
    set("MUSTER_RUN".into(), "1".into());
    out
}
