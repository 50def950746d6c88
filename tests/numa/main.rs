//! NUMA for real: guests with several NUMA domains under qemu, in which teams of threads and of ranks fold. Every
//! thread must run on its domain's cores, and every block's pages must lie on the domain that folds it: as Muster's own
//! `--placement` sees it, and as the guest's kernel does (/proc).
//!
//! Where a guest cannot be booted, a line says why, and the test passes over.

mod guest;

use guest::{Domains, Kit, Root, Said, boot, needs, on_path};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

/// A ring road of four domains.
const DISTANCES: [&[u32]; 4] = [&[10, 20, 30, 20], &[20, 10, 20, 30], &[30, 20, 10, 20], &[20, 30, 20, 10]];

/// Two CPUs and as much memory in each.
const EVEN: Domains = Domains { cpus: &[true; 4], memory_mib: &[256; 4], distances: &DISTANCES };

/// Columns of numbers: 32 blocks.
fn csv() -> String {
    let row = |i: u32| format!("{}.5,{}\n", i * 37 % 1009, i.wrapping_mul(2_654_435_761) >> 12);
    "a,b\n".to_owned() + &(0..180_000).map(row).collect::<String>()
}

/// A guest's files, or why there is none.
fn prepare(name: &str, job: &str) -> Option<(Kit, Root)> {
    match Kit::find() {
        Ok(kit) => {
            let root = Root::new(&kit, name, job);
            root.program(Path::new(MUSTER), "muster");
            Some((kit, root))
        }
        Err(why) => {
            eprintln!("passed over: {why}");
            None
        }
    }
}

#[test]
fn threads_and_pages_stay_on_the_domain_that_folds() {
    let job = "
        section topology muster topology --json
        # Without maps of single pieces, each thread's memory is one map, and maps tell threads apart.
        export GLIBC_TUNABLES=glibc.malloc.mmap_max=0
        section generated watched moments --generate normal:400000
        unset GLIBC_TUNABLES
        section csv watched moments /numbers.csv --memory-limit 1M
        section monte-carlo watched monte-carlo --option asian --steps 16 --paths 65536
        . /ranks
    ";
    let Some((kit, root)) = prepare("guest", job) else { return };
    root.write("numbers.csv", &csv());
    let mpi = carry_mpi(&root);
    root.write("ranks", if mpi.is_ok() { RANKS } else { "" });
    let said = boot(&kit, &root, &EVEN);

    let machine = &topology(&said, "topology");
    assert_eq!(machine["real"], true);
    for (id, domain) in machine["domains"].as_array().unwrap().iter().enumerate() {
        assert_eq!(domain["cores"], serde_json::json!([2 * id, 2 * id + 1]), "{machine}");
        assert_eq!(domain["distances"], serde_json::json!(DISTANCES[id]), "{machine}");
        let mib = domain["memory_bytes"].as_u64().unwrap() >> 20;
        assert!((180..=256).contains(&mib), "{mib} MiB in domain {id}: {machine}");
    }
    for name in ["generated", "csv", "monte-carlo"] {
        let pools = judge(&said, name, machine);
        assert_eq!(pools.len(), 4, "one pool for each domain: {pools:?}");
    }
    every_domain_has_the_memory_of_its_threads(said.of("generated"));
    match mpi.and_then(|()| started(&said)) {
        Ok(()) => {
            let pools = judge(&said, "ranks", machine);
            let ranks: BTreeSet<u64> = pools.iter().map(|pool| pool["rank"].as_u64().unwrap()).collect();
            assert_eq!((pools.len(), ranks.len()), (4, 4), "each rank has a domain: {pools:?}");
            let folded = pools.iter().filter(|pool| pool["blocks"] != 0).count();
            assert!(folded >= 2, "{pools:?}");
        }
        Err(why) => eprintln!("passed over: ranks in the guest: {why}"),
    }
}

const RANKS: &str = "
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    section mpirun mpirun -n 1 --mca plm isolated true &&
    section ranks watched moments --generate normal:200000 --ranks 4
";

