//! Attaching the programs: a plan of the functions for each hook, then its execution.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Mutex;

use aya::Ebpf;
use aya::maps::Map;
use aya::programs::{KProbe, ProgramError};
use conntrack_ebpf::names;

use super::btf::BtfError;
use super::counters::Mapped;
use super::diagnostics::{self, Diagnostics};
use super::error::EventsError;
use super::invalid_counts::InvalidMaps;
use super::loader::{self, Constants};
use super::probe_table::{AttachWhen, HOOKS, Hook, Probe, Variant};
use super::programs::Programs;
use super::refusal::{Refusal, explain};
use super::symbols::{EXTENSION_GENERATION, Found, Symbols, TABLE, TABLE_SIZE};
use super::trampoline::{self, Tracer, Trampoline};
use super::types::{TypeNumber, Types};
use super::{Attachment, Events, HookState};
use crate::settings::EbpfAttach;
use crate::source::namespace::Pinned;
use crate::source::release;

/// The running kernel's release.
const RELEASE: &str = "/proc/sys/kernel/osrelease";

/// Which hooks to attach, and the namespaces to count in.
#[derive(Debug, Clone, Copy)]
pub struct AttachOptions<'a> {
    /// The hooks, [`HOOKS`] except in tests.
    pub hooks: &'a [Hook],
    /// The namespaces that have a slot of their own: 1, 2 and so on.
    pub namespaces: &'a [Pinned],
    /// One more than the highest possible CPU number.
    pub cpus: usize,
    /// Attach the hooks that cost something for each packet, too.
    pub per_packet: bool,
    /// Attach the hooks that only the row about ctpulse itself shows, too.
    pub internal: bool,
    /// How many drops a CPU may report one by one in a window of 8.4 ms, 0 for none; see
    /// [`Events::take_reports`].
    pub reports: u64,
    /// With reports, measure how long insertions take.
    pub latency: bool,
    /// Count INVALID packets by reason; with reports, report them, too: see [`Events::take_invalid`].
    pub invalid: bool,
    /// How programs are attached. `Auto` is for a caller that watches whether the module is used.
    pub attach: EbpfAttach,
}

impl<'a> AttachOptions<'a> {
    /// The hooks that are always attached.
    #[must_use]
    pub fn new(namespaces: &'a [Pinned], cpus: usize) -> Self {
        Self {
            hooks: &HOOKS,
            namespaces,
            cpus,
            per_packet: false,
            internal: false,
            reports: 0,
            latency: false,
            invalid: false,
            attach: EbpfAttach::unwatched(),
        }
    }
}

impl Events {
    /// Loads and attaches every program that is asked for and that this kernel takes.
    ///
    /// # Errors
    /// [`EventsError`] when not one hook could be attached.
    pub fn attach(options: &AttachOptions<'_>) -> Result<Self, EventsError> {
        check_host()?;
        let kernel = Kernel::read()?;
        let plan = Plan::new(options, &kernel);
        let mut ebpf = loader::load(&plan.constants)?;
        let (states, trampolines) = plan.execute(&mut ebpf);
        check_attached(&states)?;
        let diagnostics = plan.constants.diagnostics.then(|| Diagnostics::open(&mut ebpf));
        let Plan { hooks, constants, namespaces, .. } = plan;
        let has_reports = constants.reports > 0;
        let layout = kernel.types.as_ref().ok().filter(|_| has_reports).map(|t| t.offsets.tuple);
        let hides_generation = constants.hides_generation();
        let counts_invalid = constants.invalid.is_some() && !has_reports;
        let invalid_counts = counts_invalid.then(|| InvalidMaps::take(&mut ebpf)).transpose()?;
        Ok(Self {
            counters: map_counters(&ebpf, constants.length)?,
            programs: Programs::open(&ebpf, &programs_of(hooks, &states), &trampolines),
            ebpf,
            gives_way: options.attach == EbpfAttach::Auto
                && trampolines.iter().any(|trampoline| trampoline.in_module),
            trampolines,
            diagnostics: Mutex::new(diagnostics.flatten()),
            held: Mutex::new(namespaces.iter().cloned().map(Some).collect()),
            inodes: constants.inodes,
            length: constants.length,
            hooks: hooks.to_vec(),
            states,
            sees_table: constants.table != 0 && constants.table_size != 0,
            hides_generation,
            reports: layout,
            invalid: layout.filter(|_| constants.invalid.is_some()),
            invalid_counts,
            blind: kernel.types.err(),
            has_reports,
        })
    }
}

