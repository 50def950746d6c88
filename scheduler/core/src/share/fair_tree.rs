//! The fair tree: users ranked by what they and the accounts above them have had of their shares (Cox and Morrison,
//! 2014; as in Slurm).
//!
//! The level fairshare of a user or account is S / U: its part of the shares of all siblings, by its part of their usage.
//! Siblings are sorted by it, greatest first, and the tree is walked depth first; users are ranked as they are met, the
//! rank counting down from the number of users, and the factor is rank by that number. Ties:
//!
//! 1. Sibling users with the same level fairshare have the same rank.
//! 2. Sibling accounts with the same level fairshare merge their children before these are sorted.
//! 3. A user comes before an account with the same level fairshare, and the first user below it has the same rank.
//!
//! Invariant: level fairshares are compared as fractions of integers, exactly, so a tie is a tie in whatever order and
//! however the numbers were come by.

use crate::share::accounts::{AccountId, Accounts, AssociationId, Member};
use crate::share::book::UsageBook;
use crate::share::shares::Shares;
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// Every user's place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FairTree {
    associations: Vec<Place>,
    accounts: Vec<Standing>,
}

/// Where a user stands.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// From the number of users of accounts, the first, down to 1; equals share the higher rank.
    pub rank: u32,
    /// The rank by the number of users of accounts: the fair-share factor.
    pub factor: f64,
    /// What it comes from.
    pub standing: Standing,
}

/// A user or account beside its siblings, as `sshare -l` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// The part of the siblings' shares, from 0 to 1.
    pub shares: f64,
    /// The part of the siblings' usage, from 0 to 1; 0 while none has used anything.
    pub usage: f64,
    /// The first by the second.
    pub level: Level,
}

/// A level fairshare. Infinity has a name of its own, as JSON has no word for it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Level {
    /// It has no shares: behind all others.
    NoShares,
    /// Above 1 for who has had less than its part, below 1 for who has had more.
    Ratio(f64),
    /// It has shares and has used nothing, or takes its parent's shares: before all others.
    Unused,
}

impl FairTree {
    /// The tree by what was used up to `now`.
    pub fn new(accounts: &Accounts, book: &UsageBook, now: Time) -> FairTree {
        let (of_associations, of_accounts) = book.billed(now);
        FairTree::by_usage(accounts, &of_associations, &of_accounts)
    }

    /// The tree by what each association has used, and each account with all below it, in any one unit.
    ///
    /// # Panics
    ///
    /// When there are not as many as `accounts` has.
    pub fn by_usage(accounts: &Accounts, of_associations: &[u128], of_accounts: &[u128]) -> FairTree {
        let users = accounts.associations().len();
        assert_eq!((of_associations.len(), of_accounts.len()), (users, accounts.accounts().len()));
        let mut claims = Claims {
            associations: vec![Claim::NOTHING; users],
            accounts: vec![Claim::NOTHING; of_accounts.len()],
        };
        for account in accounts.accounts() {
            claims.add_family(accounts, &account.family, of_associations, of_accounts);
        }
        let mut walk =
            Walk { accounts, claims: &claims, ranks: vec![0; users], next: users as u32, shared: 0 };
        walk.descend(accounts.account(AccountId(0)).family.clone(), false);
        let place = |(&rank, claim): (&u32, &Claim)| Place {
            rank,
            factor: f64::from(rank) / users as f64,
            standing: claim.standing(),
        };
        FairTree {
            associations: walk.ranks.iter().zip(&claims.associations).map(place).collect(),
            accounts: claims.accounts.iter().map(Claim::standing).collect(),
        }
    }

    /// A user's place in an account.
    ///
    /// # Panics
    ///
    /// When the number is of other accounts.
    pub fn association(&self, id: AssociationId) -> &Place {
        &self.associations[id.0 as usize]
    }

    /// An account beside its siblings. Root, and accounts with their parent's shares, have none.
    ///
    /// # Panics
    ///
    /// When the number is of other accounts.
    pub fn account(&self, id: AccountId) -> &Standing {
        &self.accounts[id.0 as usize]
    }

    /// The places of all users, by number.
    pub fn associations(&self) -> &[Place] {
        &self.associations
    }
}

/// The two fractions that a level fairshare is made of.
#[derive(Clone, Copy)]
struct Claim {
    /// None for the parent's.
    shares: Option<u64>,
    shares_of_all: u64,
    usage: u128,
    usage_of_all: u128,
}

impl Claim {
    const NOTHING: Claim = Claim { shares: None, shares_of_all: 0, usage: 0, usage_of_all: 0 };

    fn level(&self) -> Level {
        match self.shares {
            Some(0) => Level::NoShares,
            Some(shares) if self.usage > 0 => {
                let shares = shares as f64 / self.shares_of_all as f64;
                Level::Ratio(shares / (self.usage as f64 / self.usage_of_all as f64))
            }
            _ => Level::Unused,
        }
    }

    fn standing(&self) -> Standing {
        let part = |of: f64, all: f64| if all > 0.0 { of / all } else { 0.0 };
        Standing {
            shares: part(self.shares.unwrap_or(0) as f64, self.shares_of_all as f64),
            usage: part(self.usage as f64, self.usage_of_all as f64),
            level: self.level(),
        }
    }

