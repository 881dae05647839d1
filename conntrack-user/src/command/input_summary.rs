//! One line for each input, for `ctpulse config --check`.

use crate::settings::Input;
use crate::text::sanitize::shown;

/// When rows come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum RowTrigger {
    AtInterval,
    WhenAsked,
}

/// Describes the sources of an input and its intervals.
pub(super) fn described(input: &Input, when: RowTrigger) -> String {
    let alias = input.alias.as_ref().map(|alias| format!(" '{}'", shown(alias)));
    let netns = (!input.netns.is_own()).then_some(&input.netns);
    let netns = netns.map(|netns| format!(" in netns {}", shown(&netns.to_string())));
    let rows = match (input.collect.all, input.collect.percpu) {
        (true, true) => "statistics (all, percpu) and table",
        (true, false) => "statistics (all) and table",
        (false, true) => "statistics (percpu) and table",
        (false, false) => "table",
    };
    let interval = match when {
        RowTrigger::AtInterval => format!(" every {:?}", input.interval),
        RowTrigger::WhenAsked => String::new(),
    };
    format!(
        "{}{}: {rows} rows{interval}, sampled every {:?}{}",
        alias.unwrap_or_default(),
        netns.unwrap_or_default(),
        input.sample_interval,
        if input.compat_telegraf { ", as Telegraf's own plugin" } else { "" },
    )
}
