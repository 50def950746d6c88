//! What an attempt has used, as its agents measured it.

use serde::{Deserialize, Serialize};

/// What an attempt has used, on one host or on all of its hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Milliseconds of CPUs, in its own code.
    pub user_ms: u64,
    /// Milliseconds of CPUs, in the operating system.
    pub system_ms: u64,
    /// The most memory at one time on one host, kibibytes.
    pub peak_memory_kib: u64,
    /// Bytes read from disks.
    pub read_bytes: u64,
    /// Bytes written to disks.
    pub written_bytes: u64,
    /// How often a thread gave its CPU up by itself, to wait for something.
    pub voluntary_switches: u64,
    /// How often a thread had to let another have its CPU.
    pub involuntary_switches: u64,
}

impl Usage {
    /// Adds what was used on another host: everything but memory is a sum, and of memory the most on any host counts, as
    /// in Slurm's `MaxRSS`.
    pub fn add(&mut self, other: &Usage) {
        let sums = [
            (&mut self.user_ms, other.user_ms),
            (&mut self.system_ms, other.system_ms),
            (&mut self.read_bytes, other.read_bytes),
            (&mut self.written_bytes, other.written_bytes),
            (&mut self.voluntary_switches, other.voluntary_switches),
            (&mut self.involuntary_switches, other.involuntary_switches),
        ];
        for (sum, more) in sums {
            *sum = sum.saturating_add(more);
        }
        self.peak_memory_kib = self.peak_memory_kib.max(other.peak_memory_kib);
    }

    /// Milliseconds of CPUs in all.
    pub fn cpu_ms(&self) -> u64 {
        self.user_ms.saturating_add(self.system_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_add_up_but_for_their_memory() {
        let mut all = Usage { user_ms: 1, peak_memory_kib: 7, ..Usage::default() };
        all.add(&Usage { user_ms: 2, system_ms: 3, peak_memory_kib: 5, ..Usage::default() });
        assert_eq!(all, Usage { user_ms: 3, system_ms: 3, peak_memory_kib: 7, ..Usage::default() });
        assert_eq!(all.cpu_ms(), 6);
        all.add(&Usage { user_ms: u64::MAX, ..Usage::default() });
        assert_eq!(all.cpu_ms(), u64::MAX, "nothing overflows that an agent says");
    }
}