/// Checks what every probe needs of the host.
///
/// # Errors
/// [`EventsError::Architecture`] or [`EventsError::NoKprobes`].
pub(crate) fn check_host() -> Result<(), EventsError> {
    if !cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
        return Err(EventsError::Architecture);
    }
    if !Path::new("/sys/bus/event_source/devices/kprobe/type").exists() {
        return Err(EventsError::NoKprobes);
    }
    Ok(())
}

/// The running kernel, as far as a plan depends on it.
pub(super) struct Kernel {
    pub(super) symbols: Symbols,
    /// Without types all events are counted in one slot.
    pub(super) types: Result<Types, BtfError>,
}

impl Kernel {
    pub(super) fn read() -> Result<Self, EventsError> {
        let symbols = Symbols::read().map_err(EventsError::Symbols)?;
        Ok(Self { symbols, types: Types::of_running_kernel() })
    }

    /// Finds the functions of a variant's probes, or why they cannot be used.
    fn functions(&self, variant: &Variant) -> Functions {
        if variant.needs_types && self.types.is_err() {
            return Err(HookState::NoTypes);
        }
        let mut functions = Vec::new();
        for probe in variant.probes {
            match self.symbols.find(probe.functions, probe.renamed_too) {
                Found::One(function) => functions.push(function.to_owned()),
                Found::Several(copies) => {
                    return Err(HookState::Copies(copies.into_iter().map(str::to_owned).collect()));
                }
                Found::None => return Err(HookState::NoFunction(probe.functions)),
            }
        }
        let types = self.types.as_ref().ok();
        let objection = |function: &String| types.and_then(|types| types.objection(function));
        match functions.iter().find_map(objection) {
            Some(objection) => Err(HookState::Differs(objection)),
            None => Ok(functions),
        }
    }

    /// Finds the functions of a variant's trampolines, or why they cannot be used.
    fn traced(&self, variant: &Variant) -> Traced {
        let types = self.types.as_ref().map_err(|_| "it needs the kernel's types".to_owned())?;
        let number = |probe: &Probe| match self.symbols.find(probe.functions, true) {
            Found::One(function) => match types.number(function) {
                Some((number, false)) => match types.objection(function) {
                    None => Ok((function.to_owned(), number)),
                    Some(objection) => Err(objection),
                },
                Some((_, true)) => Err(format!("{function} takes any number of arguments")),
                None => Err(format!("the kernel's types do not have {function}")),
            },
            Found::Several(copies) => Err(format!("there is more than one: {}", copies.join(", "))),
            Found::None => {
                Err(format!("this kernel has no function {}", probe.functions.join(" or ")))
            }
        };
        // A variant without trampolines is refused for its function where the kernel could have none.
        let probes =
            if variant.trampolines.is_empty() { variant.probes } else { variant.trampolines };
        let traced = probes.iter().map(number).collect::<Result<_, _>>()?;
        match variant.trampolines {
            [] => Err("there are only kprobes for it".to_owned()),
            _ => Ok(traced),
        }
    }
}

/// The functions of a variant's trampolines and their numbers, or why they cannot be used.
type Traced = Result<Vec<(String, TypeNumber)>, String>;

/// The functions of a variant, or why they cannot be used.
type Functions = Result<Vec<String>, HookState>;

/// The programs to load and attach.
struct Plan<'a> {
    hooks: &'a [Hook],
    namespaces: &'a [Pinned],
    constants: Constants,
    /// For each hook its variants, each with its functions or why it cannot be used; `None` for a hook
    /// that is not asked for.
    variants: Vec<Option<Vec<Functions>>>,
    /// In the same order, the functions of their trampolines; `None` where these are not asked for.
    traced: Option<Vec<Vec<Traced>>>,
}

