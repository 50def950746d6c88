//! Nothing lost, at full length: jobs of every kind on four hosts, while controller, agents, shepherds, foremen, mpirun and
//! ranks are killed at random moments. `make soak-hosts` runs a hundred rounds, `make soak-hosts ROUNDS=5` five.
//!
//! Each round submits its jobs, kills something once, waits for all, and looks: every job has one end, what was reported
//! as done was done once, a kernel has its one hash, and nothing of any job runs any more.

#[expect(dead_code, reason = "stories use more of it")]
mod hosts;
#[expect(dead_code, reason = "stories use more of it")]
mod pool;

use pool::Pool;
use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// Elements of the array of a round.
const ELEMENTS: u32 = 400;
const KERNEL: &str = "--kernel monte-carlo --option asian --steps 64 --paths 6e7 --json --progress none";
const MPI: &str = "mpirun muster-rank moments --generate normal:2e7 --json --no-ledger --progress none";
/// What is killed: the words of its command line, and on which hosts it may be.
const VICTIMS: [(&str, &[usize]); 6] = [
    ("muster up", &[1]),
    ("muster join", &[2, 3, 4]),
    ("muster shepherd", &[1, 2, 3, 4]),
    ("muster kernel", &[1, 2, 3, 4]),
    ("mpirun", &[1, 2, 3, 4]),
    ("muster-rank", &[1, 2, 3, 4]),
];

/// How long leases last in this pool, and what it takes to end what they allow.
const LEASE: Duration = Duration::from_secs(7);

fn random(below: u64) -> u64 {
    RandomState::new().build_hasher().finish() % below
}

/// Returns after a time, or later.
fn pass(time: Duration) {
    let (_keep, nobody) = channel::<()>();
    let _ = nobody.recv_timeout(time);
}

/// The jobs of a round, by their numbers.
struct Jobs {
    array: String,
    kernel: String,
    mpi: String,
    again: String,
    once: String,
}

impl Jobs {
    fn submit(pool: &Pool) -> Jobs {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<String>>();
        let submit = |options: &str, rest: &[String]| {
            let all: Vec<String> = words(options).into_iter().chain(rest.iter().cloned()).collect();
            pool.submit(&all.iter().map(String::as_str).collect::<Vec<&str>>())
        };
        let wrap = |script: &str| ["--wrap".to_owned(), script.to_owned()];
        let element = "echo $SLURM_ARRAY_JOB_ID $SLURM_ARRAY_TASK_ID >> elements";
        let slow = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo $SLURM_JOB_ID >> scripts";
        let range = format!("--array=1-{ELEMENTS} -o /dev/null");
        Jobs {
            kernel: submit("--nodes=1-4 --cpus-per-task=1 -o kernel-%j", &words(KERNEL)),
            array: submit(&range, &wrap(element)),
            mpi: submit("--nodes=2 --ntasks-per-node=1 --requeue -o mpi-%j", &wrap(MPI)),
            again: submit("--requeue -o /dev/null", &wrap(slow)),
            once: submit("--no-requeue -o /dev/null", &wrap(slow)),
        }
    }

    fn all(&self) -> [&String; 5] {
        [&self.array, &self.kernel, &self.mpi, &self.again, &self.once]
    }
}

/// Kills all processes with these words on a host; whether there was one.
fn kill(pool: &Pool, number: usize, words: &str) -> bool {
    let pattern = format!("^([^ ]*/)?{words}( |$)");
    pool.hosts.run(number, &["pkill", "-KILL", "-f", &pattern]).status.success()
}

/// Processes of jobs on any host.
fn leftovers(pool: &Pool) -> Vec<String> {
    let look =
        "! pgrep -af 'mpirun|orted|muster-rank|muster kernel|slurm_script|SLURM_JOB_ID' | grep -v pgrep";
    let found = (1..=4).map(|number| (number, pool.hosts.run(number, &["sh", "-c", look]).stdout));
    let lines = found.map(|(number, said)| (number, String::from_utf8_lossy(&said).into_owned()));
    lines.filter(|(_, said)| !said.is_empty()).map(|(number, said)| format!("h{number}: {said}")).collect()
}

/// The lines that hosts have written to their files of this name.
fn lines(pool: &Pool, name: &str) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for number in 1..=4 {
        let text = std::fs::read_to_string(pool.hosts.folder(number).join(name)).unwrap_or_default();
        text.lines().for_each(|line| *all.entry(line.to_owned()).or_insert(0) += 1);
    }
    all
}

fn hash(text: &str) -> Option<String> {
    let from = text.split("\"hash\": \"").nth(1)?;
    Some(from.split('"').next()?.to_owned())
}

