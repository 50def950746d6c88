//! Which limits are in a job's way: all of them, as data.
//!
//! Where limits meet, as in Slurm: what is limited per user or per job by the QOS is not looked up among the accounts;
//! among these the user's own limit goes before the account's, and that before the accounts' above. Limits in total hold
//! at every level and for the QOS at the same time. Of a job's own QOS and its partition's, the latter goes before.

use crate::share::accounts::{AccountId, Accounts, AssociationId, Payer, QosId};
use crate::share::book::UsageBook;
use crate::share::holdings::{Held, Holdings};
use crate::share::limits::{HeldLimits, JobLimits, Limits, TotalLimits};
use crate::share::qos_limits::{OfJob, QosLimits, take_first};
use crate::share::resource::{Amounts, Resource};
use crate::share::table::MinutesRule;
use crate::share::usage::Counted;
use crate::time::Time;
use serde::{Deserialize, Serialize};

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Check<'a> {
    /// The site's accounts.
    pub accounts: &'a Accounts,
    /// What everybody holds.
    pub holdings: &'a Holdings,
    /// What everybody has used, the running jobs charged up to now.
    pub book: &'a UsageBook,
    /// The time.
    pub now: Time,
}

/// What a job asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Who pays.
    pub payer: Payer,
    /// What it would hold.
    pub amounts: Amounts,
    /// Its time limit in seconds.
    pub wall_s: u64,
}

/// A limit that is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Obstacle {
    /// Whose limit it is.
    pub level: Level,
    /// What it binds together.
    pub scope: Scope,
    /// What of it.
    pub limit: Limit,
    /// The limit.
    pub bound: u64,
    /// What is held or used up already.
    pub held: u64,
    /// What the job would add.
    pub asked: u64,
}

/// Where a limit is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// At the QOS.
    Qos(QosId),
    /// At the user of an account.
    User(AssociationId),
    /// At an account.
    Account(AccountId),
}

/// What a limit binds together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Scope {
    /// Everything at its level and below.
    Total,
    /// What this user has there.
    User,
    /// What this account has there.
    Account,
    /// This job.
    Job,
}

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Limit {
    /// Jobs that run.
    Jobs,
    /// Jobs that wait or run.
    Submitted,
    /// What running jobs hold.
    Amount(Resource),
    /// What a job asks for is too little.
    AtLeast(Resource),
    /// Amount times minutes, used up.
    Minutes(Resource),
    /// Amount times minutes that running jobs may yet use.
    RunMinutes(Resource),
    /// Minutes of jobs, used up.
    WallMinutes,
    /// Seconds of a job's time limit.
    Wall,
}

