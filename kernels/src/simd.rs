//! Vector instructions, chosen at run time and without effect on a single bit.
//!
//! Hot loops are written once, over arrays, as [`Lanes`]-generic code; [`Simd::run`] compiles them for AVX-512, for
//! AVX2 with FMA, and for one value at a time with FMA, and calls the one that is wanted. Rust never reorders or
//! contracts floating-point operations, so the three differ in speed alone.

// `pulp::simd_type!` expands to functions with target features; a token exists only where the features do.
#![allow(unsafe_code)]

use muster_spec::Problem;
use std::hint::black_box;
use std::marker::PhantomData;

/// The variable that forces a level.
pub const VARIABLE: &str = "MUSTER_SIMD";

#[cfg(target_arch = "x86_64")]
mod token {
    #![allow(missing_docs)]
    pulp::simd_type! {
        /// 512-bit vectors.
        pub struct Avx512 {
            pub(super) f: "avx512f",
            cd: "avx512cd",
            pub(super) bw: "avx512bw",
            dq: "avx512dq",
            vl: "avx512vl",
            avx2: "avx2",
            fma: "fma",
        }
    }
    pulp::simd_type! {
        /// 256-bit vectors.
        pub struct Avx2 { pub(super) avx2: "avx2", fma: "fma" }
    }
    pulp::simd_type! {
        /// One value at a time.
        pub struct Scalar { fma: "fma" }
    }
}

#[cfg(target_arch = "aarch64")]
mod token {
    #![allow(missing_docs)]
    pulp::simd_type! {
        /// 128-bit vectors: FMA is part of the architecture.
        pub struct Neon { neon: "neon" }
    }
    pulp::simd_type! {
        /// One value at a time.
        pub struct Scalar { neon: "neon" }
    }
}

/// A way to run hot loops that this host has.
#[derive(Clone, Copy, Debug)]
pub enum Simd {
    /// AVX-512 (F, CD, BW, DQ, VL).
    #[cfg(target_arch = "x86_64")]
    Avx512(token::Avx512),
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2(token::Avx2),
    /// NEON.
    #[cfg(target_arch = "aarch64")]
    Neon(token::Neon),
    /// One value at a time, with FMA.
    Scalar(token::Scalar),
}

/// A hot loop: mark `run` `#[inline(always)]`, so that it is compiled anew for every level.
pub trait Vectorised {
    /// What it computes.
    type Out;
    /// The loop.
    fn run<L: Lanes>(self) -> Self::Out;
}

/// How wide a loop runs. Loops pass one value of every iteration through [`Lanes::pass`].
pub trait Lanes: Copy + 'static {
    /// The value itself. For the scalar level the compiler cannot see that, so the loop stays one value at a time.
    fn pass(x: f64) -> f64;
}

#[derive(Clone, Copy)]
struct Vector;
#[derive(Clone, Copy)]
struct OneByOne;

impl Lanes for Vector {
    #[inline(always)]
    fn pass(x: f64) -> f64 {
        x
    }
}

impl Lanes for OneByOne {
    #[inline(always)]
    fn pass(x: f64) -> f64 {
        black_box(x)
    }
}

/// Bit `i` tells whether byte `i` is `wanted`.
#[inline(always)]
pub fn equal(bytes: &[u8; 64], wanted: u8) -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8};
        let mut mask = 0;
        for (i, part) in bytes.as_chunks::<16>().0.iter().enumerate() {
            // SAFETY: SSE2 is part of the architecture, and `part` is 16 bytes long; the load need not be aligned.
            let bits = unsafe {
                _mm_movemask_epi8(_mm_cmpeq_epi8(
                    _mm_loadu_si128(part.as_ptr().cast()),
                    _mm_set1_epi8(wanted as i8),
                ))
            };
            mask |= u64::from(bits as u32) << (16 * i);
        }
        mask
    }
    #[cfg(not(target_arch = "x86_64"))]
    bytes.iter().enumerate().fold(0, |mask, (i, &byte)| mask | u64::from(byte == wanted) << i)
}

/// Asks for a cache line that will soon be read, into the second level; a hint that any address may stand in.
#[inline(always)]
pub fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: prefetching reads nothing that the program sees and never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

struct Op<V, L>(V, PhantomData<L>);

impl<V: Vectorised, L: Lanes> pulp::NullaryFnOnce for Op<V, L> {
    type Output = V::Out;
    #[inline(always)]
    fn call(self) -> V::Out {
        self.0.run::<L>()
    }
}

impl Simd {
    /// Every level that this host has, the fastest first.
    #[cfg(target_arch = "x86_64")]
    pub fn all() -> Vec<Simd> {
        let levels = [
            token::Avx512::try_new().map(Simd::Avx512),
            token::Avx2::try_new().map(Simd::Avx2),
            token::Scalar::try_new().map(Simd::Scalar),
        ];
        levels.into_iter().flatten().collect()
    }

    /// Every level that this host has, the fastest first.
    #[cfg(target_arch = "aarch64")]
    pub fn all() -> Vec<Simd> {
        [token::Neon::try_new().map(Simd::Neon), token::Scalar::try_new().map(Simd::Scalar)]
            .into_iter()
            .flatten()
            .collect()
    }

