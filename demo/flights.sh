#!/bin/bash
#SBATCH --job-name=flights
#SBATCH --ntasks=3
#SBATCH --cpus-per-task=1
#SBATCH --time=00:10:00
#SBATCH --output=.demo/%x.out
#
# Who was late on the long flights from New York, and by how many minutes.
set -eu

muster kernel group-by .demo/flights.csv --missing NA --by carrier --where 'distance > 1000' \
    --compute 'count,mean(arr_delay),median(arr_delay),quantile(arr_delay,0.95)' "$@"
