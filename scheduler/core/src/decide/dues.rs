//! Accounts at work: who pays for a job, what its limits leave, what its priority is.
//!
//! Kept up with each record, by what a job and its runs are after it, so that a record that is seen twice counts once. A
//! site without accounts has none of this.

use super::reason::Reason;
use super::{FOREVER, TICKS};
use crate::books::Books;
use crate::books::event::Event;
use crate::books::partition::Partition;
use crate::cluster::Allocation;
use crate::job::Job;
use crate::job::event::JobEvent;
use crate::job::id::{JobId, RunId};
use crate::job::placement::Placement;
use crate::job::state::State;
use crate::jobspec::{GresPer, JobSpec, Memory};
use crate::policy::priority::{Candidate, Multifactor, PartitionWeight, Site, Valuation};
use crate::share::accounts::{Accounts, Payer, Qos, QosId};
use crate::share::book::{Meter, UsageBook};
use crate::share::check::{Ask, Check, Obstacle};
use crate::share::fair_tree::FairTree;
use crate::share::holdings::{Holdings, Load};
use crate::share::resource::Amounts;
use crate::share::usage::Decay;
use crate::time::Time;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a site says of priorities, and what it has.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Who may use it, and how much.
    pub accounts: Arc<Accounts>,
    /// How priorities are made.
    pub rule: Multifactor,
    /// How usage fades.
    pub decay: Decay,
    /// All there is.
    pub amounts: Amounts,
    /// What each partition has, by name.
    pub partitions: BTreeMap<String, PartitionWeight>,
}

/// What everybody holds and has used, and what that makes of jobs.
#[derive(Clone, Debug)]
pub struct Dues {
    pub(super) terms: Terms,
    pub(super) holdings: Holdings,
    pub(super) usage: UsageBook,
    /// What priorities were last made of, and when.
    pub(super) ranked: (Time, UsageBook),
    /// Whether priorities would be others now for another reason than time and usage.
    pub(super) is_stale: bool,
    valuation: Valuation,
    /// Who pays for each job that is not over, and how many elements of it wait or run.
    submitted: BTreeMap<JobId, (Payer, u64)>,
    live: BTreeMap<RunId, (Payer, Load, Meter)>,
}

impl Dues {
    /// Nobody holds anything, or has used other than what `usage` says.
    pub fn new(terms: Terms, usage: Option<UsageBook>, now: Time) -> Dues {
        let usage = usage.unwrap_or_else(|| UsageBook::new(&terms.accounts, terms.decay));
        let valuation = valuation(&terms, &usage, now);
        let holdings = Holdings::new(&terms.accounts);
        let ranked = (now, usage.clone());
        let (submitted, live, is_stale) = (BTreeMap::new(), BTreeMap::new(), false);
        Dues { terms, holdings, usage, ranked, is_stale, valuation, submitted, live }
    }

    /// What everybody holds by the books, and has used by a snapshot: `usage` is what [`Dues::usage`] was after a
    /// [`Dues::tick`] at `now`, and the books are those of that time. What was recorded since is to be observed.
    pub fn restore(terms: Terms, usage: UsageBook, books: &Books, now: Time) -> Dues {
        Dues::restored(terms, Some(usage), books, now)
    }

    pub(super) fn restored(terms: Terms, usage: Option<UsageBook>, books: &Books, now: Time) -> Dues {
        let mut dues = Dues::new(terms, usage, now);
        dues.adopt(books, now);
        dues
    }

    /// Counts in what the books have and was not seen yet, which is charged from `now` on.
    pub(super) fn adopt(&mut self, books: &Books, now: Time) {
        for job in books.jobs().filter(|job| job.ended().is_none()) {
            if !self.submitted.contains_key(&job.id()) {
                self.count(books, job.id());
            }
        }
        for (run, _) in books.live() {
            // What is known is charged when something happens to it, as it would be if nobody looked.
            if !self.live.contains_key(&run) {
                self.run(books, run, now);
            }
        }
    }

    /// What everybody has used, for a snapshot: it cannot be made anew from the jobs that are left. It is charged up to
    /// the last [`Dues::tick`] at least.
    pub fn usage(&self) -> &UsageBook {
        &self.usage
    }

