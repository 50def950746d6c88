//! The fair tree beside ranks worked out by hand, beside a naive reference, and by its laws.

use crate::share::accounts::{AccountId, Accounts, AssociationId, Member};
use crate::share::fair_tree::{FairTree, Level};
use crate::share::shares::Shares;
use crate::share::table::{AccountEntry, AccountsTable, UserEntry};
use proptest::prelude::*;

/// The tree of a site where `account/user` has used so much.
fn tree(text: &str, used: &[(&str, u128)]) -> (Accounts, FairTree) {
    let accounts = Accounts::new(toml::from_str(text).expect("a table")).expect("accounts");
    let mut usage = vec![0; accounts.associations().len()];
    for (name, amount) in used {
        let (account, user) = name.split_once('/').expect("account/user");
        usage[accounts.association_named(account, user).expect("a user").0 as usize] = *amount;
    }
    let tree = FairTree::by_usage(&accounts, &usage, &above(&accounts, &usage));
    (accounts, tree)
}

/// What each account has used with all below it.
fn above(accounts: &Accounts, usage: &[u128]) -> Vec<u128> {
    let mut sums = vec![0; accounts.accounts().len()];
    for (id, used) in (0..).map(AssociationId).zip(usage) {
        for account in accounts.path(id) {
            sums[account.0 as usize] += used;
        }
    }
    sums
}

/// Every rank, as `account/user rank`, in the order of the names.
fn ranks(text: &str, used: &[(&str, u128)]) -> Vec<String> {
    let (accounts, tree) = tree(text, used);
    let line = |(association, place): (&crate::share::accounts::Association, _)| {
        let place: &crate::share::fair_tree::Place = place;
        let account = &accounts.account(association.account).name;
        format!("{account}/{} {}", accounts.users()[association.user.0 as usize], place.rank)
    };
    accounts.associations().iter().zip(tree.associations()).map(line).collect()
}

/// S = 1/4, 2/4, 1/4 and U = 10/70, 20/70, 40/70: S/U = 1.75, 1.75, 0.4375. Three users: ranks 3, 3, and then 1.
#[test]
fn sibling_users_with_equal_levels_share_a_rank() {
    let text = "accounts.a.users = { u = {}, v = { shares = 2 }, w = {} }";
    let used = [("a/u", 10), ("a/v", 20), ("a/w", 40)];
    assert_eq!(ranks(text, &used), ["a/u 3", "a/v 3", "a/w 1"]);
    let (accounts, tree) = tree(text, &used);
    let v = tree.association(accounts.association_named("a", "v").expect("a user"));
    assert_eq!((v.factor, v.standing.shares, v.standing.level), (1.0, 0.5, Level::Ratio(1.75)));
}

/// a and b have a half of the shares and 30 of 60 each: S/U = 1, so their children stand in one list. There, S/U is
/// (1/2)/(10/30) = 1.5 and (1/2)/(20/30) = 0.75 below a, (2/3)/(10/30) = 2 and (1/3)/(20/30) = 0.5 below b: b/p, a/u,
/// a/v, b/q. Without the merge, a's two would be next to each other at one end.
#[test]
fn sibling_accounts_with_equal_levels_merge_their_children() {
    let text = "
        accounts.a.users = { u = {}, v = {} }
        accounts.b.users = { p = { shares = 2 }, q = {} }";
    let used = [("a/u", 10), ("a/v", 20), ("b/p", 10), ("b/q", 20)];
    assert_eq!(ranks(text, &used), ["a/u 3", "a/v 2", "b/p 4", "b/q 1"]);
}

