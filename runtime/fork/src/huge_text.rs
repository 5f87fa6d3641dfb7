// SPDX-License-Identifier: Apache-2.0
//! The program's own code and constants on huge pages.
//!
//! A cell touches some 130 pages of the program's file, and each costs it a fault and a part of its end.
//! On huge pages, which a fork copies with a handful of entries, it costs none. A zygote does this once,
//! for all its children.

use std::io;
use std::ptr;

/// The size of a huge page of this processor, bytes.
const HUGE_BYTES: usize = 2 << 20;

/// A part of the program that is loaded and never written to.
#[derive(Debug, Clone, Copy)]
struct Part {
    start: usize,
    bytes: usize,
    protection: libc::c_int,
}

/// Moves the program's code and constants to huge pages. Gives the bytes that were moved; they are
/// memory of this process from now on, and no longer the file's.
///
/// # Errors
/// When the kernel gives no huge pages (it can since Linux 6.1, unless the machine has them switched off);
/// what was not moved is as it was.
///
/// # Safety
/// The process has one thread.
pub(crate) unsafe fn move_program() -> io::Result<usize> {
    let mut moved = 0;
    for part in parts() {
        // SAFETY: the part is one of the program's own, and the caller has made sure that no other thread
        // runs in it.
        unsafe { move_part(part)? };
        moved += part.bytes;
    }
    Ok(moved)
}

/// The whole huge pages within the read-only segments of the program.
fn parts() -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    // SAFETY: `note` is called during this call only, with the pointer to `parts` that is passed.
    unsafe { libc::dl_iterate_phdr(Some(note), (&raw mut parts).cast()) };
    parts
}

/// Takes note of the first object, which is the program, and of no other.
unsafe extern "C" fn note(
    info: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    parts: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the loader passes a valid description, and `parts` is what `parts()` has passed.
    let (info, parts) = unsafe { (&*info, &mut *parts.cast::<Vec<Part>>()) };
    // SAFETY: the loader's table has that many entries, for as long as the program is loaded.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    for header in headers {
        if header.p_type != libc::PT_LOAD || header.p_flags & libc::PF_W != 0 {
            continue;
        }
        let Ok(first) = usize::try_from(info.dlpi_addr + header.p_vaddr) else {
            continue;
        };
        let bytes = usize::try_from(header.p_memsz).unwrap_or(0);
        let start = first.next_multiple_of(HUGE_BYTES);
        let end = (first + bytes) / HUGE_BYTES * HUGE_BYTES;
        let protection = match header.p_flags & libc::PF_X {
            0 => libc::PROT_READ,
            _ => libc::PROT_READ | libc::PROT_EXEC,
        };
        if end > start {
            parts.push(Part {
                start,
                bytes: end - start,
                protection,
            });
        }
    }
    1
}

/// Puts a copy on huge pages in the place of a part.
///
/// # Safety
/// The part is mapped, its bounds are those of huge pages, and nobody writes to it.
unsafe fn move_part(part: Part) -> io::Result<()> {
    let room = Room::new(part.bytes + HUGE_BYTES)?;
    let copy = room.start.next_multiple_of(HUGE_BYTES) as *mut libc::c_void;
    // SAFETY: the copy lies within the room, which is this function's own; the part is mapped and as long,
    // as the caller has made sure.
    let collapsed = unsafe {
        libc::madvise(copy, part.bytes, libc::MADV_HUGEPAGE);
        ptr::copy_nonoverlapping(part.start as *const u8, copy.cast::<u8>(), part.bytes);
        // It fails where the kernel has no huge page left or none at all: small pages, of which a fork
        // copies each entry, would be worse than the file's.
        libc::madvise(copy, part.bytes, MADV_COLLAPSE)
    };
    if collapsed != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the copy is this function's own; it takes the place of memory that has the same bytes and
    // the same protection, in one step as far as this thread can tell.
    let moved = unsafe {
        if libc::mprotect(copy, part.bytes, part.protection) != 0 {
            return Err(io::Error::last_os_error());
        }
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        let place = part.start as *mut libc::c_void;
        libc::mremap(copy, part.bytes, part.bytes, flags, place)
    };
    if moved == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// `madvise`'s request for huge pages here and now, since Linux 6.1.
const MADV_COLLAPSE: libc::c_int = 25;

/// Memory that is given back when this is dropped, but for what was moved out of it.
struct Room {
    start: usize,
    bytes: usize,
}

impl Room {
    fn new(bytes: usize) -> io::Result<Self> {
        // SAFETY: the call makes a mapping of its own, wherever the kernel likes.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            start: start as usize,
            bytes,
        })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // SAFETY: the room is this value's own; where a part was moved out of it nothing is mapped, since
        // nothing has been mapped between the move and this.
        unsafe { libc::munmap(self.start as *mut libc::c_void, self.bytes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_whole_huge_pages_of_what_is_never_written() {
        let maps = std::fs::read_to_string("/proc/self/maps").expect("procfs");
        for part in parts() {
            assert_eq!(part.start % HUGE_BYTES, 0);
            assert_eq!(part.bytes % HUGE_BYTES, 0);
            let holder = maps.lines().find(|line| {
                let bounds = line
                    .split(' ')
                    .next()
                    .and_then(|range| range.split_once('-'));
                bounds.is_some_and(|(from, to)| {
                    let bound = |text| usize::from_str_radix(text, 16).expect("an address");
                    (bound(from)..bound(to)).contains(&part.start)
                })
            });
            let protection = holder.and_then(|line| line.split(' ').nth(1));
            let expected = match part.protection & libc::PROT_EXEC {
                0 => "r--p",
                _ => "r-xp",
            };
            assert_eq!(protection, Some(expected));
        }
    }

    #[test]
    fn whether_or_not_it_could_be_moved_a_part_has_its_bytes() {
        const PARTS: usize = 2;
        let room = Room::new((PARTS + 1) * HUGE_BYTES).expect("memory");
        let part = Part {
            start: room.start.next_multiple_of(HUGE_BYTES),
            bytes: PARTS * HUGE_BYTES,
            protection: libc::PROT_READ,
        };
        let pattern = |at: usize| u8::try_from(at % 251).unwrap_or(0);
        // SAFETY: the part lies within the room, which is this test's own and readable and writable; nobody
        // writes to it once it was filled.
        let (moved, bytes) = unsafe {
            let place = part.start as *mut u8;
            for at in 0..part.bytes {
                place.add(at).write(pattern(at));
            }
            let moved = move_part(part);
            (moved, std::slice::from_raw_parts(place, part.bytes))
        };
        let differs = (0..part.bytes).find(|at| bytes.get(*at) != Some(&pattern(*at)));
        assert_eq!(differs, None, "{moved:?}");
    }
}
