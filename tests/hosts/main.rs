//! A pool over several hosts that share nothing, made of namespaces: teams over all of them, and what becomes of work when
//! hosts, links and the controller are lost. Each test passes over where hosts cannot be made.

mod hosts;
mod output;
mod pool;
mod users;

use pool::Pool;

/// A job that says where it is, and ends when somebody opens its pipe; from its second attempt on it ends at once.
const WAITS: &str =
    "echo $$ $MUSTER_ATTEMPT $(hostname) >> began; [ $MUSTER_ATTEMPT = 1 ] || exit 0; mkfifo pipe; : < pipe";

fn once(outcome: &str, hosts: &str) -> Vec<(String, String)> {
    vec![(outcome.to_owned(), hosts.to_owned())]
}

/// The hash in an answer.
fn hash(text: &str) -> String {
    let from = text.split_once("\"hash\": \"").unwrap_or_else(|| panic!("no answer: {text}")).1;
    from.split('"').next().unwrap_or_default().to_owned()
}

/// A pool of so many hosts on which teams of processes can be started.
fn with_mpi(count: usize) -> Option<Pool> {
    let pool = Pool::up(count)?;
    let found =
        pool.hosts.run(1, &["sh", "-c", "command -v mpirun && command -v muster-rank"]).status.success();
    if !found {
        println!("passed over: no mpirun, or no muster-rank");
    }
    found.then_some(pool)
}

/// The cores of a host.
fn cores(pool: &Pool) -> String {
    let hosts = pool.json(&["hosts"]);
    assert!(hosts.as_array().expect("rows").iter().all(|host| host["cores"] == hosts[0]["cores"]));
    hosts[0]["cores"].to_string()
}

#[test]
fn work_spreads_over_hosts_that_share_nothing() {
    let Some(pool) = Pool::up(3) else { return };
    let each = format!("--cpus-per-task={}", cores(&pool));
    let job = pool.submit(&["--array=1-3", &each, "-o", "out-%N", "--", "hostname"]);
    let mut past = pool.wait(&job);
    past.sort();
    assert_eq!(past, ["h1", "h2", "h3"].map(|host| ("COMPLETED".to_owned(), host.to_owned())));
    for number in 1..=3 {
        let (name, line) = (format!("out-h{number}"), format!("h{number}\n"));
        assert_eq!(pool.read(1, &name, |_| true), line, "output is where the job was submitted");
    }
    pool.ok(&["drain", "h2"]);
    pool.ok(&["drain", "h3"]);
    let after = pool.submit(&["-o", "/dev/null", "--", "hostname"]);
    assert_eq!(pool.wait(&after), once("COMPLETED", "h1"));
}

#[test]
fn an_mpi_program_in_a_script_finds_its_hosts() {
    let Some(pool) = with_mpi(3) else { return };
    let job = "muster-rank moments --generate normal:2e5 --json";
    let here = pool.hosts.ok(1, &["sh", "-c", &format!("{job} --no-ledger")]);
    let script = format!("mpirun hostname | sort > where && mpirun {job} --placement > answer 2> placement");
    let number = pool.submit(&["--nodes=3", "--wrap", &script]);
    assert_eq!(
        pool.wait(&number),
        once("COMPLETED", "h1,h2,h3"),
        "{}",
        pool.read(1, "slurm-1.out", |_| true)
    );
    assert_eq!(pool.read(1, "where", |_| true), "h1\nh2\nh3\n");
    assert_eq!(hash(&pool.read(1, "answer", |_| true)), hash(&here));
    // What is left of a job on its other hosts ends with it, and nothing else than the daemon of an mpirun is started.
    let script =
        "mpirun sh -c 'setsid tail -f /dev/null > /dev/null 2>&1 & echo $! > left'; muster launch h2 id";
    let number = pool.submit(&["--nodes=3", "--wrap", script]);
    assert_eq!(pool.wait(&number), once("FAILED", "h1,h2,h3"));
    assert!(
        pool.read(1, "slurm-3.out", |_| true).contains("starts the daemon of its mpirun on its other hosts")
    );
    for number in 1..=3 {
        let gone = "test -s left && ! kill -0 $(cat left) 2> /dev/null || grep -q '^State:.Z' /proc/$(cat left)/status";
        pool.hosts.ok(number, &["sh", "-c", gone]);
    }
}

/// A kernel step of some seconds.
const KERNEL: [&str; 8] =
    ["--kernel", "monte-carlo", "--option", "asian", "--steps", "64", "--paths", "12e7"];

