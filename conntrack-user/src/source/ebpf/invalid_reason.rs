//! The reason of an INVALID packet, by the text that its tracker gave it.

use std::borrow::Cow;

use super::invalid::Text;
use crate::schema::invalid::{Meaning, Reason, meaning};

/// The reason of packets whose text could not be read.
const UNREAD: &str = "unread_text";

/// What a text of the kernel says about its packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement<'a> {
    /// The packet is INVALID, for the reason with this name. A text that is not known is its own name.
    Invalid(Cow<'a, str>),
    /// The packet was accepted.
    Accepted,
    /// Another text was for the same packet.
    SecondMessage,
}

/// Judges a packet by its text.
#[must_use]
pub fn judge(text: &Text) -> Judgement<'_> {
    let invalid = |reason: Reason| Judgement::Invalid(Cow::Borrowed(reason.name()));
    match text {
        Text::None => invalid(Reason::NoConnection),
        Text::Unread => Judgement::Invalid(Cow::Borrowed(UNREAD)),
        Text::Known(text) => match meaning(text) {
            Some(Meaning::Invalid(reason)) => invalid(reason),
            Some(Meaning::Accepted) => Judgement::Accepted,
            Some(Meaning::SecondMessage) => Judgement::SecondMessage,
            None => Judgement::Invalid(Cow::Borrowed(text.trim_end())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(text: &str) -> Text {
        Text::Known(text.into())
    }

    #[test]
    fn an_unknown_text_is_its_own_reason() {
        let text = known("bad cookie %x ");
        assert_eq!(judge(&text), Judgement::Invalid("bad cookie %x".into()));
        assert_eq!(judge(&Text::Unread), Judgement::Invalid("unread_text".into()));
    }

    #[test]
    fn first_packets_have_one_reason_with_and_without_a_text() {
        assert_eq!(judge(&known("invalid new")), judge(&Text::None));
        assert_eq!(judge(&Text::None), Judgement::Invalid("no_connection".into()));
    }

    #[test]
    fn accepted_packets_and_second_messages_are_not_invalid() {
        assert_eq!(judge(&known("challenge-ack ignored")), Judgement::Accepted);
        assert_eq!(judge(&known("lowered timeout to UNACK")), Judgement::SecondMessage);
    }
}
