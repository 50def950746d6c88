//! The simulator at full length: `make seeds`, or `cargo test --release --test seeds -- SEEDS`. With `--seed N` it tells
//! one story; with `--without GUARD` the guard is taken out.

#[path = "simulator/checks.rs"]
mod checks;
#[path = "simulator/clock.rs"]
mod clock;
#[path = "simulator/faults.rs"]
mod faults;
#[path = "simulator/head.rs"]
mod head;
#[path = "simulator/host.rs"]
mod host;
#[path = "simulator/office.rs"]
mod office;
#[path = "simulator/random.rs"]
mod random;
#[path = "simulator/spec.rs"]
mod spec;
#[path = "simulator/world.rs"]
mod world;

use muster_core::protocol::guard::Guard;
use std::process::ExitCode;
use std::time::Instant;

/// How many seeds a mutant may survive.
const NIGHTLY: u64 = 20_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let value = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
    let out = value("--without").map(|name| {
        let named = Guard::ALL.iter().find(|guard| format!("{guard:?}") == *name);
        *named.unwrap_or_else(|| panic!("no guard {name}: there are {:?}", Guard::ALL))
    });
    Guard::take_out(out);
    if let Some(seed) = value("--seed") {
        let told = world::tell(seed.parse().expect("a seed is a number"), true);
        println!("{}\nhash {:016x}", told.lines.join("\n"), told.hash);
        return verdict(told.broken);
    }
    if let Some(guard) = out {
        return verdict((!catch(guard, NIGHTLY)).then(|| "no seed noticed".to_owned()));
    }
    let budget =
        value("--budget").map_or(NIGHTLY, |seeds| seeds.parse().expect("a budget is a number of seeds"));
    let seeds = arguments.iter().find_map(|a| a.parse().ok()).unwrap_or(NIGHTLY);
    let began = Instant::now();
    for seed in 0..seeds {
        if let Some(broken) = world::tell(seed, false).broken {
            println!(
                "seed {seed}: {broken}\nread its story: cargo test --release -p muster-core --test seeds -- --seed {seed}"
            );
            return ExitCode::FAILURE;
        }
    }
    let took = began.elapsed().as_secs_f64();
    println!("{seeds} seeds keep every promise: {took:.1} s, {:.0} a second", seeds as f64 / took);
    let hundred = world::stories(100);
    if hundred != world::HUNDRED {
        return verdict(Some(format!(
            "the first hundred stories have the hash {hundred}, and not that of the tests: is this build of another \
             tree, or did the stories change?"
        )));
    }
    let survivors = Guard::ALL.iter().filter(|guard| !catch(**guard, budget)).count();
    verdict((survivors > 0).then(|| format!("{survivors} guards can be taken out unnoticed")))
}

/// Whether some seed notices that a guard is out.
fn catch(guard: Guard, budget: u64) -> bool {
    Guard::take_out(Some(guard));
    let caught = (0..budget).find_map(|seed| Some((seed, world::tell(seed, false).broken?)));
    Guard::take_out(None);
    let name = format!("{guard:?}");
    match &caught {
        Some((seed, broken)) => {
            let broken: String = broken.chars().take(110).collect();
            println!("without {name:20} seed {seed:6}: {broken}");
        }
        None => println!("without {name:20} nobody notices in {budget} seeds"),
    }
    caught.is_some()
}

fn verdict(broken: Option<String>) -> ExitCode {
    match broken {
        Some(broken) => {
            println!("{broken}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}