impl Check<'_> {
    /// The limits that keep `jobs` jobs like this from being submitted. They can wait for everything else, unless their
    /// QOS denies what could not start even if nobody held anything.
    pub fn submit(&self, ask: &Ask, jobs: u64) -> Vec<Obstacle> {
        let mut found = Found { weigh: Weigh::WithOthers, obstacles: Vec::new() };
        let of_qos = OfJob::new(self.accounts, ask.payer);
        let association = self.accounts.association(ask.payer.association);
        let submitted = |held: Option<&Held>| held.map_or(0, |h| h.submitted);
        for (id, qos) in of_qos.each() {
            let level = Level::Qos(*id);
            let of_user = self.holdings.qos_user(*id, association.user);
            let of_account = self.holdings.qos_account(*id, association.account);
            for (scope, most, held) in [
                (Scope::Total, qos.limits.total.submitted, Some(self.holdings.qos(*id))),
                (Scope::User, qos.limits.per_user.submitted, of_user),
                (Scope::Account, qos.per_account.submitted, of_account),
            ] {
                found.see((level, scope), Limit::Submitted, most, (submitted(held), jobs));
            }
        }
        for (level, limits) in self.levels(ask) {
            let held = submitted(Some(self.held(level)));
            found.see((level, Scope::Total), Limit::Submitted, limits.total.submitted, (held, jobs));
        }
        let by_qos = of_qos.all.limits.per_user.submitted;
        if let Some((level, most)) = self.nearest(ask, by_qos, |l| l.per_user.submitted) {
            let held = submitted(Some(self.holdings.association(ask.payer.association)));
            found.see((level, Scope::User), Limit::Submitted, Some(most), (held, jobs));
        }
        if of_qos.denies {
            found.weigh = Weigh::Alone;
            self.see_all(ask, &mut found);
        }
        found.obstacles
    }

    /// The limits that keep a submitted job from starting now.
    pub fn start(&self, ask: &Ask) -> Vec<Obstacle> {
        let mut found = Found { weigh: Weigh::WithOthers, obstacles: Vec::new() };
        self.see_all(ask, &mut found);
        found.obstacles
    }

    fn see_all(&self, ask: &Ask, found: &mut Found) {
        let of_qos = OfJob::new(self.accounts, ask.payer);
        for (id, qos) in of_qos.each() {
            self.see_qos(ask, (*id, qos), found);
        }
        for (level, limits) in self.levels(ask) {
            self.see_total(ask, (level, &limits.total), found);
        }
        let (of_user, of_job) = self.inherited(ask, &of_qos.all.limits);
        let held = self.holdings.association(ask.payer.association);
        for (level, limits) in of_user {
            see_held(ask, ((level, Scope::User), &limits, Some(held)), found);
        }
        for (level, limits) in of_job {
            see_job(ask, (level, &limits), found);
        }
    }

    fn see_qos(&self, ask: &Ask, (id, qos): (QosId, &QosLimits), found: &mut Found) {
        let level = Level::Qos(id);
        let association = self.accounts.association(ask.payer.association);
        let limits = &qos.limits;
        self.see_total(ask, (level, &limits.total), found);
        let user = self.holdings.qos_user(id, association.user);
        see_held(ask, ((level, Scope::User), &limits.per_user, user), found);
        let account = self.holdings.qos_account(id, association.account);
        see_held(ask, ((level, Scope::Account), &qos.per_account, account), found);
        see_job(ask, (level, &limits.per_job), found);
        for resource in Resource::ALL {
            let (bound, asked) = (qos.at_least.get(resource), ask.amounts.get(resource));
            if asked < bound {
                let limit = Limit::AtLeast(resource);
                found.obstacles.push(Obstacle { level, scope: Scope::Job, limit, bound, held: 0, asked });
            }
        }
    }

    fn see_total(&self, ask: &Ask, (level, limits): (Level, &TotalLimits), found: &mut Found) {
        let held = self.held(level);
        let as_held = HeldLimits { jobs: limits.jobs, submitted: limits.submitted, amounts: limits.amounts };
        see_held(ask, ((level, Scope::Total), &as_held, Some(held)), found);
        for resource in Resource::ALL {
            let asked = minutes(ask.amounts.get(resource), ask.wall_s);
            let running = || self.minutes_of(held.run_ticks(resource, self.now));
            if let Some(most) = limits.run_minutes.get(resource) {
                let held = if found.weigh == Weigh::Alone { 0 } else { running() };
                found.see((level, Scope::Total), Limit::RunMinutes(resource), Some(most), (held, asked));
            }
            if let Some(most) = limits.minutes.get(resource).filter(|_| asked > 0) {
                let counted = (Counted::Amount(resource), Limit::Minutes(resource));
                self.see_used((level, most), counted, (running(), asked), found);
            }
        }
        if let Some(most) = limits.wall_minutes {
            let running = self.minutes_of(held.run_wall_ticks(self.now));
            let counted = (Counted::Wall, Limit::WallMinutes);
            self.see_used((level, most), counted, (running, minutes(1, ask.wall_s)), found);
        }
    }

    /// A limit on what is used up for good, or until it has faded.
    fn see_used(
        &self,
        (level, bound): (Level, u64),
        (counted, limit): (Counted, Limit),
        (running, asked): (u64, u64),
        found: &mut Found,
    ) {
        let seconds = match level {
            Level::Qos(id) => self.book.qos_s(self.accounts, id, counted, self.now),
            Level::User(id) => self.book.association_s(id, counted, self.now),
            Level::Account(id) => self.book.account_s(id, counted, self.now),
        };
        // The conversion saturates.
        let used = (seconds / 60.0) as u64;
        let at = (level, Scope::Total);
        match (found.weigh, self.accounts.table().minutes) {
            (Weigh::Alone, _) => found.see(at, limit, Some(bound), (0, asked)),
            (_, MinutesRule::Safe) => {
                found.see(at, limit, Some(bound), (used.saturating_add(running), asked));
            }
            (_, MinutesRule::UsedUp) if used >= bound => {
                let scope = Scope::Total;
                found.obstacles.push(Obstacle { level, scope, limit, bound, held: used, asked });
            }
            (_, MinutesRule::UsedUp) => {}
        }
    }

    fn held(&self, level: Level) -> &Held {
        match level {
            Level::Qos(id) => self.holdings.qos(id),
            Level::User(id) => self.holdings.association(id),
            Level::Account(id) => self.holdings.account(id),
        }
    }

    fn minutes_of(&self, ticks: u128) -> u64 {
        u64::try_from(ticks / self.book.decay().ticks_per_min() as u128).unwrap_or(u64::MAX)
    }

    /// The user and the accounts up to root, as far as they have limits.
    fn levels(&self, ask: &Ask) -> impl Iterator<Item = (Level, &Limits)> {
        let id = ask.payer.association;
        let user = (Level::User(id), self.accounts.association(id).limits.as_ref());
        let account = |&id| (Level::Account(id), self.accounts.account(id).limits.as_ref());
        let all = std::iter::once(user).chain(self.accounts.path(id).iter().map(account));
        all.filter_map(|(level, limits)| limits.map(|limits| (level, limits)))
    }

    /// The limit nearest to the user, unless the QOS has one.
    fn nearest(
        &self,
        ask: &Ask,
        of_qos: Option<u64>,
        get: impl Fn(&Limits) -> Option<u64>,
    ) -> Option<(Level, u64)> {
        if of_qos.is_some() {
            return None;
        }
        self.levels(ask).find_map(|(level, limits)| get(limits).map(|most| (level, most)))
    }

    /// What holds per user and per job, by level: each limit where it is nearest to the user, and those of the QOS
    /// nowhere.
    fn inherited(&self, ask: &Ask, qos: &Limits) -> Inherited {
        let (mut of_user, mut of_job) = (Vec::new(), Vec::new());
        // Most sites limit little, and then there is nothing to copy.
        if self.levels(ask).next().is_none() {
            return (of_user, of_job);
        }
        let mut seen = qos.clone();
        for (level, limits) in self.levels(ask) {
            let mut here = limits.clone();
            let (user, job) = (&mut here.per_user, &mut here.per_job);
            take_first(&mut seen.per_user.jobs, &mut user.jobs);
            take_first(&mut seen.per_job.wall_s, &mut job.wall_s);
            for resource in Resource::ALL {
                take_first(seen.per_user.amounts.get_mut(resource), user.amounts.get_mut(resource));
                take_first(seen.per_job.amounts.get_mut(resource), job.amounts.get_mut(resource));
                take_first(seen.per_job.minutes.get_mut(resource), job.minutes.get_mut(resource));
            }
            of_user.push((level, here.per_user));
            of_job.push((level, here.per_job));
        }
        (of_user, of_job)
    }
}

