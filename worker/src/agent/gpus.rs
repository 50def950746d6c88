//! The GPUs of this host: those of NVIDIA's driver, by /proc and /sys, so that nothing of CUDA is needed to count them.
//!
//! Part of step 6 of a job's way (DESIGN section 4). They are numbered in the order of their places on the bus, as CUDA does
//! under `CUDA_DEVICE_ORDER=PCI_BUS_ID`. A container has those whose device files it has.

use super::devices::Device;
use muster_core::cluster::Gpu;
use muster_core::plan::HostShape;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Words that say who made a card or for whom, and not which it is.
const BRANDS: [&str; 6] = ["nvidia", "tesla", "geforce", "quadro", "titan", "graphics"];

/// The GPUs that are seen under `root`, normally `/`.
pub(super) fn seen(root: &Path, host: &HostShape) -> Vec<Gpu> {
    let one = |(place, _, model): (String, u32, String)| {
        let node = std::fs::read_to_string(root.join("sys/bus/pci/devices").join(place).join("numa_node"));
        let node = node.ok().and_then(|text| text.trim().parse::<u32>().ok());
        let domain = host.domains.iter().position(|domain| Some(domain.id) == node).unwrap_or(0);
        Gpu { kind: kind(&model), domain: domain as u32 }
    };
    cards(root).into_iter().map(one).collect()
}

/// The device numbers of those cards, in the same order.
pub(super) fn devices(root: &Path) -> Vec<Device> {
    let number = |(_, minor, _): (String, u32, String)| {
        let meta = std::fs::metadata(root.join(format!("dev/nvidia{minor}"))).ok()?;
        Some((libc::major(meta.rdev()), libc::minor(meta.rdev())))
    };
    cards(root).into_iter().filter_map(number).collect()
}

/// The cards that have a device file: place on the bus, minor number, model.
fn cards(root: &Path) -> Vec<(String, u32, String)> {
    let listed = std::fs::read_dir(root.join("proc/driver/nvidia/gpus"));
    let mut places: Vec<String> = listed
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    places.sort_unstable();
    let one = |place: String| {
        let text =
            std::fs::read_to_string(root.join("proc/driver/nvidia/gpus").join(&place).join("information"))
                .ok()?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.trim_start_matches(':').trim())
        };
        let minor = field("Device Minor")?.parse::<u32>().ok()?;
        root.join(format!("dev/nvidia{minor}")).exists().then_some(())?;
        let model = field("Model").unwrap_or_default().to_owned();
        Some((place, minor, model))
    };
    places.into_iter().filter_map(one).collect()
}

/// Those that somebody has told of, in the order of their numbers, dealt to the domains in turn.
pub(super) fn told(kinds: &[String], host: &HostShape) -> Vec<Gpu> {
    let domains = host.domains.len().max(1);
    let one = |(at, kind): (usize, &String)| Gpu { kind: kind.clone(), domain: (at % domains) as u32 };
    kinds.iter().enumerate().map(one).collect()
}

/// How jobs ask for a card of a model: `h100` for `NVIDIA H100 80GB HBM3`, `rtx4090` for `NVIDIA GeForce RTX 4090`.
fn kind(model: &str) -> String {
    let model = model.to_ascii_lowercase();
    let words: Vec<&str> =
        model.split([' ', '-', '_']).filter(|word| !word.is_empty() && !BRANDS.contains(word)).collect();
    let Some(at) = words.iter().position(|word| word.bytes().any(|byte| byte.is_ascii_digit())) else {
        return words.first().map_or_else(|| "gpu".to_owned(), |word| (*word).to_owned());
    };
    let before = at.checked_sub(1).map_or("", |before| words[before]);
    let is_series = ["rtx", "gtx"].contains(&before) && words[at].as_bytes()[0].is_ascii_digit();
    if is_series { format!("{before}{}", words[at]) } else { words[at].to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use muster_core::plan::DomainShape;
    use std::fs::{create_dir_all, write};

    fn host() -> HostShape {
        let domain = |id, cores: [u32; 2]| DomainShape { id, cores: cores.to_vec() };
        HostShape { domains: vec![domain(0, [0, 1]), domain(2, [2, 3])], real: true }
    }

    #[test]
    fn cards_are_counted_in_the_order_of_the_bus() {
        let scratch = Scratch::new("gpus");
        assert_eq!(seen(scratch.path(), &host()), []);
        let put = |path: &str, text: &str| {
            let path = scratch.path().join(path);
            create_dir_all(path.parent().unwrap()).unwrap();
            write(path, text).unwrap();
        };
        for (place, model, minor, node) in [
            ("0000:c1:00.0", "NVIDIA A100-SXM4-80GB", 1, "2\n"),
            ("0000:17:00.0", "NVIDIA H100 80GB HBM3", 0, "0\n"),
            ("0000:d1:00.0", "NVIDIA L40S", 7, "-1\n"),
            ("0000:e1:00.0", "Tesla T4", 3, "9\n"),
        ] {
            let text = format!("Model: \t\t {model}\nIRQ:   \t\t 18\nDevice Minor: \t {minor}\n");
            put(&format!("proc/driver/nvidia/gpus/{place}/information"), &text);
            put(&format!("sys/bus/pci/devices/{place}/numa_node"), node);
        }
        for minor in [0, 1, 3] {
            put(&format!("dev/nvidia{minor}"), "");
        }
        let gpu = |kind: &str, domain| Gpu { kind: kind.into(), domain };
        assert_eq!(seen(scratch.path(), &host()), [gpu("h100", 0), gpu("a100", 1), gpu("t4", 0)]);
        let kinds = ["mi300".to_owned(), "mi300".to_owned()];
        assert_eq!(told(&kinds, &host()), [gpu("mi300", 0), gpu("mi300", 1)]);
    }

    #[test]
    fn a_kind_is_what_people_call_it() {
        for (model, called) in [
            ("NVIDIA H100 80GB HBM3", "h100"),
            ("NVIDIA GH200 480GB", "gh200"),
            ("Tesla V100-SXM2-16GB", "v100"),
            ("NVIDIA GeForce RTX 4090", "rtx4090"),
            ("NVIDIA GeForce GTX 1080 Ti", "gtx1080"),
            ("NVIDIA RTX A6000", "a6000"),
            ("NVIDIA RTX 6000 Ada Generation", "rtx6000"),
            ("NVIDIA TITAN V", "v"),
            ("", "gpu"),
        ] {
            assert_eq!(kind(model), called, "{model}");
        }
    }
}
