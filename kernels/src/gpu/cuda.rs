//! The CUDA driver and NVRTC: the one file that calls them, through `cudarc`, which loads both at run time.
//!
//! Invariants: no function of a library is called before it was seen to be there (cudarc panics where one is missing);
//! a lane's buffers are used by one thread at a time; a lane goes back to its cards whatever happened on it.

#![allow(unsafe_code)]

use super::asian::{self, Asian, ENTRY, SOURCE, Sums, THREADS};
use super::survey::{Card, Library, Survey};
use super::{GpuError, cache};
use cudarc::driver::sys::CUdevice_attribute as Attribute;
use cudarc::driver::sys::CUevent_flags::CU_EVENT_BLOCKING_SYNC;
use cudarc::driver::{
    self, CudaContext, CudaEvent, CudaFunction, CudaSlice, CudaStream, PinnedHostSlice, PushKernelArg,
};
use cudarc::nvrtc;
use muster_spec::Target;
use std::ffi::CString;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

/// Launches that may be under way on a card: while one drains, the next fills it, and sums of a third come back.
const LANES: usize = 4;
/// The oldest architecture that the sources compile for.
const OLDEST: u16 = 70;
/// How sources are compiled. Products and sums are contracted where the source says so and nowhere else.
const OPTIONS: [&str; 2] = ["--fmad=false", "--std=c++17"];

// SAFETY: `Asian` is `repr(C)`, all of its fields are plain numbers, and asian.cu declares the same fields in the same
// order; there are no bytes between them (a test counts).
unsafe impl driver::DeviceRepr for Asian {}

/// Cards of one architecture, and launches that may be under way on them.
pub struct Cards {
    idle: Mutex<Vec<Lane>>,
    back: Condvar,
}

/// A stream of a card, with room for the sums of a launch on the card and on the host.
struct Lane {
    stream: Arc<CudaStream>,
    function: CudaFunction,
    /// Recorded behind the copy of a launch's sums; who waits for it sleeps.
    done: CudaEvent,
    room: Option<(CudaSlice<f64>, PinnedHostSlice<f64>)>,
}

/// A card as the driver tells of it.
struct Seen {
    ordinal: usize,
    target: Target,
    device: driver::sys::CUdevice,
}

impl Cards {
    /// Opens every visible card that is of this architecture.
    ///
    /// # Errors
    /// What is missing, or what the driver refuses.
    pub(super) fn open(target: Target) -> Result<Cards, GpuError> {
        let seen = cards()?;
        let fit: Vec<&Seen> = seen.iter().filter(|card| card.target == target).collect();
        if fit.is_empty() {
            let archs: Vec<String> = seen.iter().map(|card| card.target.to_string()).collect();
            let there =
                if archs.is_empty() { "none is".into() } else { format!("there is {}", archs.join(", ")) };
            return Err(GpuError::NoCard { wanted: target, there });
        }
        let arch = target.to_string();
        let key = (SOURCE, &OPTIONS[..], arch.as_str());
        let code = cache::code(cache::folder().as_deref(), key, || compile(target))?;
        let mut lanes = Vec::new();
        for card in fit {
            let context = CudaContext::new(card.ordinal).map_err(refused("opening the card"))?;
            let module = context.load_module(nvrtc::Ptx::from_binary(code.clone()));
            let function =
                module.and_then(|module| module.load_function(ENTRY)).map_err(refused("loading code"))?;
            for _ in 0..LANES {
                let stream = context.new_stream().map_err(refused("making a stream"))?;
                let done =
                    context.new_event(Some(CU_EVENT_BLOCKING_SYNC)).map_err(refused("making an event"))?;
                lanes.push(Lane { stream, function: function.clone(), done, room: None });
            }
        }
        // Cards take turns.
        let cards = lanes.len() / LANES;
        let mut lanes: Vec<Option<Lane>> = lanes.into_iter().map(Some).collect();
        let order = (0..LANES * cards).map(|i| i % cards * LANES + i / cards);
        let idle = order.filter_map(|at| lanes[at].take()).collect();
        Ok(Cards { idle: Mutex::new(idle), back: Condvar::new() })
    }

