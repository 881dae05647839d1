//! Connections that began, that no expectation foretold, and that their tracker accepted: the kernel's
//! `new` up to 4.8.
//!
//! `init_conntrack` returns before the tracker sees the first packet. A stray ACK with `tcp_loose` 0, an
//! ICMP reply without a request or a bad checksum is refused right after that, still in
//! `nf_conntrack_in`, and the connection is destroyed.

use conntrack_ebpf::Event;

use crate::schema::raw::EVENTS;

/// One CPU.
#[derive(Debug, Clone, Copy, Default)]
struct CpuCounts {
    begun: u64,
    accepted: u64,
}

/// Follows the counters of each CPU, sample by sample.
#[derive(Debug, Default)]
pub struct Accepted {
    cpus: Vec<CpuCounts>,
}

impl Accepted {
    /// Replaces the connections that began by those that were accepted, in the counters of all CPUs,
    /// [`EVENTS`] for each. No number ever goes back. While connections are refused or were foretold, it
    /// leaves out one connection of each CPU that counted some since the last sample: that may be one of
    /// these.
    ///
    /// The first refusal of a CPU may come after its connection was counted. The next connection that
    /// any CPU accepts is not counted then, so that the sum is right at rest.
    pub fn take_off_refused(&mut self, counters: &mut [u64]) {
        self.cpus.resize(counters.len() / EVENTS, CpuCounts::default());
        let others = |events: &[u64]| {
            events[Event::NewRefused as usize].wrapping_add(events[Event::ExpectNew as usize])
        };
        let settled = |events: &[u64]| events[Event::New as usize].saturating_sub(others(events));
        let cpus = self.cpus.iter().zip(counters.chunks_exact(EVENTS));
        let mut excess: u64 =
            cpus.map(|(cpu, events)| cpu.accepted.saturating_sub(settled(events))).sum();
        for (cpu, events) in self.cpus.iter_mut().zip(counters.chunks_exact_mut(EVENTS)) {
            let begun = events[Event::New as usize];
            let is_undecided = others(events) > 0 && begun != cpu.begun;
            let accepted = settled(events).saturating_sub(u64::from(is_undecided));
            let more = accepted.saturating_sub(cpu.accepted);
            let made_up = more.min(excess);
            excess -= made_up;
            cpu.begun = begun;
            cpu.accepted += more - made_up;
            events[Event::New as usize] = cpu.accepted;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections begun and refused by each CPU; returns those accepted.
    fn sample<const CPUS: usize>(accepted: &mut Accepted, cpus: [(u64, u64); CPUS]) -> [u64; CPUS] {
        let mut counters = vec![0; CPUS * EVENTS];
        for (cpu, (begun, refused)) in counters.chunks_exact_mut(EVENTS).zip(cpus) {
            cpu[Event::New as usize] = begun;
            cpu[Event::NewRefused as usize] = refused;
        }
        accepted.take_off_refused(&mut counters);
        std::array::from_fn(|cpu| counters[cpu * EVENTS + Event::New as usize])
    }

    #[test]
    fn stray_packets_are_not_counted_as_new() {
        let mut accepted = Accepted::default();
        assert_eq!(sample(&mut accepted, [(0, 0)]), [0]);
        // One has begun and is not refused yet at each of these samples.
        for strays in 1..1000 {
            assert_eq!(sample(&mut accepted, [(strays + 1, strays)]), [0]);
        }
        assert_eq!(sample(&mut accepted, [(1000, 1000)]), [0]);
        // Three accepted connections among them.
        assert_eq!(sample(&mut accepted, [(1503, 1500)]), [2]);
        assert_eq!(sample(&mut accepted, [(1503, 1500)]), [3]);
    }

    /// As trampolines count: the connection first, then its expectation.
    #[test]
    fn connections_that_were_foretold_are_not_counted_as_new() {
        let mut accepted = Accepted::default();
        let mut sample = |begun, foretold| {
            let mut counters = vec![0; EVENTS];
            counters[Event::New as usize] = begun;
            counters[Event::ExpectNew as usize] = foretold;
            accepted.take_off_refused(&mut counters);
            counters[Event::New as usize]
        };
        assert_eq!([sample(1, 0), sample(6, 5), sample(6, 5)], [1, 1, 1]);
        // One has begun, and its expectation is not found yet.
        assert_eq!([sample(7, 5), sample(7, 6), sample(8, 6), sample(8, 6)], [1, 1, 1, 2]);
    }

    #[test]
    fn without_refusals_a_connection_is_accepted_at_once() {
        let mut accepted = Accepted::default();
        assert_eq!(sample(&mut accepted, [(300, 0), (1, 0)]), [300, 1]);
        assert_eq!(sample(&mut accepted, [(301, 0), (2, 0)]), [301, 2]);
    }

    /// A task began a connection on one CPU and was moved before it was refused.
    #[test]
    fn accepted_connections_never_decrease() {
        let mut accepted = Accepted::default();
        assert_eq!(sample(&mut accepted, [(5, 0), (5, 0)]), [5, 5]);
        assert_eq!(sample(&mut accepted, [(6, 0), (5, 1)]), [5, 5]);
        assert_eq!(sample(&mut accepted, [(6, 0), (6, 1)]), [6, 5]);
    }

    /// The first refusal of a CPU, sampled between its beginning and its end.
    #[test]
    fn the_sum_over_cpus_is_exact_between_connections() {
        let mut accepted = Accepted::default();
        assert_eq!(sample(&mut accepted, [(1, 0), (0, 0)]), [1, 0]);
        assert_eq!(sample(&mut accepted, [(600, 600), (0, 0)]), [1, 0]);
        assert_eq!(sample(&mut accepted, [(600, 600), (40, 0)]), [1, 39]);
        assert_eq!(sample(&mut accepted, [(600, 600), (40, 0)]), [1, 39]);
        assert_eq!(sample(&mut accepted, [(603, 600), (40, 0)]), [2, 40]);
        assert_eq!(sample(&mut accepted, [(603, 600), (40, 0)]), [3, 40]);
    }
}
