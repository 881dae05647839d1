//! The forms in which `ctpulse drops --invalid` prints packets that conntrack finds INVALID.

pub mod line;
pub mod totals;
