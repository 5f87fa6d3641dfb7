// SPDX-License-Identifier: Apache-2.0
use code_mode_api::{CellLimits, LimitName};
use code_mode_engine::{ScriptOptions, limit_text};
use pretty_assertions::assert_eq;
use proptest::prelude::*;

use super::*;

/// The one message in these bytes, without its header.
fn body(bytes: &[u8]) -> &[u8] {
    let length = length(bytes).expect("a whole header");
    let body = &bytes[HEADER_BYTES..];
    assert_eq!(body.len(), length);
    body
}

/// What a cell says, as the host understands it.
fn heard(write: impl FnOnce(&mut Vec<u8>)) -> String {
    heard_with(|to| {
        write(to);
        ""
    })
}

/// The same of something whose last text follows.
fn heard_with<'t>(write: impl FnOnce(&mut Vec<u8>) -> &'t str) -> String {
    let mut bytes = Vec::new();
    let rest = write(&mut bytes);
    bytes.extend_from_slice(rest.as_bytes());
    let own = FromCell::decode_own(body(&bytes).to_owned()).expect("a message");
    let heard = format!("{:?}", FromCell::decode(body(&bytes)).expect("a message"));
    assert_eq!(format!("{own:?}"), heard);
    heard
}

fn run() -> Run {
    Run {
        source: "text('ü')".to_owned(),
        limits: EffectiveLimits::of_operator(&CellLimits::default(), 1, 2),
        answer_spin: Duration::from_micros(7),
        options: ScriptOptions {
            globals: code_mode_api::Globals::Web,
            typescript: false,
            exact_integers: true,
        },
        tools: vec![
            OfferedTool {
                name: "a".to_owned(),
                tool_name: ToolName {
                    name: "a".to_owned(),
                    namespace: None,
                },
            },
            OfferedTool {
                name: "b-c".to_owned(),
                tool_name: ToolName {
                    name: "c".to_owned(),
                    namespace: Some("b".to_owned()),
                },
            },
        ],
        stored: Some(vec![("k".to_owned(), "[1]".to_owned())]),
    }
}

#[test]
fn a_script_arrives_with_all_that_it_needs() {
    for stored in [None, Some(Vec::new()), run().stored] {
        let run = Run { stored, ..run() };
        let mut bytes = Vec::new();
        ToCell::Run(Box::new(run.clone())).encode(&mut bytes);
        let Ok(ToCell::Run(arrived)) = ToCell::decode(body(&bytes)) else {
            panic!("it is not understood");
        };
        assert_eq!(*arrived, run);
    }
}

#[test]
fn what_the_host_answers_arrives() {
    for message in [
        ToCell::Answer(ToolAnswer {
            call: u64::MAX,
            result: Ok(Box::from("{}")),
        }),
        ToCell::Answer(ToolAnswer {
            call: 1,
            result: Err(ToolError::new("it failed")),
        }),
        ToCell::Stored(None),
        ToCell::Stored(Some("1".to_owned())),
        ToCell::Descriptions(vec![String::new(), "what it does".to_owned()]),
    ] {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        let arrived = ToCell::decode(body(&bytes)).expect("a message");
        assert_eq!(format!("{arrived:?}"), format!("{message:?}"));
        let arrived = ToCell::decode_own(body(&bytes).to_owned()).expect("a message");
        assert_eq!(format!("{arrived:?}"), format!("{message:?}"));
    }
}

