//! The two shapes of a program: a kprobe, which has the registers of the probed call, and a
//! trampoline (fentry, fexit), which has the arguments, and at the return the result beside them.
//!
//! A program is written once, for the traits below, and [`at_entry`], [`at_return`] and [`of_call`]
//! declare it in both shapes. User space attaches one of them.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::{bpf_get_func_arg, bpf_get_func_ret};
use aya_ebpf::programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext};

use crate::kernel::read;
use crate::registers::{stack_after_return, stack_at_return};

/// What every program has.
pub(crate) trait Shape: EbpfContext {
    /// An address on the stack that a call has to itself from its entry to its return: the same for
    /// both, as long as both programs have one shape. Calls that it makes have lower ones.
    fn stack(&self) -> u64;
}

/// A program at the entry of a function, or at a return that still has the arguments.
pub(crate) trait Entry: Shape {
    /// The argument with this number, from 0 on.
    fn argument(&self, number: u32) -> u64;
}

/// A program at the return of a function.
pub(crate) trait Return: Shape {
    /// The result; the kernel leaves the bits that its type does not have as they are.
    fn result(&self) -> u64;
}

impl Shape for ProbeContext {
    #[inline(always)]
    fn stack(&self) -> u64 {
        stack_after_return(self)
    }
}

impl Entry for ProbeContext {
    #[inline(always)]
    fn argument(&self, number: u32) -> u64 {
        self.arg(number as usize).unwrap_or(0)
    }
}

impl Shape for RetProbeContext {
    #[inline(always)]
    fn stack(&self) -> u64 {
        stack_at_return(self)
    }
}

impl Return for RetProbeContext {
    #[inline(always)]
    fn result(&self) -> u64 {
        self.ret()
    }
}

/// The address of a trampoline's arguments, which are in its frame on the stack. The verifier lets a
/// program compute with the number only after the kernel has copied it.
#[inline(always)]
fn frame(ctx: &impl EbpfContext) -> u64 {
    let address = ctx.as_ptr() as u64;
    read(&raw const address as u64).unwrap_or(0)
}

/// An argument of a trampoline, as a number: read from the context itself it would have the type that
/// the kernel's BTF gives it, with which the verifier forbids most arithmetic. The verifier makes a
/// few instructions of the helper (5.17 on).
#[inline(always)]
fn traced_argument(ctx: &impl EbpfContext, number: u32) -> u64 {
    let mut value = 0;
    // SAFETY: the context is the one that the kernel passed, and `value` has room for a word.
    unsafe { bpf_get_func_arg(ctx.as_ptr(), number, &raw mut value) };
    value
}

impl Shape for FEntryContext {
    #[inline(always)]
    fn stack(&self) -> u64 {
        frame(self)
    }
}

impl Entry for FEntryContext {
    #[inline(always)]
    fn argument(&self, number: u32) -> u64 {
        traced_argument(self, number)
    }
}

impl Shape for FExitContext {
    #[inline(always)]
    fn stack(&self) -> u64 {
        frame(self)
    }
}

impl Entry for FExitContext {
    #[inline(always)]
    fn argument(&self, number: u32) -> u64 {
        traced_argument(self, number)
    }
}

impl Return for FExitContext {
    #[inline(always)]
    fn result(&self) -> u64 {
        let mut value = 0;
        // SAFETY: the context is the one that the kernel passed, and `value` has room for a word.
        unsafe { bpf_get_func_ret(self.as_ptr(), &raw mut value) };
        value
    }
}

/// Declares the two programs that run a function at the entry of a kernel function.
macro_rules! at_entry {
    ($run:ident: $kprobe:ident, $fentry:ident) => {
        #[aya_ebpf::macros::kprobe]
        fn $kprobe(ctx: aya_ebpf::programs::ProbeContext) -> u32 {
            $run(&ctx)
        }

        #[aya_ebpf::macros::fentry]
        fn $fentry(ctx: aya_ebpf::programs::FEntryContext) -> u32 {
            $run(&ctx)
        }
    };
}

/// Declares the two programs that run a function at the return of a kernel function.
macro_rules! at_return {
    ($run:ident: $kretprobe:ident, $fexit:ident) => {
        #[aya_ebpf::macros::kretprobe]
        fn $kretprobe(ctx: aya_ebpf::programs::RetProbeContext) -> u32 {
            $run(&ctx)
        }

        #[aya_ebpf::macros::fexit]
        fn $fexit(ctx: aya_ebpf::programs::FExitContext) -> u32 {
            $run(&ctx)
        }
    };
}

/// Declares the programs that run a function with one argument of a call, `None` where the entry was
/// missed, and the result: two kprobes, of which the first remembers the argument, or one trampoline.
macro_rules! of_call {
    ($run:ident, $number:literal: $kprobe:ident, $kretprobe:ident, $fexit:ident) => {
        #[aya_ebpf::macros::kprobe]
        fn $kprobe(ctx: aya_ebpf::programs::ProbeContext) -> u32 {
            crate::calls::remember(&ctx, crate::shape::Entry::argument(&ctx, $number))
        }

        #[aya_ebpf::macros::kretprobe]
        fn $kretprobe(ctx: aya_ebpf::programs::RetProbeContext) -> u32 {
            $run(&ctx, || crate::calls::recall(&ctx))
        }

        #[aya_ebpf::macros::fexit]
        fn $fexit(ctx: aya_ebpf::programs::FExitContext) -> u32 {
            $run(&ctx, || Some(crate::shape::Entry::argument(&ctx, $number)))
        }
    };
}

pub(crate) use {at_entry, at_return, of_call};
