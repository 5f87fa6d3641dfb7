// SPDX-License-Identifier: Apache-2.0
//! The suite that every provider of sessions must pass, over gRPC with real hosts: on TCP, on a Unix
//! socket, and with TLS and a token.

mod support;

use std::sync::Arc;

use code_mode_api::{ExecuteRequest, Globals, SessionError, SessionProvider};
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
        }
    };
}

suite_on!(tcp, Host::start);
suite_on!(unix_socket, Host::on_unix_socket);
suite_on!(tls, Host::with_tls);

#[tokio::test(flavor = "multi_thread")]
async fn what_the_contract_has_no_field_for_is_refused_and_nothing_runs() {
    let host = Host::start();
    let fixture = code_mode_testsuite::Fixture::on(provider(&host)).await;
    let exact = ExecuteRequest {
        exact_integers: Some(true),
        ..ExecuteRequest::new("text(1)")
    };
    let web = ExecuteRequest {
        globals: Some(Globals::Web),
        ..ExecuteRequest::new("text(1)")
    };
    for (request, capability) in [
        (exact, "code_mode/exact-integers-v1"),
        (web, "code_mode/globals-v1"),
    ] {
        match fixture.execute(request).await {
            Err(SessionError::InvalidRequest { message }) => {
                assert!(message.contains(capability), "{message}");
            }
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("{capability} is not there"),
        }
    }
    fixture.end().await;
}