/// Usage is 30, 30, 120 of 180 and shares 1, 1, 2 of 4: S/U = 1.5 for the user ann and for a, 0.75 for c. So ann is first,
/// rank 4; u is the first below a, and has 4, too; v comes third, rank 2; w has 1.
#[test]
fn a_user_shares_the_rank_of_the_first_user_of_an_equal_account() {
    let text = "
        accounts.root.users.ann = {}
        accounts.a.users = { u = {}, v = {} }
        accounts.c = { shares = 2, users.w = {} }";
    let used = [("root/ann", 30), ("a/u", 10), ("a/v", 20), ("c/w", 120)];
    assert_eq!(ranks(text, &used), ["root/ann 4", "a/u 4", "a/v 2", "c/w 1"]);
    // Where u and v are equal, too, all three are.
    let used = [("root/ann", 30), ("a/u", 15), ("a/v", 15), ("c/w", 120)];
    assert_eq!(ranks(text, &used), ["root/ann 4", "a/u 4", "a/v 4", "c/w 1"]);
}

/// ann and a are equal (nobody but w has used anything). Below a stand the empty account e and the account f, equal and
/// merged: u is the first user there, and shares ann's rank two levels up.
#[test]
fn a_tie_reaches_through_accounts_and_past_empty_ones() {
    let text = r#"
        accounts.root.users.ann = {}
        accounts.a = {}
        accounts.e.parent = "a"
        accounts.f = { parent = "a", users.u = {} }
        accounts.g.users.w = {}"#;
    assert_eq!(ranks(text, &[("g/w", 5)]), ["root/ann 3", "f/u 3", "g/w 1"]);
}

/// Who has used nothing is before all others, who has no shares behind them, even unused; of equals all have one rank.
#[test]
fn no_usage_is_first_and_no_shares_last() {
    let text = "accounts.a.users = { idle = {}, busy = {}, poor = { shares = 0 }, rich = { shares = 9 } }";
    // poor has used nothing and is last all the same. Names in order: busy, idle, poor, rich.
    assert_eq!(
        ranks(text, &[("a/busy", 1), ("a/rich", 1)]),
        ["a/busy 2", "a/idle 4", "a/poor 1", "a/rich 3"]
    );
    assert_eq!(ranks(text, &[]), ["a/busy 4", "a/idle 4", "a/poor 1", "a/rich 4"]);
}

/// The account p takes its parent's shares, so u and v stand beside a, each with a third of the shares. U = 10, 20 and
/// 20 of 50. S/U = 1.67, 0.83, 0.83: u is first, and v has a/w's rank.
#[test]
fn an_account_with_its_parents_shares_makes_room_for_its_children() {
    let text = r#"
        accounts.a.users.w = {}
        accounts.p = { shares = "parent", users = { u = {}, v = {} } }"#;
    assert_eq!(ranks(text, &[("a/w", 20), ("p/u", 10), ("p/v", 20)]), ["a/w 2", "p/u 3", "p/v 2"]);
}

/// Users with their parent's shares are equal among each other and before those with their own.
#[test]
fn users_with_their_parents_shares_are_first_and_equal() {
    let text = r#"accounts.a.users = { u = { shares = "parent" }, v = { shares = "parent" }, w = {} }"#;
    assert_eq!(ranks(text, &[("a/u", 9), ("a/v", 5), ("a/w", 1)]), ["a/u 3", "a/v 3", "a/w 1"]);
}

#[test]
fn a_tree_without_users_and_one_read_back() {
    assert_eq!(ranks("", &[]), [""; 0]);
    let (_, tree) = tree("accounts.a.users = { u = {}, v = {}, w = { shares = 0 } }", &[("a/v", 3)]);
    let text = serde_json::to_string(&tree).expect("JSON");
    assert_eq!(serde_json::from_str::<FairTree>(&text).expect("JSON"), tree);
    let bytes = postcard::to_allocvec(&tree).expect("postcard");
    assert_eq!(postcard::from_bytes::<FairTree>(&bytes).expect("postcard"), tree);
}

