//! What Muster makes of machines that are not this one: described to hwloc, planned over, told of.

use serde_json::{Value, json};
use std::process::{Command, Output};

/// Two domains, not alike: two cores and 3 GiB, one core of two CPUs and 5 GiB.
const XML: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE topology SYSTEM "hwloc2.dtd">
<topology version="2.0">
 <object type="Machine" os_index="0" cpuset="0xf" complete_cpuset="0xf" allowed_cpuset="0xf" nodeset="0x3" complete_nodeset="0x3" allowed_nodeset="0x3" gp_index="1">
  <object type="Package" os_index="0" cpuset="0x3" complete_cpuset="0x3" nodeset="0x1" complete_nodeset="0x1" gp_index="2">
   <object type="NUMANode" os_index="0" cpuset="0x3" complete_cpuset="0x3" nodeset="0x1" complete_nodeset="0x1" gp_index="3" local_memory="3221225472"/>
   <object type="Core" os_index="0" cpuset="0x1" complete_cpuset="0x1" nodeset="0x1" complete_nodeset="0x1" gp_index="4">
    <object type="PU" os_index="0" cpuset="0x1" complete_cpuset="0x1" nodeset="0x1" complete_nodeset="0x1" gp_index="5"/>
   </object>
   <object type="Core" os_index="1" cpuset="0x2" complete_cpuset="0x2" nodeset="0x1" complete_nodeset="0x1" gp_index="6">
    <object type="PU" os_index="1" cpuset="0x2" complete_cpuset="0x2" nodeset="0x1" complete_nodeset="0x1" gp_index="7"/>
   </object>
  </object>
  <object type="Package" os_index="1" cpuset="0xc" complete_cpuset="0xc" nodeset="0x2" complete_nodeset="0x2" gp_index="8">
   <object type="NUMANode" os_index="1" cpuset="0xc" complete_cpuset="0xc" nodeset="0x2" complete_nodeset="0x2" gp_index="9" local_memory="5368709120"/>
   <object type="Core" os_index="0" cpuset="0xc" complete_cpuset="0xc" nodeset="0x2" complete_nodeset="0x2" gp_index="10">
    <object type="PU" os_index="2" cpuset="0x4" complete_cpuset="0x4" nodeset="0x2" complete_nodeset="0x2" gp_index="11"/>
    <object type="PU" os_index="3" cpuset="0x8" complete_cpuset="0x8" nodeset="0x2" complete_nodeset="0x2" gp_index="12"/>
   </object>
  </object>
 </object>
 <distances2 type="NUMANode" nbobjs="2" kind="5" name="NUMALatency" indexing="os">
  <indexes length="4">0 1 </indexes>
  <u64values length="12">10 21 21 10 </u64values>
 </distances2>
</topology>
"#;

fn muster(words: &str, variable: &str, value: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    for name in
        ["HWLOC_SYNTHETIC", "HWLOC_XMLFILE", "HWLOC_THISSYSTEM", "SLURM_NTASKS", "SLURM_CPUS_PER_TASK"]
    {
        command.env_remove(name);
    }
    command.args(words.split_whitespace()).env(variable, value).output().unwrap()
}

/// Whether this build asks hwloc.
fn hwloc() -> bool {
    let there = cfg!(feature = "hwloc");
    if !there {
        eprintln!("passed over: a build without hwloc knows no described machines");
    }
    there
}

