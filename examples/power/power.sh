#!/bin/bash
#SBATCH --job-name=power
#SBATCH --ntasks=2
#SBATCH --cpus-per-task=1
#SBATCH --time=00:30:00
#
# The largest eigenvalue of a matrix of 20,000 rows, in rounds, on a team of two ranks.
# From the root of the repository: cargo build --release -p power-rank, then `muster run examples/power/power.sh`
# on a laptop, or `sbatch examples/power/power.sh` under Slurm.
muster kernel ./target/release/power-rank --rows 20000