    /// Charges what runs up to now, and makes the fair tree and the valuation of jobs anew.
    pub fn tick(&mut self, now: Time) {
        for (_, _, meter) in self.live.values_mut() {
            meter.advance(&self.terms.accounts, &mut self.usage, now);
        }
        self.ranked = (now, self.usage.clone());
        self.value();
    }

    /// Makes the valuation of jobs anew, by the usage that it was last made of.
    pub(super) fn value(&mut self) {
        let (at, usage) = &self.ranked;
        self.valuation = valuation(&self.terms, usage, *at);
    }

    /// When to tick, at the latest, before a record of a time is taken in; none when that was done.
    pub(super) fn due(&self, at: Time) -> Option<Time> {
        Some(self.terms.last_step(at)).filter(|step| *step > self.ranked.0)
    }

    /// When a limit may have let go by itself after `now`, as usage fades.
    pub(super) fn next_fade(&self, now: Time) -> Option<Time> {
        self.terms.next_fade(now)
    }

    /// Charges what runs up to a time, in a book that is a copy of this one's.
    pub(super) fn charge(&self, usage: &mut UsageBook, to: Time) {
        for (_, _, meter) in self.live.values() {
            let mut meter = *meter;
            meter.advance(&self.terms.accounts, usage, to);
        }
    }

    /// Keeps up with a record, after the books have it.
    pub fn observe(&mut self, books: &Books, event: &Event, at: Time) {
        match event {
            Event::Submitted(id, _) | Event::Purged(id) => self.count(books, *id),
            Event::Job(id, event) => {
                self.count(books, *id);
                // What is cancelled while it is stopped has its processes to the end.
                let changes = matches!(event, JobEvent::Updated(_) | JobEvent::Cancelled { .. });
                if let Some(job) = books.job(*id).filter(|_| changes) {
                    job.live().for_each(|(run, _)| self.run(books, run, at));
                }
            }
            Event::Run(run, _) => {
                self.run(books, *run, at);
                self.count(books, run.job);
            }
            Event::Host(host) => {
                let new = books.hosts().last().is_some_and(|last| last.name == host.name);
                self.is_stale |= new;
            }
            Event::Partition(_) | Event::PartitionGone(_) => self.is_stale = true,
            _ => {}
        }
    }

    /// Who pays for a job.
    ///
    /// # Errors
    ///
    /// An account or a quality of service that there is not, or that is not for its user.
    pub fn payer(&self, job: &Job) -> Result<Payer, Reason> {
        let accounts = &self.terms.accounts;
        let (user, queue) = (&job.owner().user, &job.spec().queue);
        let association = match &queue.account {
            Some(account) => accounts.association_named(account, user),
            None => accounts.associations_of(user).first().copied(),
        };
        let no_account = || Reason::NoAccount { user: user.clone(), account: queue.account.clone() };
        let association = association.ok_or_else(no_account)?;
        let of = accounts.association(association);
        let may = |id: &QosId| of.qos.as_ref().is_none_or(|qos| qos.contains(id));
        let qos = match &queue.qos {
            Some(name) => {
                let qos = accounts.qos_named(name).filter(may);
                Some(qos.ok_or_else(|| Reason::NoQos(name.clone()))?)
            }
            None => of.default_qos,
        };
        Ok(Payer { association, qos, within: None })
    }

    /// The same of a job that runs, or would, in a partition.
    fn within(&self, payer: Payer, partition: &str) -> Payer {
        Payer { within: self.terms.accounts.qos_of_partition(partition), ..payer }
    }

    /// The quality of service that a job asks for, or has by its account; none where there is none.
    pub fn qos(&self, job: &Job) -> Option<&Qos> {
        self.payer(job).ok()?.qos.map(|qos| self.terms.accounts.qos_of(qos))
    }

    /// The quality of service under which something runs; none where there is none.
    pub fn qos_of_run(&self, run: RunId) -> Option<&Qos> {
        let (payer, ..) = self.live.get(&run)?;
        payer.qos.map(|qos| self.terms.accounts.qos_of(qos))
    }

