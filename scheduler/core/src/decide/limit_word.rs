//! Slurm's words for limits of accounts and QOS that are in a job's way.

use crate::share::check::{Level, Limit, Obstacle, Scope};
use crate::share::resource::Resource;

/// Slurm's word for a limit that is in the way: `AssocGrpCpuLimit`, `QOSMaxJobsPerUserLimit`.
pub(super) fn word(obstacle: &Obstacle) -> &'static str {
    match obstacle.level {
        Level::Qos(_) => of_qos(obstacle.scope, obstacle.limit),
        Level::User(_) | Level::Account(_) => of_association(obstacle.scope, obstacle.limit),
    }
}

fn of_qos(scope: Scope, limit: Limit) -> &'static str {
    use Resource::{Cpus, Gpus, Hosts, Memory};
    match (scope, limit) {
        (Scope::Total, Limit::Jobs) => "QOSGrpJobsLimit",
        (Scope::Total, Limit::Submitted) => "QOSGrpSubmitJobsLimit",
        (Scope::Total, Limit::Amount(Cpus)) => "QOSGrpCpuLimit",
        (Scope::Total, Limit::Amount(Gpus)) => "QOSGrpGRES",
        (Scope::Total, Limit::Amount(Memory)) => "QOSGrpMemLimit",
        (Scope::Total, Limit::Amount(Hosts)) => "QOSGrpNodeLimit",
        (Scope::Total, Limit::Minutes(Cpus)) => "QOSGrpCPUMinutesLimit",
        (Scope::Total, Limit::RunMinutes(Cpus)) => "QOSGrpCPURunMinutesLimit",
        (Scope::Total, Limit::Minutes(_)) => "QOSGrpGRESMinutes",
        (Scope::Total, Limit::RunMinutes(_)) => "QOSGrpGRESRunMinutes",
        (Scope::Total, Limit::Wall | Limit::WallMinutes) => "QOSGrpWallLimit",
        (Scope::User, Limit::Jobs) => "QOSMaxJobsPerUserLimit",
        (Scope::User, Limit::Submitted) => "QOSMaxSubmitJobPerUserLimit",
        (Scope::User, Limit::Amount(Cpus)) => "QOSMaxCpuPerUserLimit",
        (Scope::User, Limit::Amount(Gpus)) => "QOSMaxGRESPerUser",
        (Scope::User, Limit::Amount(Memory)) => "QOSMaxMemoryPerUser",
        (Scope::User, Limit::Amount(Hosts)) => "QOSMaxNodePerUserLimit",
        (Scope::Account, Limit::Jobs) => "MaxJobsPerAccount",
        (Scope::Account, Limit::Submitted) => "MaxSubmitJobsPerAccount",
        (Scope::Account, Limit::Amount(Cpus)) => "MaxCpuPerAccount",
        (Scope::Account, Limit::Amount(Gpus)) => "MaxGRESPerAccount",
        (Scope::Account, Limit::Amount(Memory)) => "MaxMemoryPerAccount",
        (Scope::Account, Limit::Amount(Hosts)) => "MaxNodePerAccount",
        (Scope::Job, Limit::Amount(Cpus)) => "QOSMaxCpuPerJobLimit",
        (Scope::Job, Limit::Amount(Gpus)) => "QOSMaxGRESPerJob",
        (Scope::Job, Limit::Amount(Memory)) => "QOSMaxMemoryPerJob",
        (Scope::Job, Limit::Amount(Hosts)) => "QOSMaxNodePerJobLimit",
        (_, Limit::AtLeast(Cpus)) => "QOSMinCpuNotSatisfied",
        (_, Limit::AtLeast(Gpus)) => "QOSMinGRES",
        (_, Limit::AtLeast(Memory)) => "QOSMinMemory",
        (_, Limit::AtLeast(Hosts)) => "QOSMinNode",
        (_, Limit::Minutes(_) | Limit::RunMinutes(_)) => "QOSMaxCpuMinutesPerJobLimit",
        (_, Limit::Wall | Limit::WallMinutes) => "QOSMaxWallDurationPerJobLimit",
        (Scope::Job, Limit::Jobs | Limit::Submitted) => "QOSJobLimit",
    }
}

fn of_association(scope: Scope, limit: Limit) -> &'static str {
    use Resource::{Cpus, Gpus, Hosts, Memory};
    match (scope, limit) {
        (Scope::Total, Limit::Jobs) => "AssocGrpJobsLimit",
        (Scope::Total, Limit::Submitted) => "AssocGrpSubmitJobsLimit",
        (Scope::Total, Limit::Amount(Cpus)) => "AssocGrpCpuLimit",
        (Scope::Total, Limit::Amount(Gpus)) => "AssocGrpGRES",
        (Scope::Total, Limit::Amount(Memory)) => "AssocGrpMemLimit",
        (Scope::Total, Limit::Amount(Hosts)) => "AssocGrpNodeLimit",
        (Scope::Total, Limit::Minutes(Cpus)) => "AssocGrpCPUMinutesLimit",
        (Scope::Total, Limit::RunMinutes(Cpus)) => "AssocGrpCPURunMinutesLimit",
        (Scope::Total, Limit::Minutes(_)) => "AssocGrpGRESMinutes",
        (Scope::Total, Limit::RunMinutes(_)) => "AssocGrpGRESRunMinutes",
        (Scope::Total, Limit::Wall | Limit::WallMinutes) => "AssocGrpWallLimit",
        (_, Limit::Jobs) => "AssocMaxJobsLimit",
        (_, Limit::Submitted) => "AssocMaxSubmitJobLimit",
        (_, Limit::Amount(Cpus)) => "AssocMaxCpuPerJobLimit",
        (_, Limit::Amount(Gpus)) => "AssocMaxGRESPerJob",
        (_, Limit::Amount(Memory)) => "AssocMaxMemPerJob",
        (_, Limit::Amount(Hosts)) => "AssocMaxNodePerJobLimit",
        (_, Limit::Minutes(_) | Limit::RunMinutes(_)) => "AssocMaxCpuMinutesPerJobLimit",
        (_, Limit::Wall | Limit::WallMinutes) => "AssocMaxWallDurationPerJobLimit",
        (_, Limit::AtLeast(_)) => "AssociationJobLimit",
    }
}
