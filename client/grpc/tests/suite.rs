// SPDX-License-Identifier: Apache-2.0
//! The suite that every provider of sessions must pass, over gRPC with real hosts: on TCP, on a Unix
//! socket, and with TLS and a token.

mod support;

use std::sync::Arc;

use code_mode_api::{ExecuteRequest, Globals, SessionProvider};
use code_mode_client_grpc::AddressSessionProvider;
use support::Host;

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
            code_mode_testsuite::suite_of_exact_integers!(make);
        }
    };
}

suite_on!(tcp, Host::start);
suite_on!(unix_socket, Host::on_unix_socket);
suite_on!(tls, Host::with_tls);

#[tokio::test(flavor = "multi_thread")]
async fn a_script_has_the_globals_that_its_execute_chooses() {
    let host = Host::start();
    let fixture = code_mode_testsuite::Fixture::on(provider(&host)).await;
    for (globals, has) in [
        (None, "undefined"),
        (Some(Globals::Web), "function"),
        (Some(Globals::Contract), "undefined"),
    ] {
        let request = ExecuteRequest {
            globals,
            ..ExecuteRequest::new("text(typeof URL)")
        };
        let started = fixture.execute(request).await.expect("the cell starts");
        let response = started.first_response.await.expect("the cell ends");
        assert_eq!(code_mode_testsuite::texts_of(&response), [has]);
    }
    fixture.end().await;
}
