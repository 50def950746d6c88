//! Numbers by which policy and hosts know jobs: functions of the job alone, so that they are the same after a restart.

use crate::job::id::{JobId, RunId};
use crate::job::{Body, Job};
use crate::policy::machine::Running;
use crate::policy::queue::Waiting;

/// The bits of a partition's place among those that a job names.
const PARTITION_BITS: u32 = 8;
/// The bits of an element's place in its array, from 1; 0 for a job that is none, or for all alike elements.
const PLACE_BITS: u32 = 24;

/// The number under which a run holds hosts, of a job or of the element at a place.
pub fn running(job: JobId, place: Option<u32>) -> Running {
    Running(u64::from(job.0) << 32 | place.map_or(0, |place| u64::from(place) + 1))
}

/// What holds hosts under a number; none when there is no such job.
pub fn run_of<'a>(running: Running, job: impl Fn(JobId) -> Option<&'a Job>) -> Option<RunId> {
    let id = JobId((running.0 >> 32) as u32);
    let element = match (running.0 as u32, job(id)?.body()) {
        (0, _) => None,
        (place, Body::Array(array)) => Some(array.indices().index(place - 1)),
        (_, Body::One(_)) => return None,
    };
    Some(RunId { job: id, element })
}

/// The number of an entry: ascending with jobs, so that who came first stays first.
pub(super) fn waiting(job: JobId, place: Option<u32>, partition: u8) -> Waiting {
    let place = place.map_or(0, |place| u64::from(place) + 1);
    Waiting((u64::from(job.0) << PLACE_BITS | place) << PARTITION_BITS | u64::from(partition))
}

/// What an entry stands for, whichever of its partitions it stands in.
pub(super) fn whole(waiting: Waiting) -> u64 {
    waiting.0 >> PARTITION_BITS
}

/// The job of an entry.
pub(super) fn job_of(waiting: Waiting) -> JobId {
    JobId((waiting.0 >> (PLACE_BITS + PARTITION_BITS)) as u32)
}

/// The element's place in an entry of one element.
pub(super) fn place_of(waiting: Waiting) -> Option<u32> {
    ((waiting.0 >> PARTITION_BITS) as u32 & ((1 << PLACE_BITS) - 1)).checked_sub(1)
}

/// The place of an entry's partition among those that its job names.
pub(super) fn partition_of(waiting: Waiting) -> u8 {
    waiting.0 as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn entries_have_numbers_of_their_own(
            job in any::<u32>(), place in prop::option::of(0_u32..(1 << 24) - 1), partition in any::<u8>(),
        ) {
            let number = waiting(JobId(job), place, partition);
            prop_assert_eq!((job_of(number), place_of(number), partition_of(number)), (JobId(job), place, partition));
        }
    }
}