/// A machine that is not even: a domain without memory, one without CPUs, and a CPU that a cpuset has taken away.
#[test]
fn uneven_domains_and_a_cpuset_are_respected() {
    let job = "
        section whole muster topology --json
        echo +cpuset >/cgroup/cgroup.subtree_control
        mkdir /cgroup/job
        echo 0-2,4-7 >/cgroup/job/cpuset.cpus
        echo $$ >/cgroup/job/cgroup.procs
        section cpuset muster topology --json
        section generated watched moments --generate normal:400000
    ";
    let Some((kit, root)) = prepare("uneven", job) else { return };
    let distances: [&[u32]; 5] = [
        &[10, 20, 30, 30, 50],
        &[20, 10, 30, 30, 50],
        &[30, 30, 10, 15, 50],
        &[30, 30, 15, 10, 40],
        &[50, 50, 50, 40, 10],
    ];
    let domains = Domains {
        cpus: &[true, true, true, true, false],
        memory_mib: &[192, 192, 0, 192, 128],
        distances: &distances,
    };
    let said = boot(&kit, &root, &domains);
    let cores = |machine: &Value| cores(machine).into_values().map(Vec::from_iter).collect::<Vec<_>>();
    assert_eq!(cores(&topology(&said, "whole")), [&[0, 1][..], &[2, 3], &[4, 5], &[6, 7], &[]]);
    let machine = &topology(&said, "cpuset");
    assert_eq!(cores(machine), [&[0, 1][..], &[2], &[4, 5], &[6, 7], &[]], "CPU 3 is gone");
    let memory: Vec<bool> =
        machine["domains"].as_array().unwrap().iter().map(|domain| domain["memory_bytes"] != 0).collect();
    assert_eq!(memory, domains.memory_mib.iter().map(|mib| *mib > 0).collect::<Vec<_>>());
    judge(&said, "generated", machine);
}

fn topology(said: &Said, name: &str) -> Value {
    serde_json::from_str(&said.of(name).concat()).unwrap()
}

/// The CPUs of each domain.
fn cores(machine: &Value) -> BTreeMap<u64, BTreeSet<u64>> {
    let domains = machine["domains"].as_array().unwrap();
    domains.iter().map(|domain| (domain["id"].as_u64().unwrap(), numbers(&domain["cores"]))).collect()
}

/// The domain on which memory of each lies: itself, or the nearest that has any.
fn homes(machine: &Value) -> BTreeMap<u64, u64> {
    let domains = machine["domains"].as_array().unwrap();
    let far = |from: &Value, to: &Value| from["distances"][to["id"].as_u64().unwrap() as usize].as_u64();
    let home = |domain: &Value| {
        let some = domains.iter().filter(|other| other["memory_bytes"] != 0);
        some.min_by_key(|other| far(domain, other)).unwrap()["id"].as_u64().unwrap()
    };
    domains.iter().map(|domain| (domain["id"].as_u64().unwrap(), home(domain))).collect()
}

fn numbers(list: &Value) -> BTreeSet<u64> {
    list.as_array().unwrap().iter().map(|number| number.as_u64().unwrap()).collect()
}

