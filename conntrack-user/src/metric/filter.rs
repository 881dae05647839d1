//! Telegraf's name changes, tags and pass and drop lists, in Telegraf's order:
//! select (name, tags), rename, add tags, reduce fields and tags, drop a row without fields.

use std::collections::BTreeMap;

use crate::metric::glob::GlobList;
use crate::metric::{Metric, Name};

/// The filter and rename options of one `[[inputs.conntrack]]`, compiled.
///
/// An absent list lets everything through.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// `namepass`: only metrics whose original name matches.
    pub name_pass: Option<GlobList>,
    /// `namedrop`: no metrics whose original name matches.
    pub name_drop: Option<GlobList>,
    /// `tagpass`: only metrics with a tag, set by the plugin itself, that matches an entry.
    pub tag_pass: Vec<(String, GlobList)>,
    /// `tagdrop`: no metrics with such a tag.
    pub tag_drop: Vec<(String, GlobList)>,
    /// `fieldinclude` (`fieldpass`): only these fields.
    pub field_include: Option<GlobList>,
    /// `fieldexclude` (`fielddrop`): not these fields.
    pub field_exclude: Option<GlobList>,
    /// `taginclude`: only these tags, global tags and `host` among them.
    pub tag_include: Option<GlobList>,
    /// `tagexclude`: not these tags.
    pub tag_exclude: Option<GlobList>,
    /// `name_override`: replaces the name `conntrack`.
    pub name_override: Option<String>,
    /// `name_prefix`: put before the name, after `name_override`.
    pub name_prefix: Option<String>,
    /// `name_suffix`: put after the name, after `name_override`.
    pub name_suffix: Option<String>,
    /// `[inputs.conntrack.tags]`: added where the row has no tag of that name.
    pub tags: BTreeMap<Name, String>,
    /// `[global_tags]` and, standalone, `host`: added last, where still absent.
    pub global_tags: BTreeMap<Name, String>,
    /// `always_include_local_tags` of `[agent]`: `tags` pass `taginclude` and `tagexclude`.
    pub keeps_tags: bool,
    /// `always_include_global_tags` of `[agent]`: `global_tags` pass them.
    pub keeps_global_tags: bool,
}

impl Filter {
    /// Applies the options to one row; `None` where the row is filtered out as a whole.
    #[must_use]
    pub fn apply(&self, mut metric: Metric) -> Option<Metric> {
        if !self.selects(&metric) {
            return None;
        }
        if let Some(name) = self.name_override.as_deref().filter(|name| !name.is_empty()) {
            name.clone_into(&mut metric.name);
        }
        if let Some(prefix) = &self.name_prefix {
            metric.name.insert_str(0, prefix);
        }
        if let Some(suffix) = &self.name_suffix {
            metric.name.push_str(suffix);
        }
        metric = self.tag(metric);
        metric.fields.retain(|(key, _)| keeps(&self.field_include, &self.field_exclude, key));
        metric.tags.retain(|(key, _)| self.keeps_tag(key));
        let kept = self.tags.iter().filter(|_| self.keeps_tags);
        let kept = kept.chain(self.global_tags.iter().filter(|_| self.keeps_global_tags));
        for (key, value) in kept {
            metric.add_tag(key, value);
        }
        (!metric.fields.is_empty()).then_some(metric)
    }

    /// Whether two filters certainly give rows of one input the same names and tags: neither of them
    /// leaves anything out.
    #[must_use]
    pub fn gives_same_rows(&self, other: &Self) -> bool {
        !self.has_lists() && !other.has_lists() && self.has_same_names(other)
    }

    /// Whether two filters give rows of one input the same name and add the same tags.
    #[must_use]
    pub fn has_same_names(&self, other: &Self) -> bool {
        let names = |it: &Self| {
            let name = it.name_override.clone().filter(|name| !name.is_empty());
            (name, it.name_prefix.clone(), it.name_suffix.clone(), it.tags.clone())
        };
        names(self) == names(other)
    }

    /// Whether rows keep a tag of this name.
    #[must_use]
    pub fn keeps_tag(&self, key: &str) -> bool {
        keeps(&self.tag_include, &self.tag_exclude, key)
    }

    fn has_lists(&self) -> bool {
        let lists = [
            &self.name_pass,
            &self.name_drop,
            &self.field_include,
            &self.field_exclude,
            &self.tag_include,
            &self.tag_exclude,
        ];
        lists.into_iter().any(Option::is_some)
            || !self.tag_pass.is_empty()
            || !self.tag_drop.is_empty()
    }

    /// Only adds the tags: for rows that are about this program, which nothing renames or drops.
    #[must_use]
    pub fn tag(&self, mut metric: Metric) -> Metric {
        for (key, value) in self.tags.iter().chain(&self.global_tags) {
            metric.add_tag(key, value);
        }
        metric
    }

    /// Telegraf's `Filter.Select`: names and plugin-set tags only.
    fn selects(&self, metric: &Metric) -> bool {
        let tag_matches = |(key, globs): &(String, GlobList)| {
            metric.tag(key).is_some_and(|value| globs.matches(value))
        };
        keeps(&self.name_pass, &self.name_drop, &metric.name)
            && (self.tag_pass.is_empty() || self.tag_pass.iter().any(tag_matches))
            && !self.tag_drop.iter().any(tag_matches)
    }
}

fn keeps(include: &Option<GlobList>, exclude: &Option<GlobList>, key: &str) -> bool {
    include.as_ref().is_none_or(|globs| globs.matches(key))
        && !exclude.as_ref().is_some_and(|globs| globs.matches(key))
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
