//! The shepherd's alarm: one point in time, by a clock that counts suspended time.

use muster_core::time::Time;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// An alarm; readable when its time has come.
pub(super) struct Alarm {
    timer: OwnedFd,
    at: Time,
}

impl Alarm {
    /// One that is not set.
    ///
    /// # Errors
    /// When the operating system gives none.
    pub(super) fn new() -> Result<Alarm, String> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Boottime, flags)
            .map_err(|e| format!("cannot make a timer: {e}"))?;
        Ok(Alarm { timer, at: Time::NEVER })
    }

    /// Sets it to `at`, unless it is set to an earlier time: then it rings too early, once, and is set again. Deadlines
    /// move ahead all the time, and few of them ever come.
    ///
    /// # Errors
    /// When the operating system does not take it.
    pub(super) fn set(&mut self, at: Time) -> Result<(), String> {
        if at >= self.at {
            return Ok(());
        }
        // 0 would stop the timer.
        let ms = at.0.max(1);
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 };
        let set = Itimerspec { it_interval: zero, it_value: value };
        rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &set)
            .map_err(|e| format!("cannot set a timer: {e}"))?;
        self.at = at;
        Ok(())
    }

    /// It has been heard.
    pub(super) fn heard(&mut self) {
        let _ = rustix::io::read(&self.timer, &mut [0u8; 8]);
        self.at = Time::NEVER;
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}
