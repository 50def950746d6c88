//! `verify RECEIPT` and `replay RECEIPT BLOCK`, of `muster` and of rank programs: blocks of an answer, computed again.
//!
//! Step 12 of a job's way (DESIGN section 4). A receipt names the program that has its kernel, and nothing here runs
//! it: a receipt may come from anywhere.

use crate::command;
use crate::program::{Program, Replayed, find};
use crate::receipt::{Receipt, hex};
use muster_kernels::Problem;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Which blocks to compute again.
#[derive(clap::Args)]
pub struct VerifyArgs {
    /// The receipt that was written with the answer
    receipt: PathBuf,
    /// Compute so many blocks again, spread evenly
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    sample: u32,
    /// Compute every block again
    #[arg(long, conflicts_with = "sample")]
    all: bool,
}

/// Which block to compute again.
#[derive(clap::Args)]
pub struct ReplayArgs {
    /// The receipt that was written with the answer
    receipt: PathBuf,
    /// The block, from 0
    block: u32,
}

fn open<'a>(programs: &'a [Program], path: &Path) -> Result<(Receipt, &'a Program), ExitCode> {
    let receipt = Receipt::read(path).map_err(|error| {
        eprintln!("muster: error: {error}");
        ExitCode::from(command::BAD_INPUT)
    })?;
    let program = find(programs, &receipt.kernel).map_err(|problem| {
        let own = receipt.program.as_ref().map(|own| {
            let command = own.display().to_string() + " verify " + &path.display().to_string();
            Problem::new("kernel", format!("{} is not built in", receipt.kernel))
                .hint(format!("`{command}` asks the program that computed the answer"))
        });
        command::report(&own.unwrap_or(problem).into())
    })?;
    for input in &receipt.inputs {
        if muster_kernels::Input::of(&input.path).ok().as_ref() != Some(input) {
            eprintln!(
                "muster: warning: {} is not as it was when the answer was computed",
                input.path.display()
            );
        }
    }
    Ok((receipt, program))
}

fn again(
    (receipt, program): &(Receipt, &Program),
    blocks: &[u32],
    each: &mut dyn FnMut(u32, Replayed) -> bool,
) -> Result<(), ExitCode> {
    let simd = std::env::var("MUSTER_SIMD").ok();
    let described = (program.describe)(receipt.spec.get()).map_err(|problems| command::report(&problems))?;
    if described.grid.blocks() != receipt.blocks {
        let what =
            format!("has {} blocks now, and {} in the receipt", described.grid.blocks(), receipt.blocks);
        return Err(command::report(
            &Problem::new("grid", what).hint("an input has changed its size").into(),
        ));
    }
    let state = receipt.state().expect("a receipt that was read has its state");
    (program.replay)((receipt.spec.get(), &state), simd.as_deref(), blocks, each)
        .map_err(|problems| command::report(&problems))
}

/// Computes blocks again, and says whether they have the bits of the receipt.
pub fn verify(programs: &[Program], args: &VerifyArgs) -> ExitCode {
    let opened = match open(programs, &args.receipt) {
        Ok(opened) => opened,
        Err(code) => return code,
    };
    let leaves = opened.0.leaves().expect("a receipt that was read has its leaves");
    let all = opened.0.blocks;
    let count = if args.all { all } else { args.sample.min(all) };
    let blocks: Vec<u32> =
        (0..count).map(|i| (u64::from(i) * u64::from(all) / u64::from(count)) as u32).collect();
    let mut wrong = Vec::new();
    let done = again(&opened, &blocks, &mut |block, replayed| {
        if replayed.hash != leaves[block as usize] {
            wrong.push(block);
        }
        true
    });
    if let Err(code) = done {
        return code;
    }
    let round = opened.0.round.map_or_else(String::new, |round| format!(" of round {round}, the last,"));
    if wrong.is_empty() {
        println!(
            "{count} of {all} blocks{round} computed again: all have the bits of the receipt ({})",
            opened.0.class
        );
        return ExitCode::SUCCESS;
    }
    let names: Vec<String> = wrong.iter().take(20).map(ToString::to_string).collect();
    println!(
        "{} of {count} blocks{round} computed again differ from the receipt: {}",
        wrong.len(),
        names.join(", ")
    );
    println!("`muster replay {} {}` shows the first", args.receipt.display(), wrong[0]);
    ExitCode::FAILURE
}

/// Computes one block again and prints its partial.
pub fn replay(programs: &[Program], args: &ReplayArgs) -> ExitCode {
    let opened = match open(programs, &args.receipt) {
        Ok(opened) => opened,
        Err(code) => return code,
    };
    if args.block >= opened.0.blocks {
        let what = format!("{} is beyond the last, {}", args.block, opened.0.blocks - 1);
        return command::report(&Problem::new("BLOCK", what).into());
    }
    let leaf = opened.0.leaves().expect("a receipt that was read has its leaves")[args.block as usize];
    let mut same = false;
    let done = again(&opened, &[args.block], &mut |block, replayed| {
        same = replayed.hash == leaf;
        println!("{}", serde_json::to_string_pretty(&replayed.partial).expect("a partial encodes"));
        println!("block    {block}\nleaf     {}\nreceipt  {}", hex(&replayed.hash), hex(&leaf));
        true
    });
    match done {
        Err(code) => code,
        Ok(()) if same => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
    }
}
