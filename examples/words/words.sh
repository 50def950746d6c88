#!/bin/bash
#SBATCH --job-name=words
#SBATCH --ntasks=2
#SBATCH --cpus-per-task=1
#SBATCH --time=00:30:00
#
# How long the words of the file are that is given to the script, on a team of two ranks.
# From the root of the repository: cargo build --release -p words-rank, then `muster run examples/words/words.sh FILE`
# on a laptop, or `sbatch examples/words/words.sh FILE` under Slurm.
muster kernel ./target/release/words-rank "$1"
