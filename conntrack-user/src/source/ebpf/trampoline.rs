//! Attaching programs by trampolines (fentry, fexit).
//!
//! aya loads such programs for functions of the kernel itself only, as it has no module's types. Here
//! the maps are aya's; the instructions come from the same object, and two calls of `bpf(2)` load and
//! attach them. The module that a trampoline is attached to cannot be unloaded meanwhile.

#![allow(unsafe_code, reason = "no crate attaches a program to a function of a module")]

use std::collections::HashSet;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use aya::Ebpf;
use aya::maps::{Map, MapData};
use aya_obj::generated::{bpf_attach_type, bpf_attr, bpf_btf_info, bpf_cmd, bpf_prog_type};
use aya_obj::{Function, Object, ProgramSection};
use rustix::io::Errno;

use super::refusal::{Object as RefusedObject, Refusal, explain};
use super::types::TypeNumber;

/// The module that has the functions.
const MODULE: &[u8] = b"nf_conntrack";

/// The modules that use it: rules, helpers and ctnetlink; absent where conntrack is built in.
const HOLDERS: &str = "/sys/module/nf_conntrack/holders";

/// Room for the verifier's log: before 6.4 the kernel writes its beginning only, where it is longer.
const LOG_BYTES: usize = 1 << 20;

/// How much of its end is in an error.
const LAST_LOG_LINES: usize = 4;

/// A program that is attached until this value is dropped.
#[derive(Debug)]
pub(super) struct Trampoline {
    pub(super) name: &'static str,
    pub(super) program: OwnedFd,
    pub(super) in_module: bool,
    _link: OwnedFd,
}

/// The programs of an object, with the maps of the object that aya has loaded.
pub(super) struct Tracer {
    object: Object,
    /// The module's types in the kernel, or why they cannot be opened; looked up once.
    module: Option<Result<OwnedFd, Refusal>>,
}

impl Tracer {
    /// Connects the programs of `bytes` with the maps of `ebpf`, which was loaded from them. The maps
    /// must live until the last program is attached.
    ///
    /// # Errors
    /// The object is another one.
    pub(super) fn new(bytes: &[u8], ebpf: &Ebpf) -> Result<Self, Refusal> {
        let mut object = Object::parse(bytes).map_err(|error| refusal(&error))?;
        let maps = std::mem::take(&mut object.maps);
        let texts: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
        let loaded = ebpf.maps().filter_map(|(name, map)| {
            let own = maps.get(name)?;
            Some((name, data_of(map)?.fd().as_fd().as_raw_fd(), own))
        });
        object.relocate_maps(loaded, &texts).map_err(|error| refusal(&error))?;
        object.relocate_calls(&texts).map_err(|error| refusal(&error))?;
        Ok(Self { object, module: None })
    }

    /// Attaches a program to the function with this number.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(super) fn attach(
        &mut self,
        name: &'static str,
        function: TypeNumber,
    ) -> Result<Trampoline, Refusal> {
        let module = if function.in_module {
            let module = self.module.get_or_insert_with(|| {
                types_of_module(MODULE).map_err(|error| {
                    let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
                    let needs = if is_denied { " (CAP_SYS_ADMIN)" } else { "" };
                    Refusal {
                        text: format!("the module's types cannot be opened{needs}: {error}"),
                        errno: Errno::from_io_error(&error),
                        object: RefusedObject::Other,
                    }
                })
            });
            Some(module.as_ref().map_err(Clone::clone)?.as_fd())
        } else {
            None
        };
        let absent = || io::Error::from(io::ErrorKind::NotFound);
        let program = self.object.programs.get(name).ok_or_else(|| refusal(&absent()))?;
        let kind = match program.section {
            ProgramSection::FEntry { .. } => bpf_attach_type::BPF_TRACE_FENTRY,
            ProgramSection::FExit { .. } => bpf_attach_type::BPF_TRACE_FEXIT,
            _ => return Err(refusal(&absent())),
        };
        let code = self.object.functions.get(&program.function_key());
        let code = code.ok_or_else(|| refusal(&absent()))?;
        let license = &self.object.license;
        let program = load(name, code, license, kind, function.id, module)?;
        let link = open_link(program.as_fd()).map_err(|error| Refusal {
            text: format!("cannot attach {name}: {error}"),
            errno: Errno::from_io_error(&error),
            object: RefusedObject::Other,
        })?;
        Ok(Trampoline { name, program, in_module: function.in_module, _link: link })
    }
}

/// Whether the module could not be unloaded without trampolines either: another module uses it, or
/// conntrack is built in.
pub(super) fn module_is_used() -> bool {
    std::fs::read_dir(HOLDERS).map_or(true, |mut holders| holders.next().is_some())
}

fn refusal(error: &(dyn std::error::Error + 'static)) -> Refusal {
    let errno = error.downcast_ref::<io::Error>().and_then(Errno::from_io_error);
    Refusal { text: explain(error), errno, object: RefusedObject::Other }
}

/// The map behind one of the types that the object has.
fn data_of(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(data)
        | Map::HashMap(data)
        | Map::PerCpuArray(data)
        | Map::PerCpuHashMap(data)
        | Map::RingBuf(data) => Some(data),
        _ => None,
    }
}

