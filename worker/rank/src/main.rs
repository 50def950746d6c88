//! The rank program of the built-in kernels. `mpirun -n 4 muster-rank monte-carlo --paths 1e9` works by hand, too.

use muster_kernels::command::CommandKernel;
use muster_kernels::group_by::GroupBy;
use muster_kernels::histogram::Histogram;
use muster_kernels::k_means::KMeans;
use muster_kernels::linreg::Linreg;
use muster_kernels::log_scan::LogScan;
use muster_kernels::moments::Moments;
use muster_kernels::monte_carlo::MonteCarlo;
use muster_kernels::quantile::Quantiles;

muster_rank::main!(
    MonteCarlo,
    Moments,
    GroupBy,
    Histogram,
    Quantiles,
    Linreg,
    KMeans,
    LogScan,
    CommandKernel
);
