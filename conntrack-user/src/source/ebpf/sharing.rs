//! Which inputs get events, from which probes, and how they get them again.
//!
//! All inputs share one set of probes at first. After the module was loaded again the first input
//! that notices it has probes attached for all of them, and the others take their share of these
//! ([`SharedProbes`]).

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::notices::StartNotice;
use crate::sampling::probe_handle::EventSource;
use crate::settings::{Ebpf, Input};
use crate::source::cpu_mask;
use crate::source::ebpf::reattach::{Attach, Attacher};
use crate::source::ebpf::{AttachOptions, EventReader, Events, EventsError};
use crate::source::namespace::{Pinned, another_than};
use crate::source::roots::Place;

/// What there is of an event source at the start.
pub enum Attached {
    /// Probes.
    Yes(Arc<Events>),
    /// There is nothing to attach to yet; the statistics will tell when there is.
    Later,
    /// None, and there will be none.
    No,
}

/// Whether the input's rows have a place for events: plain files are of another kernel, or of
/// another time.
fn wants_events(input: &Input, place: &Place) -> bool {
    let statistics = input.collect.all || input.collect.percpu;
    input.ebpf != Ebpf::Off && !input.compat_telegraf && statistics && place.is_live()
}

impl Attached {
    /// Attaches the event source for the inputs that want it, and says in one line what it gives,
    /// or why there is none.
    ///
    /// # Errors
    /// Why there is none, where an input must have it.
    pub fn new(inputs: &[Input], places: &[Place]) -> io::Result<Self> {
        let must = inputs.iter().any(|input| input.ebpf == Ebpf::On);
        let more = ExtraProbes::of(inputs);
        let wanting: Vec<_> =
            inputs.iter().zip(places).filter(|(input, place)| wants_events(input, place)).collect();
        let found: Vec<Option<Pinned>> =
            wanting.iter().map(|(_, place)| place.namespace()).collect();
        let missing = found.iter().any(Option::is_none);
        let mut namespaces: Vec<Pinned> = found.into_iter().flatten().collect();
        namespaces.sort_unstable_by_key(|namespace| namespace.inode);
        namespaces.dedup_by_key(|namespace| namespace.inode);
        let attached = if wanting.is_empty() {
            Err(EventsError::NotWanted)
        } else if namespaces.is_empty() || must && missing {
            Err(EventsError::NoNamespace)
        } else {
            attach_for(&namespaces, more)
        };
        let why_not = match attached {
            Ok(events) => {
                let notice = StartNotice::Probes(events.hook_count());
                log::log!(notice.level(), "{notice}");
                events.log();
                return Ok(Self::Yes(events));
            }
            Err(why_not) => why_not,
        };
        if must {
            return Err(io::Error::other(format!("no event source: {why_not}")));
        }
        if !matches!(why_not, EventsError::NotWanted) {
            let notice = StartNotice::NoProbes(&why_not);
            log::log!(notice.level(), "{notice}");
            log::debug!("{why_not}");
        }
        Ok(if why_not.may_pass() { Self::Later } else { Self::No })
    }

    /// Whether there are probes, or may be some.
    #[must_use]
    pub fn may_attach(&self) -> bool {
        !matches!(self, Self::No)
    }

    /// Whether the probes do not know the kernel's types, so that other processes are looked into again and again.
    #[must_use]
    pub fn is_blind(&self) -> bool {
        matches!(self, Self::Yes(events) if events.blind().is_some())
    }

    /// The share of input `number`, and how it gets its own when that is gone, or when there is
    /// something to attach to at last.
    ///
    /// # Errors
    /// The system's, when a thread cannot be started.
    pub fn source_of(
        &self,
        number: usize,
        input: &Input,
        cpus: &[u32],
        together: &Arc<SharedProbes>,
    ) -> io::Result<Option<EventSource>> {
        let Some(place) = together.place(number).filter(|_| self.may_attach()) else {
            return Ok(None);
        };
        let again = Reattach {
            number,
            cpus: cpus.to_vec(),
            per_packet: input.ebpf_per_packet,
            together: Arc::clone(together),
            blind: None,
        };
        if let Self::Yes(events) = self {
            events.hear();
        }
        let reader = match self {
            Self::Yes(events) => place.namespace().and_then(|namespace| {
                let slot = events.slot(&namespace)?;
                together.take(number, events, &namespace);
                Some(EventReader {
                    slot,
                    events: Arc::clone(events),
                    cpus: cpus.to_vec(),
                    per_packet: input.ebpf_per_packet,
                })
            }),
            _ => None,
        };
        let blind =
            reader.as_ref().and_then(|reader| reader.events.blind().map(ToString::to_string));
        let attached = reader.is_some();
        let attacher = Attacher::start(Reattach { blind, ..again }, attached)?;
        Ok(Some(EventSource { reader, attacher }))
    }
}

/// What is wanted besides the hooks that are always attached.
#[derive(Debug, Clone, Copy)]
struct ExtraProbes {
    per_packet: bool,
    internal: bool,
}

impl ExtraProbes {
    /// What any of the inputs wants.
    fn of(inputs: &[Input]) -> Self {
        Self {
            per_packet: inputs.iter().any(|input| input.ebpf_per_packet),
            internal: inputs.iter().any(|input| input.internal),
        }
    }
}

