#!/bin/bash
#SBATCH --job-name=columns
#SBATCH --cpus-per-task=2
#SBATCH --output=%x-%j.out
#
# Moments of the columns of the CSV file that is named after the script.
set -eu
muster kernel moments "$1" --output "$1.moments.json" --json
