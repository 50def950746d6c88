//! Acting as the user whose job it is, where an agent runs as root for a pool of many users. The only file that looks users
//! up, and that takes another user's rights, but for the birth of a job's processes.
//!
//! Invariants: nobody of the system's is acted for, and root least of all; a guise ends where it began, and is that of one
//! thread; what is opened in it is what that user may open.

#![allow(unsafe_code)]

use super::prepare::Failure;
use muster_core::job::Owner;
use muster_core::job::outcome::Outcome;
use serde::{Deserialize, Serialize};
use std::ffi::{CStr, CString};
use std::io::{Error, Result};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Whose jobs run on a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Users {
    /// Those of the user as whom the agent runs.
    #[default]
    Own,
    /// Those of every ordinary user of the host, each with that user's rights. The agent runs as root.
    All,
}

/// A user of this host, by the operating system's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    /// The number.
    pub(super) uid: u32,
    /// The number of the group.
    pub(super) gid: u32,
    /// The numbers of all groups.
    pub(super) groups: Vec<u32>,
}

/// As whom what belongs to a job is done here; none where the agent is that user.
///
/// # Errors
/// When it is not done here.
pub(super) fn of(users: Users, owner: &Owner) -> std::result::Result<Option<User>, Failure> {
    let refuse = |why: String| Failure { outcome: Outcome::Failed(1), why, unfit: false };
    match users {
        Users::All => User::named(&owner.user).map(Some).map_err(refuse),
        Users::Own => {
            let me = rustix::process::getuid().as_raw();
            (owner.uid == me).then_some(None).ok_or_else(|| {
                refuse(format!(
                    "this agent runs as user {me} and starts jobs of that user alone; this one is of {} ({})",
                    owner.user, owner.uid
                ))
            })
        }
    }
}

impl User {
    /// The user of this name.
    ///
    /// # Errors
    /// When there is none on this host, or it is not a person's.
    pub(super) fn named(name: &str) -> std::result::Result<User, String> {
        let least = least_uid(&std::fs::read_to_string("/etc/login.defs").unwrap_or_default());
        let user = look_up(name).ok_or_else(|| format!("this host knows no user {name}"))?;
        let system = user.uid < least || user.uid >= NOBODY || user.gid == 0;
        if system {
            return Err(format!(
                "{name} ({}) is an account of this host's system: it runs no jobs",
                user.uid
            ));
        }
        Ok(user)
    }

    /// Does something with this user's rights to files, on this thread.
    ///
    /// # Errors
    /// The operating system's, when those rights cannot be taken: nothing was done.
    pub(super) fn act<T>(&self, what: impl FnOnce() -> T) -> Result<T> {
        let guise = Guise::put_on(self)?;
        let done = what();
        drop(guise);
        Ok(done)
    }

    /// Has a command run as this user, in a folder that the user may enter.
    pub(super) fn dress(&self, command: &mut Command, folder: &Path) {
        let (user, folder) = (self.clone(), folder.to_owned());
        // SAFETY: between fork and exec it makes system calls alone, with what was made before.
        unsafe {
            command.pre_exec(move || {
                user.become_it()?;
                Ok(rustix::process::chdir(&folder)?)
            });
        }
    }

    /// In a child: becomes this user for good, who gets no more rights by running programs of others.
    ///
    /// # Errors
    /// The operating system's.
    pub(super) fn become_it(&self) -> Result<()> {
        set_groups(&self.groups)?;
        let (uid, gid) = (libc::c_long::from(self.uid), libc::c_long::from(self.gid));
        // SAFETY: the calls take numbers alone.
        unsafe {
            ok(libc::syscall(libc::SYS_setresgid, gid, gid, gid))?;
            ok(libc::syscall(libc::SYS_setresuid, uid, uid, uid))?;
        }
        no_new_privileges()
    }
}

/// The first number that is nobody's: 65534 is who has no name, and beyond are numbers of containers.
const NOBODY: u32 = 65_534;

/// The least number of a person on this host, by the file that says so to `useradd`.
fn least_uid(login_defs: &str) -> u32 {
    let set = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next()? == "UID_MIN").then(|| words.next()?.parse().ok())?
    };
    login_defs.lines().find_map(set).unwrap_or(1000)
}

fn look_up(name: &str) -> Option<User> {
    let name = CString::new(name).ok()?;
    let mut room = vec![0; 16 << 10];
    // SAFETY: all of its members are numbers and pointers, and it is read only where the call says that it was written.
    let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
    let mut found = std::ptr::null_mut();
    // SAFETY: all places are ours and live through the call, and the room has the size that is said.
    let code = unsafe {
        libc::getpwnam_r(name.as_ptr(), &raw mut entry, room.as_mut_ptr(), room.len(), &raw mut found)
    };
    if code != 0 || found.is_null() {
        return None;
    }
    let groups = groups(&name, entry.pw_gid);
    Some(User { uid: entry.pw_uid, gid: entry.pw_gid, groups })
}

