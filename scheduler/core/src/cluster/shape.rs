//! The shape of a host as the queue counts it: NUMA domains with cores and memory, GPUs with the domain they hang on.
//!
//! Cores are numbered through the host, domain by domain, from 0; the agent maps them to the operating system's
//! numbers in the same order. Large clusters hold many equal hosts, so shapes are interned.

use crate::plan::HostShape;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;
use thiserror::Error;

/// One NUMA domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Domain {
    /// Cores that jobs may use.
    pub cores: u32,
    /// Memory that jobs may use, in mebibytes.
    pub memory_mib: u64,
}

/// One GPU.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Gpu {
    /// Its type, as in `--gres=gpu:TYPE:1`.
    pub kind: String,
    /// The place of its domain in [`Shape::domains`].
    pub domain: u32,
}

/// What a host has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Shape {
    /// Its domains, in the order of their numbers.
    pub domains: Vec<Domain>,
    /// Its GPUs, in the order of their numbers.
    pub gpus: Vec<Gpu>,
}

/// What is wrong with a shape.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ShapeError {
    /// The text is not one.
    #[error(
        "`{text}` is not a shape: write DOMAINSxCORES[xMEMORY][x[TYPE:]GPUS], such as 2x32 or 2x32x256Gxa100:4"
    )]
    Syntax {
        /// The text.
        text: String,
    },
    /// It has no core.
    #[error("a host has at least one core")]
    NoCores,
    /// More cores, GPUs or memory than are counted.
    #[error("a host has at most 65535 cores, 64 GPUs and {} MiB of memory", u64::MAX / 2)]
    TooLarge,
    /// A GPU of a domain that is not there.
    #[error("a GPU hangs on domain {domain}, and there are {domains}")]
    GpuDomain {
        /// The domain named.
        domain: u32,
        /// How many there are.
        domains: usize,
    },
}

impl Shape {
    /// The shape of a host that an agent has seen, with the memory of its domains in mebibytes: that of a domain that
    /// `memory_mib` does not reach is 0.
    pub fn seen(host: &HostShape, memory_mib: &[u64], gpus: Vec<Gpu>) -> Shape {
        let memory = memory_mib.iter().copied().chain(std::iter::repeat(0));
        let domains = host.domains.iter().zip(memory);
        Shape {
            domains: domains
                .map(|(d, memory_mib)| Domain { cores: d.cores.len() as u32, memory_mib })
                .collect(),
            gpus,
        }
    }

    /// The shape that a text names: `DOMAINSxCORES[xMEMORY][x[TYPE:]GPUS]`, cores of each domain, memory of the host in
    /// mebibytes or with K, M, G, T; the GPUs hang on the domains in turn.
    ///
    /// # Errors
    ///
    /// When it is not a shape, or one that [`Shape::check`] refuses.
    pub fn parse(text: &str) -> Result<Shape, ShapeError> {
        let wrong = || ShapeError::Syntax { text: text.to_owned() };
        let mut parts = text.splitn(3, 'x');
        let mut number = || parts.next().and_then(|part| part.parse::<u32>().ok()).filter(|&n| n > 0);
        let (domains, cores) = (number().ok_or_else(wrong)?, number().ok_or_else(wrong)?);
        if u64::from(domains) * u64::from(cores) > u64::from(u16::MAX) {
            return Err(ShapeError::TooLarge);
        }
        let rest = parts.next();
        let (memory, gpus) = match rest.map(|rest| rest.split('x').next().unwrap_or(rest)) {
            None => (0, None),
            Some(first) => match mebibytes(first) {
                Some(memory) => (memory, rest.and_then(|rest| rest.split_once('x')).map(|(_, gpus)| gpus)),
                None => (0, rest),
            },
        };
        let (kind, count) = match gpus.map(|gpus| gpus.rsplit_once(':').unwrap_or(("gpu", gpus))) {
            None => ("gpu", 0),
            Some((kind, count)) if !kind.is_empty() => (kind, count.parse().map_err(|_| wrong())?),
            Some(_) => return Err(wrong()),
        };
        let share = |d: u64| memory / u64::from(domains) + u64::from(d < memory % u64::from(domains));
        let shape = Shape {
            domains: (0..u64::from(domains)).map(|d| Domain { cores, memory_mib: share(d) }).collect(),
            gpus: (0..count)
                .map(|g: u32| Gpu { kind: kind.to_owned(), domain: g % domains })
                .take(65)
                .collect(),
        };
        shape.check().map(|()| shape)
    }

