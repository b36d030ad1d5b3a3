//! A few words that a process leaves for those that it shares them with, whatever becomes of it.

use std::num::NonZero;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// More than the longest id.
const ROOM: usize = 1024;

/// What the memory holds: how long the text is, and the text. Between two texts the length is none.
#[repr(C)]
struct Page {
    length: AtomicUsize,
    text: [u8; ROOM],
}

/// One page that a process and its forks have in common. One of them writes, and it is read once that one is gone.
#[derive(Debug)]
pub struct SharedNote(NonNull<Page>);

impl SharedNote {
    /// An empty one.
    ///
    /// # Errors
    /// As `mmap(2)`.
    pub fn new() -> nix::Result<Self> {
        let length = NonZero::new(size_of::<Page>()).ok_or(nix::errno::Errno::EINVAL)?;
        let flags = MapFlags::MAP_SHARED;
        // SAFETY: new memory at a place that the kernel chooses, a page's start and so aligned; zeroes are an empty page.
        let memory = unsafe { mmap_anonymous(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags) }?;
        Ok(Self(memory.cast()))
    }

    /// Replaces the text. A kill in the middle leaves none.
    pub fn write(&self, text: &str) {
        // SAFETY: mapped until it is dropped, and written by this process alone.
        let page = unsafe { &mut *self.0.as_ptr() };
        page.length.store(0, Ordering::SeqCst);
        // Neither half of a text stands behind a length.
        fence(Ordering::SeqCst);
        if let Some(place) = page.text.get_mut(..text.len()) {
            place.copy_from_slice(text.as_bytes());
            page.length.store(text.len(), Ordering::SeqCst);
        }
    }

    /// The text that was written last, if any was.
    #[must_use]
    pub fn read(&self) -> Option<String> {
        // SAFETY: mapped until it is dropped, and who wrote it is gone.
        let page = unsafe { self.0.as_ref() };
        let text = page.text.get(..page.length.load(Ordering::SeqCst)).filter(|text| !text.is_empty())?;
        String::from_utf8(text.to_vec()).ok()
    }
}

impl Drop for SharedNote {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length, and nobody has a reference into it.
        let _ = unsafe { munmap(self.0.cast(), size_of::<Page>()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_text_is_read_and_none_is_too_long_for_harm() {
        let note = SharedNote::new().unwrap();
        assert_eq!(note.read(), None);
        note.write("a_20251129_120300");
        note.write("b");
        assert_eq!(note.read().as_deref(), Some("b"));
        note.write(&"x".repeat(ROOM + 1));
        assert_eq!(note.read(), None);
    }
}
