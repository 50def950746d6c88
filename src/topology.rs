//! `muster topology`: the NUMA domains that teams are planned over.

use muster_worker::placement::list;
use muster_worker::topology::{Machine, machine};
use std::fmt::Write;
use std::process::ExitCode;

/// How to show it.
#[derive(clap::Args)]
#[command(after_help = "\
Cores are those that this process may use, one CPU for each; a team has a pool of threads on each domain that has any. \
HWLOC_SYNTHETIC and HWLOC_XMLFILE describe another machine in hwloc's formats; teams are then planned over it, and \
their threads are not bound. `muster kernel --placement` tells where threads ran and memory lay.")]
pub(crate) struct TopologyArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &TopologyArgs) -> ExitCode {
    match machine() {
        Ok(machine) if args.json => {
            println!("{}", serde_json::to_string_pretty(&machine).expect("a machine encodes"));
            ExitCode::SUCCESS
        }
        Ok(machine) => {
            print!("{}", text(&machine));
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("muster: error: {why}");
            ExitCode::FAILURE
        }
    }
}

/// A row for each domain.
fn text(machine: &Machine) -> String {
    let ids: Vec<String> = machine.domains.iter().map(|d| format!("{:>4}", d.id)).collect();
    let cpus = |cores: &[u32]| {
        if cores.is_empty() { "-".into() } else { list(&cores.iter().copied().collect()) }
    };
    let width = machine.domains.iter().map(|d| cpus(&d.cores).len()).max().unwrap_or(0).max(4);
    let told = machine.domains.iter().any(|d| !d.distances.is_empty());
    let far = if told { format!("  distance to{}", ids.concat()) } else { String::new() };
    let mut out = format!("domain  cores  {:<width$}      memory{far}\n", "CPUs");
    for domain in &machine.domains {
        let far: Vec<String> = domain.distances.iter().map(|d| format!("{d:>4}")).collect();
        let row = format!(
            "{:>6}  {:>5}  {:<width$}  {:>10}             {}",
            domain.id,
            domain.cores.len(),
            cpus(&domain.cores),
            memory(domain.memory_bytes),
            far.concat()
        );
        let _ = writeln!(out, "{}", row.trim_end());
    }
    if !machine.real {
        out += "This machine is described by HWLOC_SYNTHETIC or HWLOC_XMLFILE: threads are not bound.\n";
    }
    out
}

/// `12.3 GiB`, `248 MiB`, `none`.
fn memory(bytes: u64) -> String {
    match bytes {
        0 => "none".into(),
        b if b < 10 << 30 => format!("{} MiB", b >> 20),
        b => format!("{:.1} GiB", b as f64 / (1u64 << 30) as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_worker::topology::Domain;

    #[test]
    fn a_machine_is_a_table() {
        let domain = |id, cores: &[u32], memory_bytes, distances: &[u64]| Domain {
            id,
            cores: cores.to_vec(),
            memory_bytes,
            distances: distances.to_vec(),
        };
        let mut domains =
            vec![domain(0, &[0, 1, 2, 3], 64 << 30, &[10, 21]), domain(2, &[], 1 << 28, &[21, 10])];
        domains.push(domain(3, &[8], 0, &[]));
        let wanted = "\
domain  cores  CPUs      memory  distance to   0   2   3
     0      4  0-3     64.0 GiB               10  21
     2      0  -        256 MiB               21  10
     3      1  8           none
This machine is described by HWLOC_SYNTHETIC or HWLOC_XMLFILE: threads are not bound.
";
        assert_eq!(text(&Machine { real: false, domains }), wanted);
    }
}
