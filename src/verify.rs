//! `muster verify RECEIPT` and `muster replay RECEIPT BLOCK`, for the built-in kernels.

use crate::PROGRAMS;
pub(crate) use muster_worker::verify::{ReplayArgs, VerifyArgs};
use std::process::ExitCode;

pub(crate) fn verify(args: &VerifyArgs) -> ExitCode {
    muster_worker::verify::verify(&PROGRAMS, args)
}

pub(crate) fn replay(args: &ReplayArgs) -> ExitCode {
    muster_worker::verify::replay(&PROGRAMS, args)
}