fn main() {
    let rounds = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(100);
    let Some(pool) = Pool::up(4) else { return };
    let words: Vec<&str> = ["muster", "kernel"].into_iter().chain(KERNEL.split(' ').skip(1)).collect();
    let calm = hash(&pool.hosts.ok(1, &words)).expect("a hash");
    let (mut killed, mut done) = (BTreeMap::new(), 0);
    for round in 1..=rounds {
        let (victim, at) = VICTIMS[random(6) as usize];
        let (first, wait) = (random(at.len() as u64) as usize, random(3_500));
        let jobs = Jobs::submit(&pool);
        pass(Duration::from_millis(wait));
        // On the first host from a random one on that has it.
        let mut hosts = at.iter().cycle().skip(first).take(at.len());
        let found = hosts.find(|host| kill(&pool, **host, victim)).copied();
        let (hit, host) = (found.is_some(), found.unwrap_or(at[first]));
        println!(
            "round {round}: {victim} on h{host} after {wait} ms{}",
            if hit { "" } else { ", which was not there" }
        );
        *killed.entry(victim).or_insert(0) += u32::from(hit);
        match victim {
            "muster up" => drop(pool.ok(&["up", "--detach", "--listen", &hosts::address(1), "--lease", "6"])),
            // A host that has joined needs no token again.
            "muster join" if hit => drop(pool.hosts.ok(host, &["muster", "join", &pool.place, "--detach"])),
            _ => {}
        }
        done += check(&pool, &jobs, (victim, hit), &calm);
    }
    println!("{rounds} rounds, {done} runs with one end each, one hash {calm}; killed: {killed:?}");
}

/// Waits for the jobs of a round, and looks at what became of them; how many runs ended.
fn check(pool: &Pool, jobs: &Jobs, (victim, hit): (&str, bool), calm: &str) -> usize {
    let past: Vec<Vec<(String, String)>> = jobs.all().map(|job| pool.wait(job)).into();
    let lost: usize = past.iter().flatten().filter(|(outcome, _)| outcome != "COMPLETED").count();
    let [array, kernel, mpi, again, once] = &past[..] else { unreachable!("as many as jobs") };
    let completed = |past: &Vec<(String, String)>| past.iter().filter(|one| one.0 == "COMPLETED").count();
    assert_eq!(completed(array), ELEMENTS as usize, "{array:?}");
    let elements = lines(pool, "elements");
    let times: Vec<usize> = (1..=ELEMENTS)
        .map(|element| elements.get(&format!("{} {element}", jobs.array)).copied().unwrap_or(0))
        .collect();
    let ran: usize = times.iter().sum();
    assert!(times.iter().all(|times| *times > 0), "all have run: {times:?}");
    assert!(ran <= array.len(), "{ran} runs of {} attempts: {times:?}", array.len());
    // A foreman that is killed, and a rank in a script of the user's, are failures of the job itself.
    let own = hit && ["muster kernel", "mpirun", "muster-rank"].contains(&victim);
    assert!(completed(kernel) == 1 || own && completed(kernel) == 0, "{kernel:?}");
    if completed(kernel) == 1 {
        let said = pool.ok(&["logs", &jobs.kernel]);
        assert_eq!(hash(&said).as_deref(), Some(calm), "{said}");
    }
    assert!(completed(mpi) == 1 || own && mpi.last().is_some_and(|one| one.0 == "FAILED"), "{mpi:?}");
    assert_eq!(completed(again), 1, "{again:?}");
    assert_eq!(once.len(), 1, "what may not run again does not: {once:?}");
    let scripts = lines(pool, "scripts");
    let times = |job: &String| scripts.get(job).copied().unwrap_or(0);
    assert!((1..=again.len()).contains(&times(&jobs.again)), "{} of {again:?}", times(&jobs.again));
    assert!(times(&jobs.once) <= 1 && times(&jobs.once) >= completed(once), "{once:?}");
    // What a host still holds that was not heard for a while ends when it is heard, and at the latest with its lease.
    let end = Instant::now() + LEASE;
    let mut left = leftovers(pool);
    if !left.is_empty() {
        println!("  left at first: {left:?}");
    }
    while !left.is_empty() && Instant::now() < end {
        pass(Duration::from_millis(100));
        left = leftovers(pool);
    }
    assert!(left.is_empty(), "there is still {left:?}");
    println!("  {} attempts, {lost} of them lost or failed", past.iter().map(Vec::len).sum::<usize>());
    past.iter().map(completed).sum()
}
