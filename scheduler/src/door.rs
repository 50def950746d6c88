//! The door: who asks, and whether they may. Every way in goes through [`may`], and what it does not name is denied.

use std::fmt;
use std::net::IpAddr;

/// The number of a user that no machine has.
pub const NOBODY: u32 = u32::MAX;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The number of the user, by the operating system's word.
    pub uid: u32,
    /// The number of the user's group.
    pub gid: u32,
    /// The user's name.
    pub user: String,
    /// How they come in.
    pub way: Way,
}

/// Whose pool it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Whose {
    /// That of the user as whom it runs, alone.
    #[default]
    Own,
    /// That of every user of its machine; those of these names operate it.
    Everybody {
        /// Their names.
        operators: Vec<String>,
    },
}

/// How a caller comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// By the socket of local commands: the operating system says who it is.
    Socket,
    /// Over the network, with the credential of the host that is called so.
    Host(String),
    /// Over the network, with the credential of the client that is called so, for the user that the caller is.
    Client(String),
    /// Over the network, from this address, with nothing to show.
    Network(IpAddr),
}

/// What a caller is to the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Somebody on the network.
    Anonymous,
    /// The agent of a host that has joined.
    Host,
    /// A user of this machine that it does not know.
    Stranger,
    /// A user.
    User,
    /// A user who operates a pool of many: cares for its hosts, and for jobs of others.
    Operator,
    /// The user as whom the pool runs, or root: may do all.
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
    /// To change hosts, partitions and rules.
    Operate,
    /// To make tokens and take credentials back, or to end the pool.
    Admit,
    /// To hand in a token for a credential.
    Redeem,
    /// To speak as the agent of the host whose credential one has.
    Agent,
    /// To fetch what a job runs that has something on that host.
    Fetch,
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
    /// The user as whom this process runs, whose pool it is.
    pub fn owner() -> Caller {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Caller { uid, gid, user: user_name(uid), way: Way::Socket }
    }

    /// A caller over the network: no user of this machine, but a client that has logged in, which acts for `owner`.
    pub fn over_network(way: Way, owner: &Caller) -> Caller {
        let user = match &way {
            Way::Client(_) => return Caller { way, ..owner.clone() },
            Way::Host(name) => format!("the agent of host {name}"),
            Way::Socket | Way::Network(_) => "somebody on the network".to_owned(),
        };
        Caller { uid: NOBODY, gid: NOBODY, user, way }
    }

    /// What the caller is in a pool that runs as user `owner`: that of one user is all to that user and to root, and nothing
    /// to others.
    pub fn role(&self, owner: u32, whose: &Whose) -> Role {
        match self.way {
            Way::Network(_) => Role::Anonymous,
            Way::Host(_) => Role::Host,
            Way::Client(_) => Role::User,
            Way::Socket if self.uid == owner || self.uid == 0 => Role::Admin,
            Way::Socket => match whose {
                Whose::Everybody { operators } if operators.contains(&self.user) => Role::Operator,
                Whose::Everybody { .. } if self.uid != NOBODY => Role::User,
                Whose::Everybody { .. } | Whose::Own => Role::Stranger,
            },
        }
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
            Verb::Admit => "operate the pool so far as to make tokens, take credentials back, or end it",
            Verb::Redeem => "hand in a token here",
            Verb::Agent => "speak for a host",
            Verb::Fetch => "fetch what jobs run",
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
        (Role::Anonymous, Verb::Redeem) | (Role::Host, Verb::Agent | Verb::Fetch) => true,
        // What is said for a host is believed of its agent alone.
        (Role::Anonymous | Role::Host, _) | (_, Verb::Redeem | Verb::Agent | Verb::Fetch) => false,
        (Role::Admin, _) => true,
        (Role::User | Role::Operator, Verb::Look | Verb::Submit) => true,
        (Role::Operator, Verb::Change(_) | Verb::Operate) => true,
        (Role::User, Verb::Change(uid)) | (Role::User | Role::Operator, Verb::Read(uid)) => own(uid),
        (Role::User, Verb::Operate) | (Role::User | Role::Operator, Verb::Admit) | (Role::Stranger, _) => {
            false
        }
    };
    if allowed {
        return Ok(());
    }
    let why = match role {
        Role::Anonymous => {
            "over the network a pool hears whom it knows: `muster token --login` on the pool's host makes a token for \
             `muster login`, and `muster token` one for `muster join`, which makes this machine a host of it"
        }
        Role::Host => {
            "a host's credential is for its agent's messages and for what its jobs run, and nothing else"
        }
        _ if matches!(verb, Verb::Redeem | Verb::Agent | Verb::Fetch) => {
            "only the agents of other hosts do, over the network: `muster join`"
        }
        Role::User if matches!(caller.way, Way::Client(_)) => {
            "a client that has logged in has to do with its user's jobs alone: do that on the pool's own host"
        }
        Role::Stranger => "this pool is another user's, and a pool of a user is for that user alone",
        _ => "only its user and operators may",
    };
    let who = if caller.user.is_empty() { format!("user {}", caller.uid) } else { caller.user.clone() };
    Err(Denied { who, what: verb.name(), why })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ada(way: Way) -> Caller {
        Caller { uid: 7, gid: 7, user: "ada".into(), way }
    }

    #[test]
    fn every_verb_against_every_role() {
        let verbs = [
            Verb::Look,
            Verb::Submit,
            Verb::Change(7),
            Verb::Change(8),
            Verb::Read(7),
            Verb::Read(8),
            Verb::Operate,
            Verb::Admit,
            Verb::Redeem,
            Verb::Agent,
            Verb::Fetch,
        ];
        for (role, allowed) in [
            (Role::Anonymous, "--------R--"),
            (Role::Host, "---------AF"),
            (Role::Stranger, "-----------"),
            (Role::User, "LSC-R------"),
            (Role::Operator, "LSCCR-O----"),
            (Role::Admin, "LSCCRROT---"),
        ] {
            let got = verbs.map(|verb| may(&ada(Way::Socket), role, verb).is_ok());
            let expected: Vec<bool> = allowed.chars().map(|letter| letter != '-').collect();
            assert_eq!(got.to_vec(), expected, "{role:?}");
        }
    }

    #[test]
    fn everybodys_pool_has_users_and_operators() {
        let whose = Whose::Everybody { operators: vec!["eve".into()] };
        let user = |name: &str, uid| Caller { uid, user: name.into(), ..ada(Way::Socket) }.role(901, &whose);
        assert_eq!([user("ada", 7), user("eve", 8)], [Role::User, Role::Operator]);
        assert_eq!([user("muster", 901), user("root", 0)], [Role::Admin, Role::Admin]);
        assert_eq!(user("eve", NOBODY), Role::Operator, "by the system's own list of names");
        assert_eq!(user("", NOBODY), Role::Stranger);
        // Who is an operator is told by the machine, and not by the network.
        assert_eq!(Caller { user: "eve".into(), ..ada(Way::Host("b".into())) }.role(901, &whose), Role::Host);
    }

    #[test]
    fn every_way_in_has_its_role() {
        assert_eq!(ada(Way::Socket).role(7, &Whose::Own), Role::Admin);
        assert_eq!(Caller { uid: 0, ..ada(Way::Socket) }.role(9, &Whose::Own), Role::Admin);
        assert_eq!(ada(Way::Socket).role(8, &Whose::Own), Role::Stranger);
        // The network's word for a user counts for nothing, whatever the numbers.
        assert_eq!(ada(Way::Host("b".into())).role(7, &Whose::Own), Role::Host);
        assert_eq!(ada(Way::Network([127, 0, 0, 1].into())).role(7, &Whose::Own), Role::Anonymous);
        let client = Caller::over_network(Way::Client("desk".into()), &ada(Way::Socket));
        assert_eq!((client.role(7, &Whose::Own), client.uid), (Role::User, 7));
        assert!(may(&client, client.role(7, &Whose::Own), Verb::Change(7)).is_ok());
        let denied = may(&client, client.role(7, &Whose::Own), Verb::Operate).unwrap_err();
        assert!(denied.to_string().contains("do that on the pool's own host"), "{denied}");
    }

    #[test]
    fn who_is_denied_is_told_why() {
        let denied = may(&ada(Way::Socket), Role::Stranger, Verb::Submit).unwrap_err();
        assert!(
            denied.to_string().starts_with("ada may not submit jobs: this pool is another user's"),
            "{denied}"
        );
        let far = Caller::over_network(Way::Network([10, 0, 0, 1].into()), &ada(Way::Socket));
        let denied = may(&far, far.role(7, &Whose::Own), Verb::Submit).unwrap_err();
        assert!(denied.to_string().contains("`muster token --login` on the pool's host"), "{denied}");
        let host = Caller::over_network(Way::Host("b".into()), &ada(Way::Socket));
        let denied = may(&host, host.role(7, &Whose::Own), Verb::Operate).unwrap_err();
        assert!(denied.to_string().starts_with("the agent of host b may not operate the pool"), "{denied}");
    }
}