/// Loads a program; a second time with the verifier's log where the kernel refuses it.
fn load(
    name: &str,
    code: &Function,
    license: &CString,
    kind: bpf_attach_type,
    function: u32,
    module: Option<BorrowedFd<'_>>,
) -> Result<OwnedFd, Refusal> {
    // SAFETY: all zeros are a value of this union of numbers.
    let mut attributes: bpf_attr = unsafe { std::mem::zeroed() };
    // SAFETY: this part of the union is numbers only, and the rest of it stays 0.
    let program = unsafe { &mut attributes.__bindgen_anon_3 };
    program.prog_type = bpf_prog_type::BPF_PROG_TYPE_TRACING as u32;
    program.expected_attach_type = kind as u32;
    program.insns = code.instructions.as_ptr() as u64;
    program.insn_cnt = u32::try_from(code.instructions.len()).unwrap_or(u32::MAX);
    program.license = license.as_ptr() as u64;
    program.attach_btf_id = function;
    if let Some(module) = module {
        program.__bindgen_anon_1.attach_btf_obj_fd = module.as_raw_fd() as u32;
    }
    let room = program.prog_name.len() - 1;
    for (place, byte) in program.prog_name.iter_mut().zip(name.bytes().take(room)) {
        // Signed on x86-64, and not on aarch64.
        *place = std::ffi::c_char::from_ne_bytes([byte]);
    }
    // SAFETY: the addresses are those of `code` and `license`, which live until the call has returned.
    let error = match unsafe { open(bpf_cmd::BPF_PROG_LOAD, &mut attributes) } {
        Ok(program) => return Ok(program),
        Err(error) => error,
    };
    let mut log = vec![0u8; LOG_BYTES];
    // SAFETY: the part of the union that was written above.
    let program = unsafe { &mut attributes.__bindgen_anon_3 };
    program.log_level = 1;
    program.log_buf = log.as_mut_ptr() as u64;
    program.log_size = LOG_BYTES as u32;
    // SAFETY: as above, and the log has room for as many bytes as `log_size` says.
    if let Ok(program) = unsafe { open(bpf_cmd::BPF_PROG_LOAD, &mut attributes) } {
        return Ok(program);
    }
    let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
    let log = String::from_utf8_lossy(&log[..end]);
    let lines: Vec<&str> = log.lines().filter(|line| !line.starts_with("processed ")).collect();
    let last = lines[lines.len().saturating_sub(LAST_LOG_LINES)..].join("; ");
    Err(Refusal {
        text: format!("cannot load {name}: {error}: {last}")
            .trim_end_matches([':', ' '])
            .to_owned(),
        errno: Errno::from_io_error(&error),
        object: RefusedObject::Other,
    })
}

/// Attaches a loaded program to the function that it was loaded for.
fn open_link(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: all zeros are a value of this union of numbers.
    let mut attributes: bpf_attr = unsafe { std::mem::zeroed() };
    // SAFETY: this part of the union is numbers only. Its name, an address, stays 0: no tracepoint.
    let link = unsafe { &mut attributes.raw_tracepoint };
    link.prog_fd = program.as_raw_fd() as u32;
    // SAFETY: the attributes have no address.
    unsafe { open(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attributes) }
}

/// Opens the types of a module, as the kernel has them.
fn types_of_module(module: &[u8]) -> io::Result<OwnedFd> {
    let mut id = 0;
    loop {
        // SAFETY: all zeros are a value of this union of numbers.
        let mut attributes: bpf_attr = unsafe { std::mem::zeroed() };
        attributes.__bindgen_anon_6.__bindgen_anon_1.start_id = id;
        // SAFETY: the attributes have no address.
        unsafe { call(bpf_cmd::BPF_BTF_GET_NEXT_ID, &mut attributes) }?;
        // SAFETY: the kernel has written this part of the union, a number.
        id = unsafe { attributes.__bindgen_anon_6.next_id };
        // SAFETY: all zeros are a value of this union of numbers.
        let mut attributes: bpf_attr = unsafe { std::mem::zeroed() };
        attributes.__bindgen_anon_6.__bindgen_anon_1.btf_id = id;
        // SAFETY: the attributes have no address.
        let types = match unsafe { open(bpf_cmd::BPF_BTF_GET_FD_BY_ID, &mut attributes) } {
            Ok(types) => types,
            // Gone since its number was returned.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if is_kernels(types.as_fd(), module)? {
            return Ok(types);
        }
    }
}

/// Whether types are the kernel's own, of this module.
fn is_kernels(types: BorrowedFd<'_>, module: &[u8]) -> io::Result<bool> {
    let mut name = [0u8; 64];
    // SAFETY: all zeros are a value of this structure of numbers.
    let mut info: bpf_btf_info = unsafe { std::mem::zeroed() };
    info.name = name.as_mut_ptr() as u64;
    info.name_len = name.len() as u32;
    // SAFETY: all zeros are a value of this union of numbers.
    let mut attributes: bpf_attr = unsafe { std::mem::zeroed() };
    attributes.info.bpf_fd = types.as_raw_fd() as u32;
    attributes.info.info_len = size_of::<bpf_btf_info>() as u32;
    attributes.info.info = &raw mut info as u64;
    // SAFETY: `info` has room for `info_len` bytes, and `name` for `name_len`.
    if let Err(error) = unsafe { call(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attributes) } {
        // A longer name is another module's.
        return if error.raw_os_error() == Some(libc::ENOSPC) { Ok(false) } else { Err(error) };
    }
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    Ok(info.kernel_btf != 0 && &name[..end] == module)
}

/// The same for a command that returns a descriptor.
///
/// # Safety
/// See [`call`].
unsafe fn open(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<OwnedFd> {
    // SAFETY: the caller's.
    let descriptor = unsafe { call(command, attributes) }?;
    // SAFETY: the kernel has made this descriptor for the caller alone.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Calls `bpf(2)`.
///
/// # Safety
/// Every address in `attributes` is of memory that has what the command reads, and room for what it
/// writes, until this returns.
pub(super) unsafe fn call(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<RawFd> {
    // SAFETY: the union is as long as stated; the rest is the caller's.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<bpf_attr>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as RawFd) }
}
