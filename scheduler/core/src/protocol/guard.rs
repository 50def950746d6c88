//! The guards: each is a check that some promise rests on, by name. Tests take them out one at a time and must see a
//! promise broken; a guard that can go unnoticed is deleted.
//!
//! Invariant: without the feature `mutants`, which only this package's tests turn on, every guard stands.

/// A check that can be taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guard {
    /// Nothing after a record leaves before the record is on disk.
    DurableFirst,
    /// A controller takes a new term when it starts.
    NewTerm,
    /// A restarted controller waits a lease before it places again what has not reported.
    WaitAfterRestart,
    /// A script is placed again only when its host's lease is surely over.
    WaitForLease,
    /// The giver of a lease allows for clocks that run at other rates, and for the time that a kill takes.
    AllowForSkew,
    /// A lease runs from when it was asked for, not from when it arrived.
    LeaseFromAsking,
    /// A script that may not be requeued is never taken for lost because its host is silent.
    StayUnlessReported,
    /// An agent obeys only orders of its own term and session.
    OrderOfSession,
    /// An agent whose lease has ended obeys nothing.
    OrderInLease,
    /// An agent obeys each order once, in their order.
    OrderOnce,
    /// An agent notes an attempt before it launches it.
    NoteBeforeLaunch,
    /// An agent keeps an outcome until the controller has it on disk.
    KeepOutcome,
    /// The controller believes an inventory only of the session that it last gave.
    ReportOfSession,
    /// A shepherd kills a script that may be requeued when its deadline passes.
    ShepherdKills,
    /// The death of a shepherd makes its agent kill what it held.
    ShepherdWatched,
    /// A host with leftovers of attempts that are over gets nothing new.
    LeftoversFirst,
    /// An attempt that lost a part waits for the end of the others before it is placed again.
    AllPartsOver,
    /// What is missing from an inventory of another boot has perhaps begun.
    BootKnown,
    /// A host that leaves a kernel step is free only when nothing of it is left there.
    FreeWhenLeft,
    /// A host gets nothing new before it has forgotten what it left: it may be given the same attempt again.
    ForgottenFirst,
    /// Of the reports of a session, one that a newer has overtaken is not believed.
    NewestReport,
    /// The CPUs of what is to stop are given away only when all its hosts say that it has.
    StoppedFirst,
    /// A host is believed to have stopped something only for the time that is now.
    StoppedNow,
    /// While something is stopped, its own time stands still.
    LimitWaits,
    /// What was told that it has to end is killed when its grace is over.
    GraceEnds,
    /// The member of a team that goes on elsewhere is killed when the team has handed in, or has had time to.
    HandInFirst,
    /// The store takes commits of the newest attempt alone.
    FencedCommit,
    /// The store takes no block twice, and no part of a commit for the whole.
    BlockOnce,
    /// The store takes what a foreman commits in its order.
    CommitInOrder,
    /// A foreman begins with all that is done, or not at all.
    FetchWhole,
    /// A piece of a partial goes where it belongs, once.
    PieceInPlace,
    /// What a host says of a job's files counts only for the look in which it was asked.
    ProbeOfLook,
    /// A job that reads files goes only where they are.
    InputsThere,
    /// A step has the grid that its probe found.
    GridOfProbe,
    /// A foreman counts as done only what the store has on disk.
    DoneWhenStored,
    /// Hosts are not lent while a job waits that could start if one that went a moment ago were back.
    KeptIdle,
    /// Who follows an element of its array has what that had, and nobody else.
    HandedOver,
}

impl Guard {
    /// All of them.
    pub const ALL: &[Guard] = &[
        Guard::DurableFirst,
        Guard::NewTerm,
        Guard::WaitAfterRestart,
        Guard::WaitForLease,
        Guard::AllowForSkew,
        Guard::LeaseFromAsking,
        Guard::StayUnlessReported,
        Guard::OrderOfSession,
        Guard::OrderInLease,
        Guard::OrderOnce,
        Guard::NoteBeforeLaunch,
        Guard::KeepOutcome,
        Guard::ReportOfSession,
        Guard::ShepherdKills,
        Guard::ShepherdWatched,
        Guard::LeftoversFirst,
        Guard::AllPartsOver,
        Guard::BootKnown,
        Guard::FreeWhenLeft,
        Guard::ForgottenFirst,
        Guard::NewestReport,
        Guard::StoppedFirst,
        Guard::StoppedNow,
        Guard::LimitWaits,
        Guard::GraceEnds,
        Guard::HandInFirst,
        Guard::FencedCommit,
        Guard::BlockOnce,
        Guard::CommitInOrder,
        Guard::FetchWhole,
        Guard::PieceInPlace,
        Guard::ProbeOfLook,
        Guard::InputsThere,
        Guard::GridOfProbe,
        Guard::DoneWhenStored,
        Guard::KeptIdle,
        Guard::HandedOver,
    ];

    /// Whether it stands: always, but in a test that has taken it out.
    #[cfg(not(feature = "mutants"))]
    #[inline(always)]
    pub fn stands(self) -> bool {
        true
    }

    /// Whether it stands: always, but in a test that has taken it out.
    #[cfg(feature = "mutants")]
    pub fn stands(self) -> bool {
        OUT.get() != Some(self)
    }

    /// Takes `guard` out on this thread, in the place of the one that was out before.
    #[cfg(feature = "mutants")]
    pub fn take_out(guard: Option<Guard>) {
        OUT.set(guard);
    }
}

#[cfg(feature = "mutants")]
thread_local! {
    static OUT: std::cell::Cell<Option<Guard>> = const { std::cell::Cell::new(None) };
}
