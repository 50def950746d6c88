//! One rank of an MPI team, and the `main` of every rank program: Muster's own `muster-rank` and those of users'
//! kernels.
//!
//! ```no_run
//! # mod my { pub use muster_kernels::moments::Moments as MyKernel; }
//! muster_rank::main!(my::MyKernel);
//! ```

mod mpi_comm;
mod run;

pub use muster_worker::program::Program;
pub use run::main_of;

/// Defines `main`: a rank program with these kernels.
#[macro_export]
macro_rules! main {
    ($($kernel:ty),+ $(,)?) => {
        fn main() -> ::std::process::ExitCode {
            static PROGRAMS: ::std::sync::LazyLock<Vec<$crate::Program>> =
                ::std::sync::LazyLock::new(|| vec![$($crate::Program::of::<$kernel>()),+]);
            $crate::main_of(&PROGRAMS, env!("CARGO_PKG_NAME"))
        }
    };
}
