//! The registers of a probed call, by the calling convention of each architecture.

pub(crate) use self::of_architecture::{six_arguments, stack_after_return, stack_at_return};

/// The System V ABI: arguments in registers of their own, and the return address on the stack.
#[cfg(bpf_target_arch = "x86_64")]
mod of_architecture {
    use aya_ebpf::programs::{ProbeContext, RetProbeContext};

    /// The stack pointer that the caller has after the return: at the entry the return address, 8 bytes,
    /// is still on the stack.
    #[inline(always)]
    pub(crate) fn stack_after_return(ctx: &ProbeContext) -> u64 {
        // SAFETY: the kernel passes the registers of the probed call, valid while this runs.
        unsafe { (*ctx.regs).rsp + 8 }
    }

    /// The stack pointer at the return.
    #[inline(always)]
    pub(crate) fn stack_at_return(ctx: &RetProbeContext) -> u64 {
        // SAFETY: the kernel passes the registers at the return, valid while this runs.
        unsafe { (*ctx.regs).rsp }
    }

    /// The first six arguments, which are all that are in registers. Each register is read whether or not
    /// it is used: a compiler merges a choice between two registers into one read at a chosen place,
    /// which the verifier refuses.
    #[inline(always)]
    pub(crate) fn six_arguments(ctx: &ProbeContext) -> [u64; 6] {
        // SAFETY: the kernel passes the registers of the probed call, valid while this runs.
        unsafe {
            [
                (&raw const (*ctx.regs).rdi).read_volatile(),
                (&raw const (*ctx.regs).rsi).read_volatile(),
                (&raw const (*ctx.regs).rdx).read_volatile(),
                (&raw const (*ctx.regs).rcx).read_volatile(),
                (&raw const (*ctx.regs).r8).read_volatile(),
                (&raw const (*ctx.regs).r9).read_volatile(),
            ]
        }
    }
}

/// The AAPCS64: arguments in x0 to x7, and the return address in a register.
#[cfg(bpf_target_arch = "aarch64")]
mod of_architecture {
    use aya_ebpf::programs::{ProbeContext, RetProbeContext};

    /// The stack pointer that the caller has after the return, which is that of the entry.
    #[inline(always)]
    pub(crate) fn stack_after_return(ctx: &ProbeContext) -> u64 {
        // SAFETY: the kernel passes the registers of the probed call, valid while this runs.
        unsafe { (*ctx.regs).sp }
    }

    /// The stack pointer at the return.
    #[inline(always)]
    pub(crate) fn stack_at_return(ctx: &RetProbeContext) -> u64 {
        // SAFETY: the kernel passes the registers at the return, valid while this runs.
        unsafe { (*ctx.regs).sp }
    }

    /// The first six arguments. Each register is read whether or not it is used: a compiler merges a
    /// choice between two registers into one read at a chosen place, which the verifier refuses.
    #[inline(always)]
    pub(crate) fn six_arguments(ctx: &ProbeContext) -> [u64; 6] {
        // SAFETY: the kernel passes the registers of the probed call, valid while this runs.
        unsafe {
            [
                (&raw const (*ctx.regs).regs[0]).read_volatile(),
                (&raw const (*ctx.regs).regs[1]).read_volatile(),
                (&raw const (*ctx.regs).regs[2]).read_volatile(),
                (&raw const (*ctx.regs).regs[3]).read_volatile(),
                (&raw const (*ctx.regs).regs[4]).read_volatile(),
                (&raw const (*ctx.regs).regs[5]).read_volatile(),
            ]
        }
    }
}
