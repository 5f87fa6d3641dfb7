// SPDX-License-Identifier: Apache-2.0
//! The suite that every provider of sessions must pass, over gRPC with real hosts: on TCP, on a Unix
//! socket, and with TLS and a token.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use code_mode_api::{ExecuteRequest, Globals, SessionProvider};
use code_mode_client_grpc::AddressSessionProvider;
use serde_json::value::RawValue;
use support::{Host, in_time, script, session, text};

fn provider(host: &Host) -> Arc<dyn SessionProvider> {
    Arc::new(AddressSessionProvider::new(host.config()))
}

/// Plays the suite on a host, which serves all its tests, as one serves many clients.
macro_rules! suite_on {
    ($name:ident, $start:expr) => {
        mod $name {
            use std::sync::{Arc, LazyLock};

            use code_mode_api::{BoxFuture, SessionProvider};

            use crate::support::Host;

            static HOST: LazyLock<Host> = LazyLock::new($start);

            fn make() -> BoxFuture<'static, Arc<dyn SessionProvider>> {
                Box::pin(async { super::provider(&HOST) })
            }

            code_mode_testsuite::suite!(make);
            code_mode_testsuite::suite_of_cut_output!(make);
        }
    };
}

suite_on!(tcp, Host::start);
suite_on!(unix_socket, Host::on_unix_socket);
suite_on!(tls, Host::with_tls);

#[tokio::test(flavor = "multi_thread")]
async fn what_the_contract_has_no_field_for_is_chosen_for_each_script() {
    let host = Host::start();
    let provider = provider(&host);
    let session = session(&*provider).await;
    let request = |globals, exact_integers| ExecuteRequest {
        globals: Some(globals),
        exact_integers: Some(exact_integers),
        ..script("text([typeof URL, typeof load('n')])")
    };
    let nine = RawValue::from_string("9007199254740993".to_owned()).expect("JSON");
    let values = BTreeMap::from([("n".to_owned(), nine)]);
    let imported = in_time(session.import_store(values)).await;
    imported.expect("they are stored");
    for (globals, exact, expected) in [
        (Globals::Web, true, r#"["function","bigint"]"#),
        (Globals::Contract, false, r#"["undefined","number"]"#),
    ] {
        let ended = in_time(async {
            let started = session.execute(request(globals, exact)).await?;
            started.first_response.await
        });
        let response = ended.await.expect("it has ended");
        assert_eq!(response.content_items, text(expected));
    }
}
