//! Slurm's multifactor priority: a weighted sum of factors from 0 to 1, all parts kept.
//!
//! Step 5 of a job's way (DESIGN section 4). The sum is added in Slurm's order and in doubles, cut to a whole number,
//! and kept between 1 (0 is a held job's) and 2^32 - 1. What is the same for all jobs of a user, a QOS or a partition is
//! worked out once for a pass, in [`Valuation`]; a job costs a few multiplications.

use crate::share::accounts::{Accounts, AssociationId, Payer, QosId};
use crate::share::fair_tree::FairTree;
use crate::share::resource::{Amounts, PerResource, Resource};
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;

/// The greatest and, negated, the least nice value that Slurm takes.
pub const NICEST: i32 = 2_147_483_645;

/// How priorities are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Multifactor {
    /// How much each factor counts.
    pub weights: Weights,
    /// Seconds of waiting after which a job's age counts in full.
    pub max_age_s: u32,
    /// What a large size does.
    pub size: SizeRule,
    /// Priorities that differ by less than a step count as equal, and the next key decides; none for Slurm's order.
    pub coarse: Option<NonZeroU32>,
}

impl Default for Multifactor {
    /// Slurm's: all weights 0, 7 days, large jobs first.
    fn default() -> Multifactor {
        Multifactor {
            weights: Weights::default(),
            max_age_s: 7 * 24 * 3600,
            size: SizeRule::Large,
            coarse: None,
        }
    }
}

/// How much each factor counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Weights {
    /// Time that a job has waited and could have started.
    pub age: u32,
    /// The priority of who pays.
    pub association: u32,
    /// The place in the fair tree.
    pub fairshare: u32,
    /// Hosts and CPUs.
    pub size: u32,
    /// The partition's priority.
    pub partition: u32,
    /// The QOS's priority.
    pub qos: u32,
    /// The part of the partition that a job asks for, by resource.
    pub resources: PerResource<u32>,
}

/// Which sizes count more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SizeRule {
    /// Large ones: the mean of the parts of all hosts and of all CPUs.
    #[default]
    Large,
    /// Small ones: what the job leaves of them.
    Small,
    /// Those with many CPUs for each minute of their time limit.
    RelativeToTime,
}

/// What a priority needs to know of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who pays; none where nobody is accounted for.
    pub payer: Option<Payer>,
    /// Its partition, by its place in [`Site::partitions`].
    pub partition: u32,
    /// Since when it could start but for others; none while it could not (held, depends).
    pub eligible: Option<Time>,
    /// What it asks for.
    pub amounts: Amounts,
    /// Its time limit in minutes.
    pub limit_min: u64,
    /// What an administrator added.
    pub site: i32,
    /// What its user took away: see [`NICEST`].
    pub nice: i32,
}

/// What priorities are measured against.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// Who may use it.
    pub accounts: &'a Accounts,
    /// The place of each user.
    pub fair: &'a FairTree,
    /// All there is.
    pub amounts: Amounts,
    /// The partitions.
    pub partitions: &'a [PartitionWeight],
    /// Ticks of [`Time`] in a second.
    pub ticks_per_s: i64,
}

/// What a priority needs to know of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionWeight {
    /// Its priority, before it is set in relation to the highest.
    pub priority: u32,
    /// All it has.
    pub amounts: Amounts,
}

/// One number for each factor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Factors {
    /// Time waited.
    pub age: f64,
    /// Who pays.
    pub association: f64,
    /// The fair tree.
    pub fairshare: f64,
    /// The job's size.
    pub size: f64,
    /// The partition.
    pub partition: f64,
    /// The QOS.
    pub qos: f64,
    /// The resources.
    pub resources: PerResource<f64>,
}

/// A priority with all its parts, as `sprio` shows them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parts {
    /// What an administrator added.
    pub site: i32,
    /// Each factor, from 0 to 1; 0 where its weight is, as nobody asks.
    pub factors: Factors,
    /// Each factor times its weight.
    pub weighted: Factors,
    /// What its user took away.
    pub nice: i32,
}

impl Parts {
    /// The priority: the sum, from 1 to 2^32 - 1.
    pub fn priority(&self) -> u32 {
        let w = &self.weighted;
        let resources = Resource::ALL.iter().fold(0.0, |sum, r| sum + w.resources.get(*r));
        let sum = w.age
            + w.association
            + w.fairshare
            + w.size
            + w.partition
            + w.qos
            + resources
            + f64::from(self.site)
            - f64::from(self.nice);
        // The conversion cuts, and saturates at 2^32 - 1.
        sum.max(1.0) as u32
    }
}