/// Checks the pools of a section, and returns them: each on the cores of its domain, and each thread bound to a CPU of
/// its own and seen there alone, by itself and by the guest's kernel; all pages on the domain, or the nearest that has
/// memory.
fn judge(said: &Said, name: &str, machine: &Value) -> Vec<Value> {
    let lines = said.of(name);
    let told = |what: &str, thread: &str| -> BTreeSet<String> {
        let start = format!("{what} {thread} ");
        lines.iter().filter_map(|line| line.strip_prefix(&start[..])).map(str::to_owned).collect()
    };
    let event = lines.iter().find(|line| line.starts_with(r#"{"event":"placement""#));
    let event: Value = serde_json::from_str(event.expect("--placement tells")).unwrap();
    let pools = event["pools"].as_array().unwrap();
    let processes: BTreeSet<u64> = pools.iter().map(|pool| pool["pid"].as_u64().unwrap()).collect();
    let cores = &cores(machine);
    let memory = homes(machine);
    for pool in pools {
        let domain = pool["domain"].as_u64().unwrap();
        assert_eq!(numbers(&pool["cpus"]), cores[&domain], "{pool}");
        let threads = pool["threads"].as_array().unwrap();
        assert!(threads.len() <= cores[&domain].len(), "{pool}");
        // Threads of one process have the same start; a rank may be so late that the others have done all.
        if threads.is_empty() && processes.len() > 1 {
            continue;
        }
        for thread in threads {
            let bound = numbers(&thread["bound"]);
            assert!(bound.len() == 1 && bound.is_subset(&cores[&domain]), "{thread} in {pool}");
            assert_eq!(thread["ran_on"], thread["bound"], "{pool}");
            let (number, cpu) = (thread["thread"].to_string(), thread["bound"][0].to_string());
            // The kernel was asked when the first block was done. A rank may not have had its threads yet.
            for told in [told("allowed", &number), told("last", &number)] {
                let late = told.is_empty() && processes.len() > 1;
                assert!(late || told.iter().eq([&cpu]), "{number} on {told:?} in {pool}\n{lines:?}");
            }
        }
        assert_eq!(pool["untold"], Value::Null);
        let on: Vec<u64> = pool["pages"].as_object().unwrap().keys().map(|on| on.parse().unwrap()).collect();
        assert_eq!(on, [memory[&domain]], "pages away from home: {pool}\n{name}: {}", lines.join("\n"));
    }
    let cpus: usize = cores.values().map(BTreeSet::len).sum();
    assert_eq!(pools.iter().map(|pool| numbers(&pool["cpus"]).len()).sum::<usize>(), cpus, "{pools:?}");
    pools.clone()
}

/// Checks what the guest's kernel says of the memory of a process in which each thread has a map of its own: the maps
/// of at least as many threads as a domain has lie there, whole.
fn every_domain_has_the_memory_of_its_threads(lines: &[String]) {
    let maps = lines.iter().filter_map(|line| line.strip_prefix("map ")).filter(|map| !map.contains(" heap"));
    let mut whole = BTreeMap::<&str, usize>::new();
    for map in maps {
        let on = |word: &'_ str| -> Option<(usize, usize)> {
            let (domain, pages) = word.strip_prefix('N')?.split_once('=')?;
            Some((domain.parse().ok()?, pages.parse().ok()?))
        };
        let pages: Vec<(usize, usize)> = map.split(' ').filter_map(on).collect();
        if let [(domain, pages)] = pages[..]
            && pages >= 8
        {
            *whole.entry(["0", "1", "2", "3"][domain]).or_default() += 1;
        }
    }
    assert!(whole.len() == 4 && whole.values().all(|&maps| maps >= 2), "{whole:?} in\n{}", lines.join("\n"));
}

/// Whether mpirun itself starts in the guest.
fn started(said: &Said) -> Result<(), String> {
    match said.get("mpirun") {
        Some(section) if section.code == Some(0) => Ok(()),
        section => Err(format!("mpirun does not start there: {section:?}")),
    }
}

/// Carries the rank program and Open MPI 4 into the guest: its launcher, its plug-ins but those for fabrics, and the
/// plug-ins of PMIx.
///
/// # Errors
/// Why it cannot be.
fn carry_mpi(root: &Root) -> Result<(), String> {
    let rank = Path::new(MUSTER).with_file_name("muster-rank");
    if !rank.exists() {
        return Err("no muster-rank here".into());
    }
    let output = |program: &str, word: &str| {
        let mut command = Command::new(program);
        let run = command.arg(word).arg(if program == "ompi_info" { "pkglibdir" } else { "" }).output();
        run.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default()
    };
    let launchers = [on_path("mpirun").ok_or("no mpirun here")?, on_path("orted").ok_or("no orted here")?];
    if !output("mpirun", "--version").contains("Open MPI) 4.") {
        return Err("only Open MPI 4 is carried".into());
    }
    let described = output("ompi_info", "--path");
    let plugins = described.split_whitespace().find(|word| word.starts_with('/')).ok_or("no ompi_info")?;
    root.program(&rank, "muster-rank");
    // At their places: mpirun looks for what belongs to it from there.
    root.carry(launchers.iter().map(PathBuf::as_path));
    let mut libraries = needs(plugins_of(plugins).iter().map(PathBuf::as_path));
    let pmix = libraries.values().flatten().find(|library| library.to_string_lossy().contains("libpmix"));
    if let Some(library) = pmix.and_then(|library| std::fs::canonicalize(library).ok()) {
        let folder = library.parent().expect("a file has a folder").join("pmix");
        libraries.extend(needs(plugins_of(folder).iter().map(PathBuf::as_path)));
    }
    let fabrics = ["fabric", "libuc", "psm", "ibverbs", "rdmacm", "infinipath", "oshmem"];
    let of_fabric = |library: &PathBuf| fabrics.iter().any(|name| library.to_string_lossy().contains(name));
    let mine = libraries.iter().filter(|(_, needed)| !needed.iter().any(of_fabric));
    root.carry(mine.map(|(file, _)| file.as_path()));
    Ok(())
}

fn plugins_of(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "so")).collect()
}
