//! Memory that is looked up at random: in large pages, and in lines of the caches.

#![allow(unsafe_code)]

use bytemuck::{Pod, Zeroable};
use rustix::mm::{Advice, madvise};

/// What large pages are asked for.
const LARGE: usize = 4 << 20;
const PAGE: usize = 2 << 20;
/// Words of a line of the caches.
pub(crate) const LINE: usize = 8;

/// Words that share a line of the caches.
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Line([u64; LINE]);

/// Makes `memory` longer, by lines of zeros. Where it has to move, it has room for as many again, in large pages.
pub(crate) fn lengthen(memory: &mut Vec<Line>, lines: usize) {
    if lines > memory.capacity() {
        memory.reserve_exact((2 * memory.len()).max(lines) - memory.len());
        in_large_pages(memory);
    }
    memory.resize(lines, Line::default());
}

/// Asks the operating system for large pages where `memory`, its spare part included, is large: a table of many groups
/// is looked up at random, and small pages cost a walk through the page tables each time. Where they cannot be had, it
/// is slower.
pub(crate) fn in_large_pages<T>(memory: &mut Vec<T>) {
    let bytes = memory.capacity() * size_of::<T>();
    if bytes < LARGE {
        return;
    }
    let start = memory.as_mut_ptr().cast::<u8>();
    let skip = start.align_offset(PAGE);
    let whole = bytes.saturating_sub(skip) / PAGE * PAGE;
    // SAFETY: the range lies within the vector, and this advice changes nothing of what it holds.
    let _ = unsafe { madvise(start.wrapping_add(skip).cast(), whole, Advice::LinuxHugepage) };
}
