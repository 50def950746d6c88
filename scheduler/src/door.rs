//! The door: who asks, and whether they may. Every way in goes through [`may`], and what it does not name is denied.

use std::fmt;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The number of the user, by the operating system's word.
    pub uid: u32,
    /// The number of the user's group.
    pub gid: u32,
    /// The user's name.
    pub user: String,
}

/// What a caller is to the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Nobody that it knows.
    Stranger,
    /// A user.
    User,
    /// The user whose pool this is, or root: may do all.
    Admin,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// To see jobs and hosts.
    Look,
    /// To submit a job as oneself.
    Submit,
    /// To change a job of this user's.
    Change(u32),
    /// To read the script or the output of a job of this user's.
    Read(u32),
    /// To change hosts, partitions and rules, or to end the pool.
    Operate,
}

/// Why somebody may not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{who} may not {what}: {why}")]
pub struct Denied {
    who: String,
    what: &'static str,
    why: &'static str,
}

impl Caller {
    /// What the caller is in a pool of one user: all to that user and to root, and nothing to others.
    pub fn role(&self, owner: u32) -> Role {
        if self.uid == owner || self.uid == 0 { Role::Admin } else { Role::Stranger }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Verb::Look => "see jobs and hosts",
            Verb::Submit => "submit jobs",
            Verb::Change(_) => "change this job",
            Verb::Read(_) => "read this job's files",
            Verb::Operate => "operate the pool",
        }
    }
}

/// The name of a user, as the operating system's list has it; the number where it has none.
pub fn user_name(uid: u32) -> String {
    let number = uid.to_string();
    let list = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then(|| name.to_owned())
    };
    list.lines().find_map(name).unwrap_or(number)
}

/// Whether a caller in a role may do something.
///
/// # Errors
/// Why not, with whom to ask.
pub fn may(caller: &Caller, role: Role, verb: Verb) -> Result<(), Denied> {
    let own = |uid: u32| caller.uid == uid;
    let allowed = match (role, verb) {
        (Role::Admin, _) => true,
        (Role::User, Verb::Look | Verb::Submit) => true,
        (Role::User, Verb::Change(uid) | Verb::Read(uid)) => own(uid),
        (Role::User, Verb::Operate) | (Role::Stranger, _) => false,
    };
    if allowed {
        return Ok(());
    }
    let why = match role {
        Role::Stranger => "this pool is another user's, and a pool of a user is for that user alone",
        _ => "only its user and operators may",
    };
    let who = if caller.user.is_empty() { format!("user {}", caller.uid) } else { caller.user.clone() };
    Err(Denied { who, what: verb.name(), why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_against_every_role() {
        let caller = Caller { uid: 7, gid: 7, user: "ada".into() };
        let verbs = [
            Verb::Look,
            Verb::Submit,
            Verb::Change(7),
            Verb::Change(8),
            Verb::Read(7),
            Verb::Read(8),
            Verb::Operate,
        ];
        for (role, expected) in [
            (Role::Stranger, [false; 7]),
            (Role::User, [true, true, true, false, true, false, false]),
            (Role::Admin, [true; 7]),
        ] {
            let got = verbs.map(|verb| may(&caller, role, verb).is_ok());
            assert_eq!(got, expected, "{role:?}");
        }
        let denied = may(&caller, caller.role(8), Verb::Submit).unwrap_err();
        assert!(
            denied.to_string().starts_with("ada may not submit jobs: this pool is another user's"),
            "{denied}"
        );
        assert_eq!((caller.role(7), Caller { uid: 0, ..caller }.role(9)), (Role::Admin, Role::Admin));
    }
}