/// All that one pass needs to value jobs.
#[derive(Clone, Debug)]
pub struct Valuation {
    rule: Multifactor,
    now: Time,
    max_age: f64,
    amounts: Amounts,
    /// The association and fair-share factor of each association.
    associations: Vec<(f64, f64)>,
    qos: Vec<f64>,
    partitions: Vec<(f64, Amounts)>,
}

impl Multifactor {
    /// What the factors are at one time.
    pub fn at(&self, now: Time, site: &Site<'_>) -> Valuation {
        let part = |of: u32, most: u32| if most == 0 { 0.0 } else { f64::from(of) / f64::from(most) };
        let associations = site.accounts.associations();
        let highest = associations.iter().map(|a| a.priority).max().unwrap_or(0);
        let fair = site.fair.associations();
        let priorities = || site.accounts.qos().iter().map(|q| q.entry.priority);
        let highest_qos = priorities().max().unwrap_or(0);
        let highest_partition = site.partitions.iter().map(|p| p.priority).max().unwrap_or(0);
        Valuation {
            rule: *self,
            now,
            max_age: f64::from(self.max_age_s) * site.ticks_per_s as f64,
            amounts: site.amounts,
            associations: associations
                .iter()
                .zip(fair)
                .map(|(a, place)| (part(a.priority, highest), place.factor))
                .collect(),
            qos: priorities().map(|priority| part(priority, highest_qos)).collect(),
            partitions: site
                .partitions
                .iter()
                .map(|p| (part(p.priority, highest_partition), p.amounts))
                .collect(),
        }
    }

    /// The step that a priority is on, the higher the sooner: all of it where priorities are not coarse.
    pub fn coarse(&self, priority: u32) -> u32 {
        self.coarse.map_or(priority, |step| priority / step)
    }
}

impl Valuation {
    /// A job's priority, from 1 to 2^32 - 1.
    ///
    /// # Panics
    ///
    /// When the payer or the partition is of another site.
    pub fn priority(&self, job: &Candidate) -> u32 {
        self.parts(job).priority()
    }

    /// A job's priority, in its parts.
    ///
    /// # Panics
    ///
    /// When the payer or the partition is of another site.
    pub fn parts(&self, job: &Candidate) -> Parts {
        let weights = &self.rule.weights;
        let (of_association, of_fairshare) =
            job.payer.map_or((0.0, 0.0), |Payer { association: AssociationId(id), .. }| {
                self.associations[id as usize]
            });
        let of_qos = job.payer.and_then(|p| p.qos).map_or(0.0, |QosId(id)| self.qos[id as usize]);
        let (of_partition, has) = self.partitions[job.partition as usize];
        let weigh = |weight: u32, factor: &dyn Fn() -> f64| if weight == 0 { 0.0 } else { factor() };
        let factors = Factors {
            age: weigh(weights.age, &|| self.age(job)),
            association: weigh(weights.association, &|| of_association),
            fairshare: weigh(weights.fairshare, &|| of_fairshare),
            size: weigh(weights.size, &|| self.size(job)),
            partition: weigh(weights.partition, &|| of_partition),
            qos: weigh(weights.qos, &|| of_qos),
            resources: PerResource::of(|r| {
                weigh(weights.resources.get(r), &|| part(job.amounts.get(r), has.get(r)))
            }),
        };
        let weighted = Factors {
            age: factors.age * f64::from(weights.age),
            association: factors.association * f64::from(weights.association),
            fairshare: factors.fairshare * f64::from(weights.fairshare),
            size: factors.size * f64::from(weights.size),
            partition: factors.partition * f64::from(weights.partition),
            qos: factors.qos * f64::from(weights.qos),
            resources: PerResource::of(|r| factors.resources.get(r) * f64::from(weights.resources.get(r))),
        };
        Parts { site: job.site, factors, weighted, nice: job.nice }
    }

    fn age(&self, job: &Candidate) -> f64 {
        let waited = job.eligible.map_or(0, |since| self.now.0.saturating_sub(since.0).max(0)) as f64;
        if waited < self.max_age {
            waited / self.max_age
        } else {
            f64::from(u8::from(job.eligible.is_some()))
        }
    }

    fn size(&self, job: &Candidate) -> f64 {
        let hosts = part(job.amounts.hosts, self.amounts.hosts);
        let cpus = part(job.amounts.cpus, self.amounts.cpus);
        match self.rule.size {
            SizeRule::Large => (hosts + cpus) / 2.0,
            SizeRule::Small => ((1.0 - hosts) + (1.0 - cpus)) / 2.0,
            SizeRule::RelativeToTime => cpus / job.limit_min.max(1) as f64,
        }
    }
}

