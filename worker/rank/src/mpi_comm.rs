//! MPI behind the [`Comm`] trait: the only file that imports `mpi`.
//!
//! A thin checked layer over `mpi::ffi`: the safe calls of rsmpi throw every return code away, and an incomplete
//! request aborts the process when it is dropped. Only point to point is used; reductions follow the block tree.

#![allow(unsafe_code)]

use mpi::environment::Universe;
use mpi::ffi;
use mpi::topology::Communicator;
use mpi::traits::AsRaw;
use muster_worker::comm::{Comm, CommError};
use std::collections::HashMap;
use std::ffi::{c_char, c_int, c_void};
use std::mem::MaybeUninit;

/// The tag of every message.
const TAG: c_int = 7;
/// The largest piece of a message: counts are C ints.
const PIECE: usize = 1 << 30;

/// This process in MPI's world. Finalises when it is dropped.
pub(crate) struct MpiComm {
    rank: usize,
    size: usize,
    raw: ffi::MPI_Comm,
    /// Pieces that MPI may still read.
    sending: Vec<(ffi::MPI_Request, Box<[u8]>)>,
    /// The first pieces of messages that are not whole yet.
    partial: HashMap<usize, Vec<u8>>,
    _universe: Universe,
}

impl MpiComm {
    /// Initialises MPI; its calls come from the calling thread alone.
    ///
    /// # Errors
    /// When MPI is initialised already, or cannot allow a process with threads.
    pub(crate) fn start() -> Result<MpiComm, CommError> {
        let failed = |why: &str| CommError { call: "MPI_Init_thread", why: why.into() };
        let (universe, given) = mpi::initialize_with_threading(mpi::Threading::Funneled)
            .ok_or_else(|| failed("MPI is initialised already"))?;
        if given < mpi::Threading::Funneled {
            return Err(failed("this MPI library does not allow threads"));
        }
        let world = universe.world();
        let raw = world.as_raw();
        // SAFETY: MPI is initialised and `raw` is the world communicator that it made; the handler is a constant.
        check("MPI_Comm_set_errhandler", unsafe {
            ffi::MPI_Comm_set_errhandler(raw, ffi::RSMPI_ERRORS_RETURN)
        })?;
        Ok(MpiComm {
            rank: world.rank() as usize,
            size: world.size() as usize,
            raw,
            sending: Vec::new(),
            partial: HashMap::new(),
            _universe: universe,
        })
    }

    /// Ends every rank of the team at once.
    pub(crate) fn abort(&self) -> ! {
        // SAFETY: MPI is initialised and `raw` is its world communicator; the call does not return.
        unsafe { ffi::MPI_Abort(self.raw, 1) };
        std::process::exit(1)
    }

    /// Forgets the pieces that have been sent.
    fn reap(&mut self) -> Result<(), CommError> {
        let mut at = 0;
        while at < self.sending.len() {
            let mut done: c_int = 0;
            // SAFETY: the request was made by MPI_Isend and is tested until it is done, never after; an ignored
            // status is allowed.
            let code = unsafe {
                ffi::MPI_Test(&raw mut self.sending[at].0, &raw mut done, ffi::RSMPI_STATUS_IGNORE)
            };
            check("MPI_Test", code)?;
            if done != 0 {
                self.sending.swap_remove(at);
            } else {
                at += 1;
            }
        }
        Ok(())
    }
}

impl Drop for MpiComm {
    fn drop(&mut self) {
        // What was sent must have left before MPI is finalised. A team that has failed aborts instead.
        while !self.sending.is_empty() && self.reap().is_ok() {
            std::thread::yield_now();
        }
    }
}

