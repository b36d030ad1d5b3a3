//! Processes that live in this one's memory until they execute a program, as `posix_spawn(3)` makes them: no table of pages
//! is copied and neither side faults its pages in again, which is most of what a fork costs.
//!
//! Two kinds, each safe for a reason of its own. [`orphan`]'s runs while its parent sleeps. [`Beside`] runs at the same time
//! as its parent, in its memory or in a copy, and so touches nothing that the parent may change: it allocates nothing, it
//! makes its system calls without the C library, whose `errno` would be the parent's, and it reads what was laid out for it
//! before.

use std::ffi::{CString, c_int, c_void};
use std::fs::File;
use std::io::{self, Read, Write};
use std::mem::ManuallyDrop;
use std::num::NonZero;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use nix::unistd::{ForkResult, Pid, pipe2, setsid};
use syscalls::Sysno;

use super::direct::{add_nice, call, close_between, default_signals, fd, set_ioprio};

/// Enough for a page of system calls.
const SMALL: usize = 64 << 10;
/// As large as a main thread's; what isn't touched costs nothing.
const LARGE: usize = 8 << 20;
/// The largest page of the machines that this runs on.
const GUARD: usize = 64 << 10;

/// Memory for the frames of a process, with a guard below it.
struct Stack {
    start: NonNull<c_void>,
    length: usize,
}

impl Stack {
    fn new(size: usize) -> nix::Result<Self> {
        let length = size + GUARD;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE | MapFlags::MAP_STACK;
        let sized = NonZero::new(length).ok_or(Errno::EINVAL)?;
        // SAFETY: new memory, at a place that the kernel chooses.
        let start = unsafe { mmap_anonymous(None, sized, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags) }?;
        let stack = Self { start, length };
        // SAFETY: the lower end of what was mapped just now, and nobody else knows it.
        unsafe { mprotect(start, GUARD, ProtFlags::PROT_NONE) }?;
        Ok(stack)
    }

    /// Where its first frame begins: a page's end is aligned enough for any machine.
    fn top(&self) -> *mut c_void {
        self.start.as_ptr().wrapping_byte_add(self.length)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length, and whoever had frames on it has left this memory.
        let _ = unsafe { munmap(self.start, self.length) };
    }
}

/// A process that is being born twice: its first child ends at once.
struct Birth<F> {
    life: Option<F>,
    failed: Option<Errno>,
}

/// Starts a process that leads no session, in a session of its own, whose parent is whoever inherits orphans here, and that
/// lives `life` and ends. The one in between is gone when this returns.
///
/// # Errors
/// As `mmap(2)`, `clone(2)`, `setsid(2)` and `fork(2)`.
pub fn orphan(life: impl FnOnce()) -> io::Result<()> {
    extern "C" fn between<F: FnOnce()>(birth: *mut c_void) -> c_int {
        // SAFETY: the parent has given this pointer to a live local of this type, and sleeps.
        let birth = unsafe { &mut *birth.cast::<Birth<F>>() };
        match setsid().and_then(|_| super::fork()) {
            Ok(ForkResult::Child) => {
                if let Some(life) = birth.life.take() {
                    life();
                }
                super::exit_now();
            }
            Ok(ForkResult::Parent { .. }) => {}
            Err(error) => birth.failed = Some(error),
        }
        0
    }
    fn between_of<F: FnOnce()>(_: &Birth<F>) -> extern "C" fn(*mut c_void) -> c_int {
        between::<F>
    }
    let stack = Stack::new(LARGE)?;
    let mut birth = Birth { life: Some(life), failed: None };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: this process sleeps until the one in between has ended, so that nothing of its memory is used by two at a
    // time. The process that stays is forked: it has a copy, this stack and what `life` borrows included, and never returns.
    let pid = unsafe { libc::clone(between_of(&birth), stack.top(), flags, (&raw mut birth).cast()) };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    // Where the caller has SIGCHLD ignored the kernel has reaped it.
    let _ = nix::sys::wait::waitpid(Pid::from_raw(pid), None);
    birth.failed.map_or(Ok(()), |error| Err(error.into()))
}

/// What a process was doing when it was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// Setting up its session and its files.
    Prepare = 1,
    /// Setting its nice value.
    Nice = 2,
    /// Setting its I/O class.
    Ionice = 3,
    /// Waiting at its gate, which was closed.
    Gate = 4,
    /// Executing the command.
    Exec = 5,
}