/// Groups of equal users, the first first, by the words of the rules alone: sort by fractions, join what is equal.
fn groups(accounts: &Accounts, usage: &[u128], parents: &[AccountId]) -> Vec<Vec<AssociationId>> {
    let sums = above(accounts, usage);
    let mut members: Vec<((u8, u128, u128), Member)> = Vec::new();
    for parent in parents {
        let family = &accounts.account(*parent).family;
        let of = |member: &Member| match member {
            Member::User(id) => (accounts.association(*id).shares, usage[id.0 as usize]),
            Member::Account(id) => (accounts.account(*id).shares, sums[id.0 as usize]),
        };
        let number = |shares| if let Shares::Own(n) = shares { u128::from(n) } else { 0 };
        let all_shares: u128 = family.iter().map(|m| number(of(m).0)).sum();
        let all_usage: u128 = family.iter().map(|m| of(m).1).sum();
        for member in family {
            let level = match of(member) {
                (Shares::Own(0), _) => (0, 0, 1),
                (Shares::Parent, _) | (_, 0) => (2, 0, 1),
                (Shares::Own(n), used) => (1, u128::from(n) * all_usage, all_shares * used),
            };
            members.push((level, *member));
        }
    }
    members.sort_by(|((k, a, b), _), ((l, c, d), _)| l.cmp(k).then((c * b).cmp(&(a * d))));
    let mut out = Vec::new();
    for equal in members.chunk_by(|((k, a, b), _), ((l, c, d), _)| k == l && a * d == c * b) {
        let mut first = Vec::new();
        let mut below = Vec::new();
        for (_, member) in equal {
            match member {
                Member::User(id) => first.push(*id),
                Member::Account(id) => below.push(*id),
            }
        }
        let mut merged = if below.is_empty() { Vec::new() } else { groups(accounts, usage, &below) };
        if let (false, Some(joined)) = (first.is_empty(), merged.first_mut()) {
            joined.append(&mut first);
        } else if !first.is_empty() {
            merged.insert(0, first);
        }
        out.append(&mut merged);
    }
    out
}

fn naive(accounts: &Accounts, usage: &[u128]) -> Vec<u32> {
    let mut ranks = vec![0; usage.len()];
    let mut next = usage.len() as u32;
    for group in groups(accounts, usage, &[AccountId(0)]) {
        for id in &group {
            ranks[id.0 as usize] = next;
        }
        next -= group.len() as u32;
    }
    ranks
}

fn seen(accounts: &Accounts, usage: &[u128]) -> Vec<u32> {
    let tree = FairTree::by_usage(accounts, usage, &above(accounts, usage));
    tree.associations().iter().map(|place| place.rank).collect()
}

fn shares() -> impl Strategy<Value = Shares> {
    prop_oneof![8 => (0u32..4).prop_map(Shares::Own), 1 => Just(Shares::Parent)]
}

/// An account of a site drawn by chance: which of those before it is above, its shares, its users' shares.
type Drawn = (usize, Shares, Vec<Shares>);

fn drawn() -> impl Strategy<Value = Vec<Drawn>> {
    proptest::collection::vec((0usize..8, shares(), proptest::collection::vec(shares(), 0..4)), 1..8)
}

/// The site where the account drawn at place `i` is named by `name(i)`, below any drawn before it or root.
fn site(drawn: &[Drawn], name: impl Fn(usize) -> String) -> Accounts {
    let mut table = AccountsTable::default();
    for (i, (above, shares, users)) in drawn.iter().enumerate() {
        let parent = (i > 0 && above % (i + 1) < i).then(|| name(above % (i + 1)));
        let user = |(u, shares): (usize, &Shares)| {
            (format!("u{u}"), UserEntry { shares: *shares, ..UserEntry::default() })
        };
        let users = users.iter().enumerate().map(user).collect();
        table
            .accounts
            .insert(name(i), AccountEntry { parent, shares: *shares, users, ..AccountEntry::default() });
    }
    Accounts::new(table).expect("accounts")
}

