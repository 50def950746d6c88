#!/bin/bash
#SBATCH --job-name=pi
#SBATCH --ntasks=2
#SBATCH --cpus-per-task=1
#SBATCH --time=00:30:00
#
# Pi by ten billion random points, on a team of two ranks.
# From the root of the repository: cargo build --release -p pi-rank, then `muster run examples/pi/pi.sh`
# on a laptop, or `sbatch examples/pi/pi.sh` under Slurm.
muster kernel ./target/release/pi-rank --points 1e10