impl Comm for MpiComm {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn send(&mut self, to: usize, bytes: Vec<u8>) -> Result<(), CommError> {
        self.reap()?;
        let pieces = bytes.len().div_ceil(PIECE).max(1);
        for (i, piece) in (0..pieces).map(|i| (i, &bytes[i * PIECE..bytes.len().min((i + 1) * PIECE)])) {
            // The last byte of a piece says whether another one follows.
            let mut data = Vec::with_capacity(piece.len() + 1);
            data.extend_from_slice(piece);
            data.push(u8::from(i + 1 < pieces));
            let data = data.into_boxed_slice();
            let mut request = MaybeUninit::uninit();
            // SAFETY: the buffer is on the heap and stays in `sending` until MPI_Test says that it was sent; its
            // length fits a C int because PIECE does; `to` is a rank of this communicator.
            let code = unsafe {
                ffi::MPI_Isend(
                    data.as_ptr().cast::<c_void>(),
                    data.len() as c_int,
                    ffi::RSMPI_UINT8_T,
                    to as c_int,
                    TAG,
                    self.raw,
                    request.as_mut_ptr(),
                )
            };
            check("MPI_Isend", code)?;
            // SAFETY: MPI_Isend succeeded, so it has written the request.
            self.sending.push((unsafe { request.assume_init() }, data));
        }
        Ok(())
    }

    fn poll(&mut self) -> Result<Option<(usize, Vec<u8>)>, CommError> {
        self.reap()?;
        loop {
            let (mut there, mut status) = (0, MaybeUninit::<ffi::MPI_Status>::zeroed());
            // SAFETY: both out parameters are ours and live through the call.
            let code = unsafe {
                ffi::MPI_Iprobe(ffi::RSMPI_ANY_SOURCE, TAG, self.raw, &raw mut there, status.as_mut_ptr())
            };
            check("MPI_Iprobe", code)?;
            if there == 0 {
                return Ok(None);
            }
            // SAFETY: MPI_Iprobe succeeded and found a message, so it has written the status; zeroed is valid too.
            let mut status = unsafe { status.assume_init() };
            let from = status.MPI_SOURCE as usize;
            let mut data = vec![0u8; self.length(&status)?];
            // SAFETY: the buffer has the length that MPI counted for this message; only this thread receives, so the
            // message is still the one that was probed.
            let code = unsafe {
                ffi::MPI_Recv(
                    data.as_mut_ptr().cast::<c_void>(),
                    data.len() as c_int,
                    ffi::RSMPI_UINT8_T,
                    status.MPI_SOURCE,
                    TAG,
                    self.raw,
                    &raw mut status,
                )
            };
            check("MPI_Recv", code)?;
            let more = data.pop() == Some(1);
            let mut whole = self.partial.remove(&from).unwrap_or_default();
            if whole.is_empty() {
                whole = data;
            } else {
                whole.extend(data);
            }
            if !more {
                return Ok(Some((from, whole)));
            }
            self.partial.insert(from, whole);
        }
    }
}

impl MpiComm {
    fn length(&self, status: &ffi::MPI_Status) -> Result<usize, CommError> {
        let mut count: c_int = 0;
        // SAFETY: the status was written by a successful MPI_Iprobe.
        let code = unsafe { ffi::MPI_Get_count(status, ffi::RSMPI_UINT8_T, &raw mut count) };
        check("MPI_Get_count", code)?;
        usize::try_from(count)
            .map_err(|_| CommError { call: "MPI_Get_count", why: "the length is undefined".into() })
    }
}

fn check(call: &'static str, code: c_int) -> Result<(), CommError> {
    if code == ffi::MPI_SUCCESS as c_int {
        return Ok(());
    }
    let mut text = [0u8; ffi::MPI_MAX_ERROR_STRING as usize];
    let mut length: c_int = 0;
    // SAFETY: the buffer is as long as MPI asks for, and the length is ours.
    unsafe { ffi::MPI_Error_string(code, text.as_mut_ptr().cast::<c_char>(), &raw mut length) };
    let text = &text[..usize::try_from(length).unwrap_or(0).min(text.len())];
    Err(CommError { call, why: String::from_utf8_lossy(text).into_owned() })
}
