//! The source of each field of the schema on this host.

use super::findings::Findings;
use crate::schema::field::{Field, FieldKind};
use crate::schema::fields::{self, DOCUMENTED, ENTRIES_MAX, ENTRIES_MIN, FIELDS};
use crate::schema::maintained;
use crate::schema::measure::Measure;
use crate::schema::provenance::{derived_fields, event_fields};
use crate::schema::raw::{Counted, Release, StatTable};
use crate::source::reader::Reader;

/// The readings of this host that decide where a field comes from.
pub(super) struct FieldSources<'a> {
    pub(super) table: &'a StatTable,
    pub(super) release: Option<Release>,
    pub(super) reader: &'a Reader,
    /// The events that the probes count.
    pub(super) counted: &'a Counted,
}

impl FieldSources<'_> {
    /// Lists each field with its source, in the order of the schema.
    pub(super) fn list(&self, findings: &mut Findings) {
        findings.heading("where each field comes from");
        self.counters(findings);
        self.copies(findings);
        let layout = &self.table.layout;
        for (field, _) in derived_fields(layout, self.counted) {
            let source = "what is left of the kernel's counters less the events";
            findings.field(field.name, source);
        }
        self.sysctls(findings);
        let measures = Measure::BESIDE_TOTAL.map(|measure| format!("*{}", measure.suffix()));
        findings.field(&measures.join(", "), "differences of the counters above that are counted");
        let extremes = [ENTRIES_MIN.name, ENTRIES_MAX.name].join(", ");
        findings.field(&extremes, "the samples between two rows");
    }

    /// The documented counters, the kernel's columns that are not documented, and the events.
    fn counters(&self, findings: &mut Findings) {
        let has_statistics = self.table.columns() > 0;
        if !has_statistics {
            // One reason for all of them.
            findings.field("counters", "none: there are no statistics");
        }
        let documented = DOCUMENTED.into_iter();
        let documented = documented.filter(|name| has_statistics || self.is_event(name));
        let columns = self.table.layout.names.iter().map(String::as_str);
        for name in documented.chain(columns.filter(|name| !DOCUMENTED.contains(name))) {
            findings.field(name, &self.of_counter(name));
        }
        for (field, _) in event_fields(&self.table.layout, self.release, self.counted) {
            if !field.is_documented() {
                findings.field(field.name, "events");
            }
        }
    }

    /// Whether the probes give the field.
    fn is_event(&self, name: &str) -> bool {
        let mut fields = event_fields(&self.table.layout, self.release, self.counted);
        fields.any(|(field, _)| field.name == name)
    }

    /// Returns the source of a counter, or the reason for its absence.
    fn of_counter(&self, name: &str) -> String {
        let layout = &self.table.layout;
        let field = fields::find(name);
        let is_maintained = || maintained::maintains(layout, self.release, name);
        if self.is_event(name) {
            return "events".to_owned();
        }
        if let Some(reason) = field.and_then(|field| field.uncountable)
            && !is_maintained()
        {
            return format!("none: {reason}");
        }
        match layout.column(name) {
            None if layout.maintained => "none: this kernel does not maintain it".to_owned(),
            None => "none: this kernel has no such column".to_owned(),
            Some(column) if self.has_counted(column) || is_maintained() => {
                let column = field.map_or(name, |field| field.kernel_column());
                format!("kernel, {}{}", self.place(column), self.note(name, field))
            }
            Some(_) => "none: this kernel prints a constant 0".to_owned(),
        }
    }

    /// Whether a row has a number other than 0 in the column.
    fn has_counted(&self, column: usize) -> bool {
        let columns = self.table.columns().max(1);
        self.table.values.iter().skip(column).step_by(columns).any(|&value| value != 0)
    }

    /// The place of a column in the kernel's statistics; ctnetlink has no columns.
    fn place(&self, column: &str) -> String {
        if self.table.layout.maintained {
            "ctnetlink".to_owned()
        } else {
            format!("column {column}")
        }
    }

    /// The difference between the kernel's number and the field's description.
    fn note(&self, name: &str, field: Option<&Field>) -> String {
        match field.and_then(|field| field.part) {
            Some(part) if maintained::counts_a_part(&self.table.layout, self.release, name) => {
                format!("; {}", part.doctor)
            }
            _ if field.is_some_and(|field| field.kind == FieldKind::Gauge) => {
                "; the same on every row, never summed".to_owned()
            }
            _ => String::new(),
        }
    }

    /// The fields that repeat a column under a second name.
    fn copies(&self, findings: &mut Findings) {
        let layout = &self.table.layout;
        let copies = FIELDS.iter().filter_map(|field| Some((field, fields::find(field.copy_of?)?)));
        for (field, original) in copies.filter(|(_, field)| layout.column(field.name).is_some()) {
            let place = self.place(original.kernel_column());
            findings.field(field.name, &format!("kernel, {place}"));
        }
    }

    fn sysctls(&self, findings: &mut Findings) {
        for file in self.reader.sysctls() {
            if let Some(path) = file.path() {
                findings.field(&file.key, &format!("sysctl, {}", path.display()));
            } else if self.reader.from_netlink(&file.key).is_some() {
                findings.field(&file.key, "kernel, ctnetlink");
            }
        }
    }
}