impl<'a> Plan<'a> {
    fn new(options: &AttachOptions<'a>, kernel: &Kernel) -> Self {
        let types = kernel.types.as_ref().ok();
        let namespaces = if types.is_some() { options.namespaces } else { &[] };
        let constants = Constants {
            inodes: namespaces.iter().map(|namespace| namespace.inode).collect(),
            length: options.cpus.max(1) * (1 + namespaces.len()),
            offsets: types.map(|types| types.offsets).unwrap_or_default(),
            table: kernel.symbols.address(TABLE),
            table_size: kernel.symbols.address(TABLE_SIZE),
            generation: kernel.symbols.address(EXTENSION_GENERATION),
            resizes: 0,
            diagnostics: diagnostics::are_wanted(),
            reports: if types.is_some() { options.reports } else { 0 },
            latency: options.latency,
            found: options.per_packet,
            invalid: types
                .filter(|_| options.invalid)
                .map(|types| types.invalid_has_state(release::read(Path::new(RELEASE)))),
        };
        let reports = constants.reports > 0;
        let is_asked = |when| match when {
            AttachWhen::Always => true,
            AttachWhen::PerPacket => options.per_packet,
            AttachWhen::Internal => options.internal || constants.diagnostics || reports,
            AttachWhen::Reports => reports,
            AttachWhen::Invalid => options.invalid,
        };
        let variants = options.hooks.iter().map(|hook| {
            let functions = || hook.ways.iter().map(|way| kernel.functions(way)).collect();
            is_asked(hook.need).then(functions)
        });
        let traced = is_asked_for(options.attach).then(|| {
            let of = |hook: &Hook| hook.ways.iter().map(|way| kernel.traced(way)).collect();
            options.hooks.iter().map(of).collect()
        });
        let variants = variants.collect();
        Self { hooks: options.hooks, namespaces, variants, traced, constants }
    }

    /// Attaches the hooks in their order, and detaches those that lack another one.
    fn execute(&self, ebpf: &mut Ebpf) -> (Vec<HookState>, Vec<Trampoline>) {
        let tracer = self.traced.is_some().then(|| Tracer::new(loader::OBJECT, ebpf));
        let mut attaching = Attaching { ebpf, tracer, trampolines: Vec::new() };
        let mut states: Vec<HookState> = Vec::new();
        for (at, (hook, variants)) in self.hooks.iter().zip(&self.variants).enumerate() {
            let Some(variants) = variants else {
                states.push(HookState::NotAsked(hook.need));
                continue;
            };
            let of = |name| self.hooks.iter().zip(&states).find(|(hook, _)| hook.name == name);
            let shape = match hook.like.and_then(of) {
                Some((_, HookState::Attached { by, .. })) => Some(by.clone()),
                _ => None,
            };
            let traced = self.traced.as_ref().map(|traced| &traced[at][..]);
            states.push(attaching.attach_hook(hook, variants, traced, shape.as_ref()));
        }
        while let Some((at, name)) = lacking(self.hooks, &states) {
            if let HookState::Attached { way, .. } = states[at] {
                attaching.detach(&self.hooks[at].ways[way]);
            }
            states[at] = HookState::Lacks(name);
        }
        (states, attaching.trampolines)
    }
}

/// Whether any hook is to be attached by trampolines.
fn is_asked_for(attach: EbpfAttach) -> bool {
    match attach {
        EbpfAttach::Kprobe => false,
        EbpfAttach::Trampoline => true,
        EbpfAttach::Auto => trampoline::module_is_used(),
    }
}

/// The programs while they are attached.
struct Attaching<'a> {
    ebpf: &'a mut Ebpf,
    /// Where trampolines are asked for.
    tracer: Option<Result<Tracer, Refusal>>,
    trampolines: Vec<Trampoline>,
}