/// The part of all that there is, at most 1; 0 of nothing.
fn part(of: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { (of as f64 / all as f64).min(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SITE: &str = r#"
        accounts.a = { priority = 10, users = { u = {}, v = { priority = 40 } } }
        qos.high.priority = 8
        qos.low.priority = 2"#;

    const AMOUNTS: Amounts = Amounts { cpus: 1000, gpus: 40, memory_mib: 64_000, hosts: 100 };

    fn accounts() -> Accounts {
        Accounts::new(toml::from_str(SITE).expect("a table")).expect("accounts")
    }

    /// u has used 1 and v 3 of 4, with equal shares: u ranks 2 of 2, v 1 of 2.
    fn valuation(rule: &Multifactor, accounts: &Accounts) -> Valuation {
        let fair = FairTree::by_usage(accounts, &[1, 3], &[4, 4]);
        let half = Amounts { cpus: 500, gpus: 0, memory_mib: 32_000, hosts: 50 };
        let partitions = [
            PartitionWeight { priority: 30, amounts: AMOUNTS },
            PartitionWeight { priority: 120, amounts: half },
        ];
        let site =
            Site { accounts, fair: &fair, amounts: AMOUNTS, partitions: &partitions, ticks_per_s: 1000 };
        rule.at(Time(1_000_000_000), &site)
    }

    fn job(accounts: &Accounts, user: &str, qos: &str) -> Candidate {
        let association = accounts.association_named("a", user).expect("a user");
        Candidate {
            payer: Some(Payer { association, qos: accounts.qos_named(qos), within: None }),
            partition: 0,
            eligible: Some(Time(1_000_000_000 - 7 * 24 * 3600 * 250)),
            amounts: Amounts { cpus: 100, gpus: 10, memory_mib: 16_000, hosts: 30 },
            limit_min: 20,
            site: 0,
            nice: 0,
        }
    }

    fn all() -> Weights {
        let resources = PerResource { cpus: 2000, gpus: 4000, memory_mib: 0, hosts: 0 };
        Weights {
            age: 1000,
            association: 400,
            fairshare: 10_000,
            size: 500,
            partition: 200,
            qos: 800,
            resources,
        }
    }

    #[test]
    fn all_parts_are_kept_and_add_up() {
        let accounts = accounts();
        let rule = Multifactor { weights: all(), ..Multifactor::default() };
        let job = Candidate { site: 70, nice: 20, ..job(&accounts, "v", "low") };
        let parts = valuation(&rule, &accounts).parts(&job);
        // A quarter of 7 days; 40 of 40; rank 1 of 2; (30/100 + 100/1000) / 2; 30 of 120; 2 of 8; 100/1000 and 10/40.
        let resources = PerResource { cpus: 0.1, gpus: 0.25, memory_mib: 0.0, hosts: 0.0 };
        let factors = Factors {
            age: 0.25,
            association: 1.0,
            fairshare: 0.5,
            size: 0.2,
            partition: 0.25,
            qos: 0.25,
            resources,
        };
        assert_eq!(parts.factors, factors);
        let weighted = parts.weighted;
        assert_eq!((weighted.age, weighted.association, weighted.fairshare), (250.0, 400.0, 5000.0));
        assert_eq!((weighted.size, weighted.partition, weighted.qos), (100.0, 50.0, 200.0));
        assert_eq!((weighted.resources.cpus, weighted.resources.gpus), (200.0, 1000.0));
        assert_eq!(parts.priority(), 250 + 400 + 5000 + 100 + 50 + 200 + 1200 + 70 - 20);
        let text = serde_json::to_string(&parts).expect("JSON");
        assert_eq!(serde_json::from_str::<Parts>(&text).expect("JSON"), parts);
    }

    #[test]
    fn each_size_rule_has_its_favourites() {
        let accounts = accounts();
        let weights = Weights { size: 1000, ..Weights::default() };
        let small = Candidate {
            amounts: Amounts { hosts: 1, cpus: 10, ..Amounts::default() },
            ..job(&accounts, "u", "")
        };
        let whole = Candidate { amounts: AMOUNTS, limit_min: 1, ..small };
        let sizes = |size| {
            let valuation = valuation(&Multifactor { weights, size, ..Multifactor::default() }, &accounts);
            (valuation.priority(&small), valuation.priority(&whole))
        };
        assert_eq!(sizes(SizeRule::Large), (10, 1000));
        assert_eq!(sizes(SizeRule::Small), (990, 1), "a sum of 0 is 1, as 0 is for what is held");
        // 10 / 1000 CPUs over 20 minutes is 0.0005, half a point.
        assert_eq!(sizes(SizeRule::RelativeToTime), (1, 1000));
    }

    #[test]
    fn age_grows_to_its_most_and_only_of_what_could_start() {
        let accounts = accounts();
        let rule =
            Multifactor { weights: Weights { age: 1000, ..Weights::default() }, ..Multifactor::default() };
        let valuation = valuation(&rule, &accounts);
        let aged = |eligible| valuation.priority(&Candidate { eligible, ..job(&accounts, "u", "") });
        let ago = |days: i64| Some(Time(1_000_000_000 - days * 24 * 3_600_000));
        assert_eq!([aged(None), aged(ago(-1)), aged(ago(0)), aged(ago(1))], [1, 1, 1, 142]);
        assert_eq!([aged(ago(7)), aged(ago(8)), aged(Some(Time(i64::MIN)))], [1000; 3]);
    }

    #[test]
    fn a_priority_stays_within_its_range() {
        let accounts = accounts();
        let most = Weights { age: u32::MAX, fairshare: u32::MAX, ..Weights::default() };
        let rule = Multifactor { weights: most, ..Multifactor::default() };
        let valuation = valuation(&rule, &accounts);
        assert_eq!(valuation.priority(&job(&accounts, "u", "")), u32::MAX);
        let nobodys = Candidate { payer: None, eligible: None, ..job(&accounts, "u", "") };
        assert_eq!(valuation.priority(&Candidate { nice: NICEST, ..nobodys }), 1);
        assert_eq!(valuation.priority(&Candidate { nice: -NICEST, ..nobodys }), NICEST as u32);
        assert_eq!(
            valuation.priority(&Candidate { site: i32::MAX, nice: -NICEST, ..nobodys }),
            4_294_967_292
        );
    }

    #[test]
    fn coarse_steps_make_near_priorities_equal() {
        let step = |step| Multifactor { coarse: NonZeroU32::new(step), ..Multifactor::default() };
        assert_eq!([99, 100, 199, 200].map(|p| step(100).coarse(p)), [0, 1, 1, 2]);
        assert_eq!(step(0).coarse(4711), 4711);
        let text = "coarse = 100\nmax_age_s = 60\nsize = 'relative-to-time'\nweights.resources.gpus = 5";
        let read: Multifactor = toml::from_str(text).expect("TOML");
        assert_eq!((read.coarse, read.size), (step(100).coarse, SizeRule::RelativeToTime));
        let bytes = postcard::to_allocvec(&read).expect("postcard");
        assert_eq!(postcard::from_bytes::<Multifactor>(&bytes).expect("postcard"), read);
    }

    proptest! {
        /// Beside the formula, and each factor within its bounds.
        #[test]
        fn it_is_the_formula(
            of_user in 0usize..2, waited in 0i64..2_000_000_000, cpus in 0u64..2000, hosts in 0u64..200,
            site in -5000i32..5000, nice in -5000i32..5000, partition in 0u32..2,
        ) {
            let accounts = accounts();
            let rule = Multifactor { weights: all(), ..Multifactor::default() };
            let user = ["u", "v"][of_user];
            let job = Candidate {
                partition, site, nice, eligible: Some(Time(1_000_000_000 - waited)),
                amounts: Amounts { cpus, gpus: 3, memory_mib: 1, hosts },
                ..job(&accounts, user, "high")
            };
            let parts = valuation(&rule, &accounts).parts(&job);
            let of = |part: u64, all: u64| if all == 0 { 0.0 } else { (part as f64 / all as f64).min(1.0) };
            let has = [1000, 500][partition as usize];
            let exact = 1000.0 * (waited as f64 / 604_800_000.0).min(1.0)
                + 400.0 * [0.25, 1.0][of_user] + 10_000.0 * [1.0, 0.5][of_user]
                + 500.0 * (of(hosts, 100) + of(cpus, 1000)) / 2.0
                + 200.0 * [0.25, 1.0][partition as usize] + 800.0
                + 2000.0 * of(cpus, has) + 4000.0 * of(3, [40, 0][partition as usize])
                + f64::from(site) - f64::from(nice);
            prop_assert!((f64::from(parts.priority()) - exact.max(1.0)).abs() < 1.001, "{:?} {}", parts, exact);
            let f = parts.factors;
            for factor in [f.age, f.association, f.fairshare, f.size, f.partition, f.qos, f.resources.cpus] {
                prop_assert!((0.0..=1.0).contains(&factor));
            }
        }
    }
}
