//! The journal on disk under the engine: what was acknowledged is there after any end, and damage is refused loudly.

use crossbeam_channel::bounded;
use muster_core::books::event::Event;
use muster_core::books::partition::Partition;
use muster_core::cluster::{Host, Shape};
use muster_core::job::event::{Elements, JobEvent};
use muster_core::job::id::JobId;
use muster_core::job::{Owner, Submitted};
use muster_core::jobspec::JobSpec;
use muster_core::protocol::clerk::{Ask, Told};
use muster_core::protocol::controller::{Answer, Request};
use muster_core::protocol::lease::Lease;
use muster_scheduler::accounting::history;
use muster_scheduler::engine::{Engine, Running};
use muster_scheduler::journal::{self, Journal, JournalFault};
use muster_scheduler::pool::fresh;
use std::path::Path;
use std::sync::Arc;

fn ask(engine: &Engine, ask: Ask) -> Answer<Told> {
    let (send, answer) = bounded(1);
    engine.ask(Request::Desk(ask), move |told| drop(send.send(told))).unwrap();
    answer.recv().unwrap()
}

fn submit(engine: &Engine, name: &str) -> JobId {
    let owner = Arc::new(Owner { uid: 7, gid: 7, user: "ada".into() });
    let submitted = Submitted { owner, spec: Arc::new(JobSpec::named(name)) };
    match ask(engine, Ask::Submit(submitted)) {
        Answer::Desk(Told::Accepted(job)) => job,
        other => panic!("{other:?}"),
    }
}

/// An engine with a partition and a host that nobody hears of, so that jobs wait.
fn start(path: &Path) -> Running {
    let (journal, standing) = Journal::open(path, fresh()).unwrap();
    let new = standing.desk.books().hosts().is_empty();
    let running = Running::start(Lease::default(), journal, standing);
    if new {
        let main = Partition { is_default: true, ..Partition::named("main") };
        ask(running.engine(), Ask::Site(Event::Partition(main)));
        let mut host = Host::new("h", Shape::parse("1x4x1G").unwrap());
        host.partitions.insert("main".into());
        ask(running.engine(), Ask::Site(Event::Host(Box::new(host))));
    }
    running
}

#[test]
fn a_journal_says_what_the_memory_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let running = start(&path);
    let (a, b) = (submit(running.engine(), "a"), submit(running.engine(), "b"));
    let cancel = JobEvent::Cancelled { of: Elements::All, by: 7 };
    ask(running.engine(), Ask::Job(a, cancel));
    // What is acknowledged can be read back while the controller still lives, as after a SIGKILL.
    let (_, standing) = journal::check_file(&path, fresh()).unwrap();
    let over = |job| standing.desk.books().job(job).unwrap().ended().is_some();
    assert_eq!((over(a), over(b)), (true, false));
    let past = history(&journal::open_to_read(&path).unwrap(), None, 10).unwrap();
    let told: Vec<_> = past.iter().map(|past| (&past.name[..], past.outcome.as_deref())).collect();
    assert_eq!(told, [("b", None), ("a", Some("CANCELLED"))]);
    running.stop();

    let running = start(&path);
    assert_eq!(submit(running.engine(), "c"), JobId(b.0 + 1), "no number is used twice");
    running.stop();
    let copy = folder.path().join("copy.db");
    journal::backup(&path, &copy).unwrap();
    let (records, standing) = journal::check_file(&copy, fresh()).unwrap();
    assert_eq!(standing.desk.books().jobs().count(), 3);
    assert_eq!(journal::all_records(&copy).unwrap().len() as u64, records);
}

#[test]
fn a_write_ahead_log_cut_at_any_byte_loses_whole_records_from_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let running = start(&path);
    for n in 0..6 {
        submit(running.engine(), &format!("job{n}"));
    }
    let all = journal::all_records(&path).unwrap();
    // The database and its log as a power cut finds them.
    let (database, log) =
        (std::fs::read(&path).unwrap(), std::fs::read(path.with_extension("db-wal")).unwrap());
    running.stop();
    assert!(log.len() > 10_000, "the records are in the log");
    let cut = folder.path().join("cut.db");
    let mut last = 0;
    // Frames are of 4,120 bytes after a header of 32: 103 meets every part of them.
    for at in (0..log.len()).step_by(103).chain([log.len()]) {
        let _ = std::fs::remove_file(cut.with_extension("db-shm"));
        std::fs::write(&cut, &database).unwrap();
        std::fs::write(cut.with_extension("db-wal"), &log[..at]).unwrap();
        let (journal, _) = Journal::open(&cut, fresh()).unwrap();
        let records = journal.records();
        assert!(records >= last, "a longer log holds no less");
        drop(journal);
        assert_eq!(journal::all_records(&cut).unwrap(), all[..records as usize], "cut at {at}");
        last = records;
    }
    assert_eq!(last, all.len() as u64);
}

#[test]
fn damage_is_refused_with_the_way_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let running = start(&path);
    submit(running.engine(), "a");
    running.stop();
    let spoil = |what: &str| {
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.execute_batch(what).unwrap();
    };
    let refused = || Journal::open(&path, fresh()).unwrap_err();
    spoil("CREATE TABLE kept AS SELECT * FROM record; DELETE FROM snapshot");
    spoil("UPDATE record SET bytes = zeroblob(length(bytes)) WHERE number = 2");
    let error = refused();
    assert!(matches!(error, JournalFault::Damaged { number: 2, .. }), "{error}");
    assert!(error.to_string().contains("restore a backup"), "{error}");
    spoil("DELETE FROM record WHERE number = 2");
    assert!(matches!(refused(), JournalFault::Damaged { number: 2, what: "missing", .. }));
    spoil("DELETE FROM record; INSERT INTO record SELECT * FROM kept");
    Journal::open(&path, fresh()).unwrap();
    spoil("PRAGMA user_version = 9");
    let error = refused();
    assert!(error.to_string().contains("install the newer muster"), "{error}");
    spoil("PRAGMA user_version = 1");
    let error = refused();
    assert!(error.to_string().contains("with the muster that wrote it"), "{error}");
    std::fs::write(&path, "no database at all, but long enough to be looked at as one").unwrap();
    let error = refused();
    assert!(error.to_string().contains("muster journal check"), "{error}");
}
