//! `javascript-surface.md`, section *Store*.

use std::collections::BTreeMap;

use pretty_assertions::assert_eq;

use crate::fixture::{Fixture, MakeProvider, json, within};

/// What one cell has stored the next one loads, as a fresh copy.
pub async fn stored_values_are_shared_between_cells(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    fixture
        .texts("store('k', { list: [1] }); store(5, 'number key'); store('null', null)")
        .await;
    let source = "
        const a = load('k'); a.list.push(2);
        text(load('k')); text(a); text(load('5')); text(load('null')); text(load('missing'));
    ";
    assert_eq!(
        fixture.texts(source).await,
        [
            r#"{"list":[1]}"#,
            r#"{"list":[1,2]}"#,
            "number key",
            "null",
            "undefined"
        ]
    );
    fixture.end().await;
}

/// A cell sees its own writes at once; others see them when it ends.
pub async fn a_store_is_seen_at_once_by_its_own_cell(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    let source =
        "store('k', 1); text(load('k')); store('k', 2); text(load('k')); await tools.gate();";
    let cell = fixture.start(source).await;
    fixture
        .recorder
        .wait_for(|call| matches!(call, crate::Call::Tool { .. }))
        .await;
    assert_eq!(fixture.texts("text(load('k'))").await, ["undefined"]);
    fixture.recorder.open_gate();
    let response = within(cell.first_response).await.expect("the cell answers");
    assert_eq!(crate::fixture::texts_of(&response), ["1", "2"]);
    assert_eq!(fixture.texts("text(load('k'))").await, ["2"]);
    fixture.end().await;
}

/// A cell that fails has stored what it stored.
pub async fn values_are_stored_even_when_the_cell_fails(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    fixture.error("store('k', 1); throw new Error('x')").await;
    assert_eq!(fixture.texts("text(load('k'))").await, ["1"]);
    fixture.end().await;
}

/// What JSON cannot hold throws and names the key.
pub async fn what_json_cannot_hold_is_not_stored(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    for value in [
        "undefined",
        "() => 1",
        "Symbol('s')",
        "(() => { const o = {}; o.o = o; return o })()",
    ] {
        let source = format!(
            "try {{ store('my key', {value}); text('stored') }} catch (e) {{ text(e.name); text(e.message.includes('my key')) }}"
        );
        assert_eq!(
            fixture.texts(&source).await,
            ["TypeError", "true"],
            "{value}"
        );
    }
    assert_eq!(fixture.texts("text(load('my key'))").await, ["undefined"]);
    fixture.end().await;
}

/// A store can be taken out of one session and put into another.
pub async fn stores_can_be_exported_and_imported(make: MakeProvider) {
    let fixture = Fixture::new(make).await;
    fixture.texts("store('a', [1]); store('b', 'x')").await;
    let exported = within(fixture.session.export_store())
        .await
        .expect("the store is exported");
    let exported: BTreeMap<String, String> = exported
        .into_iter()
        .map(|(key, value)| (key, value.get().to_owned()))
        .collect();
    let expected = [("a", "[1]"), ("b", r#""x""#)];
    assert_eq!(
        exported,
        expected
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    );
    let values = BTreeMap::from([("c".to_owned(), json(r#"{"d":1}"#))]);
    within(fixture.session.import_store(values))
        .await
        .expect("the values are imported");
    assert_eq!(
        fixture.texts("text(load('c').d); text(load('a'))").await,
        ["1", "[1]"]
    );
    fixture.end().await;
}