impl Attaching<'_> {
    /// Attaches the first variant of a hook that works, or returns why the best one does not. With
    /// `shape` by nothing else.
    fn attach_hook(
        &mut self,
        hook: &Hook,
        variants: &[Functions],
        traced: Option<&[Traced]>,
        shape: Option<&Attachment>,
    ) -> HookState {
        let mut why_not = None;
        for (way, (variant, functions)) in hook.ways.iter().zip(variants).enumerate() {
            let traced = traced.map(|traced| &traced[way]);
            match self.attach_variant(variant, functions, traced, shape) {
                Ok((mut functions, by)) => {
                    functions.dedup();
                    return HookState::Attached { way, functions, by };
                }
                Err(state) => why_not = why_not.or(Some(state)),
            }
        }
        why_not.unwrap_or(HookState::NoFunction(&[]))
    }

    /// Attaches all programs of a variant, by trampolines where that is asked for and possible; or none.
    /// Returns the functions that they are attached to.
    fn attach_variant(
        &mut self,
        variant: &Variant,
        functions: &Functions,
        traced: Option<&Traced>,
        shape: Option<&Attachment>,
    ) -> Result<(Vec<String>, Attachment), HookState> {
        let why_not = match (traced, shape) {
            (None, _) => None,
            (Some(_), Some(Attachment::Kprobe(why_not))) => why_not.clone(),
            (Some(Err(why_not)), _) => Some(why_not.clone()),
            (Some(Ok(traced)), _) => match self.trace(variant, traced) {
                Ok(()) => {
                    let functions = traced.iter().map(|(function, _)| function.clone());
                    return Ok((functions.collect(), Attachment::Trampoline));
                }
                Err(refusal) if shape == Some(&Attachment::Trampoline) => {
                    return Err(HookState::Refused(refusal));
                }
                Err(refusal) => Some(refusal.to_string()),
            },
        };
        let functions = functions.clone()?;
        for (probe, function) in variant.probes.iter().zip(&functions) {
            if let Err(error) = attach_program(self.ebpf, probe.program, function) {
                self.detach(variant);
                return Err(HookState::Refused(Refusal::of_program(&error)));
            }
        }
        Ok((functions, Attachment::Kprobe(why_not)))
    }

    /// Attaches all trampolines of a variant, or none.
    fn trace(&mut self, variant: &Variant, traced: &[(String, TypeNumber)]) -> Result<(), Refusal> {
        let Some(tracer) = &mut self.tracer else { return Ok(()) };
        let tracer = tracer.as_mut().map_err(|refusal| refusal.clone())?;
        let pairs = variant.trampolines.iter().zip(traced);
        let attached: Vec<Trampoline> = pairs
            .map(|(probe, (_, number))| tracer.attach(probe.program, *number))
            .collect::<Result<_, _>>()?;
        self.trampolines.extend(attached);
        Ok(())
    }

    /// Detaches the programs of a variant, those that are attached.
    fn detach(&mut self, variant: &Variant) {
        let is_its = |name| variant.trampolines.iter().any(|probe| probe.program == name);
        self.trampolines.retain(|trampoline| !is_its(trampoline.name));
        for probe in variant.probes {
            // One that was never loaded is an error, and nothing to detach.
            let _ = program_of(self.ebpf, probe.program).and_then(KProbe::unload);
        }
    }
}

fn attach_program(ebpf: &mut Ebpf, program: &str, function: &str) -> Result<(), ProgramError> {
    let program = program_of(ebpf, program)?;
    program.load()?;
    program.attach(function, 0).map(drop)
}

fn program_of<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut KProbe, ProgramError> {
    let program = ebpf.program_mut(name).ok_or(ProgramError::UnexpectedProgramType)?;
    program.try_into()
}

/// Returns the first hook that is attached and needs another one that could not be, and the name of
/// the other.
fn lacking(hooks: &[Hook], states: &[HookState]) -> Option<(usize, &'static str)> {
    let is_missing = |name: &str| {
        let mut hooks = hooks.iter().zip(states);
        hooks.any(|(hook, state)| hook.name == name && !state.is_attached())
    };
    let attached = hooks.iter().zip(states).enumerate().filter(|(_, (_, s))| s.is_attached());
    attached
        .filter_map(|(at, (hook, _))| Some((at, *hook.needs.iter().find(|n| is_missing(n))?)))
        .next()
}

