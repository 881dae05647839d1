//! Everything that was missed, counted, so that no number is silently wrong.

/// What was missed since the start of one input. Only ever grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Loss {
    /// Sampling ticks without a sample: the one before ran late, or ctnetlink gave no whole answer.
    pub samples_missed: u64,
    /// Emissions that could not be handed over because the consumer was stuck. Their events
    /// are in the next one that was: a lost row loses resolution, never events.
    pub rows_lost: u64,
}