    /// One launch, on whichever lane is free; waits for one.
    ///
    /// # Errors
    /// What the driver or the card refuses.
    pub(super) fn asian(&self, asian: &Asian) -> Result<Sums, GpuError> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lane = loop {
            match idle.pop() {
                Some(lane) => break lane,
                None => idle = self.back.wait(idle).unwrap_or_else(PoisonError::into_inner),
            }
        };
        drop(idle);
        let sums = lane.asian(asian);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(lane);
        self.back.notify_one();
        sums
    }
}

impl Lane {
    fn asian(&mut self, asian: &Asian) -> Result<Sums, GpuError> {
        let tiles = asian.tiles();
        self.make_room(2 * tiles)?;
        let Lane { stream, function, done, room } = self;
        let (card, host) = room.as_mut().expect("there is room");
        let mut launch = stream.launch_builder(function);
        launch.arg(asian).arg(&mut *card);
        let shape = driver::LaunchConfig {
            grid_dim: (tiles as u32, 1, 1),
            block_dim: (THREADS as u32, 1, 1),
            shared_mem_bytes: 0,
        };
        // SAFETY: the entry takes an `Asian` by value and a pointer to two f64 for each CUDA block, which `card` has room
        // for; it reads nothing else, and `card` outlives the launch, since what is behind it is waited for.
        unsafe { launch.launch(shape) }.map_err(refused("a launch"))?;
        stream.memcpy_dtoh(card, host).map_err(refused("copying sums from the card"))?;
        // cudarc has an event of its own behind the copy, and keeps an error of recording it to itself: sums of another
        // launch would be read then.
        done.record(stream).map_err(refused("computing on the card"))?;
        done.synchronize().map_err(refused("computing on the card"))?;
        let sums = host.as_slice().map_err(refused("computing on the card"))?;
        let (pairs, _) = sums[..2 * tiles].as_chunks::<2>();
        Ok(asian::add_up(pairs.iter().copied()))
    }

    /// Has room for so many numbers, at least.
    fn make_room(&mut self, numbers: usize) -> Result<(), GpuError> {
        if self.room.as_ref().is_some_and(|(card, _)| card.len() >= numbers) {
            return Ok(());
        }
        self.room = None;
        let card =
            self.stream.alloc_zeros::<f64>(numbers).map_err(refused("allocating memory of the card"))?;
        // SAFETY: any bits are an f64; they are overwritten by the copy of a launch before anybody reads them.
        let host = unsafe { self.stream.context().alloc_pinned_with_flags::<f64>(numbers, 0) };
        self.room = Some((card, host.map_err(refused("allocating pinned memory"))?));
        Ok(())
    }
}

/// The driver's error by the name that its manual has for it.
fn refused(call: &'static str) -> impl FnOnce(driver::DriverError) -> GpuError {
    move |error| {
        let name = error.error_name().ok().and_then(|name| name.to_str().ok().map(str::to_owned));
        GpuError::Driver { call, code: name.unwrap_or_else(|| format!("{:?}", error.0)) }
    }
}

/// Whether the driver's library can be loaded.
fn has_driver() -> bool {
    static THERE: OnceLock<bool> = OnceLock::new();
    // SAFETY: loads NVIDIA's library and runs its initialisers, which is what it is made for.
    *THERE.get_or_init(|| unsafe { driver::sys::is_culib_present() })
}

/// Whether NVRTC can be loaded: from where the system's loader looks, else from where toolkits are installed.
fn has_compiler() -> bool {
    static THERE: OnceLock<bool> = OnceLock::new();
    *THERE.get_or_init(|| {
        // SAFETY: as for the driver.
        let found = unsafe { nvrtc::sys::is_culib_present() };
        found || toolkits().into_iter().any(load)
    })
}

/// Loads NVRTC from a file and keeps it: the loader then finds it by its name, as cudarc asks for it.
fn load(path: PathBuf) -> bool {
    // SAFETY: as for the driver; the library stays loaded.
    let loaded = path.is_file().then(|| unsafe { libloading::Library::new(&path) });
    let Some(Ok(library)) = loaded else { return false };
    std::mem::forget(library);
    // SAFETY: as for the driver.
    unsafe { nvrtc::sys::is_culib_present() }
}