impl Obstacle {
    /// What is in the way, in one sentence without a full stop.
    pub fn sentence(&self, accounts: &Accounts) -> String {
        let whose = match self.level {
            Level::Qos(id) => format!("QOS {}", accounts.qos_of(id).name),
            Level::Account(id) => format!("account {}", accounts.account(id).name),
            Level::User(id) => {
                let association = accounts.association(id);
                let account = &accounts.account(association.account).name;
                format!("user {} in account {account}", accounts.users()[association.user.0 as usize])
            }
        };
        let scope = match self.scope {
            Scope::Total => "in total",
            Scope::User => "for a user",
            Scope::Account => "for an account",
            Scope::Job => "for a job",
        };
        let what = match self.limit {
            Limit::Jobs => "running jobs".to_owned(),
            Limit::Submitted => "submitted jobs".to_owned(),
            Limit::Amount(Resource::Memory) => "MiB of memory".to_owned(),
            Limit::Amount(resource) => format!("{resource}s"),
            Limit::AtLeast(resource) => {
                let Obstacle { bound, asked, .. } = self;
                return format!("{whose} takes no jobs below {bound} ({resource}), this asks for {asked}");
            }
            Limit::Minutes(resource) => format!("{resource}-minutes used"),
            Limit::RunMinutes(resource) => format!("{resource}-minutes ahead of running jobs"),
            Limit::WallMinutes => "minutes of jobs used".to_owned(),
            Limit::Wall => "seconds".to_owned(),
        };
        let Obstacle { bound, held, asked, .. } = self;
        format!("{whose} allows {bound} {what} {scope}: {held} are taken, this asks for {asked}")
    }
}

/// Limits per user and per job, each with where it is written.
type Inherited = (Vec<(Level, HeldLimits)>, Vec<(Level, JobLimits)>);

/// Beside what a job's amounts are weighed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weigh {
    /// What is held now.
    WithOthers,
    /// Nothing.
    Alone,
}

struct Found {
    weigh: Weigh,
    obstacles: Vec<Obstacle>,
}

impl Found {
    /// Who asks for nothing is not kept by what others hold.
    fn see(
        &mut self,
        (level, scope): (Level, Scope),
        limit: Limit,
        most: Option<u64>,
        (held, asked): (u64, u64),
    ) {
        if let Some(bound) = most.filter(|most| asked > 0 && held.saturating_add(asked) > *most) {
            self.obstacles.push(Obstacle { level, scope, limit, bound, held, asked });
        }
    }
}

fn see_held(ask: &Ask, (at, limits, held): ((Level, Scope), &HeldLimits, Option<&Held>), found: &mut Found) {
    let held = held.filter(|_| found.weigh == Weigh::WithOthers);
    found.see(at, Limit::Jobs, limits.jobs, (held.map_or(0, |h| h.running), 1));
    for resource in Resource::ALL {
        let amounts = (held.map_or(0, |h| h.amounts.get(resource)), ask.amounts.get(resource));
        found.see(at, Limit::Amount(resource), limits.amounts.get(resource), amounts);
    }
}

fn see_job(ask: &Ask, (level, limits): (Level, &JobLimits), found: &mut Found) {
    let at = (level, Scope::Job);
    for resource in Resource::ALL {
        let asked = ask.amounts.get(resource);
        found.see(at, Limit::Amount(resource), limits.amounts.get(resource), (0, asked));
        let asked = minutes(asked, ask.wall_s);
        found.see(at, Limit::Minutes(resource), limits.minutes.get(resource), (0, asked));
    }
    found.see(at, Limit::Wall, limits.wall_s, (0, ask.wall_s));
}

/// Amount times minutes of a time limit, each begun minute counted.
fn minutes(amount: u64, wall_s: u64) -> u64 {
    let seconds = u128::from(amount) * u128::from(wall_s);
    u64::try_from(seconds.div_ceil(60)).unwrap_or(u64::MAX)
}
