//! `javascript-surface.md`, section *Output*.

use pretty_assertions::assert_eq;

use crate::fixture::{Call, Fixture, MakeProvider};

/// Each kind of value is shown as documented.
pub async fn text_shows_each_kind_of_value(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    for (value, expected) in [
        ("'a\\u00fc\\u{1f995}'", "aü🦕"),
        ("''", ""),
        ("null", "null"),
        ("undefined", "undefined"),
        ("", "undefined"),
        ("true", "true"),
        ("-0", "0"),
        ("1e21", "1e+21"),
        ("NaN", "NaN"),
        ("12345678901234567890n", "12345678901234567890"),
        (
            "{ a: [1, 'b', null], c: undefined }",
            r#"{"a":[1,"b",null]}"#,
        ),
        ("[]", "[]"),
        ("{}", "{}"),
        ("() => 1", "undefined"),
        ("Symbol('s')", "undefined"),
        ("new Date(0)", r#""1970-01-01T00:00:00.000Z""#),
        ("{ toJSON: () => undefined }", "undefined"),
        ("'\\ud800'", "\u{fffd}"),
        ("'Ã©'.repeat(2)", "Ã©Ã©"),
        ("'ab'.repeat(9) + 'é'", "abababababababababé"),
        ("'ab'.repeat(9) + '東'", "ababababababababab東"),
        (
            "'0123456789'.repeat(3).slice(5, 25)",
            "56789012345678901234",
        ),
    ] {
        assert_eq!(
            fixture.texts(&format!("text({value})")).await,
            [expected],
            "{value}"
        );
    }
    fixture.end().await;
}

/// Errors, collections and the like are shown in a readable form.
pub async fn objects_that_json_would_hide_are_readable(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    for (value, expected) in [
        (
            "new RangeError('far')",
            "RangeError: far\n    at exec_main.mjs:1:6",
        ),
        (
            "new Map([['a', { b: 1 }], [2, new Set(['c'])]])",
            r#"Map(2) {"a" => {"b":1}, 2 => Set(1) {"c"}}"#,
        ),
        ("new Set()", "Set(0) {}"),
        ("/a+/g", "/a+/g"),
        ("new ArrayBuffer(8)", "ArrayBuffer(8)"),
    ] {
        assert_eq!(
            fixture.texts(&format!("text({value})")).await,
            [expected],
            "{value}"
        );
    }
    let promise = fixture.texts("text(Promise.resolve(1))").await;
    assert!(
        promise.iter().all(|text| text.contains("await")),
        "{promise:?}"
    );
    fixture.end().await;
}

/// A value that cannot be shown throws, and the script goes on.
pub async fn circular_and_throwing_values_throw_catchable_errors(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let source = "
        const o = {}; o.o = o;
        try { text(o) } catch (e) { text(e.constructor === TypeError); text(e.message.includes('circular')) }
        try { text({ get a() { throw 'thrown' } }) } catch (e) { text(e) }
        try { text({ toJSON() { throw new RangeError('r') } }) } catch (e) { text(e.name) }
        text([1n]);
    ";
    let texts = fixture.texts(source).await;
    assert_eq!(texts, ["true", "true", "thrown", "RangeError", "[1]"]);
    fixture.end().await;
}

/// Every documented form of an image works.
pub async fn images_take_every_documented_form(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let source = "
        image('data:image/png;base64,AA');
        image('data:image/png;base64,AA', 'low');
        image({ image_url: 'data:image/png;base64,BB' });
        image({ image_url: 'data:image/png;base64,BB', detail: 'original' });
        image({ image_url: 'data:image/png;base64,BB', detail: 'original' }, 'auto');
        image({ type: 'image', data: 'CC', mimeType: 'image/gif' });
    ";
    assert_eq!(
        fixture.texts(source).await,
        [
            "data:image/png;base64,AA Some(High)",
            "data:image/png;base64,AA Some(Low)",
            "data:image/png;base64,BB Some(High)",
            "data:image/png;base64,BB Some(Original)",
            "data:image/png;base64,BB Some(Auto)",
            "data:image/gif;base64,CC Some(High)",
        ]
    );
    fixture.end().await;
}

/// Misuse of `image` throws what is documented, as a TypeError.
pub async fn misused_images_throw_the_documented_messages(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let remote = "Tool call failed: remote image URLs are not supported in tool outputs. \
                  Pass a base64 data URI instead";
    let invalid = "Tool call failed: invalid image output. Pass a base64 data URI instead";
    let detail = "image detail must be one of: auto, low, high, original";
    let misuse = "image expects a non-empty image URL string, an object with image_url and \
                  optional detail, or a raw MCP image block";
    for (arguments, expected) in [
        ("'https://example.com/a.png'", remote),
        ("'HTTP://example.com/a.png'", remote),
        ("{ image_url: 'http://example.com' }", remote),
        ("'picture.png'", invalid),
        ("'data:image/png;base64,AA', 'huge'", detail),
        (
            "{ image_url: 'data:image/png;base64,AA', detail: 3 }",
            detail,
        ),
        ("''", misuse),
        ("", misuse),
        ("null", misuse),
        ("5", misuse),
        ("{}", misuse),
        ("{ type: 'image' }", misuse),
    ] {
        let source = format!(
            "try {{ image({arguments}); text('no error') }}
             catch (e) {{ text(e instanceof TypeError); text(e.message) }}"
        );
        assert_eq!(
            fixture.texts(&source).await,
            ["true", expected],
            "{arguments}"
        );
    }
    fixture.end().await;
}

/// `generatedImage` gives the image and then its hint.
pub async fn a_generated_image_gives_the_image_and_then_its_hint(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let source = "
        generatedImage({ image_url: 'data:image/png;base64,AA', output_hint: 'saved' });
        generatedImage({ image_url: 'data:image/png;base64,BB' });
        try { generatedImage({ image_url: 'https://example.com' }) } catch (e) { text(e.message) }
    ";
    assert_eq!(
        fixture.texts(source).await,
        [
            "data:image/png;base64,AA Some(High)",
            "saved",
            "data:image/png;base64,BB Some(High)",
            "Tool call failed: remote image URLs are not supported in tool outputs. \
             Pass a base64 data URI instead",
        ]
    );
    fixture.end().await;
}

/// Notifications are delivered in order, before the cell is closed.
pub async fn notifications_arrive_before_the_result(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let texts = fixture
        .texts("notify('one'); notify({ two: 2 }); text('done')")
        .await;
    assert_eq!(texts, ["done"]);
    let notified: Vec<Call> = fixture
        .recorder
        .calls()
        .into_iter()
        .filter(|call| matches!(call, Call::Notification(_)))
        .collect();
    let expected = ["one", r#"{"two":2}"#];
    assert_eq!(
        notified,
        expected.map(|text| Call::Notification(text.to_owned()))
    );
    fixture.end().await;
}

/// A notification without text is refused.
pub async fn a_blank_notification_throws(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    for value in ["''", "' \\n'"] {
        let source = format!("try {{ notify({value}) }} catch (e) {{ text(`${{e}}`) }}");
        let texts = fixture.texts(&source).await;
        assert_eq!(texts, ["TypeError: notify expects non-empty text"]);
    }
    fixture.end().await;
}