    /// Cores of all domains.
    pub fn cores(&self) -> u32 {
        self.domains.iter().map(|d| d.cores).sum()
    }

    /// Memory of all domains, in mebibytes.
    pub fn memory_mib(&self) -> u64 {
        self.domains.iter().map(|d| d.memory_mib).sum()
    }

    /// Whether a host of this shape can go on as one of another: it has the same cores and GPUs. How much memory an
    /// operating system counts changes with its version, and with a virtual machine's mood.
    pub fn goes_on_as(&self, other: &Shape) -> bool {
        let cores = |shape: &Shape| shape.domains.iter().map(|domain| domain.cores).collect::<Vec<u32>>();
        cores(self) == cores(other) && self.gpus == other.gpus
    }

    /// Whether it can be counted.
    ///
    /// # Errors
    ///
    /// No cores, more of something than is counted, or a GPU that hangs on nothing.
    pub fn check(&self) -> Result<(), ShapeError> {
        let cores: u64 = self.domains.iter().map(|d| u64::from(d.cores)).sum();
        let memory: u128 = self.domains.iter().map(|d| u128::from(d.memory_mib)).sum();
        if cores == 0 {
            return Err(ShapeError::NoCores);
        }
        if cores > u64::from(u16::MAX) || self.gpus.len() > 64 || memory > u128::from(u64::MAX / 2) {
            return Err(ShapeError::TooLarge);
        }
        let domains = self.domains.len();
        match self.gpus.iter().find(|g| g.domain as usize >= domains) {
            Some(gpu) => Err(ShapeError::GpuDomain { domain: gpu.domain, domains }),
            None => Ok(()),
        }
    }
}

/// Mebibytes: a number with an optional K, M, G or T.
fn mebibytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" | "M" | "MB" => Some(number),
        "K" | "KB" => Some(number / 1024),
        "G" | "GB" => number.checked_mul(1024),
        "T" | "TB" => number.checked_mul(1024 * 1024),
        _ => None,
    }
}

/// A shape with what is asked of it often.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) shape: Shape,
    pub(crate) cores: u32,
    pub(crate) memory_mib: u64,
    /// The cores of each domain, by their numbers.
    pub(crate) domains: Vec<Range<u32>>,
    /// The GPUs of each domain, a bit each.
    pub(crate) gpus_of_domain: Vec<u64>,
}

impl Known {
    /// The GPUs of a type, or all, a bit each.
    pub(crate) fn gpus(&self, kind: Option<&str>) -> u64 {
        let wanted = |gpu: &Gpu| kind.is_none_or(|kind| gpu.kind == kind);
        mask(self.shape.gpus.iter().map(wanted))
    }
}

/// The different shapes of a cluster's hosts, numbered as they came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shapes {
    known: Vec<Known>,
    numbers: BTreeMap<Shape, u32>,
}

impl Shapes {
    /// The number of `shape`.
    pub(crate) fn intern(&mut self, shape: Shape) -> u32 {
        if let Some(&number) = self.numbers.get(&shape) {
            return number;
        }
        let ends = shape.domains.iter().scan(0, |end, d| {
            *end += d.cores;
            Some(*end)
        });
        let number = self.known.len() as u32;
        let on = |domain: u32| mask(shape.gpus.iter().map(move |gpu| gpu.domain == domain));
        self.known.push(Known {
            cores: shape.cores(),
            memory_mib: shape.memory_mib(),
            domains: ends.zip(&shape.domains).map(|(end, d)| end - d.cores..end).collect(),
            gpus_of_domain: (0..shape.domains.len() as u32).map(on).collect(),
            shape: shape.clone(),
        });
        self.numbers.insert(shape, number);
        number
    }