/// Returns why no hook is attached, if none is: what the kernel refused first, or that it has none of
/// the functions.
fn check_attached(states: &[HookState]) -> Result<(), EventsError> {
    if states.iter().any(HookState::is_attached) {
        return Ok(());
    }
    let refusal = states.iter().find_map(|state| match state {
        HookState::Refused(refusal) => Some(refusal.clone()),
        _ => None,
    });
    Err(refusal.map_or(EventsError::NoFunctions, EventsError::from_refusal))
}

fn map_counters(ebpf: &Ebpf, length: usize) -> Result<Mapped, EventsError> {
    let Some(Map::Array(map)) = ebpf.map(names::COUNTERS) else {
        return Err(EventsError::Refused("the object has no counters".to_owned()));
    };
    Mapped::new(map.fd().as_fd(), length).map_err(|error| {
        EventsError::Refused(format!("cannot map the counters: {}", explain(&error)))
    })
}

/// The names of the kprobes that are attached.
fn programs_of(hooks: &[Hook], states: &[HookState]) -> Vec<&'static str> {
    let variants = hooks.iter().zip(states).filter_map(|(hook, state)| match state {
        HookState::Attached { way, by: Attachment::Kprobe(_), .. } => hook.ways.get(*way),
        _ => None,
    });
    variants.flat_map(|variant| variant.probes).map(|probe| probe.program).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_is_left_out_without_the_hook_that_it_needs() {
        let by = Attachment::Kprobe(None);
        let there = HookState::Attached { way: 0, functions: Vec::new(), by };
        let mut states = vec![there.clone(); HOOKS.len()];
        assert_eq!(lacking(&HOOKS, &states), None);
        let at = |name| HOOKS.iter().position(|hook| hook.name == name).unwrap();
        states[at("table_full")] = HookState::NoTypes;
        states[at("delete")] = HookState::NoTypes;
        assert_eq!(lacking(&HOOKS, &states), Some((at("new"), "delete")));
        states[at("new")] = HookState::Lacks("delete");
        assert_eq!(lacking(&HOOKS, &states), Some((at("whose_drop"), "table_full")));
        // A hook that a test leaves out on purpose is not missed.
        let alone = [HOOKS[at("new")]];
        assert_eq!(lacking(&alone, &[there]), None);
    }

    /// A kernel without types: what needs them is left out with the reason, and nothing of another
    /// namespace is given a slot.
    #[test]
    fn a_plan_has_the_functions_of_each_variant() {
        let text = b"ffffffffc0a1 t __nf_conntrack_insert_prepare\t[nf_conntrack]\n\
            ffffffffc0a2 t early_drop\t[nf_conntrack]\n\
            ffffffffc0a3 t early_drop.constprop.0\t[nf_conntrack]\n\
            ffffffffc0a4 t nf_ct_resolve_clash\t[nf_conntrack]";
        let types = Err(BtfError::Absent("types".to_owned()));
        let kernel = Kernel { symbols: Symbols::parse(text), types };
        let plan = Plan::new(&AttachOptions::new(&[], 2), &kernel);
        let of = |name: &str| {
            let at = HOOKS.iter().position(|hook| hook.name == name).unwrap();
            plan.variants[at].clone()
        };
        let clash = vec!["nf_ct_resolve_clash".to_owned(); 2];
        assert_eq!(of("clash"), Some(vec![Ok(clash)]));
        let copies = vec!["early_drop".to_owned(), "early_drop.constprop.0".to_owned()];
        assert_eq!(of("table_full"), Some(vec![Err(HookState::Copies(copies))]));
        let insert = of("insert").unwrap();
        let hash_insert = HookState::NoFunction(&["__nf_conntrack_hash_insert"]);
        assert_eq!(insert[..2], [Err(hash_insert), Err(HookState::NoTypes)]);
        assert_eq!(of("found"), None);
        assert_eq!((plan.constants.length, plan.constants.inodes.len()), (2, 0));

        // Trampolines are planned on request only, and need the types.
        assert!(plan.traced.is_none());
        let attach = EbpfAttach::Trampoline;
        let options = AttachOptions { attach, ..AttachOptions::new(&[], 2) };
        let traced = Plan::new(&options, &kernel).traced.unwrap();
        assert!(
            traced.iter().flatten().all(|of| of.as_ref().is_err_and(|why| why.contains("types")))
        );
    }
}