    /// Whether jobs of one quality of service may preempt those of another.
    pub fn preempts(&self, by: &Qos, of: &Qos) -> bool {
        self.terms.accounts.qos_named(&of.name).is_some_and(|of| by.preempts.contains(&of))
    }

    /// All qualities of service of the site.
    pub fn all_qos(&self) -> &[Qos] {
        self.terms.accounts.qos()
    }

    /// Who pays for what runs: when the job names an account or a quality of service since that is not for its user, the
    /// user's first account. So it follows from the books alone, and nobody runs for nothing.
    fn charged(&self, job: &Job) -> Option<Payer> {
        let first = || {
            let association = self.terms.accounts.associations_of(&job.owner().user).first().copied()?;
            let qos = self.terms.accounts.association(association).default_qos;
            Some(Payer { association, qos, within: None })
        };
        self.payer(job).ok().or_else(first)
    }

    /// The limits that are in a job's way, beside what `holdings` says is held.
    pub fn obstacles(&self, holdings: &Holdings, job: &Job, partition: &Partition, now: Time) -> Vec<Reason> {
        let payer = match self.payer(job) {
            Ok(payer) => self.within(payer, &partition.name),
            Err(reason) => return vec![reason],
        };
        let check = Check { accounts: &self.terms.accounts, holdings, book: &self.usage, now };
        let wall_s = partition.granted_s(job.spec()).unwrap_or((FOREVER / i64::from(TICKS)) as u64);
        let found = check.start(&Ask { payer, amounts: asked(job.spec()), wall_s });
        found.into_iter().map(|obstacle| self.limit(obstacle)).collect()
    }

    /// Why a job may not even be submitted.
    pub fn refuses(&self, books: &Books, job: &Job, now: Time) -> Vec<Reason> {
        let payer = match self.payer(job) {
            Ok(payer) => payer,
            Err(reason) => return vec![reason],
        };
        let check =
            Check { accounts: &self.terms.accounts, holdings: &self.holdings, book: &self.usage, now };
        let partition = first_partition(books, job);
        let payer = partition.map_or(payer, |partition| self.within(payer, &partition.name));
        let limit_s = partition.and_then(|partition| partition.granted_s(job.spec()));
        let wall_s = limit_s.unwrap_or((FOREVER / i64::from(TICKS)) as u64);
        let ask = Ask { payer, amounts: asked(job.spec()), wall_s };
        let found = check.submit(&ask, u64::from(job.waiting_count()));
        found.into_iter().map(|obstacle| self.limit(obstacle)).collect()
    }

    fn limit(&self, obstacle: Obstacle) -> Reason {
        Reason::Limit { obstacle, says: obstacle.sentence(&self.terms.accounts) }
    }

    /// Where a job stands, by the step that its priority is on: the higher the sooner.
    pub fn priority(&self, job: &Job, partition: &Partition) -> u32 {
        let queue = &job.spec().queue;
        if let Some(priority) = queue.priority {
            return self.terms.rule.coarse(priority);
        }
        self.terms.rule.coarse(self.valuation.priority(&self.candidate(job, partition)))
    }

    /// What a priority is made of.
    pub fn candidate(&self, job: &Job, partition: &Partition) -> Candidate {
        let place = self.terms.partitions.keys().position(|name| *name == partition.name);
        Candidate {
            payer: self.payer(job).ok(),
            partition: place.unwrap_or(self.terms.partitions.len()) as u32,
            eligible: job.earliest(),
            amounts: asked(job.spec()),
            limit_min: partition.granted_s(job.spec()).map_or(u64::MAX, |limit| limit / 60),
            site: 0,
            nice: job.spec().queue.nice,
        }
    }

    /// Notes that an element of a job starts, in holdings that are not yet everybody's.
    pub(super) fn note(&self, holdings: &mut Holdings, job: &Job, on: &Placement, end: Time) {
        if let Ok(payer) = self.payer(job) {
            let payer = self.within(payer, &on.partition);
            holdings.start(&self.terms.accounts, payer, &Load { amounts: held(&on.allocation), end });
        }
    }

