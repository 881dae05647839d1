//! One line of InfluxDB line protocol: `measurement,tag=value field=1i,other=2.5 time`.
//!
//! The parser is fast for long recordings with similar lines. The text in front of the fields is
//! looked up as a whole, and a field is first compared with the field at the same place in the last
//! row of the series; only differences are parsed.

use super::{BadLine, Catalog, FieldId, RecordedSeries, SeriesId};

/// Reads `line` into `values`. Returns the series, and the time in the unit of the file.
pub(super) fn parse(
    line: &[u8],
    catalog: &mut Catalog,
    values: &mut Vec<(FieldId, f64)>,
) -> Result<(SeriesId, i64), BadLine> {
    let head = unescaped(line, b' ').ok_or(BadLine::Syntax("no fields"))?;
    let series = series(&line[..head], catalog)?;
    let mut order = catalog.take_order(series);
    let time = fields(&line[head + 1..], catalog, &mut order, values);
    catalog.give_order(series, order);
    Ok((series, time?))
}

/// Where `byte` first stands without a backslash in front of it.
fn unescaped(text: &[u8], byte: u8) -> Option<usize> {
    memchr::memchr_iter(byte, text).find(|at| *at == 0 || text[at - 1] != b'\\')
}

fn series(head: &[u8], catalog: &mut Catalog) -> Result<SeriesId, BadLine> {
    if let Some(series) = catalog.known_head(head) {
        return Ok(series);
    }
    let (name, mut rest) = split(head, b',');
    if name.is_empty() {
        return Err(BadLine::Syntax("no measurement"));
    }
    if head.contains(&0) {
        return Err(BadLine::Syntax("zero bytes in front of the fields"));
    }
    let mut tags = Vec::new();
    while let Some(tag) = rest {
        let (pair, more) = split(tag, b',');
        let at = unescaped(pair, b'=').ok_or(BadLine::Syntax("a tag without a value"))?;
        let key = unescape(&pair[..at]);
        // InfluxDB refuses it, too.
        if tags.iter().any(|(known, _)| *known == key) {
            return Err(BadLine::Syntax(
                "a tag that stands twice, as where two lines run together",
            ));
        }
        tags.push((key, unescape(&pair[at + 1..])));
        rest = more;
    }
    let series = catalog.series_id(RecordedSeries { name: unescape(name), tags })?;
    catalog.learn_head(head, series)?;
    Ok(series)
}

