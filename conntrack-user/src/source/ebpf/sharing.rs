//! Which inputs get events, from which probes, and how they get them again.
//!
//! All inputs share one set of probes at first ([`FirstProbes`]). After the module was loaded again
//! the first input that notices it has probes attached for all of them, and the others take their
//! share of these ([`SharedProbes`]).

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::settings::{Ebpf, EbpfAttach, Input};
use crate::source::cpu_mask;
use crate::source::ebpf::reattach::{Attach, AttachResult, Attacher, CHECK, EventSource};
use crate::source::ebpf::{AttachOptions, EventReader, Events, EventsError, check_host};
use crate::source::namespace::{Pinned, another_than};
use crate::source::roots::Place;

/// How often it is checked whether anything but the probes keeps the module loaded.
const CHECK_MODULE: Duration = Duration::from_secs(1);

/// The probes that all inputs share at the start, or why there are none.
pub(crate) struct FirstProbes {
    shared: Arc<SharedProbes>,
    events: Result<Arc<Events>, EventsError>,
}

impl FirstProbes {
    /// Attaches probes for the inputs that have events, each at its place.
    #[must_use]
    pub(crate) fn attach(inputs: &[Input], places: &[Place]) -> Self {
        let shared = Arc::new(SharedProbes::new(inputs, places));
        let must = inputs.iter().any(|input| input.ebpf == Ebpf::On);
        let events = shared.attach_first(must);
        Self { shared, events }
    }

    /// The probes.
    ///
    /// # Errors
    /// Why there are none.
    pub(crate) fn events(&self) -> Result<&Events, &EventsError> {
        self.events.as_deref()
    }

    /// Whether there are probes, or may be some later.
    #[must_use]
    pub(crate) fn may_attach(&self) -> bool {
        self.events.as_ref().err().is_none_or(EventsError::may_pass)
    }

    /// Whether the probes do not know the kernel's types, so that other processes are searched for
    /// another namespace again and again.
    #[must_use]
    pub(crate) fn is_blind(&self) -> bool {
        self.events.as_ref().is_ok_and(|events| events.blind().is_some())
    }

    /// Returns the share of input `number`, and the thread that attaches probes for it again when
    /// they are gone, or as soon as there is something to attach to. `None` for an input without
    /// events.
    ///
    /// # Errors
    /// The system's, when the thread cannot be started.
    pub(crate) fn source_of(
        &self,
        number: usize,
        input: &Input,
        cpus: &[u32],
    ) -> io::Result<Option<EventSource>> {
        let Some(place) = self.shared.place(number).filter(|_| self.may_attach()) else {
            return Ok(None);
        };
        let mut input = InputProbes {
            number,
            cpus: cpus.to_vec(),
            per_packet: input.ebpf_per_packet,
            invalid: input.has_invalid_rows(),
            shared: Arc::clone(&self.shared),
            types_error: None,
            giving_way: Weak::new(),
        };
        let reader = self.events.as_ref().ok().and_then(|events| {
            events.log_diagnostics();
            let namespace = place.namespace()?;
            let reader = input.read(events, &namespace)?;
            self.shared.shares()[number] =
                Some(Share { is_taken: true, ..Share::new(events, module(), &namespace) });
            Some(reader)
        });
        let attached = reader.is_some();
        Ok(Some(EventSource { reader, attacher: Attacher::start(input, attached)? }))
    }
}

/// Whether the input's rows have a place for events: plain files are of another kernel, or of
/// another time.
fn has_events(input: &Input, place: &Place) -> bool {
    input.has_events() && place.is_live()
}

/// How the probes that all inputs share are attached: kprobes where one input wants them, since every
/// kernel has them.
fn attach_of(inputs: &[Input]) -> EbpfAttach {
    let wanted: Vec<EbpfAttach> = inputs.iter().filter_map(|input| input.ebpf_attach).collect();
    let first = [EbpfAttach::Kprobe, EbpfAttach::Auto, EbpfAttach::Trampoline];
    let first = first.into_iter().find(|attach| wanted.contains(attach));
    first.unwrap_or_else(EbpfAttach::from_environment)
}

/// Identifies one loading of conntrack's module; the same as long as conntrack is built in. A
/// directory of sysfs has a new number each time that it is made.
fn module() -> Option<u64> {
    std::fs::metadata("/sys/module/nf_conntrack").ok().map(|directory| directory.ino())
}

/// The probes that inputs share.
#[derive(Debug)]
struct SharedProbes {
    /// Whether any input asks for the hooks that cost something for each packet.
    per_packet: bool,
    /// Whether any input has a row about ctpulse itself.
    internal: bool,
    /// Whether any input has rows of INVALID packets by reason.
    invalid: bool,
    /// How programs are attached: see [`attach_of`].
    attach: EbpfAttach,
    /// Where each input has its namespace; `None` for one without events.
    places: Vec<Option<Place>>,
    /// For each input, the probes that were attached for it last.
    shares: Mutex<Vec<Option<Share>>>,
}

