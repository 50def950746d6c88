//! What a clerk can say of jobs that wait, and decides nothing by: why, since when, until when.
//!
//! All of it is as of the last decisions, and forecasts are run on a copy, so that asking changes nothing.

use super::Clerk;
use crate::books::error::BooksError;
use crate::books::event::Event;
use crate::cluster::Hosts;
use crate::decide::Scheduler;
use crate::decide::decision::Decided;
use crate::decide::forecast::{Foretold, Horizon, forecast, what_if};
use crate::job::id::JobId;
use crate::time::Time;

impl Clerk {
    /// What is decided about a job that waits, of each group of its elements, with every reason.
    pub fn why(&self, job: JobId, now: Time) -> Vec<Decided> {
        let mut hosts = self.planner.hosts.clone();
        self.planner.scheduler.explain(&self.books, &mut hosts, (job, &self.planner.passed), now)
    }

    /// What is decided about everything that waits, in brief: one decision for each.
    pub fn decisions(&self, now: Time) -> Vec<Decided> {
        // To ask what is free only looks classes up, which a copy may do.
        let mut hosts = self.planner.hosts.clone();
        self.planner.scheduler.tell(&self.books, &mut hosts, &self.planner.passed, now)
    }

    /// When what waits will start, by the estimates.
    pub fn forecast(&self, now: Time, horizon: Horizon) -> Vec<Foretold> {
        let mut copy = self.clone();
        copy.follow(now);
        forecast(copy.all(), now, horizon)
    }

    /// When a job would start if `event` happened to it now.
    ///
    /// # Errors
    /// When the event cannot follow.
    pub fn what_if(
        &self,
        job: JobId,
        event: Event,
        now: Time,
        horizon: Horizon,
    ) -> Result<Option<Time>, BooksError> {
        let mut copy = self.clone();
        copy.follow(now);
        what_if(copy.all(), (job, event), now, horizon)
    }

    fn all(&self) -> (&Scheduler, &crate::books::Books, &Hosts) {
        (&self.planner.scheduler, &self.books, &self.planner.hosts)
    }
}