/// Returns the text before the first unescaped `byte`, and the text after it.
fn split(text: &[u8], byte: u8) -> (&[u8], Option<&[u8]>) {
    match unescaped(text, byte) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

/// A name without the backslashes that escape commas, spaces and equals signs in it.
fn unescape(text: &[u8]) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let escapes = byte == b'\\' && matches!(bytes.peek(), Some(b',' | b' ' | b'='));
        if !escapes {
            out.push(byte);
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Reads the fields and the time behind them.
fn fields(
    mut rest: &[u8],
    catalog: &mut Catalog,
    order: &mut Vec<FieldId>,
    values: &mut Vec<(FieldId, f64)>,
) -> Result<i64, BadLine> {
    let mut place = 0;
    loop {
        let expected = order.get(place).copied();
        let (field, text) = match expected.and_then(|id| after_key(rest, &catalog.fields()[id.0])) {
            Some(text) => (order[place], text),
            None => {
                let at = unescaped(rest, b'=').ok_or(BadLine::Syntax("a field without a value"))?;
                let key = &rest[..at];
                if key.is_empty() || [b' ', b','].iter().any(|byte| unescaped(key, *byte).is_some())
                {
                    return Err(BadLine::Syntax("a field without a name"));
                }
                let field = catalog.field_id(key, || unescape(key))?;
                order.truncate(place);
                order.push(field);
                (field, &rest[at + 1..])
            }
        };
        let (value, behind) = value(text)?;
        match value {
            Some(value) => values.push((field, value)),
            None => {
                let value = text_of(&text[..text.len() - behind.len()]);
                catalog.note_text(field, value.trim_matches('"'));
            }
        }
        match behind {
            [b',', more @ ..] => rest = more,
            [b' ', time @ ..] => return timestamp(time.trim_ascii_start()),
            _ => return Err(BadLine::NoTime),
        }
        place += 1;
    }
}

/// Returns the text after `name=`, if the text begins with that.
fn after_key<'a>(text: &'a [u8], name: &str) -> Option<&'a [u8]> {
    text.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

/// An integer of up to 18 digits, as most values are, and what follows it.
fn short_integer(text: &[u8]) -> Option<(u64, &[u8])> {
    let (mut integer, mut at) = (0, 0);
    while let Some(digit) = text.get(at).map(|byte| byte.wrapping_sub(b'0'))
        && digit < 10
    {
        integer = integer * 10 + u64::from(digit);
        at += 1;
        if at > 18 {
            return None;
        }
    }
    let behind = match &text[at..] {
        [b'i' | b'u', behind @ ..] | behind => behind,
    };
    (at > 0 && matches!(behind, [] | [b',' | b' ', ..])).then_some((integer, behind))
}

/// A field's value, if it is a number, and what follows it.
fn value(text: &[u8]) -> Result<(Option<f64>, &[u8]), BadLine> {
    if let Some((integer, behind)) = short_integer(text) {
        return Ok((Some(integer as f64), behind));
    }
    if let [b'"', string @ ..] = text {
        let end = end_of_string(string).ok_or(BadLine::Syntax("a string without an end"))?;
        return Ok((None, &string[end + 1..]));
    }
    let end = text.iter().position(|byte| matches!(byte, b',' | b' ')).unwrap_or(text.len());
    let (value, behind) = text.split_at(end);
    let number = match value {
        b"t" | b"T" | b"true" | b"True" | b"TRUE" | b"f" | b"F" | b"false" | b"False"
        | b"FALSE" => return Ok((None, behind)),
        [integer @ .., b'i' | b'u'] => text_of(integer).parse::<i128>().ok().map(|v| v as f64),
        [b'0'..=b'9' | b'-' | b'+' | b'.', ..] => text_of(value).parse().ok(),
        _ => None,
    };
    match number.filter(|number| number.is_finite()) {
        Some(number) => Ok((Some(number), behind)),
        None => Err(BadLine::Syntax("a value that is no number, string or boolean")),
    }
}

/// Where a string ends: at a quote behind no backslash, or behind pairs of them.
fn end_of_string(text: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'"', text).find(|at| {
        let backslashes = text[..*at].iter().rev().take_while(|byte| **byte == b'\\').count();
        backslashes.is_multiple_of(2)
    })
}

fn timestamp(text: &[u8]) -> Result<i64, BadLine> {
    match text_of(text) {
        "" => Err(BadLine::NoTime),
        text => text.parse().map_err(|_| BadLine::Syntax("the timestamp is no integer")),
    }
}

