//! Numbers for series and fields, so that a row is a few numbers and nothing is allocated for a
//! series that was seen before.

use std::collections::HashMap;
use std::fmt;

use super::BadLine;
use super::known::is_known;

/// The most different series, and as many fields, that are kept apart: what a machine of 4,096
/// CPUs has in fifteen namespaces.
const MOST: usize = 1 << 16;
/// The bytes of all names together; those of that machine are a third of it.
const MOST_BYTES: usize = 64 << 20;

/// The number of a series in a [`Catalog`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SeriesId(pub usize);

/// The number of a field name in a [`Catalog`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FieldId(pub usize);

/// A measurement and its tags.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordedSeries {
    /// The measurement.
    pub name: String,
    /// The tags, sorted by key.
    pub tags: Vec<(String, String)>,
}

impl RecordedSeries {
    /// The value of the tag `key`.
    #[must_use]
    pub fn tag(&self, key: &str) -> Option<&str> {
        self.tags.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

impl fmt::Display for RecordedSeries {
    /// `conntrack host=fw1 netns=lan`, as it stands in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.tags.iter().try_for_each(|(key, value)| write!(f, " {key}={value}"))
    }
}

/// All series and fields that were met.
#[derive(Debug, Default)]
pub struct Catalog {
    series: Vec<RecordedSeries>,
    by_series: HashMap<RecordedSeries, SeriesId>,
    /// The bytes in front of a line's fields: one series has as many as there are orders of tags.
    by_head: HashMap<Box<[u8]>, SeriesId>,
    fields: Vec<String>,
    by_field: HashMap<Box<[u8]>, FieldId>,
    /// The fields of each series' last row, in their order: most likely those of its next.
    orders: Vec<Vec<FieldId>>,
    /// Of names.
    bytes: usize,
    texts: TextValues,
}

/// Values that are text where conntrack's rows have numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TextValues {
    pub(super) number: u64,
    /// The first one, such as `drop="n/a"`.
    pub(super) first: Option<String>,
}

/// The longest text that a message quotes, in characters.
const LONGEST_TEXT: usize = 40;

impl Catalog {
    /// The series with the number `id`.
    #[must_use]
    pub fn series(&self, id: SeriesId) -> &RecordedSeries {
        &self.series[id.0]
    }

    /// All field names, by their number.
    #[must_use]
    pub fn fields(&self) -> &[String] {
        &self.fields
    }

    /// The series of the bytes `head`, if they were met before.
    pub(super) fn known_head(&self, head: &[u8]) -> Option<SeriesId> {
        self.by_head.get(head).copied()
    }

    /// Remembers that the bytes `head` mean a series.
    pub(super) fn learn_head(&mut self, head: &[u8], series: SeriesId) -> Result<(), BadLine> {
        self.take_room(self.by_head.len(), head.len())?;
        self.by_head.insert(head.into(), series);
        Ok(())
    }

    /// Takes a value that is text, if conntrack's rows have a field of this name.
    pub(super) fn note_text(&mut self, field: FieldId, value: &str) {
        let name = &self.fields[field.0];
        if !is_known(name) {
            return;
        }
        self.texts.number += 1;
        if self.texts.first.is_none() {
            let value: String = value.chars().take(LONGEST_TEXT).collect();
            self.texts.first = Some(format!("{name}={value:?}"));
        }
    }

    /// The values that are text where conntrack's rows have numbers.
    pub(super) fn texts(&self) -> &TextValues {
        &self.texts
    }

    /// The number of a series.
    pub(super) fn series_id(&mut self, mut series: RecordedSeries) -> Result<SeriesId, BadLine> {
        series.tags.sort();
        if let Some(id) = self.by_series.get(&series) {
            return Ok(*id);
        }
        let tags = series.tags.iter().map(|(key, value)| key.len() + value.len());
        self.take_room(self.series.len(), 2 * (series.name.len() + tags.sum::<usize>()))?;
        let id = SeriesId(self.series.len());
        self.series.push(series.clone());
        self.orders.push(Vec::new());
        self.by_series.insert(series, id);
        Ok(id)
    }

    /// The number of the field that stands as `key` in a file.
    pub(super) fn field_id(
        &mut self,
        key: &[u8],
        name: impl FnOnce() -> String,
    ) -> Result<FieldId, BadLine> {
        if let Some(id) = self.by_field.get(key) {
            return Ok(*id);
        }
        self.take_room(self.by_field.len(), 2 * key.len())?;
        let id = FieldId(self.fields.len());
        self.fields.push(name());
        self.by_field.insert(key.into(), id);
        Ok(id)
    }

    /// The order of the series' fields, to be given back with [`Catalog::give_order`].
    pub(super) fn take_order(&mut self, series: SeriesId) -> Vec<FieldId> {
        std::mem::take(&mut self.orders[series.0])
    }

    pub(super) fn give_order(&mut self, series: SeriesId, order: Vec<FieldId>) {
        self.orders[series.0] = order;
    }

    /// Takes room for one more of `taken` names, with so many bytes.
    fn take_room(&mut self, taken: usize, bytes: usize) -> Result<(), BadLine> {
        if taken >= MOST || self.bytes + bytes > MOST_BYTES {
            return Err(BadLine::TooMany(taken));
        }
        self.bytes += bytes;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_take_no_more_room_than_many() {
        let mut catalog = Catalog::default();
        let taken = (0..1000).take_while(|at| {
            let series =
                RecordedSeries { name: format!("{at}{}", "x".repeat(100_000)), tags: Vec::new() };
            catalog.series_id(series).is_ok()
        });
        let taken = taken.count();
        assert!(taken > 300 && taken < 400, "{taken}");
        assert!(
            catalog.series_id(RecordedSeries { name: "a".to_owned(), tags: Vec::new() }).is_ok()
        );
    }
}
