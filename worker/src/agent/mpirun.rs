//! What lets a user's `mpirun` find the hosts of its job and start its daemons there, with no flags: variables of the job,
//! and a file with its hosts where those may change under a script.
//!
//! Part of step 7 of a job's way (DESIGN section 4). What the user has set stays.

use super::guise::User;
use super::jobs;
use muster_core::protocol::stamp::AttemptId;
use std::fs::DirBuilder;
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Interfaces of containers and guests: nothing on another host is behind them.
const INNER: [&str; 6] = ["docker", "br-", "virbr", "veth", "cni", "podman"];

/// The variables that Open MPI 4 and 5 read, for a job of several hosts; `program` is this muster, and `networks` names
/// the networks between them, comma-separated, where they are known.
pub(super) fn variables(program: &Path, networks: Option<&str>) -> Vec<(&'static str, String)> {
    let agent = format!("{} launch", program.display());
    let mut out: Vec<(&str, String)> = [
        // Where a job's variables name several hosts, Open MPI 4 would reach for srun; as Slurm's it still reads them.
        ("OMPI_MCA_plm", "rsh"),
        ("OMPI_MCA_plm_rsh_agent", &agent),
        ("OMPI_MCA_plm_rsh_no_tree_spawn", "1"),
        // A daemon that forks away would leave its job.
        ("OMPI_MCA_orte_leave_session_attached", "1"),
        // A host that is lost is noticed within seconds instead of never.
        ("OMPI_MCA_oob_tcp_keepalive_time", "2"),
        ("OMPI_MCA_oob_tcp_keepalive_intvl", "1"),
        ("OMPI_MCA_oob_tcp_keepalive_probes", "3"),
        ("PRTE_MCA_plm", "ssh"),
        ("PRTE_MCA_plm_ssh_agent", &agent),
        ("PRTE_MCA_plm_ssh_no_tree_spawn", "1"),
        ("PRTE_MCA_prte_leave_session_attached", "1"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .to_vec();
    if rustix::process::getuid().is_root() {
        // Whoever runs a pool as root wants its jobs to run as root.
        let root = ["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"];
        let newer = ["PRTE_ALLOW_RUN_AS_ROOT", "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM"];
        out.extend(root.into_iter().chain(newer).map(|name| (name, "1".to_owned())));
    }
    for name in [
        "OMPI_MCA_oob_tcp_if_include",
        "OMPI_MCA_btl_tcp_if_include",
        "PRTE_MCA_prte_if_include",
        "PMIX_MCA_ptl_tcp_if_include",
    ] {
        out.extend(networks.map(|networks| (name, networks.to_owned())));
    }
    out
}

/// The variable that names the file with the hosts of a script whose kernel steps may have more of them, or fewer.
pub(crate) const HOSTS_FILE: &str = "MUSTER_HOSTS";

/// That file, in the attempt's own folder.
pub(super) fn hosts_file(state: &Path, id: AttemptId) -> PathBuf {
    jobs::folder(state, id).join("hosts")
}

/// Writes it first, for the user of the job.
///
/// # Errors
/// When it cannot be written.
pub(super) fn lay_hosts<'a>(
    path: &Path,
    (user, hosts): (Option<User>, impl Iterator<Item = (&'a str, u32)>),
) -> std::io::Result<()> {
    let write = || {
        let folder = path.parent().unwrap_or(path);
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        write_hosts(path, hosts)
    };
    // In many users' pool the folder is there, and the user's.
    match user {
        Some(user) => user.act(write)?,
        None => write(),
    }
}

/// Writes it anew: hosts by name, and how many tasks each has.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write_hosts<'a>(
    path: &Path,
    hosts: impl Iterator<Item = (&'a str, u32)>,
) -> std::io::Result<()> {
    let lines: String = hosts.map(|(name, tasks)| format!("{name} slots={}\n", tasks.max(1))).collect();
    let beside = path.with_file_name(format!(".hosts-{}", std::process::id()));
    std::fs::write(&beside, lines)?;
    std::fs::rename(&beside, path)
}

/// The variables by which Open MPI 4 and 5 read the hosts from that file, and not from what the job was given first.
pub(super) const BY_FILE: [&str; 4] =
    ["OMPI_MCA_orte_default_hostfile", "PRTE_MCA_prte_default_hostfile", "OMPI_MCA_ras", "PRTE_MCA_ras"];

/// Those, and what names the file.
pub(super) fn from_file(path: &Path) -> impl Iterator<Item = (&'static str, String)> {
    let path = path.display().to_string();
    let values = [path.clone(), path.clone(), "^slurm".into(), "^slurm".into()];
    std::iter::once((HOSTS_FILE, path)).chain(BY_FILE.into_iter().zip(values))
}

/// The private networks that this host is on by an interface of its own; none when there is none.
pub(super) fn networks() -> Option<String> {
    let text = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    let all = private(&text);
    (!all.is_empty()).then(|| all.join(","))
}

/// The private networks of a table of routes as Linux prints it, each once.
fn private(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [interface, to, gateway, _, _, _, _, mask, ..] = fields[..] else { continue };
        // The bytes of an address lie in the number as they lie in memory.
        let address = |hex: &str| u32::from_str_radix(hex, 16).ok().map(|n| Ipv4Addr::from(n.to_ne_bytes()));
        let (Some(to), Some(mask)) = (address(to), address(mask)) else { continue };
        let direct = gateway == "00000000" && !INNER.iter().any(|inner| interface.starts_with(inner));
        let network = format!("{to}/{}", u32::from(mask).count_ones());
        if direct && to.is_private() && !out.contains(&network) {
            out.push(network);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn private_networks_are_read_from_routes() {
        let text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
            eth0\t0000000A\t00000000\t0001\t0\t0\t9\t00FFFFFF\t0\t0\t0\n\
            docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
            eth1\t08080808\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
            ib0\t00A8A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        assert_eq!(private(text), ["10.0.0.0/24", "192.168.168.0/24"]);
    }
}
