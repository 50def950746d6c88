//! Keys: numbers by which a policy orders what waits, the lowest first.
//!
//! Invariant: a key is a function of one job's wait, estimate, width and submit time, in seconds and processors, and has
//! the same bits on every host.

use std::fmt;

/// What orders the queue. Jobs with equal keys stay in the order of their submission.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// The order of submission.
    #[default]
    Submit,
    /// Shortest job first: e.
    Sjf,
    /// Smallest area first: e n.
    Saf,
    /// Smallest request first: n.
    Sqf,
    /// WFP3: -(w / e)^3 n (Tang, Lan, Desai, Buettner 2009).
    Wfp3,
    /// UNICEP: -w / (log2(n + 1) e) (Tang et al. 2009; n + 1 keeps jobs of one processor finite).
    Unicep,
    /// F1: log10(e) n + 870 log10(s) (Carastan-Santos, de Camargo 2017, as are the three below).
    F1,
    /// F2: sqrt(e) n + 25,600 log10(s).
    F2,
    /// F3: e n + 6,860,000 log10(s).
    F3,
    /// F4: e sqrt(n) + 530,000 log10(s).
    F4,
}

/// What a key knows of a job.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Asked {
    /// When it was submitted, seconds since the origin of time.
    pub submit_s: f64,
    /// How long it runs by its estimate, or as predicted where the policy predicts, seconds, above 0.
    pub estimate_s: f64,
    /// How many processors it takes.
    pub width: f64,
}

impl Key {
    /// Every key.
    pub const ALL: [Key; 10] = [
        Key::Submit,
        Key::Sjf,
        Key::Saf,
        Key::Sqf,
        Key::Wfp3,
        Key::Unicep,
        Key::F1,
        Key::F2,
        Key::F3,
        Key::F4,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Key::Submit => "submit",
            Key::Sjf => "sjf",
            Key::Saf => "saf",
            Key::Sqf => "sqf",
            Key::Wfp3 => "wfp3",
            Key::Unicep => "unicep",
            Key::F1 => "f1",
            Key::F2 => "f2",
            Key::F3 => "f3",
            Key::F4 => "f4",
        }
    }

    /// Whether it changes while a job waits.
    pub fn ages(self) -> bool {
        matches!(self, Key::Wfp3 | Key::Unicep)
    }

    /// The part of the key that does not change while the job waits: the whole of it where it does not age.
    pub fn fixed(self, asked: &Asked) -> f64 {
        let Asked { submit_s, estimate_s, width } = *asked;
        // The logarithm of the first second is 0, and so is that of the origin.
        let submitted = || libm::log10(submit_s.max(1.0));
        match self {
            Key::Submit => 0.0,
            Key::Sjf | Key::Wfp3 => estimate_s,
            Key::Saf => estimate_s * width,
            Key::Sqf => width,
            Key::Unicep => libm::log2(width + 1.0) * estimate_s,
            Key::F1 => libm::log10(estimate_s) * width + 870.0 * submitted(),
            Key::F2 => estimate_s.sqrt() * width + 25_600.0 * submitted(),
            Key::F3 => estimate_s * width + 6_860_000.0 * submitted(),
            Key::F4 => estimate_s * width.sqrt() + 530_000.0 * submitted(),
        }
    }

    /// The key of a job that has waited so long, from its fixed part and its width.
    pub fn aged(self, fixed: f64, wait_s: f64, width: f64) -> f64 {
        let key = match self {
            Key::Wfp3 => {
                let ratio = wait_s / fixed;
                -(ratio * ratio * ratio) * width
            }
            Key::Unicep => -wait_s / fixed,
            _ => fixed,
        };
        // Zero has one sign, so that jobs that have not waited are equals.
        key + 0.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_their_formulas() {
        let asked = Asked { submit_s: 1000.0, estimate_s: 100.0, width: 4.0 };
        let at = |key: Key, wait| key.aged(key.fixed(&asked), wait, 4.0);
        assert_eq!(at(Key::Submit, 50.0), 0.0);
        assert_eq!(at(Key::Sjf, 50.0), 100.0);
        assert_eq!(at(Key::Saf, 50.0), 400.0);
        assert_eq!(at(Key::Sqf, 50.0), 4.0);
        assert_eq!(at(Key::Wfp3, 50.0), -0.5);
        assert_eq!(at(Key::Unicep, 0.0).to_bits(), 0.0_f64.to_bits());
        assert!((at(Key::Unicep, 50.0) + 50.0 / (5.0_f64.log2() * 100.0)).abs() < 1e-15);
        assert_eq!(at(Key::F1, 50.0), 2.0 * 4.0 + 870.0 * 3.0);
        assert_eq!(at(Key::F2, 50.0), 10.0 * 4.0 + 25_600.0 * 3.0);
        assert_eq!(at(Key::F3, 50.0), 400.0 + 6_860_000.0 * 3.0);
        assert_eq!(at(Key::F4, 50.0), 200.0 + 530_000.0 * 3.0);
    }

    #[test]
    fn only_keys_that_age_depend_on_the_wait() {
        let asked = Asked { submit_s: 1000.0, estimate_s: 100.0, width: 4.0 };
        for key in Key::ALL {
            let fixed = key.fixed(&asked);
            assert_eq!(key.ages(), key.aged(fixed, 10.0, 4.0) != key.aged(fixed, 20.0, 4.0), "{key}");
        }
    }
}