/// Text that is not UTF-8 is no number either.
fn text_of(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parsed = (String, Vec<(String, f64)>, i64);

    fn read(line: &str) -> Result<Parsed, BadLine> {
        read_with(&mut Catalog::default(), line)
    }

    fn read_with(catalog: &mut Catalog, line: &str) -> Result<Parsed, BadLine> {
        let mut values = Vec::new();
        let (series, time) = parse(line.as_bytes(), catalog, &mut values)?;
        let name = |(id, value): &(FieldId, f64)| (catalog.fields()[id.0].clone(), *value);
        Ok((catalog.series(series).to_string(), values.iter().map(name).collect(), time))
    }

    #[test]
    fn a_row_is_parsed_into_its_parts() {
        let text = r#"s="a,b c=\"d",path="C:\\",up=true"#;
        let line = format!("conntrack,netns=b,cpu=all drop=12i,rate=1.5,{text},u=3u -7");
        let (series, values, time) = read(&line).unwrap();
        assert_eq!((series.as_str(), time), ("conntrack cpu=all netns=b", -7));
        let expected = [("drop", 12.0), ("rate", 1.5), ("u", 3.0)];
        assert_eq!(values, expected.map(|(name, value)| (name.to_owned(), value)));
    }

    #[test]
    fn escapes_are_undone() {
        let (series, values, _) = read(r"a\ b\,c,k\=1=v\ w x\ y\=z=1 2").unwrap();
        assert_eq!(series, "a b,c k=1=v w");
        assert_eq!(values, [("x y=z".to_owned(), 1.0)]);
    }

    #[test]
    fn every_kind_of_number() {
        for (text, expected) in [
            ("0", 0.0),
            ("1e3", 1000.0),
            ("-5i", -5.0),
            ("+.5", 0.5),
            ("12345678901234567890", 1.2345678901234567e19),
            ("9223372036854775807i", 9_223_372_036_854_775_807.0),
            ("18446744073709551615u", 18_446_744_073_709_551_615.0),
            ("0.1", 0.1),
        ] {
            assert_eq!(read(&format!("a x={text} 1")).unwrap().1[0].1, expected, "{text}");
        }
        for text in ["", "nan", "inf", "1e999", "1.5i", "i", "--1", "abc", "1x", "\u{e9}"] {
            assert!(read(&format!("a x={text} 1")).is_err(), "{text}");
        }
    }

    #[test]
    fn invalid_rows_are_refused() {
        for line in [
            "a",
            "a x",
            "a x=1",
            "a x=1 ",
            "a =1 2",
            "a x=1 y",
            ",b=1 x=1 2",
            "a,b x=1 2",
            "a x=1,,y=2 3",
            "dear diary, it = 1",
            "a x=\"open 1",
            "conntrack,cpu=conntrack,cpu=all x=1 2",
            "conntrack,host=gconntrack,cpu=all,host=gw x=1 2",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_changed_order_of_fields_is_noticed() {
        let mut catalog = Catalog::default();
        for (line, expected) in [
            ("a x=1,y=2 1", [("x", 1.0), ("y", 2.0)]),
            ("a x=1,y=2 1", [("x", 1.0), ("y", 2.0)]),
            ("a y=2,x=1 1", [("y", 2.0), ("x", 1.0)]),
            ("a xx=1,y=2 1", [("xx", 1.0), ("y", 2.0)]),
            ("a x=1,y=2 1", [("x", 1.0), ("y", 2.0)]),
        ] {
            let values = read_with(&mut catalog, line).unwrap().1;
            assert_eq!(values, expected.map(|(name, value)| (name.to_owned(), value)));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(line in "[ -~]{0,60}", tail in "[a-z0-9=, .\"\\\\i]{0,40}") {
            let mut catalog = Catalog::default();
            for text in [line.clone(), format!("a {tail}"), format!("a,b=c x=1,{tail} 5")] {
                let _ = read_with(&mut catalog, &text);
                let _ = read_with(&mut catalog, &text);
            }
        }

        #[test]
        fn encoded_rows_are_parsed_to_the_same_rows(
            tag in "[a-z ,=\u{e4}]{1,8}", counter in 0u64..1 << 53, rate in 0.0f64..1e12,
        ) {
            use crate::format::Encoder as _;
            let metric = crate::metric::Metric {
                name: "conntrack".into(),
                tags: vec![("cpu".into(), "all".into()), ("t".into(), tag.clone())],
                fields: vec![
                    ("drop".into(), crate::metric::Value::Integer(counter)),
                    ("drop_rate".into(), crate::metric::Value::Float(rate)),
                ],
                timestamp_ns: 1_700_000_000_000_000_000,
            };
            let mut out = Vec::new();
            crate::format::Influx.encode(&[metric], &mut out);
            let text = String::from_utf8(out).unwrap();
            let (series, values, _) = read(text.trim_end()).unwrap();
            proptest::prop_assert_eq!(series, format!("conntrack cpu=all t={tag}"));
            proptest::prop_assert_eq!((values[0].1, values[1].1), (counter as f64, rate));
        }
    }
}
