//! `muster doctor`: which cards, drivers and libraries are on this host, and why one is not used.

use muster_kernels::Simd;
use muster_kernels::gpu::{Survey, survey};
use muster_worker::topology::machine;
use serde::Serialize;
use std::process::ExitCode;

/// How to show it.
#[derive(clap::Args)]
#[command(after_help = "\
Nothing of CUDA is needed to build or to run on CPUs. For GPUs, NVIDIA's driver has to be installed (libcuda.so.1), and \
NVRTC (libnvrtc.so, of the CUDA toolkit or the PyPI package nvidia-cuda-nvrtc) the first time a kernel runs on a card of \
an architecture; later its code comes from the cache.")]
pub(crate) struct DoctorArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Serialize)]
struct Report {
    version: &'static str,
    /// Cores that teams are planned over; none where the topology cannot be read.
    cores: Option<usize>,
    /// Vector instructions, the best first.
    simd: Vec<&'static str>,
    gpu: Survey,
}

pub(crate) fn run(args: &DoctorArgs) -> ExitCode {
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        cores: machine().ok().map(|machine| machine.domains.iter().map(|domain| domain.cores.len()).sum()),
        simd: Simd::all().iter().map(|level| level.name()).collect(),
        gpu: survey(),
    };
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(&report).expect("a report encodes")),
        false => print!("{}", text(&report)),
    }
    ExitCode::SUCCESS
}

fn text(report: &Report) -> String {
    let cores = report.cores.map_or_else(|| "cannot be counted".to_owned(), |cores| cores.to_string());
    let simd = match report.simd.is_empty() {
        true => "none with fused multiply-add: kernels of the class portable-f64 do not run here".to_owned(),
        false => report.simd.join(", "),
    };
    format!("muster       {}\ncores        {cores}\nvectors      {simd}\n{}", report.version, report.gpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_a_card_is_in_order() {
        let report =
            Report { version: "1", cores: Some(2), simd: vec!["avx2", "scalar"], gpu: Survey::default() };
        let told = text(&report);
        assert!(told.starts_with("muster       1\ncores        2\nvectors      avx2, scalar\n"), "{told}");
        assert!(told.contains("GPU          none: kernels run on CPUs"), "{told}");
    }
}
