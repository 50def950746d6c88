//! On which NUMA domain memory of this process lies, that it stays there and is kept: the only file that calls `move_pages`,
//! `set_mempolicy` and `mallopt`.
//!
//! Step 9 of a job's way (DESIGN section 4). `move_pages` looks pages up by address and, without a list of targets,
//! moves nothing. /proc/self/numa_maps would not do: neighbouring maps of several threads are one line there.

#![allow(unsafe_code)]

use std::io::{Error, Result};

/// How many pages are asked for at once.
const BATCH: usize = 512;

/// Keeps memory where the calling thread, and every thread that it starts from now on, first touches it.
///
/// Under the default policy Linux moves a page to whoever used it last: a rank's main thread reads what a pool has
/// made, and so draws pages of the pool's scratch to its own domain. A policy that somebody else chose, as with
/// numactl, is left as it is.
///
/// # Errors
/// The operating system's, such as one that keeps the call from containers.
pub(crate) fn stay() -> Result<()> {
    if policy()? != libc::MPOL_DEFAULT {
        return Ok(());
    }
    // SAFETY: this policy takes no list of domains: null with a length of 0 is what it asks for.
    let code =
        unsafe { libc::syscall(libc::SYS_set_mempolicy, libc::MPOL_LOCAL, std::ptr::null::<usize>(), 0) };
    if code < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

/// Keeps what is freed for the next block: buffers of up to 16 MiB are not mapped anew each time. By itself the
/// allocator gives them back to the operating system, which then clears every page again.
pub(crate) fn keep() {
    // SAFETY: it sets numbers of the allocator; one that does not know them says so.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 16 << 20);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 256 << 20);
    }
}

/// The memory policy of the calling thread.
fn policy() -> Result<i32> {
    let mut mode = 0i32;
    let none = std::ptr::null::<usize>();
    // SAFETY: the mode is ours and lives through the call; null is allowed for what is not asked.
    let code = unsafe { libc::syscall(libc::SYS_get_mempolicy, &raw mut mode, none, 0, none, 0) };
    if code < 0 { Err(Error::last_os_error()) } else { Ok(mode) }
}

/// Calls `each` with the domain of every page that touches the `bytes` bytes from `start`. Pages that nobody has
/// touched yet, or that are not there, are passed over.
///
/// # Errors
/// The operating system's, such as one that keeps the call from containers.
pub(crate) fn domains(start: usize, bytes: usize, mut each: impl FnMut(u32)) -> Result<()> {
    let size = rustix::param::page_size();
    let (mut at, end) = (start / size * size, start.saturating_add(bytes));
    while at < end {
        let pages: Vec<usize> = (at..end).step_by(size).take(BATCH).collect();
        let mut found = vec![-1i32; pages.len()];
        // SAFETY: both lists have the length that the call is told, and live through it; the addresses are looked up,
        // not read; without targets (null) nothing is moved.
        let code = unsafe {
            libc::syscall(
                libc::SYS_move_pages,
                0,
                pages.len(),
                pages.as_ptr(),
                std::ptr::null::<i32>(),
                found.as_mut_ptr(),
                0,
            )
        };
        if code < 0 {
            return Err(Error::last_os_error());
        }
        found.iter().filter_map(|&domain| u32::try_from(domain).ok()).for_each(&mut each);
        at += pages.len() * size;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_stays_and_its_children_have_a_policy() {
        let child = || {
            stay()?;
            std::thread::spawn(policy).join().unwrap()
        };
        match std::thread::spawn(child).join().unwrap() {
            Ok(policy) => assert_ne!(policy, libc::MPOL_DEFAULT),
            Err(why) => eprintln!("passed over: set_mempolicy: {why}"),
        }
    }

    #[test]
    fn touched_pages_are_found_and_untouched_ones_passed_over() {
        let size = rustix::param::page_size();
        let memory = vec![7u8; 40 * size];
        let mut pages = 0;
        match domains(memory.as_ptr().addr(), memory.len(), |_| pages += 1) {
            Ok(()) => assert!((40..=41).contains(&pages), "{pages}"),
            // As in a container, or a kernel without NUMA.
            Err(why) => eprintln!("passed over: move_pages: {why}"),
        }
        let mut none = 0;
        if domains(size, size, |_| none += 1).is_ok() {
            assert_eq!(none, 0, "nothing lies at the lowest addresses");
        }
    }
}