/// Where NVRTC lies in a toolkit.
fn toolkits() -> Vec<PathBuf> {
    let named = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    let mut local: Vec<PathBuf> =
        std::fs::read_dir("/usr/local").into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    local.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("cuda")));
    // `cuda` itself comes first, then the newest.
    local.sort_by_key(|path| (path.as_os_str().len(), std::cmp::Reverse(path.clone())));
    let usual = local.into_iter().chain([PathBuf::from("/opt/cuda")]);
    let names = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"];
    let folders = named.chain(usual).flat_map(|root| ["lib64", "lib"].map(|lib| root.join(lib)));
    folders.flat_map(|folder| names.map(|name| folder.join(name))).collect()
}

/// The cards that the driver shows, in its order.
///
/// # Errors
/// No driver, or one that refuses.
fn cards() -> Result<Vec<Seen>, GpuError> {
    if !has_driver() {
        return Err(GpuError::NoDriver);
    }
    driver::result::init().map_err(refused("starting the driver"))?;
    let count = driver::result::device::get_count().map_err(refused("counting cards"))?;
    (0..count.max(0))
        .map(|ordinal| {
            let device = driver::result::device::get(ordinal).map_err(refused("finding a card"))?;
            let major = attribute(device, Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
            let minor = attribute(device, Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
            let target = Target::Sm(u16::try_from(10 * major + minor).unwrap_or(0));
            Ok(Seen { ordinal: ordinal as usize, target, device })
        })
        .collect()
}

fn attribute(device: driver::sys::CUdevice, which: Attribute) -> Result<i32, GpuError> {
    // SAFETY: `device` came from the driver, and the driver writes one int.
    unsafe { driver::result::device::get_attribute(device, which) }
        .map_err(refused("asking for an attribute"))
}

/// The architecture of the first card that can be used.
///
/// # Errors
/// Why there is none.
pub(super) fn first() -> Result<Target, GpuError> {
    let seen = cards()?;
    let there = || {
        let archs: Vec<String> = seen.iter().map(|card| card.target.to_string()).collect();
        if archs.is_empty() { "none at all".into() } else { format!("there is {}", archs.join(", ")) }
    };
    let first = seen.iter().map(|card| card.target).find(|target| is_new_enough(*target));
    first.ok_or_else(|| GpuError::NoCard { wanted: Target::Sm(OLDEST), there: there() })
}

fn is_new_enough(target: Target) -> bool {
    matches!(target, Target::Sm(version) if version >= OLDEST)
}

/// Compiles the source for the card itself, so that the driver has nothing left to translate.
///
/// # Errors
/// No NVRTC, or what it says.
fn compile(arch: Target) -> Result<Vec<u8>, GpuError> {
    if !has_compiler() {
        return Err(GpuError::NoCompiler);
    }
    let failed = |log: String| GpuError::Compile { arch, log };
    let call = |error: nvrtc::result::NvrtcError| failed(error.to_string());
    let source = CString::new(SOURCE).expect("the source has no zero byte");
    let program = nvrtc::result::create_program(&source, None).map_err(call)?;
    let mut options = vec![format!("--gpu-architecture={arch}")];
    options.extend(OPTIONS.iter().map(|&option| option.to_owned()));
    // SAFETY: `program` is alive until it is destroyed below, and so is `source`.
    let compiled = unsafe { nvrtc::result::compile_program(program, &options) };
    // SAFETY: as above; the log is asked for after compiling.
    let log = || unsafe { nvrtc::result::get_program_log(program) }.map(|log| text(&log)).unwrap_or_default();
    let code = match compiled {
        Ok(()) => binary(program).map_err(call),
        Err(error) => Err(failed(format!("{error}: {}", log()))),
    };
    // SAFETY: the program was created above and is not used from here on.
    unsafe { nvrtc::result::destroy_program(program) }.map_err(call)?;
    code
}

/// The machine code of a program that was compiled for a card.
fn binary(program: nvrtc::sys::nvrtcProgram) -> Result<Vec<u8>, nvrtc::result::NvrtcError> {
    let mut size = 0usize;
    // SAFETY: the program is alive and compiled; NVRTC writes one size.
    unsafe { nvrtc::sys::nvrtcGetCUBINSize(program, &mut size) }.result()?;
    let mut code = vec![0u8; size];
    // SAFETY: as above, and `code` has the size that NVRTC asked for.
    unsafe { nvrtc::sys::nvrtcGetCUBIN(program, code.as_mut_ptr().cast()) }.result()?;
    Ok(code)
}

fn text(log: &[std::ffi::c_char]) -> String {
    let bytes: Vec<u8> = log.iter().map(|&c| c as u8).take_while(|&b| b != 0).collect();
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

/// Fills in what the libraries tell.
pub(super) fn look(survey: &mut Survey) {
    survey.built = true;
    survey.driver = match has_driver() {
        true => driver_version(),
        false => Library::Missing("libcuda.so.1 cannot be loaded".into()),
    };
    survey.nvrtc = match has_compiler() {
        true => compiler_version(),
        false => Library::Missing(
            "libnvrtc.so cannot be loaded, nor is it under CUDA_HOME or /usr/local/cuda".into(),
        ),
    };
    if !has_driver() {
        return;
    }
    match cards() {
        Ok(seen) => {
            let first = seen.iter().map(|card| card.target).find(|target| is_new_enough(*target));
            survey.cards = seen.iter().map(|card| told(card, first)).collect();
        }
        Err(error) => survey.remarks.push(error.to_string()),
    }
    if matches!(survey.nvrtc, Library::Missing(_)) && !survey.cards.is_empty() {
        survey.remarks.push("without NVRTC, only code that is in the cache can run".into());
    }
}

/// A card, and whether it is used where `first` is the architecture of those that are.
fn told(card: &Seen, first: Option<Target>) -> Card {
    let not_used = match card.target {
        target if !is_new_enough(target) => Some(format!("older than sm_{OLDEST}")),
        target if Some(target) == first => None,
        target => Some(format!("one answer is of one architecture: ask for this with --device {target}")),
    };
    let multiprocessors = attribute(card.device, Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
    // SAFETY: `device` came from the driver, which writes one size.
    let memory = unsafe { driver::result::device::total_mem(card.device) };
    Card {
        number: card.ordinal as u32,
        name: driver::result::device::get_name(card.device).unwrap_or_default(),
        arch: card.target.to_string(),
        memory_bytes: memory.unwrap_or(0) as u64,
        multiprocessors: multiprocessors.unwrap_or(0).unsigned_abs(),
        not_used,
    }
}

fn driver_version() -> Library {
    let mut version = 0;
    // SAFETY: the library is there; it writes one int.
    match unsafe { driver::sys::cuDriverGetVersion(&mut version) }.result() {
        Ok(()) => Library::Found(format!("{}.{}", version / 1000, version % 1000 / 10)),
        Err(error) => Library::Missing(format!("{error}")),
    }
}

fn compiler_version() -> Library {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: the library is there; it writes two ints.
    match unsafe { nvrtc::sys::nvrtcVersion(&mut major, &mut minor) }.result() {
        Ok(()) => Library::Found(format!("{major}.{minor}")),
        Err(error) => Library::Missing(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where NVRTC is to be had (it needs no card), the source compiles for every architecture from Volta to Blackwell
    /// that it knows; where it is not, that is what is said.
    #[test]
    fn the_source_compiles_wherever_there_is_a_compiler() {
        let mut compiled = 0;
        for version in [70, 75, 80, 86, 89, 90, 100, 120] {
            match compile(Target::Sm(version)) {
                Ok(code) => {
                    assert!(code.starts_with(b"\x7fELF"));
                    compiled += 1;
                }
                Err(GpuError::NoCompiler) => assert!(!has_compiler()),
                Err(GpuError::Compile { log, .. }) => {
                    assert!(log.contains("gpu-architecture") || log.contains("INVALID_OPTION"), "{log}");
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert!(!has_compiler() || compiled >= 4, "{compiled}");
    }

    #[test]
    fn a_card_that_is_not_there_is_an_error_that_names_what_is_missing() {
        let told = match Cards::open(Target::Sm(999)) {
            Ok(_) => panic!("there is no such architecture"),
            Err(error) => error,
        };
        let known = matches!(told, GpuError::NoDriver | GpuError::NoCard { .. } | GpuError::Driver { .. });
        assert!(known, "{told}");
    }
}