fn groups(name: &CStr, gid: u32) -> Vec<u32> {
    let mut count = 64;
    loop {
        let mut all = vec![0; count as usize];
        // SAFETY: the list has room for as many as is said, and the count is ours.
        let code = unsafe { libc::getgrouplist(name.as_ptr(), gid, all.as_mut_ptr(), &raw mut count) };
        if code >= 0 {
            all.truncate(count.unsigned_abs() as usize);
            return all;
        }
        if count as usize <= all.len() {
            return vec![gid];
        }
    }
}

/// Another user's rights to files, on one thread, until it is dropped. Whoever could not take its own back would go on with
/// less, and ends instead.
struct Guise {
    groups: Vec<u32>,
    gid: u32,
    uid: u32,
}

impl Guise {
    fn put_on(user: &User) -> Result<Guise> {
        let groups = rustix::process::getgroups()?.into_iter().map(rustix::process::Gid::as_raw).collect();
        let (gid, uid) = (rustix::process::getegid().as_raw(), rustix::process::geteuid().as_raw());
        let guise = Guise { groups, gid, uid };
        set_groups(&user.groups)?;
        file_rights(user.uid, user.gid)?;
        Ok(guise)
    }
}

impl Drop for Guise {
    fn drop(&mut self) {
        let back = file_rights(self.uid, self.gid).and_then(|()| set_groups(&self.groups));
        if back.is_err() {
            std::process::abort();
        }
    }
}

/// Sets whose rights count where files are opened. With those of another than root, root's power over files goes, too.
fn file_rights(uid: u32, gid: u32) -> Result<()> {
    let none = libc::c_long::from(-1);
    // SAFETY: the calls take numbers alone, and change this thread alone. They say what was before, and a number that is
    // none changes nothing: so it is asked whether they did what they were told.
    let (group, user) = unsafe {
        libc::syscall(libc::SYS_setfsgid, libc::c_long::from(gid));
        libc::syscall(libc::SYS_setfsuid, libc::c_long::from(uid));
        (libc::syscall(libc::SYS_setfsgid, none), libc::syscall(libc::SYS_setfsuid, none))
    };
    let done = group == libc::c_long::from(gid) && user == libc::c_long::from(uid);
    if done { Ok(()) } else { Err(Error::from_raw_os_error(libc::EPERM)) }
}

/// Sets the groups of this thread alone.
fn set_groups(groups: &[u32]) -> Result<()> {
    // SAFETY: the list has as many as is said. The system's own call, and not the library's, which has all threads do so.
    ok(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })
}

fn no_new_privileges() -> Result<()> {
    // SAFETY: the call takes numbers alone.
    ok(unsafe { libc::c_long::from(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) })
}

fn ok(code: libc::c_long) -> Result<()> {
    if code < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    #[test]
    fn nobody_of_the_systems_is_acted_for() {
        assert!(User::named("root").unwrap_err().contains("account of this host's system"));
        assert!(User::named("no-such-user").unwrap_err().contains("knows no user"));
        assert!(User::named("a\0b").is_err());
        assert_eq!((least_uid("# UID_MIN 5\nUID_MIN\t\t  500\n"), least_uid("")), (500, 1000));
        let owner = Owner { uid: NOBODY, gid: 0, user: "no-such-user".into() };
        assert!(of(Users::Own, &owner).unwrap_err().why.contains("of that user alone"));
        assert!(of(Users::All, &owner).unwrap_err().why.contains("knows no user"));
    }

    #[test]
    fn what_is_opened_in_a_guise_is_what_that_user_may_open() {
        if !rustix::process::geteuid().is_root() {
            return eprintln!("left out: that takes root");
        }
        let scratch = Scratch::new("guise");
        let path = |name: &str| scratch.path().join(name);
        std::fs::set_permissions(scratch.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(path("secret"), "x").unwrap();
        std::fs::set_permissions(path("secret"), std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::create_dir(path("theirs")).unwrap();
        std::os::unix::fs::chown(path("theirs"), Some(4711), Some(4712)).unwrap();
        let user = User { uid: 4711, gid: 4712, groups: vec![4712, 4713] };
        let before = rustix::process::getgroups().unwrap();
        let denied = user.act(|| std::fs::read(path("secret")).map_err(|e| e.kind())).unwrap();
        assert_eq!(denied, Err(std::io::ErrorKind::PermissionDenied));
        user.act(|| std::fs::write(path("theirs/new"), "y").unwrap()).unwrap();
        let meta = std::fs::metadata(path("theirs/new")).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (4711, 4712));
        assert_eq!(std::fs::read(path("secret")).unwrap(), b"x", "it is over");
        assert_eq!(rustix::process::getgroups().unwrap(), before);
        let mut command = Command::new("sh");
        command.args(["-c", "id -u; id -g; id -G; grep NoNewPrivs /proc/self/status"]);
        user.dress(&mut command, &path("theirs"));
        let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
        assert_eq!(said, "4711\n4712\n4712 4713\nNoNewPrivs:\t1\n");
        std::fs::create_dir(path("ours")).unwrap();
        std::fs::set_permissions(path("ours"), std::fs::Permissions::from_mode(0o700)).unwrap();
        user.dress(&mut command, &path("ours"));
        assert_eq!(command.output().unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
    }
}