#[test]
fn what_a_cell_says_is_heard() {
    let image = |detail| ContentItem::Image {
        image_url: "data:,x".to_owned(),
        detail,
    };
    let details = [
        None,
        Some(ImageDetail::Auto),
        Some(ImageDetail::Low),
        Some(ImageDetail::High),
        Some(ImageDetail::Original),
    ];
    for item in details.map(image).into_iter().chain([
        ContentItem::Text("ü".to_owned()),
        ContentItem::Audio {
            audio_url: "data:,y".to_owned(),
        },
    ]) {
        assert_eq!(
            heard_with(|to| tell::output(to, &item)),
            format!("{:?}", FromCell::Output(item))
        );
    }
    let call = ToolCall {
        call: 3,
        number: 2,
        tool: 1,
        input: "null".to_owned(),
    };
    let heard_call = heard_with(|to| tell::call(to, &call));
    assert_eq!(heard_call, format!("{:?}", FromCell::Call(call)));
    assert_eq!(
        heard_with(|to| tell::notify(to, 4, "half way")),
        r#"Notify(4, "half way")"#
    );
    assert_eq!(heard(|to| tell::abandon(to, 3)), "Abandon(3)");
    assert_eq!(heard(tell::yield_control), "Yield");
    assert_eq!(
        heard_with(|to| tell::save(to, "k", "1")),
        r#"Save("k", "1")"#
    );
    assert_eq!(heard(|to| tell::load(to, "k")), r#"Load("k")"#);
    assert_eq!(heard(tell::describe), "Describe");
    assert_eq!(heard(|to| tell::end(to, None)), "End(None)");
    let text = limit_text(LimitName::HeapBytes, 1);
    assert_eq!(
        heard(|to| tell::end(to, Some(&text))),
        format!("End(Some({text:?}))")
    );
    for note in [
        DeathNote::OutOfMemory("here".to_owned()),
        DeathNote::Broken("so".to_owned()),
        DeathNote::Panicked("so".to_owned()),
        DeathNote::Forbidden(-1),
        DeathNote::Aborted,
        DeathNote::Unprepared("so".to_owned()),
    ] {
        assert_eq!(heard(|to| tell::note(to, &note)), format!("Note({note:?})"));
    }
}

#[test]
fn whoever_plays_a_cell_says_things_as_a_cell_does() {
    for said in [
        FromCell::Output(ContentItem::Text("ü".to_owned())),
        FromCell::Call(ToolCall {
            call: 3,
            number: 2,
            tool: 1,
            input: "null".to_owned(),
        }),
        FromCell::Abandon(3),
        FromCell::Notify(4, "half way".to_owned()),
        FromCell::Yield,
        FromCell::Save("k".to_owned(), "1".to_owned()),
        FromCell::Load("k".to_owned()),
        FromCell::Describe,
        FromCell::End(None),
        FromCell::End(Some("it failed".to_owned())),
        FromCell::Note(DeathNote::Aborted),
    ] {
        assert_eq!(heard(|to| said.encode(to)), format!("{said:?}"));
    }
}

#[test]
fn last_words_that_need_no_memory_are_understood_as_others_are() {
    for (call, aborts, expected) in [
        (
            libc::SYS_openat,
            false,
            DeathNote::Forbidden(libc::SYS_openat),
        ),
        (libc::SYS_kill, false, DeathNote::Forbidden(libc::SYS_kill)),
        (libc::SYS_tgkill, true, DeathNote::Aborted),
    ] {
        let heard = FromCell::decode(body(&last_words(call, aborts))).expect("a message");
        assert_eq!(format!("{heard:?}"), format!("Note({expected:?})"));
    }
}

#[test]
fn only_a_long_message_that_came_alone_is_taken_with_its_memory() {
    let mut bytes = Vec::new();
    let result = Ok(Box::from("x".repeat(100)));
    ToCell::Answer(ToolAnswer { call: 1, result }).encode(&mut bytes);
    let mut received = Received::default();
    received.rest().extend_from_slice(&bytes[..50]);
    assert_eq!(received.take_long(10), None, "it has not wholly arrived");
    received.rest().extend_from_slice(&bytes[50..]);
    assert_eq!(received.take_long(bytes.len()), None, "it is not long");
    assert_eq!(received.take_long(10).as_deref(), Some(body(&bytes)));
    assert_eq!(received.take_long(0), None, "nothing is left");
    received.rest().extend_from_slice(&bytes);
    received.rest().push(0);
    assert_eq!(received.take_long(10), None, "more has arrived");
}

#[test]
fn what_is_cut_or_too_long_is_refused() {
    let mut bytes = Vec::new();
    let call = ToolCall {
        call: 3,
        number: 2,
        tool: 1,
        input: String::new(),
    };
    FromCell::Call(call).encode(&mut bytes);
    let whole = body(&bytes);
    for end in 0..whole.len() {
        assert!(FromCell::decode(&whole[..end]).is_err(), "{end} bytes");
    }
    let mut longer = Vec::new();
    tell::yield_control(&mut longer);
    longer.push(0);
    assert!(FromCell::decode(&longer[HEADER_BYTES..]).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_either_side_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = FromCell::decode(&bytes);
        let _ = ToCell::decode(&bytes);
        let _ = ToCell::decode_own(bytes.clone());
        let _ = FromCell::decode_own(bytes.clone());
        let _ = length(&bytes);
    }

    #[test]
    fn no_damage_makes_either_side_panic(at in 0_usize..200, byte: u8) {
        let mut bytes = Vec::new();
        ToCell::Run(Box::new(run())).encode(&mut bytes);
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        let _ = ToCell::decode(&bytes[HEADER_BYTES..]);
    }
}
