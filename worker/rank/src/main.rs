//! The rank program of the built-in kernels. `mpirun -n 4 muster-rank monte-carlo --paths 1e9` works by hand, too.

muster_rank::main!(
    muster_kernels::monte_carlo::MonteCarlo,
    muster_kernels::moments::Moments,
    muster_kernels::command::CommandKernel,
);