fn machine(variable: &str, value: &str) -> Value {
    let output = muster("topology --json", variable, value);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

/// The domain, the CPUs and the threads that folded, of each pool.
fn pools(variable: &str, value: &str, more: &str) -> Vec<(u64, Value, usize)> {
    let words =
        format!("kernel moments --generate normal:400000 --no-ledger --progress json --placement {more}");
    let output = muster(&words, variable, value);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let line =
        said.lines().find(|line| line.contains(r#""event":"placement""#)).unwrap_or_else(|| panic!("{said}"));
    let event: Value = serde_json::from_str(line).unwrap();
    let pool = |pool: &Value| {
        let threads = pool["threads"].as_array().unwrap().len();
        (pool["domain"].as_u64().unwrap(), pool["cpus"].clone(), threads)
    };
    event["pools"].as_array().unwrap().iter().map(pool).collect()
}

#[test]
fn a_synthetic_machine_is_planned_over() {
    if !hwloc() {
        return;
    }
    let synthetic = "numa:4(memory=1073741824) core:2 pu:2";
    let machine = machine("HWLOC_SYNTHETIC", synthetic);
    assert_eq!(machine["real"], false);
    for (id, domain) in machine["domains"].as_array().unwrap().iter().enumerate() {
        assert_eq!(domain["cores"], json!([4 * id, 4 * id + 2]), "one CPU for each core");
        assert_eq!(domain["memory_bytes"], 1u64 << 30);
    }
    let planned: Vec<_> = pools("HWLOC_SYNTHETIC", synthetic, "").into_iter().map(|p| (p.0, p.1)).collect();
    let wanted: Vec<_> = (0..4).map(|id| (id, json!([4 * id, 4 * id + 2]))).collect();
    assert_eq!(planned, wanted);
    // The limit of a rank is shared by its threads: eight of them need 64 KiB each.
    let limit = |words: &str| {
        muster(
            &format!("kernel moments --generate normal:9 --no-ledger {words}"),
            "HWLOC_SYNTHETIC",
            synthetic,
        )
    };
    assert!(limit("--memory-limit 512K").status.success());
    let small = limit("--memory-limit 511K");
    let said = String::from_utf8_lossy(&small.stderr).into_owned();
    assert!(said.contains("too small for 8 threads: at least 512K"), "{said}");
}

#[test]
fn a_machine_in_xml_is_planned_over() {
    if !hwloc() {
        return;
    }
    let path =
        std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("two-{}.xml", std::process::id()));
    std::fs::write(&path, XML).unwrap();
    let file = path.to_str().unwrap();
    let machine = machine("HWLOC_XMLFILE", file);
    let domain = |id: u64, cores: Value, memory: u64, distances: Value| json!({ "id": id, "cores": cores, "memory_bytes": memory, "distances": distances });
    let domains =
        [domain(0, json!([0, 1]), 3 << 30, json!([10, 21])), domain(1, json!([2]), 5 << 30, json!([21, 10]))];
    assert_eq!(machine, json!({ "real": false, "domains": domains }));
    let planned = pools("HWLOC_XMLFILE", file, "--ranks 3 --team threads");
    let wanted: Vec<_> = [(0, json!([0])), (0, json!([1])), (1, json!([2]))].into();
    assert_eq!(planned.into_iter().map(|p| (p.0, p.1)).collect::<Vec<_>>(), wanted);
    let text = muster("topology", "HWLOC_XMLFILE", file);
    std::fs::remove_file(&path).unwrap();
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("     1      1  2       5120 MiB               21  10"), "{text}");
}

#[test]
fn a_description_that_cannot_be_read_is_refused() {
    if !hwloc() {
        return;
    }
    for (variable, value) in [("HWLOC_SYNTHETIC", "numa:none"), ("HWLOC_XMLFILE", "nosuch.xml")] {
        for words in ["topology", "kernel moments --generate normal:9 --no-ledger"] {
            let output = muster(words, variable, value);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(
                said.contains(&format!("hwloc cannot read the machine that {variable} describes")),
                "{said}"
            );
        }
    }
}

/// The domains of this machine, the two ways that Muster is built.
#[test]
fn this_machine_is_told() {
    let output = muster("topology --json", "HWLOC_SYNTHETIC", "");
    let machine: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    assert_eq!(machine["real"], true);
    let domains = machine["domains"].as_array().unwrap();
    assert!(domains.iter().any(|domain| !domain["cores"].as_array().unwrap().is_empty()), "{machine}");
}
