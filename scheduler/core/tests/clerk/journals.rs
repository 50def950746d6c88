//! Journals of the real desk: read back, refused where a record cannot follow, and those of earlier versions.

use crate::pool::{CPUS, HOSTS, Pool, fresh, in_a_rush, kernel, owner, spec};
use muster_core::books::event::Event;
use muster_core::books::partition::{Partition, PreemptMode};
use muster_core::job::Submitted;
use muster_core::job::id::{JobId, RunId};
use muster_core::protocol::clerk::Ask;
use muster_core::protocol::controller::Entry;
use muster_core::protocol::format::Format;
use muster_core::protocol::journal::{self, JournalError};
use muster_core::protocol::standing::Record;
use muster_core::trace;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a controller wrote in the test below when version 4 was new: every journal of this version can be read.
const FIXTURE: &[u8] = include_bytes!("../journal-v4.bin");

#[test]
fn a_journal_is_a_log_of_what_ran() {
    let mut pool = Pool::new();
    for wish in [(1, 4, 30, None), (3, 4, 20, None), (1, 2, 5, Some(3)), (1, 1, 7, None)] {
        pool.ask(Ask::Submit(Submitted { owner: owner(), spec: Arc::new(spec(wish)) }));
        (0..2).for_each(|_| pool.second());
    }
    pool.ask(Ask::Requeue(RunId { job: JobId(1), element: None }));
    (0..200).for_each(|_| pool.second());
    let file = journal::pack(pool.journal.iter().map(|record| &record[..]));
    for file in [&file[..], FIXTURE] {
        let records = journal::unpack(file).expect("it is whole");
        journal::replay(fresh(), 0, records.iter().copied()).expect("each record follows");
        let log = trace::journal::log(records).expect("it can be read");
        assert_eq!(log.max_procs, Some(HOSTS as u32 * CPUS));
        // The first ran from its start after it was requeued.
        let part = (4, 5, 2, 100);
        let wanted = [(0, 30, 4, 100), (2, 20, 12, 100), part, part, part, (6, 7, 1, 100)];
        assert_eq!(log.records.len(), wanted.len());
        for (job, (submit, run, cpus, estimate)) in log.records.iter().zip(wanted) {
            assert_eq!((job.submit, job.requested_procs, job.estimate), (submit, cpus, estimate));
            // An end is heard with the next report, which may be a second later.
            assert!((run..=run + 1).contains(&job.run), "{job:?}");
        }
    }
}

/// What a controller wrote in the test below when resizes were new.
const RESIZED: &[u8] = include_bytes!("../journal-v4-resized.bin");

#[test]
fn resizes_are_read_back_and_refused_where_they_cannot_follow() {
    let mut pool = Pool::new();
    pool.submit(kernel(1, HOSTS as u32, 20));
    (0..3).for_each(|_| pool.second());
    pool.submit(spec((2, CPUS, 5, None)));
    (0..60).for_each(|_| pool.second());
    let file = journal::pack(pool.journal.iter().map(|record| &record[..]));
    for file in [&file[..], RESIZED] {
        let records = journal::unpack(file).expect("it is whole");
        journal::replay(fresh(), 0, records.iter().copied()).expect("each record follows");
        let is_resize = |record: &&[u8]| {
            let entry: Entry<Event> = Format::Journal.decode(record).expect("a record");
            matches!(entry.record, Record::Resized(..))
        };
        let at: Vec<usize> = (0..records.len()).filter(|at| is_resize(&records[*at])).collect();
        assert!(at.len() >= 3, "it grew, shrank and grew again: {at:?}");
        at.into_iter().for_each(|at| cannot_follow_itself(&records, at));
    }
}

fn cannot_follow_itself(records: &[&[u8]], at: usize) {
    let twice = records[..=at].iter().chain(&records[at..=at]).copied();
    let refused = journal::replay(fresh(), 0, twice).expect_err("it is so already");
    let number = at as u64 + 2;
    assert!(
        matches!(refused, JournalError::CannotFollow { number: which, .. } if which == number),
        "{refused}"
    );
}

/// What a controller wrote in the test below when stops, notices and hosts that are given back were new.
const YIELDS: &[u8] = include_bytes!("../journal-v4-yields.bin");

/// Which of the records of those who make room, if it is one.
fn kind(record: &[u8]) -> Option<usize> {
    let entry: Entry<Event> = Format::Journal.decode(record).expect("a record");
    match entry.record {
        Record::Paced(_, pace) => Some(pace as usize),
        Record::Notice(..) => Some(3),
        Record::GivenBack(..) => Some(4),
        _ => None,
    }
}

#[test]
fn who_makes_room_is_read_back_and_refused_where_it_cannot_follow() {
    let mut pool = Pool::with(PreemptMode::Suspend, 0);
    let room = |pool: &mut Pool| {
        pool.submit(spec((3, CPUS, 20, None)));
        (0..3).for_each(|_| pool.second());
        pool.submit(in_a_rush(spec((1, CPUS, 5, None))));
        (0..200).for_each(|_| pool.second());
    };
    room(&mut pool);
    let (preempt, grace_s) = (PreemptMode::Requeue, 5);
    let all = Partition { is_default: true, preempt, grace_s, ..Partition::named("all") };
    pool.ask(Ask::Site(Event::Partition(all)));
    room(&mut pool);
    pool.submit(kernel(HOSTS as u32, HOSTS as u32, 60));
    for second in 0..150 {
        pool.silent = (3..40).contains(&second).then_some(2);
        pool.second();
    }
    let file = journal::pack(pool.journal.iter().map(|record| &record[..]));
    for file in [&file[..], YIELDS] {
        let records = journal::unpack(file).expect("it is whole");
        let standing = journal::replay(fresh(), 0, records.iter().copied()).expect("each record follows");
        assert_eq!(standing.open.len(), 0);
        let at: Vec<usize> = (0..records.len()).filter(|at| kind(records[*at]).is_some()).collect();
        let kinds: BTreeSet<Option<usize>> = at.iter().map(|at| kind(records[*at])).collect();
        assert_eq!(kinds.len(), 5, "of each kind there is one: {kinds:?}");
        at.into_iter().for_each(|at| cannot_follow_itself(&records, at));
    }
}

#[test]
fn a_cut_journal_is_refused_or_ends_with_a_whole_record() {
    let all = journal::unpack(FIXTURE).expect("it is whole");
    for cut in 0..FIXTURE.len() {
        match journal::unpack(&FIXTURE[..cut]) {
            Ok(records) => assert_eq!(records, all[..records.len()], "cut at {cut}"),
            Err(why) => assert!(why.to_string().contains("journal"), "cut at {cut}: {why}"),
        }
    }
}