const STEPS: [Step; 5] = [Step::Prepare, Step::Nice, Step::Ionice, Step::Gate, Step::Exec];

/// What a process is to do before it waits at its gate, and what it is to become behind it.
#[derive(Debug)]
pub struct Orders {
    /// Its standard output and error.
    pub log: RawFd,
    /// What else it is to hold.
    pub kept: Vec<RawFd>,
    /// The signals that may be ignored here, bit 0 for signal 1: they aren't there.
    pub ignored: u64,
    /// Added to its nice value.
    pub nice: Option<i32>,
    /// Its I/O class and level.
    pub ionice: Option<(u8, u8)>,
    /// The files to execute: the first that is there, or that refuses for another reason than that it isn't.
    pub files: Vec<CString>,
    /// They come from a search: that the folder of one is none is no reason to stop.
    pub searched: bool,
    /// The arguments, the command's own name among them.
    pub words: Vec<CString>,
    /// The environment.
    pub environment: Vec<CString>,
}

/// Everything that the process reads, laid out before it is there and unchanged while it is.
struct Layout {
    orders: Orders,
    /// What it keeps open, in order.
    kept: Vec<RawFd>,
    gate: RawFd,
    report: RawFd,
    words: Vec<*const libc::c_char>,
    environment: Vec<*const libc::c_char>,
}

/// A process that shares this one's memory, waits at its gate, and becomes a command behind it.
///
/// What was laid out for it is only given back when it has left the memory; where nobody waits for that, never.
pub struct Beside {
    /// Who it is.
    pub pid: i32,
    gate: Option<OwnedFd>,
    report: File,
    layout: ManuallyDrop<Box<Layout>>,
    stack: ManuallyDrop<Stack>,
}

/// Whose memory a process beside lives in until its exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Its parent's: fast. The two have one `oom_score_adj`, and the kernel kills none of them alone for memory.
    Shared,
    /// Its own.
    Copied,
}

/// What a process beside needs before it is known what it is to become.
pub struct Berth {
    /// Its end, and this process's.
    gate: (OwnedFd, OwnedFd),
    /// This process's end, and its.
    report: (OwnedFd, OwnedFd),
    stack: Stack,
}

impl Berth {
    /// Sets it up.
    ///
    /// # Errors
    /// As `pipe2(2)` and `mmap(2)`.
    pub fn new() -> io::Result<Self> {
        Ok(Self { gate: pipe2(OFlag::O_CLOEXEC)?, report: pipe2(OFlag::O_CLOEXEC)?, stack: Stack::new(SMALL)? })
    }
}