/// An input's share of a set of probes.
#[derive(Debug)]
struct Share {
    events: Weak<Events>,
    /// The loading of the module that the probes are attached to.
    module: Option<u64>,
    namespace: u32,
    /// Whether the input has it; until then its namespace is held for it.
    is_taken: bool,
}

impl Share {
    /// A share that its input has not taken yet.
    fn new(events: &Arc<Events>, module: Option<u64>, namespace: &Pinned) -> Self {
        let namespace = namespace.inode;
        Self { events: Arc::downgrade(events), module, namespace, is_taken: false }
    }

    /// Returns the probes, if they count in `namespace` and in what is loaded as `module`.
    fn probes(&self, namespace: &Pinned, module: Option<u64>) -> Option<Arc<Events>> {
        let is_same = self.module == module && module.is_some();
        let events = self.events.upgrade().filter(|events| is_same && events.holds(namespace))?;
        (!events.must_give_way()).then_some(events)
    }
}

impl SharedProbes {
    fn new(inputs: &[Input], places: &[Place]) -> Self {
        let place =
            |(input, place): (&Input, &Place)| has_events(input, place).then(|| place.clone());
        let places: Vec<_> = inputs.iter().zip(places).map(place).collect();
        let shares = places.iter().map(|_| None).collect();
        Self {
            per_packet: inputs.iter().any(|input| input.ebpf_per_packet),
            internal: inputs.iter().any(|input| input.internal),
            invalid: inputs.iter().any(Input::has_invalid_rows),
            attach: attach_of(inputs),
            places,
            shares: Mutex::new(shares),
        }
    }

    fn place(&self, number: usize) -> Option<&Place> {
        self.places.get(number)?.as_ref()
    }

    /// Attaches the probes for the namespaces that are there; with `must`, only if all are.
    fn attach_first(&self, must: bool) -> Result<Arc<Events>, EventsError> {
        if self.places.iter().all(Option::is_none) {
            return Err(EventsError::NotWanted);
        }
        // Before the namespaces: no other one would help.
        check_host()?;
        let found: Vec<_> = self.places.iter().flatten().map(Place::namespace).collect();
        let is_missing = found.iter().any(Option::is_none);
        let namespaces: Vec<Pinned> = found.into_iter().flatten().collect();
        if namespaces.is_empty() || must && is_missing {
            return Err(EventsError::NoNamespace);
        }
        self.attach(namespaces)
    }

    /// Returns probes for input `number`, in `namespace`: those that were attached when another
    /// input asked after the same loading of the module, or else new ones. Which input asks first,
    /// and how much later the others do, makes no difference.
    fn attach_again(&self, number: usize, namespace: &Pinned) -> Result<Arc<Events>, EventsError> {
        // While one attaches the others wait for the lock.
        let mut shares = self.shares();
        let module = module();
        if let Some(share) = &mut shares[number]
            && !share.is_taken
            && let Some(events) = share.probes(namespace, module)
        {
            share.is_taken = true;
            return Ok(events);
        }
        let mut sharing = self.without_probes(number, &shares, module);
        sharing.push((number, namespace.clone()));
        let events = self.attach(sharing.iter().map(|(_, its)| its.clone()).collect())?;
        events.log();
        for (input, its) in sharing {
            let share = Share::new(&events, module, &its);
            shares[input] = Some(Share { is_taken: input == number, ..share });
        }
        Ok(events)
    }

    /// Returns the other inputs that have no probes and whose namespace is there: new probes are for
    /// all of them.
    fn without_probes(
        &self,
        number: usize,
        shares: &[Option<Share>],
        module: Option<u64>,
    ) -> Vec<(usize, Pinned)> {
        let others = self.places.iter().zip(shares).enumerate();
        let others = others.filter(|(other, _)| *other != number);
        let without = others.filter_map(|(other, (place, share))| {
            let its = place.as_ref().and_then(Place::namespace)?;
            let has_probes = share.as_ref().and_then(|share| share.probes(&its, module)).is_some();
            (!has_probes).then_some((other, its))
        });
        without.collect()
    }