    /// The shape with a number that [`Shapes::intern`] gave.
    pub(crate) fn get(&self, number: u32) -> &Known {
        &self.known[number as usize]
    }

    /// All of them, by their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Known> {
        self.known.iter()
    }
}

/// A bit for each that is true, the first in the lowest.
fn mask(which: impl Iterator<Item = bool>) -> u64 {
    which.enumerate().fold(0, |mask, (at, is)| mask | u64::from(is) << at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_goes_on_with_other_memory_and_not_with_other_cores() {
        let shape = |text| Shape::parse(text).unwrap();
        assert!(shape("2x8x60G").goes_on_as(&shape("2x8x64G")));
        for other in ["2x4x64G", "1x16x64G", "2x8x64Gxa100:1"] {
            assert!(!shape(other).goes_on_as(&shape("2x8x64G")), "{other}");
        }
    }

    fn domain(cores: u32, memory_mib: u64) -> Domain {
        Domain { cores, memory_mib }
    }

    #[test]
    fn texts_name_shapes() {
        let gpu = |kind: &str, domain| Gpu { kind: kind.into(), domain };
        let cases = [
            ("1x8", vec![domain(8, 0)], vec![]),
            ("2x4x7G", vec![domain(4, 3584), domain(4, 3584)], vec![]),
            ("2x1x3", vec![domain(1, 2), domain(1, 1)], vec![]),
            ("2x1x2Mx3", vec![domain(1, 1), domain(1, 1)], vec![gpu("gpu", 0), gpu("gpu", 1), gpu("gpu", 0)]),
            ("1x1xrtx:1", vec![domain(1, 0)], vec![gpu("rtx", 0)]),
            ("1x1x1Txrtx6000:1", vec![domain(1, 1 << 20)], vec![gpu("rtx6000", 0)]),
        ];
        for (text, domains, gpus) in cases {
            assert_eq!(Shape::parse(text), Ok(Shape { domains, gpus }), "{text}");
        }
    }

    #[test]
    fn other_texts_do_not() {
        for text in [
            "",
            "2",
            "2x4x1Gx",
            "0x4",
            "2x",
            "2x4xQ",
            "2x4x1Gx:",
            "2x4x:1",
            "2x4x1Gxa:b",
            "-1x2",
            "2x4x1Gx2x",
        ] {
            let wrong = ShapeError::Syntax { text: text.into() };
            assert_eq!(Shape::parse(text).err(), Some(wrong), "{text}");
        }
        for text in ["70000x70000", "1x65536", "1x1x1x65", "1x1x1x4294967295"] {
            assert_eq!(Shape::parse(text), Err(ShapeError::TooLarge), "{text}");
        }
        let hangs = Shape { domains: vec![domain(1, 1)], gpus: vec![Gpu { kind: "a".into(), domain: 1 }] };
        assert_eq!(hangs.check(), Err(ShapeError::GpuDomain { domain: 1, domains: 1 }));
        assert_eq!(Shape { domains: vec![domain(0, 1)], gpus: vec![] }.check(), Err(ShapeError::NoCores));
    }

    #[test]
    fn equal_shapes_have_one_number() {
        let mut shapes = Shapes::default();
        let (a, b) = (Shape::parse("2x4x8Gxa:2").unwrap(), Shape::parse("1x8").unwrap());
        assert_eq!([&a, &b, &a].map(|shape| shapes.intern(shape.clone())), [0, 1, 0]);
        let known = shapes.get(0);
        assert_eq!((known.cores, known.memory_mib, &known.domains[..]), (8, 8192, &[0..4, 4..8][..]));
        assert_eq!((known.gpus(Some("a")), known.gpus(Some("b")), known.gpus(None)), (3, 0, 3));
        assert_eq!(known.gpus_of_domain, [1, 2]);
    }
}
