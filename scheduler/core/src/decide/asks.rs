//! What a jobspec asks of the cluster, in the words of the cluster: its request in one partition.

use crate::cluster::{
    Constraint, ConstraintError, Gpus, Layout, Only, Per, Request, ReservationId, Sharing, Tasks,
};
use crate::jobspec::{Gres, GresPer, JobSpec};
use thiserror::Error;

/// Why a jobspec is no request.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AskError {
    /// Its constraint cannot be read.
    #[error("--constraint: {0}")]
    Constraint(ConstraintError),
    /// Devices that no host can have.
    #[error("there are no devices called {0:?}: only gpu is known")]
    UnknownGres(String),
    /// Devices that are asked for in two ways.
    #[error("GPUs are asked for {count} times: ask for them once, per host, per task or for the job")]
    SeveralGres {
        /// How often.
        count: usize,
    },
}

/// The request of a jobspec in a partition, and in the reservation that it names.
///
/// # Errors
///
/// Everything that makes it none.
pub fn request(
    spec: &JobSpec,
    partition: &str,
    reservation: Option<ReservationId>,
) -> Result<Request, Vec<AskError>> {
    let mut errors = Vec::new();
    let constraint = match spec.needs.constraint.as_deref().map(Constraint::parse) {
        None => Constraint::default(),
        Some(Ok(constraint)) => constraint,
        Some(Err(error)) => {
            errors.push(AskError::Constraint(error));
            Constraint::default()
        }
    };
    let unknown = spec.needs.gres.iter().filter(|gres| gres.name != "gpu");
    errors.extend(unknown.map(|gres| AskError::UnknownGres(gres.name.clone())));
    let gpus: Vec<&Gres> =
        spec.needs.gres.iter().filter(|gres| gres.name == "gpu" && gres.count > 0).collect();
    if gpus.len() > 1 {
        errors.push(AskError::SeveralGres { count: gpus.len() });
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let names = |list: &[String]| list.iter().cloned().collect();
    Ok(Request {
        hosts_min: spec.size.nodes,
        hosts_max: spec.size.most_nodes(),
        tasks: tasks(spec),
        cpus_per_task: spec.size.cpus_per_task.unwrap_or(1),
        memory: spec.size.memory,
        gpus: gpus.first().map(|gres| self::gpus(gres)),
        licences: spec.needs.licences.iter().cloned().collect(),
        sharing: if spec.needs.exclusive { Sharing::Exclusive } else { Sharing::Shared },
        layout: if spec.needs.spread { Layout::Spread } else { Layout::Pack },
        only: Only {
            partition: Some(partition.to_owned()),
            constraint,
            labels: names(&spec.needs.labels),
            include: names(&spec.needs.include),
            exclude: names(&spec.needs.exclude),
            reservation,
        },
    })
}

/// Without a number of tasks, there is one on each host.
fn tasks(spec: &JobSpec) -> Tasks {
    match (spec.size.ntasks, spec.size.ntasks_per_node) {
        (Some(count), most_per_host) => Tasks::Total { count, most_per_host },
        (None, per_host) => Tasks::PerHost(per_host.unwrap_or(1)),
    }
}

fn gpus(gres: &Gres) -> Gpus {
    let per = match gres.per {
        GresPer::Host => Per::Host,
        GresPer::Task => Per::Task,
        GresPer::Job => Per::Job,
    };
    Gpus { kind: gres.kind.clone(), count: gres.count, per }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobspec::Size;

    fn gres(name: &str, count: u32) -> Gres {
        Gres { name: name.into(), kind: None, count, per: GresPer::Task }
    }

    #[test]
    fn sizes_are_tasks_and_hosts() {
        let of = |size: Size| {
            let request = request(&JobSpec { size, ..JobSpec::named("j") }, "p", None).expect("a request");
            (request.hosts_min, request.hosts_max, request.tasks, request.cpus_per_task)
        };
        let total = |count, most_per_host| Tasks::Total { count, most_per_host };
        let none = Size::default();
        assert_eq!(of(none.clone()), (1, 1, Tasks::PerHost(1), 1));
        assert_eq!(
            of(Size { ntasks: Some(8), cpus_per_task: Some(2), ..none.clone() }),
            (1, 8, total(8, None), 2)
        );
        let two =
            Size { nodes: 2, max_nodes: Some(2), ntasks: Some(8), ntasks_per_node: Some(4), ..none.clone() };
        assert_eq!(of(two), (2, 2, total(8, Some(4)), 1));
        assert_eq!(
            of(Size { nodes: 3, ntasks_per_node: Some(4), ..none.clone() }),
            (3, 3, Tasks::PerHost(4), 1)
        );
        assert_eq!(of(Size { nodes: 2, max_nodes: Some(9), ..none }), (2, 9, Tasks::PerHost(1), 1));
    }

    #[test]
    fn all_that_is_wrong_is_said() {
        let mut spec = JobSpec::named("j");
        spec.needs.constraint = Some("a&".into());
        spec.needs.gres = vec![gres("fpga", 1), gres("gpu", 1), gres("gpu", 2)];
        let errors = request(&spec, "p", None).expect_err("three mistakes");
        assert_eq!(errors.len(), 3, "{errors:?}");
        spec.needs.constraint = Some("a&b".into());
        spec.needs.gres = vec![gres("gpu", 0), gres("gpu", 2)];
        let gpus = request(&spec, "p", None).expect("a request").gpus;
        assert_eq!(gpus, Some(Gpus { kind: None, count: 2, per: Per::Task }));
    }
}
