//! Binding threads to CPUs, verified after it is set.

use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// Whether the calling thread's affinity allows `cpu`.
pub(crate) fn may_run_on(cpu: u32) -> bool {
    match sched_getaffinity(None) {
        Ok(set) => (cpu as usize) < CpuSet::MAX_CPU && set.is_set(cpu as usize),
        Err(_) => cpu == 0,
    }
}

/// Binds the calling thread to `cpus` and checks that the operating system took it.
///
/// # Errors
/// What the operating system said, or which CPUs it gave instead.
pub fn bind_thread(cpus: &[u32]) -> Result<(), String> {
    let mut wanted = CpuSet::new();
    for &cpu in cpus {
        if cpu as usize >= CpuSet::MAX_CPU {
            return Err(format!("CPU {cpu} is beyond the {} that can be bound", CpuSet::MAX_CPU));
        }
        wanted.set(cpu as usize);
    }
    sched_setaffinity(None, &wanted).map_err(|e| format!("cannot bind a thread to CPUs {cpus:?}: {e}"))?;
    let got = sched_getaffinity(None).map_err(|e| format!("cannot read a thread's binding: {e}"))?;
    let here = sched_getcpu();
    if got == wanted && wanted.is_set(here) {
        Ok(())
    } else {
        Err(format!("a thread bound to CPUs {cpus:?} runs on CPU {here}"))
    }
}

/// Runs `work` with the calling thread bound to `cpus`, and frees the thread again. Threads that `work` starts are
/// born there, so that their stacks and what they first allocate lie there, too. Where the thread cannot be bound,
/// `work` runs unbound.
///
/// # Errors
/// When the thread was bound and cannot be freed.
pub fn while_bound<T>(cpus: &[u32], work: impl FnOnce() -> T) -> Result<T, String> {
    let before = sched_getaffinity(None);
    let bound = bind_thread(cpus);
    let out = work();
    match before {
        Ok(before) if bound.is_ok() => sched_setaffinity(None, &before)
            .map_err(|e| format!("cannot free a thread from CPUs {cpus:?} again: {e}"))?,
        _ => {}
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_born_where_their_creator_is_bound() {
        let last = (0..CpuSet::MAX_CPU as u32).rfind(|&c| may_run_on(c)).unwrap();
        let work = || std::thread::spawn(|| (sched_getcpu(), sched_getaffinity(None).unwrap()));
        let before = sched_getaffinity(None).unwrap();
        let (cpu, bound) = while_bound(&[last], work).unwrap().join().unwrap();
        assert_eq!((cpu, bound.count()), (last as usize, 1));
        assert_eq!(sched_getaffinity(None).unwrap(), before);
        assert_eq!(while_bound(&[100_000], || 5), Ok(5), "nothing was bound");
    }

    #[test]
    fn a_bound_thread_runs_there() {
        let first = (0..CpuSet::MAX_CPU as u32).find(|&c| may_run_on(c)).unwrap();
        std::thread::spawn(move || bind_thread(&[first])).join().unwrap().unwrap();
        assert!(bind_thread(&[100_000]).is_err());
    }
}
