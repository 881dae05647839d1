//! Warnings about rows of different meanings that are one series, so that a database keeps one of them.

use super::text::ConfigText;
use crate::schema::labelled::{ENTRIES_BY_STATE, INVALID_PACKETS};
use crate::settings::Input;

/// Warns of the inputs of a configuration that write two rows of one series at one time.
pub(super) fn check(inputs: &[Input], text: &ConfigText<'_>) {
    warn_of_same_inputs(inputs, text);
    warn_of_left_out_tags(inputs, text);
}

/// Warns of the first two inputs whose rows are the same series: only their times would differ.
fn warn_of_same_inputs(inputs: &[Input], text: &ConfigText<'_>) {
    for (at, input) in inputs.iter().enumerate() {
        let is_same = |other: &Input| {
            other.netns == input.netns && other.filter.gives_same_rows(&input.filter)
        };
        if let Some(first) = inputs[..at].iter().position(is_same) {
            text.warn(format!(
                "inputs {} and {} write the same series; give one of them a tag or a name_suffix",
                first + 1,
                at + 1
            ));
            return;
        }
    }
}

/// Warns where the rows of several CPUs or namespaces differ in a tag that is left out.
fn warn_of_left_out_tags(inputs: &[Input], text: &ConfigText<'_>) {
    let warn = |tag: &str, of: &str| {
        text.warn(format!(
            "taginclude or tagexclude leave out '{tag}': rows of several {of} are one series"
        ));
    };
    let leaving_out =
        |tag: &'static str| inputs.iter().filter(move |input| !input.filter.keeps_tag(tag));
    if leaving_out("cpu").any(|input| input.collect.percpu) {
        warn("cpu", "CPUs");
    }
    for label in INVALID_PACKETS.labels {
        if leaving_out(label).any(Input::has_invalid_rows) {
            warn(label, "kinds of INVALID packets");
        }
    }
    for label in ENTRIES_BY_STATE.labels {
        if leaving_out(label).any(|input| input.composition_interval().is_some()) {
            warn(label, "kinds of entries");
        }
    }
    let is_one_series =
        |a: &Input, b: &Input| a.netns != b.netns && a.filter.has_same_names(&b.filter);
    if leaving_out("netns").any(|a| leaving_out("netns").any(|b| is_one_series(a, b))) {
        warn("netns", "namespaces");
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::loaded;

    fn warnings(keys: &str) -> Vec<String> {
        loaded(&format!("[[inputs.conntrack]]\n{keys}")).warnings
    }

    #[test]
    fn tags_that_tell_rows_apart_are_not_left_out_without_a_warning() {
        let warning = |tag: &str, of: &str| {
            vec![format!(
                "t.conf: taginclude or tagexclude leave out '{tag}': rows of several {of} are one \
                 series"
            )]
        };
        let percpu = "collect = ['all', 'percpu']\n";
        assert_eq!(warnings(&format!("{percpu}tagexclude = ['c*']")), warning("cpu", "CPUs"));
        assert_eq!(warnings(&format!("{percpu}taginclude = ['host']")), warning("cpu", "CPUs"));
        assert!(warnings(&format!("{percpu}tagexclude = ['host']")).is_empty());
        assert!(warnings("collect = ['all']\ntagexclude = ['cpu']").is_empty());

        let invalid = "collect = ['all']\nebpf_invalid = true\n";
        assert_eq!(
            warnings(&format!("{invalid}tagexclude = ['reason']")),
            warning("reason", "kinds of INVALID packets")
        );
        assert!(warnings("tagexclude = ['reason']").is_empty());
        assert_eq!(
            warnings("composition = '10s'\ntagexclude = ['state']"),
            warning("state", "kinds of entries")
        );
        assert!(warnings("tagexclude = ['state']").is_empty());

        let two = "netns = ['a', 'b']\n";
        assert_eq!(
            warnings(&format!("{two}tagexclude = ['netns']")),
            warning("netns", "namespaces")
        );
        assert!(warnings(&format!("{two}taginclude = ['netns']")).is_empty());
        assert!(warnings("netns = 'a'\ntagexclude = ['netns']").is_empty());
        let own = |name: &str| {
            format!(
                "[[inputs.conntrack]]\nname_suffix='{name}'\nnetns='{name}'\ntagexclude=['netns']\n"
            )
        };
        assert!(loaded(&(own("a") + &own("b"))).warnings.is_empty());
    }
}
