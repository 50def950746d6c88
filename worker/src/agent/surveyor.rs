//! Who measures this host's ceilings: once for a state directory and a machine, when nothing has run here for a while, and
//! out of the way as soon as something does.
//!
//! Part of step 6 of a job's way (DESIGN section 4). Kept in `STATE/ceilings.json`. `MUSTER_CEILINGS=off` measures nothing,
//! for those who measure something else.

use super::shell::Event;
use crossbeam_channel::Sender;
use muster_core::ceilings::Ceilings;
use muster_core::plan::HostShape;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long nothing has run before it is measured.
const QUIET: Duration = Duration::from_secs(10);
/// How long that takes.
const MOST: Duration = Duration::from_secs(2);

/// What was measured, and on what.
#[derive(Serialize, Deserialize)]
struct Kept {
    version: u32,
    machine: String,
    ceilings: Ceilings,
}

pub(super) struct Surveyor {
    path: PathBuf,
    machine: String,
    events: Sender<Event>,
    known: Option<Ceilings>,
    quiet: Option<Instant>,
    /// Set to end what is being measured.
    stop: Option<Arc<AtomicBool>>,
    off: bool,
}

impl Surveyor {
    /// Knows what was measured before with this state directory on this machine.
    pub(super) fn open(state: &Path, host: &HostShape, events: Sender<Event>) -> Surveyor {
        let (path, machine) = (state.join("ceilings.json"), machine(host));
        let kept = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok());
        let known = kept.filter(|kept| kept.machine == machine).map(|kept| kept.ceilings);
        let off = std::env::var_os("MUSTER_CEILINGS").is_some_and(|value| value == "off");
        Surveyor { path, machine, events, known, quiet: None, stop: None, off }
    }

    /// What is known.
    pub(super) fn known(&self) -> Option<Ceilings> {
        self.known
    }

    /// Something runs here, or is about to.
    pub(super) fn give_way(&mut self) {
        self.quiet = None;
        if let Some(stop) = &self.stop {
            stop.store(true, Ordering::Relaxed);
        }
    }

    /// Nothing runs here. Says how long to wait until it is to be called again, if at all.
    pub(super) fn rest(&mut self, host: &HostShape) -> Option<Duration> {
        if self.off || self.known.is_some() || self.stop.is_some() {
            return None;
        }
        let left = QUIET.saturating_sub(self.quiet.get_or_insert_with(Instant::now).elapsed());
        if left.is_zero() {
            self.measure(host.clone());
            return None;
        }
        Some(left)
    }

    fn measure(&mut self, host: HostShape) {
        let stop = Arc::new(AtomicBool::new(false));
        self.stop = Some(stop.clone());
        let events = self.events.clone();
        std::thread::spawn(move || {
            let memory_mib = super::shape(None).map_or(0, |shape| shape.memory_mib());
            let found = crate::ceilings::measure(&host, memory_mib, MOST, &stop);
            let _ = events.send(Event::Measured(found));
        });
    }

    /// It was measured, or had to give way.
    pub(super) fn measured(&mut self, found: Option<Ceilings>) {
        (self.stop, self.quiet) = (None, None);
        let Some(ceilings) = found else { return };
        self.known = Some(ceilings);
        let kept = Kept { version: 1, machine: self.machine.clone(), ceilings };
        // What cannot be kept is measured again by the next agent.
        let _ = std::fs::write(&self.path, serde_json::to_vec(&kept).expect("numbers encode"));
    }
}

/// What a machine is told by: its model of CPU, and which cores may be used.
fn machine(host: &HostShape) -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let cores: Vec<String> = host.domains.iter().map(|domain| format!("{:?}", domain.cores)).collect();
    format!("{} {}", model.map_or("", |(_, name)| name.trim()), cores.join(" "))
}