/// Its hash, computed without a pool.
fn calm(pool: &Pool) -> String {
    let words =
        [&["muster", "kernel"], &KERNEL[1..], &["--json", "--no-ledger", "--progress", "none"]].concat();
    hash(&pool.hosts.ok(1, &words))
}

/// Submits it with these options, and `out` for what it says.
fn submit_kernel(pool: &Pool, options: &[&str]) -> String {
    let all = ["--cpus-per-task=1", "--exclusive", "-o", "out"];
    pool.submit(&[options, &all, &KERNEL, &["--json", "--progress", "json"]].concat())
}

/// What it says in its lines of progress of this name, from the first on.
fn events(text: &str, name: &str) -> Vec<serde_json::Value> {
    let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    lines.filter(|event| event["event"] == name).collect()
}

/// How many ranks its teams had.
fn teams(text: &str) -> Vec<u64> {
    events(text, "team").iter().filter_map(|team| team["ranks"].as_u64()).collect()
}

/// How much of it is done, as it said last.
fn percent(text: &str) -> u64 {
    let last = events(text, "progress").pop();
    last.map_or(0, |event| 100 * event["done"].as_u64().unwrap_or(0) / event["blocks"].as_u64().unwrap_or(1))
}

#[test]
fn a_kernel_step_outlives_its_hosts() {
    let Some(mut pool) = with_mpi(4) else { return };
    let job = submit_kernel(&pool, &["--exclude=h1", "--nodes=1-3"]);
    pool.read(1, "out", |text| teams(text) == [3] && percent(text) >= 25);
    pool.hosts.kill(4);
    pool.read(1, "out", |text| teams(text).contains(&2));
    pool.hosts.kill(2);
    let past = pool.wait(&job);
    assert_eq!(past.last(), Some(&("COMPLETED".to_owned(), "h3".to_owned())), "{past:?}");
    assert_eq!(past.len(), 2, "the host of its foreman is lost once: {past:?}");
    let answer = pool.read(1, "out", |_| true);
    assert!(!answer.contains("\"resumed_blocks\": 0,"), "what was done is not done again: {answer}");
    assert_eq!(hash(&answer), calm(&pool));
}

#[test]
fn a_script_that_is_run_again_finds_what_its_steps_had_done() {
    let Some(mut pool) = with_mpi(4) else { return };
    let first = "muster kernel moments --generate normal:1e6 --json > first";
    let second = format!("muster kernel {} --json --progress json", KERNEL[1..].join(" "));
    // A step at the same time as the second, and one that is like it but for its ledger.
    let others = "muster kernel moments --generate normal:2e6 --json > beside & \
                  muster kernel moments --generate normal:1e6 --no-ledger --json > own";
    let script = format!("{first} && {others}; {second}; wait");
    let options =
        ["--exclude=h1", "--nodes=2", "--requeue", "--cpus-per-task=1", "-o", "out", "--wrap", &script];
    let job = pool.submit(&options);
    pool.read(1, "out", |text| teams(text) == [2] && percent(text) >= 25);
    pool.hosts.kill(2);
    let past = pool.wait(&job);
    assert_eq!(
        past,
        [("NODE_FAIL".to_owned(), "h2,h3".to_owned()), ("COMPLETED".to_owned(), "h3,h4".to_owned())]
    );
    let said = pool.read(1, "out", |_| true);
    assert_eq!(hash(&said), calm(&pool));
    let resumed = |answer: &str| {
        let number = |name: &str| {
            let value = answer.lines().find_map(|line| line.trim().strip_prefix(&format!("\"{name}\": ")));
            value.and_then(|value| value.trim_end_matches(',').parse::<u64>().ok()).expect(name)
        };
        (number("resumed_blocks"), number("blocks"))
    };
    let (done, blocks) = resumed(&said);
    assert!(done > 0 && done < blocks, "the second goes on: {done} of {blocks}");
    let read = |name: &str| pool.read(3, name, |_| true);
    assert_eq!(resumed(&read("first")).0, resumed(&read("first")).1, "the first is not computed again");
    assert_eq!((resumed(&read("own")).0, hash(&read("own"))), (0, hash(&read("first"))));
    assert!(!hash(&read("beside")).is_empty());
}

