// SPDX-License-Identifier: Apache-2.0
use super::*;

#[test]
fn a_request_that_needs_a_capability_names_it() {
    let agreed = AgreedCapabilities::none();
    let requests = Requests {
        session: "s",
        agreed: &agreed,
    };
    let mut request = api::ExecuteRequest::new("text(1)");
    assert!(
        requests
            .execute(RequestId::new(1), request.clone(), None)
            .is_ok()
    );
    request.limits.timers = Some(1);
    let error = requests
        .execute(RequestId::new(1), request, None)
        .expect_err("the host has no limits");
    assert!(error.to_string().contains("code_mode/limits-v1"), "{error}");
}

#[test]
fn a_wait_names_its_time_even_when_it_is_the_default() {
    let agreed = AgreedCapabilities::none();
    let requests = Requests {
        session: "s",
        agreed: &agreed,
    };
    let frame = requests
        .wait(RequestId::new(1), "1", None)
        .expect("a frame");
    let text = String::from_utf8_lossy(frame.payload());
    assert!(text.contains(r#""yield_time_ms":10000"#), "{text}");
}