/// The usage of every user of a site as drawn, by the names.
fn usage_of(
    accounts: &Accounts,
    drawn: &[Drawn],
    used: &[u128],
    name: impl Fn(usize) -> String,
) -> Vec<u128> {
    let mut usage = vec![0; accounts.associations().len()];
    let mut next = used.iter().cycle();
    for (i, (_, _, users)) in drawn.iter().enumerate() {
        for u in 0..users.len() {
            let id = accounts.association_named(&name(i), &format!("u{u}")).expect("a user");
            usage[id.0 as usize] = *next.next().expect("a cycle has no end");
        }
    }
    usage
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn it_is_the_naive_tree(drawn in drawn(), used in proptest::collection::vec(0u128..5, 24)) {
        let name = |i| format!("a{i}");
        let accounts = site(&drawn, name);
        let usage = usage_of(&accounts, &drawn, &used, name);
        prop_assert_eq!(seen(&accounts, &usage), naive(&accounts, &usage));
    }

    /// Numbers follow from names, so other names are another order of input: nobody's rank depends on it. Nor does it
    /// on the unit of usage.
    #[test]
    fn no_order_and_no_unit_reaches_a_rank(
        drawn in drawn(),
        used in proptest::collection::vec(0u128..5, 24),
        unit in 1u128..u128::MAX >> 12,
    ) {
        let (name, turned) = (|i| format!("a{i}"), |i: usize| format!("a{}", (i * 5 + 3) % 8));
        let (accounts, others) = (site(&drawn, name), site(&drawn, turned));
        let used_in_units: Vec<u128> = used.iter().map(|u| u * unit).collect();
        let one = seen(&accounts, &usage_of(&accounts, &drawn, &used, name));
        let other = seen(&others, &usage_of(&others, &drawn, &used_in_units, turned));
        for (i, (_, _, users)) in drawn.iter().enumerate() {
            for u in (0..users.len()).map(|u| format!("u{u}")) {
                let a = accounts.association_named(&name(i), &u).expect("a user").0 as usize;
                let b = others.association_named(&turned(i), &u).expect("a user").0 as usize;
                prop_assert_eq!(one[a], other[b]);
            }
        }
    }

    #[test]
    fn more_usage_never_raises_ones_own_rank(
        drawn in drawn(),
        used in proptest::collection::vec(0u128..5, 24),
        who in 0usize..24,
        more in 1u128..9,
    ) {
        let name = |i| format!("a{i}");
        let accounts = site(&drawn, name);
        let mut usage = usage_of(&accounts, &drawn, &used, name);
        prop_assume!(!usage.is_empty());
        let who = who % usage.len();
        let before = seen(&accounts, &usage);
        usage[who] += more;
        let after = seen(&accounts, &usage);
        prop_assert!(after[who] <= before[who], "{} to {}", before[who], after[who]);
        prop_assert_eq!(before.iter().chain(&after).filter(|rank| **rank == 0).count(), 0);
    }

    /// Who has used in exact proportion to the shares is equal, whatever rounding would make of the fractions.
    #[test]
    fn exact_proportion_is_a_tie(
        shares in proptest::collection::vec(1u32..1_000_000, 2..40),
        unit in 1u128..1 << 90,
    ) {
        let drawn = vec![(0, Shares::Own(1), shares.iter().map(|s| Shares::Own(*s)).collect())];
        let name = |i| format!("a{i}");
        let accounts = site(&drawn, name);
        let used: Vec<u128> = shares.iter().map(|s| u128::from(*s) * unit).collect();
        let mut usage = usage_of(&accounts, &drawn, &used, name);
        let all = shares.len() as u32;
        prop_assert_eq!(seen(&accounts, &usage), vec![all; shares.len()]);
        // And one part in 2^110 more than that is not.
        usage[0] += 1;
        prop_assert_eq!(seen(&accounts, &usage)[0], 1);
    }
}
