//! Which devices a slot may open. In version 1 of control groups that is written into files; in version 2 a program of the
//! kernel's own small machine answers each attempt to open one. The only file that calls `bpf`.
//!
//! Invariant: what nobody has denied is as it was: a filter names single devices, and never all but some.

#![allow(unsafe_code)]

use std::fs::File;
use std::io::{Error, Result};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A character device: major and minor number.
pub(super) type Device = (u32, u32);

const PROG_LOAD: libc::c_long = 5;
const PROG_ATTACH: libc::c_long = 8;
const PROG_DETACH: libc::c_long = 9;
/// What a program is for, and where it is attached: devices of a control group.
const CGROUP_DEVICE: (u32, u32) = (15, 6);
/// Others may have programs on the same group, and on those around it.
const ALLOW_MULTI: u32 = 2;

/// A filter on a control group of version 2, until it is dropped.
pub(super) struct Filter {
    program: OwnedFd,
    group: File,
}

impl Filter {
    /// Lets nobody in the group, whose folder this is, open these.
    ///
    /// # Errors
    /// What the kernel does not allow: it takes root, or `CAP_BPF` and `CAP_NET_ADMIN`.
    pub(super) fn put(group: &File, denied: &[Device]) -> Result<Filter> {
        let filter = Filter { program: load(&program(denied))?, group: group.try_clone()? };
        filter.call(PROG_ATTACH, ALLOW_MULTI)?;
        Ok(filter)
    }

    fn call(&self, what: libc::c_long, flags: u32) -> Result<()> {
        let (group, program) = (self.group.as_raw_fd() as u32, self.program.as_raw_fd() as u32);
        let mut words = [0u32; ATTRIBUTE / 4];
        words[..4].copy_from_slice(&[group, program, CGROUP_DEVICE.1, flags]);
        bpf(what, &words.map(u32::to_ne_bytes).concat()).map(drop)
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        let _ = self.call(PROG_DETACH, 0);
    }
}

/// Whether this process may put filters.
pub(super) fn can_filter() -> bool {
    load(&program(&[])).is_ok()
}

/// The instructions of a filter, eight bytes each: it is given the kind of access, the major and the minor number.
fn program(denied: &[Device]) -> Vec<u8> {
    let one = |code: u8, register: u8, offset: i16, number: u32| {
        let mut bytes = vec![code, register];
        bytes.extend(offset.to_ne_bytes());
        bytes.extend(number.to_ne_bytes());
        bytes
    };
    // Registers 2 and 3 become the words at 4 and 8 of what register 1 points to.
    let mut out = [one(0x61, 0x12, 4, 0), one(0x61, 0x13, 8, 0)].concat();
    for (at, (major, minor)) in denied.iter().enumerate() {
        // The answer that denies stands behind the rest of these pairs and the two of the answer that allows.
        let to_denial = 2 * (denied.len() - at - 1) + 2;
        out.extend(one(0x55, 2, 1, *major));
        out.extend(one(0x15, 3, i16::try_from(to_denial).unwrap_or(i16::MAX), *minor));
    }
    // What nothing leads to is refused.
    for answer in [1, 0].into_iter().take(1 + usize::from(!denied.is_empty())) {
        out.extend(one(0xb7, 0, 0, answer));
        out.extend(one(0x95, 0, 0, 0));
    }
    out
}

/// As large as the kernel's own, zeros included.
const ATTRIBUTE: usize = 128;

fn load(program: &[u8]) -> Result<OwnedFd> {
    let mut attribute = [0u8; ATTRIBUTE];
    attribute[..4].copy_from_slice(&CGROUP_DEVICE.0.to_ne_bytes());
    attribute[4..8].copy_from_slice(&(program.len() as u32 / 8).to_ne_bytes());
    attribute[8..16].copy_from_slice(&(program.as_ptr() as u64).to_ne_bytes());
    attribute[16..24].copy_from_slice(&(c"".as_ptr() as u64).to_ne_bytes());
    let fd = bpf(PROG_LOAD, &attribute)?;
    // SAFETY: the kernel has just made it, for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn bpf(what: libc::c_long, attribute: &[u8]) -> Result<i32> {
    // SAFETY: the attribute has the length that is said, and what it points to, a program and an empty text, outlives the
    // call, which keeps nothing of it.
    let result = unsafe { libc::syscall(libc::SYS_bpf, what, attribute.as_ptr(), attribute.len()) };
    i32::try_from(result).ok().filter(|result| *result >= 0).ok_or_else(Error::last_os_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_answers_for_each_device() {
        // What the kernel does with it, for one opening.
        let answer = |program: &[u8], device: Device| {
            let (mut at, mut result) = (0, 9);
            loop {
                let of = &program[8 * at..8 * at + 8];
                let (offset, number) = (
                    i16::from_ne_bytes([of[2], of[3]]) as usize,
                    u32::from_ne_bytes(of[4..].try_into().unwrap()),
                );
                let register = if of[1] & 15 == 2 { device.0 } else { device.1 };
                at += 1;
                match of[0] {
                    0x61 => {}
                    0x55 if register != number => at += offset,
                    0x15 if register == number => at += offset,
                    0x55 | 0x15 => {}
                    0xb7 => result = number,
                    0x95 => return result == 1,
                    other => panic!("{other:x}"),
                }
            }
        };
        let two = program(&[(195, 1), (226, 128)]);
        for (device, may) in [((195, 0), true), ((195, 1), false), ((226, 128), false), ((226, 1), true)] {
            assert_eq!(answer(&two, device), may, "{device:?}");
        }
        assert!(answer(&program(&[]), (195, 1)));
    }
}