    /// Makes the number of elements that wait or run what it is now.
    fn count(&mut self, books: &Books, id: JobId) {
        let job = books.job(id);
        let now = job.map_or(0, |job| u64::from(job.waiting_count()) + u64::from(job.live_count()));
        // Which of several partitions it will run in is not known yet: the first counts.
        let payer = job.and_then(|job| {
            let payer = self.payer(job).ok()?;
            Some(first_partition(books, job).map_or(payer, |partition| self.within(payer, &partition.name)))
        });
        let accounts = &self.terms.accounts;
        if let Some((payer, before)) = self.submitted.remove(&id) {
            self.holdings.withdraw(accounts, payer, before);
        }
        if let Some(payer) = payer.filter(|_| now > 0) {
            self.holdings.submit(accounts, payer, now);
            self.submitted.insert(id, (payer, now));
        }
    }

    /// Makes what a run holds what it holds now.
    fn run(&mut self, books: &Books, run: RunId, at: Time) {
        let state = books.run(run).map(|run| run.state);
        let load = state.as_ref().and_then(|state| {
            let placed = state.placed()?;
            // What is stopped uses nothing, and holds its place among those that may run. Its end hangs on the books
            // alone, not on when they were looked at.
            let end = state.expected_end().unwrap_or(placed.started.after(FOREVER));
            Some(Load { amounts: held(&placed.on.allocation), end })
        });
        let accounts = &self.terms.accounts;
        let known = self.live.remove(&run);
        if let Some((payer, load, mut meter)) = known {
            meter.advance(accounts, &mut self.usage, at);
            self.holdings.stop(accounts, payer, &load);
        }
        let placed = state.as_ref().and_then(|state| state.placed());
        let payer = books
            .job(run.job)
            .zip(placed)
            .and_then(|(job, placed)| Some(self.within(self.charged(job)?, &placed.on.partition)));
        if let (Some(load), Some(payer)) = (load, payer) {
            self.holdings.start(accounts, payer, &load);
            let suspended = matches!(state, Some(State::Suspended { .. }));
            let used = if suspended { Amounts::default() } else { load.amounts };
            self.live.insert(run, (payer, load, Meter::new(accounts, payer, used, at)));
        }
    }
}

fn valuation(terms: &Terms, usage: &UsageBook, now: Time) -> Valuation {
    let fair = FairTree::new(&terms.accounts, usage, now);
    // Partitions that were made since have no weight of their own.
    let unknown = PartitionWeight { priority: 0, amounts: terms.amounts };
    let partitions: Vec<PartitionWeight> = terms.partitions.values().copied().chain([unknown]).collect();
    let site = Site {
        accounts: &terms.accounts,
        fair: &fair,
        amounts: terms.amounts,
        partitions: &partitions,
        ticks_per_s: i64::from(TICKS),
    };
    terms.rule.at(now, &site)
}

/// The first partition in which a job may start.
fn first_partition<'a>(books: &'a Books, job: &Job) -> Option<&'a Partition> {
    books.partitions_of(job.spec()).ok()?.first().copied()
}

/// What a jobspec asks for at least, over all its hosts.
fn asked(spec: &JobSpec) -> Amounts {
    let (cpus, hosts) = (u64::from(spec.size.cpus()), u64::from(spec.size.nodes));
    let gpus = spec.needs.gres.iter().filter(|gres| gres.name == "gpu").map(|gres| {
        let per = match gres.per {
            GresPer::Host => hosts,
            GresPer::Task => u64::from(spec.size.tasks()),
            GresPer::Job => 1,
        };
        u64::from(gres.count).saturating_mul(per)
    });
    let memory_mib = match spec.size.memory {
        None => 0,
        Some(Memory::PerNode(memory)) => memory.saturating_mul(hosts),
        Some(Memory::PerCpu(memory)) => memory.saturating_mul(cpus),
    };
    Amounts { cpus, gpus: gpus.sum(), memory_mib, hosts }
}

/// What an allocation holds.
fn held(allocation: &Allocation) -> Amounts {
    let mut amounts = Amounts { hosts: allocation.parts.len() as u64, ..Amounts::default() };
    for part in &allocation.parts {
        amounts.cpus += u64::from(part.cpus());
        amounts.gpus += u64::from(part.gpus.count_ones());
        amounts.memory_mib += part.memory();
    }
    amounts
}