    /// The fastest level of this host, or the one called `forced`.
    ///
    /// # Errors
    /// When the host has no fused multiply-add, or not the level that is forced.
    pub fn choose(forced: Option<&str>) -> Result<Simd, Problem> {
        let all = Simd::all();
        let Some(&best) = all.first() else {
            let what = "this host has no fused multiply-add, which the class portable-f64 needs";
            return Err(
                Problem::new("CPU", what).hint("use a host with FMA3: Intel since 2013, AMD since 2012")
            );
        };
        let Some(name) = forced.filter(|n| !n.is_empty()) else { return Ok(best) };
        all.iter().copied().find(|s| s.name() == name).ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(|s| s.name()).collect();
            Problem::new(
                VARIABLE,
                format!("'{name}' is not among the levels of this host: {}", names.join(", ")),
            )
        })
    }

    /// The level's name, as `MUSTER_SIMD` takes it.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2(_) => "avx2",
            #[cfg(target_arch = "aarch64")]
            Simd::Neon(_) => "neon",
            Simd::Scalar(_) => "scalar",
        }
    }

    /// Runs a hot loop at this level.
    #[inline]
    pub fn run<V: Vectorised>(self, work: V) -> V::Out {
        match self {
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512(token) => token.vectorize(Op(work, PhantomData::<Vector>)),
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2(token) => token.vectorize(Op(work, PhantomData::<Vector>)),
            #[cfg(target_arch = "aarch64")]
            Simd::Neon(token) => token.vectorize(Op(work, PhantomData::<Vector>)),
            Simd::Scalar(token) => token.vectorize(Op(work, PhantomData::<OneByOne>)),
        }
    }

    /// Where a byte is in a text, 64 bytes at a time: bit `i` of a mask tells whether byte `i` is `wanted`.
    ///
    /// # Panics
    /// Unless there is a mask for each 64 bytes.
    #[inline]
    pub fn masks(self, text: &[[u8; 64]], wanted: u8, masks: &mut [u64]) {
        assert_eq!(text.len(), masks.len());
        let each = text.iter().zip(masks);
        match self {
            #[cfg(target_arch = "x86_64")]
            Simd::Avx512(token) => token.vectorize(Masks(each, wanted, token)),
            #[cfg(target_arch = "x86_64")]
            Simd::Avx2(token) => token.vectorize(Masks(each, wanted, token)),
            _ => each.for_each(|(bytes, mask)| *mask = equal(bytes, wanted)),
        }
    }

    /// Runs a hot loop that names its vectors, at this level. It must not use what one level has and another has not:
    /// estimates, sums across a vector.
    #[inline]
    pub fn wide<W: pulp::WithSimd>(self, work: W) -> W::Output {
        #[cfg(target_arch = "x86_64")]
        {
            let wants = (matches!(self, Simd::Avx512(_)), matches!(self, Simd::Avx512(_) | Simd::Avx2(_)));
            // The library's levels ask for a little more than ours; what is wide enough runs narrower just as well.
            if let Some(simd) = pulp::x86::V4::try_new().filter(|_| wants.0) {
                return pulp::Simd::vectorize(simd, work);
            }
            if let Some(simd) = pulp::x86::V3::try_new().filter(|_| wants.1) {
                return pulp::Simd::vectorize(simd, work);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if let Some(simd) = pulp::aarch64::Neon::try_new().filter(|_| matches!(self, Simd::Neon(_))) {
            return pulp::Simd::vectorize(simd, work);
        }
        self.run(OneValue(work))
    }
}

/// Masks of so many bytes, at the level of a token.
#[cfg(target_arch = "x86_64")]
struct Masks<I, T>(I, u8, T);

#[cfg(target_arch = "x86_64")]
impl<'a, I: Iterator<Item = (&'a [u8; 64], &'a mut u64)>> pulp::NullaryFnOnce for Masks<I, token::Avx512> {
    type Output = ();
    #[inline(always)]
    fn call(self) {
        let Masks(each, wanted, token) = self;
        let wanted = token.f._mm512_set1_epi8(wanted as i8);
        for (bytes, mask) in each {
            *mask = token.bw._mm512_cmpeq_epi8_mask(pulp::cast(*bytes), wanted);
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl<'a, I: Iterator<Item = (&'a [u8; 64], &'a mut u64)>> pulp::NullaryFnOnce for Masks<I, token::Avx2> {
    type Output = ();
    #[inline(always)]
    fn call(self) {
        let Masks(each, wanted, token) = self;
        let wanted: [u8; 32] = [wanted; 32];
        for (bytes, mask) in each {
            let half = |nth: usize| {
                let equal = token
                    .avx2
                    ._mm256_cmpeq_epi8(pulp::cast(bytes.as_chunks::<32>().0[nth]), pulp::cast(wanted));
                u64::from(token.avx2._mm256_movemask_epi8(equal) as u32)
            };
            *mask = half(0) | half(1) << 32;
        }
    }
}

/// A loop over named vectors, one value in each.
struct OneValue<W>(W);

impl<W: pulp::WithSimd> Vectorised for OneValue<W> {
    type Out = W::Output;
    #[inline(always)]
    fn run<L: Lanes>(self) -> W::Output {
        self.0.with_simd(pulp::Scalar)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_chosen_by_name() {
        for level in Simd::all() {
            assert_eq!(Simd::choose(Some(level.name())).unwrap().name(), level.name());
        }
        assert_eq!(Simd::choose(None).unwrap().name(), Simd::all()[0].name());
        assert_eq!(Simd::choose(Some("")).unwrap().name(), Simd::all()[0].name());
        let problem = Simd::choose(Some("mmx")).unwrap_err();
        assert!(problem.to_string().contains("scalar"), "{problem}");
    }
}
