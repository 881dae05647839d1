//! The report of a recording: rates, bursts, fill, drop causes, gaps, misses.
//!
//! The pure middle of `ctpulse report`. [`Aggregator`] takes rows one by one, in memory that
//! does not grow with them, and gives a [`Report`]; `text`, `compare` and `html` write that down.
//! No file is opened here and nothing is printed.

mod accumulator;
mod aggregate;
mod agreement;
mod burst;
mod causes;
mod coarse;
mod compare;
mod completeness;
mod continuity;
mod cpus;
mod doubts;
mod drawing;
mod evenness;
mod fields;
mod found;
mod gaps;
mod gather;
mod html;
mod invalid;
mod labelled;
mod leap;
mod level;
mod moment;
mod precision;
mod rates;
mod repeats;
mod reread;
mod spread;
mod stillness;
mod successors;
mod summary;
mod table_doubts;
mod text;
mod timeline;
mod track;
mod undecided;
mod unknown;

pub(crate) use self::aggregate::is_ours;
pub use self::aggregate::{Aggregator, Options};
pub use self::compare::{Comparison, compare};
pub use self::doubts::Doubts;
pub use self::drawing::Drawing;
pub use self::fields::is_counter;
pub(crate) use self::fields::{Beside, is_zero_uncounted};
pub use self::found::{FoundByFailures, FoundFit};
pub use self::html::{comparison as comparison_page, report as report_page};
pub use self::invalid::InvalidWindow;
pub use self::labelled::{LabelledLevel, LabelledReport, LabelledTotal};
pub use self::summary::{
    Above, Burst, Cause, Change, Column, Counter, Cpu, Fill, Fullest, Gap, Gaps, LimitChange,
    Losses, Report, SourceReport, Spreading,
};
pub use self::text::{comparison as comparison_text, report as report_text};
pub use self::timeline::{Level, OfCpus, Rate, Timeline, TimelineColumn};
pub(crate) use self::track::{Pace, leaps, wrapped};
pub(crate) use self::unknown::not_in_rows;
