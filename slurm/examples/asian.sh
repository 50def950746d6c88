#!/bin/bash
#SBATCH --job-name=asian
#SBATCH --ntasks=2
#SBATCH --cpus-per-task=1
#SBATCH --time=00:05:00
#
# Prices an arithmetic Asian call on a team of two ranks. The same script, and the same hash, on a laptop with
# `muster run asian.sh` and under Slurm with `sbatch asian.sh`.
muster kernel monte-carlo --option asian --steps 252 --paths 1e6 --greeks