    /// Attaches probes that count these namespaces apart; without the kernel's types only if there
    /// is no other namespace, whose events they would count, too.
    fn attach(&self, mut namespaces: Vec<Pinned>) -> Result<Arc<Events>, EventsError> {
        namespaces.sort_unstable_by_key(|namespace| namespace.inode);
        namespaces.dedup_by_key(|namespace| namespace.inode);
        // The CPUs of the running kernel; the mask of the rows may be another one (--sys-root).
        let cpus = cpu_mask::read(Path::new("/sys"))
            .map_err(|error| EventsError::Cpus(error.to_string()))?;
        let events = Events::attach(&AttachOptions {
            per_packet: self.per_packet,
            internal: self.internal,
            invalid: self.invalid,
            attach: self.attach,
            ..AttachOptions::new(&namespaces, cpu_mask::length(&cpus))
        })?;
        if let Some(types) = events.blind() {
            check_alone(&namespaces, &types.to_string())?;
        }
        Ok(Arc::new(events))
    }

    /// Releases the namespaces that are held for inputs which have not asked yet, where these
    /// inputs would find another one, or none, by now.
    fn release_gone(&self) {
        for (place, share) in self.places.iter().zip(self.shares().iter_mut()) {
            let Some(waiting) = share.as_ref().filter(|share| !share.is_taken) else { continue };
            let now = place.as_ref().and_then(Place::namespace);
            if now.is_none_or(|now| now.inode != waiting.namespace) {
                if let Some(events) = waiting.events.upgrade() {
                    events.release_namespace(waiting.namespace);
                }
                *share = None;
            }
        }
    }

    fn shares(&self) -> MutexGuard<'_, Vec<Option<Share>>> {
        // A panic while it is held would have ended the program.
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks that there is no other namespace: without types all events are counted together.
pub(crate) fn check_alone(namespaces: &[Pinned], types: &str) -> Result<(), EventsError> {
    let others = match namespaces {
        [own] => match another_than(own.inode) {
            Ok(None) => return Ok(()),
            Ok(Some(another)) => another,
            Err(error) => format!("what others there are cannot be seen ({error})"),
        },
        more => format!("{} of them are sampled", more.len()),
    };
    Err(EventsError::Blind { types: types.to_owned(), others })
}

/// One input's use of the shared probes.
struct InputProbes {
    /// The input's number.
    number: usize,
    cpus: Vec<u32>,
    per_packet: bool,
    invalid: bool,
    shared: Arc<SharedProbes>,
    /// The error in the kernel's types, where all events are counted together.
    types_error: Option<String>,
    /// The probes, where they give way to the unloading of the module.
    giving_way: Weak<Events>,
}

impl InputProbes {
    fn namespace(&self) -> Result<Pinned, EventsError> {
        let place = self.shared.place(self.number);
        place.and_then(Place::namespace).ok_or(EventsError::NoNamespace)
    }

    /// Returns a reader of the counters in `namespace`, if they have a slot.
    fn read(&mut self, events: &Arc<Events>, namespace: &Pinned) -> Option<EventReader> {
        self.types_error = events.blind().map(ToString::to_string);
        self.giving_way = if events.gives_way() { Arc::downgrade(events) } else { Weak::new() };
        let slot = events.slot(namespace)?;
        let (cpus, per_packet) = (self.cpus.clone(), self.per_packet);
        let invalid = events.invalid_reader(namespace).filter(|_| self.invalid);
        Some(EventReader { events: Arc::clone(events), slot, cpus, per_packet, invalid })
    }
}

impl Attach for InputProbes {
    fn attach(&mut self) -> AttachResult {
        let namespace = self.namespace()?;
        let events = self.shared.attach_again(self.number, &namespace)?;
        events.log_diagnostics();
        self.read(&events, &namespace).ok_or(EventsError::NoNamespace)
    }

    fn pause(&self) -> Duration {
        if self.giving_way.strong_count() > 0 { CHECK_MODULE } else { CHECK }
    }

    fn check(&mut self) -> Result<(), EventsError> {
        if self.giving_way.upgrade().is_some_and(|events| events.must_give_way()) {
            self.giving_way = Weak::new();
            return Err(EventsError::Unused);
        }
        self.shared.release_gone();
        let Some(types) = &self.types_error else { return Ok(()) };
        check_alone(std::slice::from_ref(&self.namespace()?), types)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_input_that_wants_kprobes_decides_for_all() {
        let input = |ebpf_attach| Input { ebpf_attach, ..Input::new(Duration::from_secs(1)) };
        let of = |wanted: &[Option<EbpfAttach>]| {
            attach_of(&wanted.iter().copied().map(input).collect::<Vec<_>>())
        };
        use EbpfAttach::{Auto, Kprobe, Trampoline};
        assert_eq!(of(&[Some(Trampoline), None]), Trampoline);
        assert_eq!(of(&[Some(Trampoline), Some(Auto)]), Auto);
        assert_eq!(of(&[Some(Trampoline), Some(Auto), Some(Kprobe)]), Kprobe);
        assert_eq!(of(&[None]), EbpfAttach::from_environment());
    }
}
