//! Where blocks are folded: on CPUs, on a GPU of some architecture, or on the software device.
//!
//! A request says [`DeviceWord`]; the arithmetic class knows a [`Target`] alone, since bits depend on the architecture of a
//! card and on nothing else of it. Without a word a request is one for CPUs, so that the class of an answer never
//! depends by surprise on what a machine has.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a request says of where to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum DeviceWord {
    /// On CPUs.
    Cpu,
    /// On the GPUs of the machine that is asked: an error where there is none.
    Gpu,
    /// On GPUs where the machine that is asked has one that can do it, else on CPUs.
    Auto,
    /// On this: what a resolved request says.
    On(Target),
}

/// What a block's bits depend on, where they are not those of a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Target {
    /// The software device: the grid, threads and sums of a GPU, computed on a CPU. Slow, and the same everywhere.
    Software,
    /// NVIDIA's GPUs of one architecture: 90 for `sm_90`.
    Sm(u16),
}

/// A word that names no device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is none of cpu, gpu, auto, software and an architecture such as sm_90")]
pub struct NoDevice(pub String);

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Software => f.write_str("software"),
            Target::Sm(version) => write!(f, "sm_{version}"),
        }
    }
}

impl fmt::Display for DeviceWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceWord::Cpu => f.write_str("cpu"),
            DeviceWord::Gpu => f.write_str("gpu"),
            DeviceWord::Auto => f.write_str("auto"),
            DeviceWord::On(target) => target.fmt(f),
        }
    }
}

impl FromStr for Target {
    type Err = NoDevice;

    fn from_str(word: &str) -> Result<Target, NoDevice> {
        let version =
            || word.strip_prefix("sm_")?.parse().ok().filter(|version| (50..1000).contains(version));
        match word {
            "software" => Ok(Target::Software),
            _ => version().map(Target::Sm).ok_or_else(|| NoDevice(word.to_owned())),
        }
    }
}

impl FromStr for DeviceWord {
    type Err = NoDevice;

    fn from_str(word: &str) -> Result<DeviceWord, NoDevice> {
        match word {
            "cpu" => Ok(DeviceWord::Cpu),
            "gpu" => Ok(DeviceWord::Gpu),
            "auto" => Ok(DeviceWord::Auto),
            _ => word.parse().map(DeviceWord::On),
        }
    }
}

impl From<Target> for String {
    fn from(target: Target) -> String {
        target.to_string()
    }
}

impl TryFrom<String> for Target {
    type Error = NoDevice;

    fn try_from(word: String) -> Result<Target, NoDevice> {
        word.parse()
    }
}

impl From<DeviceWord> for String {
    fn from(device: DeviceWord) -> String {
        device.to_string()
    }
}

impl TryFrom<String> for DeviceWord {
    type Error = NoDevice;

    fn try_from(word: String) -> Result<DeviceWord, NoDevice> {
        word.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_one_word() {
        for word in ["cpu", "gpu", "auto", "software", "sm_75", "sm_90", "sm_120"] {
            let device: DeviceWord = word.parse().unwrap();
            assert_eq!(device.to_string(), word);
            let json = serde_json::to_string(&device).unwrap();
            assert_eq!(json, format!("\"{word}\""));
            assert_eq!(serde_json::from_str::<DeviceWord>(&json).unwrap(), device);
        }
        assert_eq!("sm_90".parse(), Ok(DeviceWord::On(Target::Sm(90))));
        for word in ["", "cuda", "sm_", "sm_9", "sm_90a", "sm_99999", "GPU"] {
            assert_eq!(word.parse::<DeviceWord>(), Err(NoDevice(word.into())));
        }
    }
}