impl Beside {
    /// Starts it. It leads a session of its own, its standard input is this process's, and nothing is open in it but what it
    /// was told to keep; no signal is blocked and none is ignored. Its `oom_score_adj` is this process's.
    ///
    /// # Errors
    /// As `clone(2)`.
    pub fn new(berth: Berth, orders: Orders, memory: Memory) -> io::Result<Self> {
        let Berth { gate: (opened, gate), report: (report, told), stack } = berth;
        let mut kept = [&[orders.log, opened.as_raw_fd(), told.as_raw_fd()], &orders.kept[..]].concat();
        kept.sort_unstable();
        let pointers = |texts: &[CString]| texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect();
        let (words, environment) = (pointers(&orders.words), pointers(&orders.environment));
        let layout = Layout { kept, gate: opened.as_raw_fd(), report: told.as_raw_fd(), words, environment, orders };
        let (mut layout, stack) = (ManuallyDrop::new(Box::new(layout)), ManuallyDrop::new(stack));
        let argument: *mut c_void = (&raw mut **layout).cast();
        // SAFETY: it only reads the layout, which stays until it has left this memory, has a stack of its own, and calls
        // nothing that allocates, locks or knows `errno`; or it has a copy of all that.
        let start = |flags| unsafe { libc::clone(follow, stack.top(), flags | libc::SIGCHLD, argument) };
        let pid = match memory {
            Memory::Copied => start(0),
            // An emulator may know no such process.
            Memory::Shared => Some(start(libc::CLONE_VM)).filter(|pid| *pid > 0).unwrap_or_else(|| start(0)),
        };
        if pid < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { pid, gate: Some(gate), report: File::from(report), layout, stack })
    }

    /// Opens its gate. That it is gone by now is heard by [`Beside::outcome`].
    ///
    /// # Errors
    /// As `write(2)`.
    pub fn open(&mut self) -> io::Result<()> {
        match self.gate.take().map(|gate| File::from(gate).write_all(b"\n")) {
            Some(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }

    /// Waits until it has executed the command or is gone, closing a gate that wasn't opened; says what it was refused. One
    /// that was killed says nothing.
    ///
    /// # Errors
    /// As `read(2)`.
    pub fn outcome(mut self) -> io::Result<Option<(Step, Errno)>> {
        drop(self.gate.take());
        let mut said = Vec::new();
        self.report.read_to_end(&mut said)?;
        // SAFETY: the kernel closes its end of the report after it has given up this memory, in an exec and in an end.
        unsafe {
            ManuallyDrop::drop(&mut self.layout);
            ManuallyDrop::drop(&mut self.stack);
        }
        let [step, ref errno @ ..] = said[..] else { return Ok(None) };
        let step = STEPS.into_iter().find(|known| *known as u8 == step);
        let errno = errno.try_into().map(i32::from_ne_bytes);
        step.zip(errno.ok())
            .map(|(step, errno)| Some((step, Errno::from_raw(errno))))
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

impl std::fmt::Debug for Beside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Beside").field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// The life of a process beside: what it was refused is written to the report.
extern "C" fn follow(layout: *mut c_void) -> c_int {
    // SAFETY: `Beside::new` gives a layout, which nobody changes while this process shares the memory.
    let layout = unsafe { &*layout.cast::<Layout>() };
    let (step, errno) = layout.become_command();
    let [a, b, c, d] = errno.to_ne_bytes();
    let said = [step as u8, a, b, c, d];
    let _ = call(Sysno::write, [fd(layout.report), said.as_ptr().expose_provenance(), said.len(), 0, 0, 0]);
    0
}

impl Layout {
    fn become_command(&self) -> (Step, i32) {
        let refused = match self.prepare() {
            Ok(()) => self.wait().and_then(|()| Err((Step::Exec, self.execute()))),
            refused => refused,
        };
        refused.err().unwrap_or((Step::Exec, libc::ENOENT))
    }

    fn prepare(&self) -> Result<(), (Step, i32)> {
        let at = |step: Step| move |errno| (step, errno);
        // Close-on-exec isn't close-on-fork: a lock held here would outlive a supervisor that is killed now.
        close_between(&self.kept).map_err(at(Step::Prepare))?;
        call(Sysno::setsid, [0; 6]).map_err(at(Step::Prepare))?;
        for standard in [libc::STDOUT_FILENO, libc::STDERR_FILENO] {
            call(Sysno::dup3, [fd(self.orders.log), fd(standard), 0, 0, 0, 0]).map_err(at(Step::Prepare))?;
        }
        default_signals(self.orders.ignored);
        if let Some(nice) = self.orders.nice {
            add_nice(nice).map_err(at(Step::Nice))?;
        }
        if let Some((class, level)) = self.orders.ionice {
            set_ioprio(class, level).map_err(at(Step::Ionice))?;
        }
        Ok(())
    }

    /// Waits at the gate. Where it is closed the supervisor died or withdrew: nobody would know of this process.
    fn wait(&self) -> Result<(), (Step, i32)> {
        let mut word = [0_u8];
        loop {
            match call(Sysno::read, [fd(self.gate), word.as_mut_ptr().expose_provenance(), word.len(), 0, 0, 0]) {
                Ok(1..) => return Ok(()),
                Ok(0) => return Err((Step::Gate, libc::ECANCELED)),
                Err(libc::EINTR) => {}
                Err(errno) => return Err((Step::Gate, errno)),
            }
        }
    }

    /// Executes the first of the files that is there.
    fn execute(&self) -> i32 {
        let (words, environment) = (self.words.as_ptr().expose_provenance(), self.environment.as_ptr().expose_provenance());
        let mut refused = libc::ENOENT;
        for file in &self.orders.files {
            match call(Sysno::execve, [file.as_ptr().expose_provenance(), words, environment, 0, 0, 0]) {
                // A success doesn't return.
                Err(libc::ENOENT) | Ok(_) => {}
                Err(libc::ENOTDIR) if self.orders.searched => {}
                Err(libc::EACCES) => refused = libc::EACCES,
                Err(other) => return other,
            }
        }
        refused
    }
}
