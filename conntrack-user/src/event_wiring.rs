//! Which inputs get events, from which probes, and how they get them again.
//!
//! All inputs share one set of probes at first. Those whose namespace or module went away and came
//! back share one again if they come at about the same time ([`Together`]).

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::attacher::{Attach, Attacher};
use crate::notices::StartNotice;
use crate::probes::EventSource;
use crate::settings::{Ebpf, Input};
use crate::source::cpu_mask;
use crate::source::events::{EventReader, Events, EventsError, HookState, Wanted};
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
        let more = More::of(inputs);
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
                let asked = |state: &&HookState| !matches!(state, HookState::NotAsked(_));
                let asked: Vec<_> = events.states().map(|(_, state)| state).filter(asked).collect();
                let attached = asked.iter().filter(|state| state.is_attached()).count();
                let notice = StartNotice::Probes { attached, of: asked.len() };
                log::log!(notice.level(), "{notice}");
                log::debug!("{}", events.describe());
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

    /// One input's share, and how it gets its own when that is gone, or when there is something
    /// to attach to at last.
    ///
    /// # Errors
    /// The system's, when a thread cannot be started.
    pub fn source_of(
        &self,
        input: &Input,
        place: &Place,
        cpus: &[u32],
        together: &Arc<Together>,
    ) -> io::Result<Option<EventSource>> {
        if matches!(self, Self::No) || !wants_events(input, place) {
            return Ok(None);
        }
        let again = Again {
            place: place.clone(),
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
                Some(EventReader {
                    slot: events.slot(&namespace)?,
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
        let attacher = Attacher::start(Again { blind, ..again }, attached)?;
        Ok(Some(EventSource { reader, attacher }))
    }
}

/// What is wanted besides the hooks that are always attached.
#[derive(Debug, Clone, Copy)]
struct More {
    per_packet: bool,
    internal: bool,
}

impl More {
    /// What any of the inputs wants.
    fn of(inputs: &[Input]) -> Self {
        Self {
            per_packet: inputs.iter().any(|input| input.ebpf_per_packet),
            internal: inputs.iter().any(|input| input.internal),
        }
    }
}

/// How long an input that wants probes again waits for others that do: after a module was loaded
/// again all of them do, and a set of probes for each would cost each connection as often.
const PATIENCE: Duration = Duration::from_millis(300);

/// The inputs that want probes again.
#[derive(Debug)]
pub struct Together {
    more: More,
    /// Nobody waits where there is nobody to wait for.
    alone: bool,
    state: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    tickets: u64,
    /// Who waits, and with which namespace.
    waiting: Vec<(u64, Pinned)>,
    /// What was attached for whom by another one.
    attached: Vec<(u64, Arc<Events>)>,
}

impl Together {
    /// What `inputs` share.
    #[must_use]
    pub fn new(inputs: &[Input]) -> Self {
        let state = Mutex::default();
        Self { more: More::of(inputs), alone: inputs.len() < 2, state }
    }

    /// Probes for `namespace`, and for those of all others that ask meanwhile. Whatever is handed
    /// out was attached after it was asked for, so it is never of a module that had gone before.
    fn attach(&self, namespace: &Pinned) -> Result<Arc<Events>, EventsError> {
        let ticket = {
            let mut state = self.state();
            state.tickets += 1;
            let ticket = state.tickets;
            state.waiting.push((ticket, namespace.clone()));
            ticket
        };
        if !self.alone {
            std::thread::sleep(PATIENCE);
        }
        // The first one attaches for all, for whom the lock is what they wait for.
        let mut state = self.state();
        if let Some(at) = state.attached.iter().position(|(whose, _)| *whose == ticket) {
            return Ok(state.attached.swap_remove(at).1);
        }
        let mut all = std::mem::take(&mut state.waiting);
        if all.iter().all(|(whose, _)| *whose != ticket) {
            // It was tried for this one, too, and failed: only its own now.
            state.waiting = std::mem::replace(&mut all, vec![(ticket, namespace.clone())]);
        }
        let (tickets, mut namespaces): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        namespaces.sort_unstable_by_key(|namespace| namespace.inode);
        namespaces.dedup_by_key(|namespace| namespace.inode);
        let events = attach_for(&namespaces, self.more)?;
        let others = tickets.into_iter().filter(|whose| *whose != ticket);
        state.attached.extend(others.map(|whose| (whose, Arc::clone(&events))));
        Ok(events)
    }

    fn state(&self) -> MutexGuard<'_, Waiting> {
        // A panic while it is held would have ended the program.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Attaches probes that tell these namespaces apart; where they cannot, only if there is no
/// other whose events they would count too.
fn attach_for(namespaces: &[Pinned], more: More) -> Result<Arc<Events>, EventsError> {
    // The running kernel's CPUs, whatever mask the rows are numbered by.
    let cpus =
        cpu_mask::read(Path::new("/sys")).map_err(|error| EventsError::Cpus(error.to_string()))?;
    let highest = cpus.last().map_or(1, |&last| last as usize + 1);
    let More { per_packet, internal } = more;
    let wanted = Wanted { per_packet, internal, ..Wanted::new(namespaces, highest) };
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
struct Again {
    place: Place,
    cpus: Vec<u32>,
    per_packet: bool,
    together: Arc<Together>,
    /// What is wrong with the kernel's types, where all events are counted together.
    blind: Option<String>,
}

impl Attach for Again {
    fn attach(&mut self) -> Result<EventReader, EventsError> {
        let namespace = self.place.namespace().ok_or(EventsError::NoNamespace)?;
        let events = self.together.attach(&namespace)?;
        events.hear();
        self.blind = events.blind().map(ToString::to_string);
        let slot = events.slot(&namespace).ok_or(EventsError::NoNamespace)?;
        let Self { per_packet, .. } = *self;
        Ok(EventReader { events, slot, cpus: self.cpus.clone(), per_packet })
    }

    fn check(&mut self) -> Result<(), EventsError> {
        let Some(types) = &self.blind else { return Ok(()) };
        let namespace = self.place.namespace().ok_or(EventsError::NoNamespace)?;
        check_alone(std::slice::from_ref(&namespace), types)
    }
}