/// Which loading of conntrack's module there is now; the same as long as conntrack is built in. A
/// directory of sysfs has a new number each time that it is made.
fn module() -> Option<u64> {
    std::fs::metadata("/sys/module/nf_conntrack").ok().map(|directory| directory.ino())
}

/// The probes that inputs share.
#[derive(Debug)]
pub struct SharedProbes {
    more: ExtraProbes,
    /// Where each input has its namespace; `None` for one that wants no events.
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
    /// The probes, if they count in `namespace` and in what is loaded as `module`.
    fn probes(&self, namespace: &Pinned, module: Option<u64>) -> Option<Arc<Events>> {
        let is_same = self.module == module && module.is_some();
        self.events.upgrade().filter(|events| is_same && events.holds(namespace))
    }
}

impl SharedProbes {
    /// What `inputs` share, each at its place.
    #[must_use]
    pub fn new(inputs: &[Input], places: &[Place]) -> Self {
        let wanting = inputs.iter().zip(places);
        let place =
            |(input, place): (&Input, &Place)| wants_events(input, place).then(|| place.clone());
        let places: Vec<_> = wanting.map(place).collect();
        let shares = places.iter().map(|_| None).collect();
        Self { more: ExtraProbes::of(inputs), places, shares: Mutex::new(shares) }
    }

    fn place(&self, number: usize) -> Option<&Place> {
        self.places.get(number)?.as_ref()
    }

    /// Input `number` has its share of `events` from the start.
    fn take(&self, number: usize, events: &Arc<Events>, namespace: &Pinned) {
        let share = Share {
            events: Arc::downgrade(events),
            module: module(),
            namespace: namespace.inode,
            is_taken: true,
        };
        self.shares()[number] = Some(share);
    }

    /// Probes for input `number`, in `namespace`: those that were attached when another input asked
    /// after the same loading of the module, or else new ones, which are for all other inputs, too,
    /// that have none and whose namespace is there. Who asks first, and how much later the others do,
    /// makes no difference.
    fn attach(&self, number: usize, namespace: &Pinned) -> Result<Arc<Events>, EventsError> {
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
        let mut wanting = vec![(number, namespace.clone())];
        for (other, place) in self.places.iter().enumerate().filter(|(other, _)| *other != number) {
            let Some(its) = place.as_ref().and_then(Place::namespace) else { continue };
            let share = shares[other].as_ref();
            if share.and_then(|share| share.probes(&its, module)).is_none() {
                wanting.push((other, its));
            }
        }
        let mut namespaces: Vec<_> = wanting.iter().map(|(_, its)| its.clone()).collect();
        namespaces.sort_unstable_by_key(|namespace| namespace.inode);
        namespaces.dedup_by_key(|namespace| namespace.inode);
        let events = attach_for(&namespaces, self.more)?;
        events.log();
        for (input, its) in wanting {
            shares[input] = Some(Share {
                events: Arc::downgrade(&events),
                module,
                namespace: its.inode,
                is_taken: input == number,
            });
        }
        Ok(events)
    }

    /// Lets go of the namespaces that are held for inputs which have not asked yet, where these
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

/// Attaches probes that tell these namespaces apart; where they cannot, only if there is no
/// other whose events they would count too.
fn attach_for(namespaces: &[Pinned], more: ExtraProbes) -> Result<Arc<Events>, EventsError> {
    // The running kernel's CPUs, whatever mask the rows are numbered by.
    let cpus =
        cpu_mask::read(Path::new("/sys")).map_err(|error| EventsError::Cpus(error.to_string()))?;
    let highest = cpus.last().map_or(1, |&last| last as usize + 1);
    let ExtraProbes { per_packet, internal } = more;
    let wanted = AttachOptions { per_packet, internal, ..AttachOptions::new(namespaces, highest) };
    let events = Events::attach(&wanted)?;
    if let Some(types) = events.blind() {
        check_alone(namespaces, &types.to_string())?;
    }
    Ok(Arc::new(events))
}

/// Without types all events are counted together, which is right where they are all of one
/// namespace.
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

/// How one input gets probes again.
struct Reattach {
    /// The input's number.
    number: usize,
    cpus: Vec<u32>,
    per_packet: bool,
    together: Arc<SharedProbes>,
    /// What is wrong with the kernel's types, where all events are counted together.
    blind: Option<String>,
}

impl Reattach {
    fn namespace(&self) -> Result<Pinned, EventsError> {
        let place = self.together.place(self.number);
        place.and_then(Place::namespace).ok_or(EventsError::NoNamespace)
    }
}

impl Attach for Reattach {
    fn attach(&mut self) -> Result<EventReader, EventsError> {
        let namespace = self.namespace()?;
        let events = self.together.attach(self.number, &namespace)?;
        events.hear();
        self.blind = events.blind().map(ToString::to_string);
        let slot = events.slot(&namespace).ok_or(EventsError::NoNamespace)?;
        let Self { per_packet, .. } = *self;
        Ok(EventReader { events, slot, cpus: self.cpus.clone(), per_packet })
    }

    fn check(&mut self) -> Result<(), EventsError> {
        self.together.release_gone();
        let Some(types) = &self.blind else { return Ok(()) };
        check_alone(std::slice::from_ref(&self.namespace()?), types)
    }
}