    /// Compares level fairshares exactly.
    fn compare(&self, other: &Claim) -> Ordering {
        let order = |level: &Level| match level {
            Level::NoShares => 0,
            Level::Ratio(_) => 1,
            Level::Unused => 2,
        };
        let (mine, others) = (self.level(), other.level());
        let (Level::Ratio(a), Level::Ratio(b)) = (mine, others) else {
            return order(&mine).cmp(&order(&others));
        };
        // Far more than the rounding of five operations: whoever differs by so much differs.
        if (a - b).abs() > 1e-12 * a.max(b) {
            return a.total_cmp(&b);
        }
        let cross = |above: &Claim, below: &Claim| {
            let shares = [above.shares.unwrap_or(0), below.shares_of_all].map(u128::from);
            product([shares[0], shares[1], above.usage_of_all, below.usage])
        };
        cross(self, other).cmp(&cross(other, self))
    }
}

/// The claims of everybody beside their siblings.
struct Claims {
    associations: Vec<Claim>,
    accounts: Vec<Claim>,
}

impl Claims {
    fn add_family(
        &mut self,
        accounts: &Accounts,
        family: &[Member],
        of_associations: &[u128],
        of_accounts: &[u128],
    ) {
        let of = |member: &Member| match member {
            Member::User(id) => (accounts.association(*id).shares, of_associations[id.0 as usize]),
            Member::Account(id) => (accounts.account(*id).shares, of_accounts[id.0 as usize]),
        };
        let number = |shares| match shares {
            Shares::Own(shares) => Some(u64::from(shares)),
            Shares::Parent => None,
        };
        let shares_of_all = family.iter().filter_map(|m| number(of(m).0)).sum();
        let usage_of_all = family.iter().map(|m| of(m).1).fold(0, u128::saturating_add);
        for member in family {
            let (shares, usage) = of(member);
            let claim = Claim { shares: number(shares), shares_of_all, usage, usage_of_all };
            match member {
                Member::User(id) => self.associations[id.0 as usize] = claim,
                Member::Account(id) => self.accounts[id.0 as usize] = claim,
            }
        }
    }

    fn of(&self, member: Member) -> &Claim {
        match member {
            Member::User(id) => &self.associations[id.0 as usize],
            Member::Account(id) => &self.accounts[id.0 as usize],
        }
    }
}

/// The walk through the sorted tree.
struct Walk<'a> {
    accounts: &'a Accounts,
    claims: &'a Claims,
    ranks: Vec<u32>,
    /// The rank of the next user who is not equal to the one before.
    next: u32,
    /// The rank of the user before, which equals share.
    shared: u32,
}

impl Walk<'_> {
    /// Ranks everybody below `siblings`; whoever comes first shares the rank of the user before if `tied`.
    fn descend(&mut self, mut siblings: Vec<Member>, mut tied: bool) {
        let claims = self.claims;
        let equal = |a: Member, b: Member| claims.of(a).compare(claims.of(b)) == Ordering::Equal;
        let is_account = |member: &Member| matches!(member, Member::Account(_));
        // Greatest first; users before the accounts that they are equal to. Equals of one kind stay as they are numbered.
        siblings.sort_by(|a, b| claims.of(*b).compare(claims.of(*a)).then(is_account(a).cmp(&is_account(b))));
        let mut at = 0;
        while let Some(&member) = siblings.get(at) {
            let equals = tied || (at > 0 && equal(siblings[at - 1], member));
            let next = self.next;
            match member {
                Member::User(id) => {
                    if !equals {
                        self.shared = self.next;
                    }
                    self.ranks[id.0 as usize] = self.shared;
                    self.next -= 1;
                    at += 1;
                }
                Member::Account(_) => {
                    // Users come first, so those equal to an account that follow it are accounts.
                    let alike = siblings[at..].iter().take_while(|other| equal(member, **other)).count();
                    let children = siblings[at..at + alike].iter().flat_map(|m| self.children(*m)).copied();
                    self.descend(children.collect(), equals);
                    at += alike;
                }
            }
            // An account without users leaves the tie to whoever comes next.
            tied &= self.next == next;
        }
    }

    fn children(&self, member: Member) -> &[Member] {
        match member {
            Member::Account(id) => &self.accounts.account(id).family,
            Member::User(_) => &[],
        }
    }
}

/// The product, highest digits first.
fn product(factors: [u128; 4]) -> [u64; 8] {
    let mut digits = [0u64; 8];
    digits[7] = 1;
    for factor in factors {
        let mut next = [0u64; 8];
        for (shift, part) in [(0, factor as u64), (1, (factor >> 64) as u64)] {
            let mut carry = 0u128;
            // A product of four numbers of two digits has eight: what would not fit here is zero.
            for at in (0..8 - shift).rev() {
                let sum = u128::from(digits[at + shift]) * u128::from(part) + u128::from(next[at]) + carry;
                next[at] = sum as u64;
                carry = sum >> 64;
            }
        }
        digits = next;
    }
    digits
}