#[test]
fn a_program_of_the_users_own_goes_where_its_job_goes() {
    let Some(pool) = with_mpi(3) else { return };
    // Larger than any script: as large as a build for a debugger is.
    pool.hosts.ok(1, &["cp", "/mnt/pi-rank", "mine"]);
    pool.hosts.ok(1, &["sh", "-c", "head -c 100M /dev/zero >> mine"]);
    let (points, own) = (["--points", "2e8"], ["--ranks", "1", "--json", "--no-ledger"]);
    let here = pool.hosts.ok(1, &[&["./mine"], &points[..], &own].concat());
    let options = ["--exclude=h1", "--nodes=2", "--exclusive", "-o", "out", "--kernel", "./mine"];
    let job = pool.submit(&[&options[..], &points, &["--json", "--progress", "json"]].concat());
    // It is built anew, and gone, while the job waits or runs: what was submitted is computed.
    pool.hosts.ok(1, &["rm", "mine"]);
    let past = pool.wait(&job);
    let said = pool.read(1, "out", |_| true);
    assert_eq!(past, once("COMPLETED", "h2,h3"), "{said}");
    assert_eq!((teams(&said), hash(&said)), (vec![2], hash(&here)));
    // The files of a kernel are looked for by the program that reads them, where they are.
    pool.hosts.ok(1, &["cp", "/mnt/words-rank", "count"]);
    for (number, text) in [(1, "one two three"), (3, "one two three")] {
        pool.hosts.ok(number, &["sh", "-c", &format!("printf '{text}\\n' > text")]);
    }
    let words = ["--exclude=h1", "-o", "words", "--kernel", "./count", "/tmp/work/text", "--json"];
    let job = pool.submit(&words);
    assert_eq!(pool.wait(&job), once("COMPLETED", "h3"), "{}", pool.read(1, "words", |_| true));
}

#[test]
fn hosts_are_taken_from_a_kernel_step_and_given_back() {
    let Some(pool) = with_mpi(4) else { return };
    let job = submit_kernel(&pool, &["--nodes=2-4"]);
    pool.read(1, "out", |text| teams(text) == [4] && percent(text) >= 10);
    let other = ["submit", "--quiet", "--wait", "--nodes=2", "--exclusive"];
    pool.ok(&[&other[..], &["-o", "/dev/null", "--", "hostname"]].concat());
    pool.read(1, "out", |text| teams(text).len() > 1 && teams(text).ends_with(&[4]));
    assert_eq!(pool.wait(&job)[0].0, "COMPLETED");
    let said = pool.read(1, "out", |_| true);
    assert!(events(&said, "lost").is_empty(), "a team that makes way is not lost: {said}");
    assert_eq!(hash(&said), calm(&pool));
}

#[test]
fn hosts_come_and_go_while_a_script_has_a_kernel_step() {
    let Some(pool) = with_mpi(4) else { return };
    let other =
        pool.submit(&["--nodes=2", "--exclude=h1,h2", "--exclusive", "-o", "/dev/null", "--wrap", WAITS]);
    pool.read(3, "began", |text| text.ends_with('\n'));
    let kernel = format!("muster kernel {} --json --progress json > step 2>&1", KERNEL[1..].join(" "));
    // What it submits has hosts of its own.
    let other_job = "muster submit --quiet --wait --nodes=2 -o nested --wrap 'mpirun hostname | sort'";
    let ranks = "mpirun hostname | sort";
    let script = format!("{ranks} > before; {kernel}; {ranks} > after; {other_job}");
    let options = ["--nodes=1-4", "--cpus-per-task=1", "--exclusive", "-o", "out", "--wrap", &script];
    let job = pool.submit(&options);
    pool.read(1, "step", |text| teams(text) == [2] && percent(text) >= 5);
    pool.hosts.ok(3, &["sh", "-c", ": > pipe"]);
    pool.read(1, "step", |text| teams(text) == [2, 4]);
    let short = ["submit", "--quiet", "--wait", "--nodes=3", "--exclusive", "-o", "/dev/null", "--"];
    pool.ok(&[&short[..], &["/bin/true"]].concat());
    pool.read(1, "step", |text| teams(text) == [2, 4, 1, 4]);
    assert_eq!(pool.wait(&job), once("COMPLETED", "h1,h2"), "{}", pool.read(1, "out", |_| true));
    assert_eq!(pool.wait(&other), once("COMPLETED", "h3,h4"));
    let said = pool.read(1, "step", |_| true);
    assert!(events(&said, "lost").is_empty(), "a team that makes way is not lost: {said}");
    assert_eq!(hash(&said), calm(&pool));
    let read = |name: &str| pool.read(1, name, |_| true);
    assert_eq!((&*read("before"), &*read("after")), ("h1\nh2\n", "h1\nh2\n"), "{}", read("out"));
    assert_eq!(read("nested"), "h3\nh4\n", "{}", read("out"));
}

#[test]
fn a_kernel_step_that_has_to_end_hands_in_what_it_has() {
    let Some(pool) = with_mpi(3) else { return };
    let job = submit_kernel(&pool, &["--nodes=3"]);
    pool.read(1, "out", |text| teams(text) == [3] && percent(text) >= 10);
    pool.ok(&["requeue", &job]);
    let past = pool.wait(&job);
    assert_eq!(past.iter().map(|attempt| &attempt.0[..]).collect::<Vec<_>>(), ["PREEMPTED", "COMPLETED"]);
    let said = pool.read(1, "out", |_| true);
    assert!(!said.contains("\"resumed_blocks\": 0,"), "it goes on from there: {said}");
    assert_eq!(hash(&said), calm(&pool));
}

#[test]
fn a_short_cut_costs_nothing() {
    let Some(pool) = Pool::up(2) else { return };
    let job = pool.submit(&["--exclude=h1", "--requeue", "-o", "/dev/null", "--wrap", WAITS]);
    pool.read(2, "began", |text| !text.is_empty());
    pool.hosts.cut(2);
    while pool.json(&["hosts"])[1]["state"] == "up" {}
    pool.hosts.mend(2);
    pool.hosts.ok(2, &["sh", "-c", ": > pipe"]);
    assert_eq!(pool.wait(&job), once("COMPLETED", "h2"));
    assert_eq!(pool.read(2, "began", |_| true).lines().count(), 1);
}

#[test]
fn after_a_long_cut_work_is_elsewhere_and_has_ended_where_it_was() {
    let Some(pool) = Pool::up(3) else { return };
    let job = pool.submit(&["--exclude=h1", "--requeue", "-o", "/dev/null", "--wrap", WAITS]);
    let began = pool.read(2, "began", |text| text.ends_with('\n'));
    let pid = began.split_whitespace().next().expect("a number").to_owned();
    pool.hosts.cut(2);
    let past = pool.wait(&job);
    assert_eq!(past, [("NODE_FAIL".to_owned(), "h2".to_owned()), ("COMPLETED".to_owned(), "h3".to_owned())]);
    assert!(
        !pool.hosts.run(2, &["kill", "-0", &pid]).status.success(),
        "the host that was cut off has killed its own"
    );
    pool.hosts.mend(2);
    while pool.json(&["hosts"])[1]["state"] != "up" {}
    let again = pool.submit(&["--nodelist=h2", "-o", "/dev/null", "--", "/bin/true"]);
    assert_eq!(pool.wait(&again), once("COMPLETED", "h2"));
}

#[test]
fn what_ends_while_the_controller_is_dead_is_kept() {
    let Some(pool) = Pool::up(2) else { return };
    let job = pool.submit(&["--exclude=h1", "-o", "/dev/null", "--wrap", WAITS]);
    pool.read(2, "began", |text| !text.is_empty());
    pool.hosts.ok(1, &["pkill", "-KILL", "-f", "muster up"]);
    pool.hosts.ok(2, &["sh", "-c", ": > pipe; echo later > over"]);
    pool.hosts.ok(1, &["muster", "up", "--detach"]);
    assert_eq!(pool.wait(&job), once("COMPLETED", "h2"));
    assert_eq!(pool.read(2, "began", |_| true).lines().count(), 1);
}

#[test]
fn a_lost_hosts_job_ends_once_elsewhere() {
    let Some(mut pool) = Pool::up(3) else { return };
    let job = pool.submit(&["--exclude=h1", "--requeue", "-o", "/dev/null", "--wrap", WAITS]);
    pool.read(2, "began", |text| !text.is_empty());
    pool.hosts.kill(2);
    let past = pool.wait(&job);
    assert_eq!(past, [("NODE_FAIL".to_owned(), "h2".to_owned()), ("COMPLETED".to_owned(), "h3".to_owned())]);
    pool.hosts.start(2).expect("it was started before");
    pool.ok(&["hosts", "--revoke", "h2"]);
    pool.join(2);
    let again = pool.submit(&["--nodelist=h2", "-o", "/dev/null", "--", "hostname"]);
    assert_eq!(pool.wait(&again), once("COMPLETED", "h2"), "a host that comes back is used again");
}
