// SPDX-License-Identifier: Apache-2.0
//! How long a host may take to be reached, to show that it is there, and to close: each bound is reached here,
//! with the value that it has by default.
//!
//! The clock is paused, so that no bound takes its time, and stands still while the client and a host by hand
//! talk to each other, so that none is reached because the machine is busy.

mod support;

use std::sync::Arc;
use std::time::Duration;

use code_mode_api::{CodeModeSession, SessionError, SideEffects};
use code_mode_client::DEFAULT_CALL_DEADLINE;
use code_mode_client_grpc::{
    Address, AddressConfig, AddressSessionProvider, DEFAULT_CONNECT_DEADLINE,
    DEFAULT_PING_DEADLINE, DEFAULT_PING_INTERVAL, PROOF_GRACE,
};
use support::by_hand::{ByHand, Connection, INTERNAL_ERROR, LEASE};
use support::{Secrets, StoppedClock, in_time, run, session};
use tokio::net::{TcpListener, UnixListener};
use tokio::time::Instant;

/// More than what stands between a bound and what is told of it: the order of streams, and proofs that an
/// execute has not run.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

/// Checks that a bound was reached, and nothing after it was waited for.
#[track_caller]
fn assert_reached(begun: Instant, bound: Duration) {
    let elapsed = begun.elapsed();
    assert!(
        (bound..bound + TOLD_WITHIN).contains(&elapsed),
        "{elapsed:?} is not {bound:?}"
    );
}

/// A session that has run a script on a host by hand.
async fn ran(
    host: &ByHand,
    provider: &AddressSessionProvider,
) -> (Arc<dyn CodeModeSession>, Connection) {
    let session = session(provider).await;
    let (outcome, connection) = tokio::join!(run(&session, "text(1)"), async {
        let mut connection = host.opens().await;
        let execute = connection.execute().await;
        connection.runs(&execute).await;
        connection
    });
    outcome.expect("it runs");
    (session, connection)
}

/// Has an execute lost, and told as possibly run: when it began. The clock goes on once its host has said what
/// `says` has it say.
async fn loses_an_execute(says: impl AsyncFnOnce(&mut Connection)) -> Instant {
    let clock = StoppedClock::new();
    let host = ByHand::new().await;
    let provider = AddressSessionProvider::new(AddressConfig::new(host.address.clone()));
    let session = session(&provider).await;
    let begun = Instant::now();
    let (outcome, _connection) = tokio::join!(run(&session, "text(1)"), async {
        let mut connection = host.opens().await;
        connection.execute().await;
        says(&mut connection).await;
        drop(clock);
        connection
    });
    let error = outcome.expect_err("it is lost");
    assert!(matches!(error, SessionError::RuntimeLost { .. }), "{error}");
    assert_eq!(error.side_effects(), SideEffects::Possible);
    begun
}

#[tokio::test(start_paused = true)]
async fn a_host_that_accepts_and_says_nothing_is_given_up_after_the_connect_deadline() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    // Connections are made by the system, and wait to be accepted.
    let _local = UnixListener::bind(&path).expect("a socket");
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let authority = silent.local_addr().expect("it has one").to_string();
    // The machine may trust nobody at all.
    let secrets = Secrets::new();
    for address in [
        Address::Http {
            authority: authority.clone(),
        },
        // It says nothing of TLS either.
        Address::Https { authority },
        Address::Unix { path },
    ] {
        let begun = Instant::now();
        let mut config = AddressConfig::new(address);
        config.ca_file = Some(secrets.certificate.clone());
        let provider = AddressSessionProvider::new(config);
        let error = in_time(provider.probe()).await.expect_err("nobody answers");
        assert!(error.to_string().contains("more than 10000 ms"), "{error}");
        assert_reached(begun, DEFAULT_CONNECT_DEADLINE);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_falls_silent_is_noticed_by_its_pings() {
    // From here on nobody reads what the client says, and nobody answers.
    let begun = loses_an_execute(async |_| ()).await;
    assert_reached(begun, DEFAULT_PING_INTERVAL + DEFAULT_PING_DEADLINE);
}

#[tokio::test(start_paused = true)]
async fn a_loss_waits_for_what_has_become_of_an_execute_no_longer_than_its_bound() {
    let begun = loses_an_execute(async |connection| {
        // The connection goes on, and of the execute's stream nothing is ever said.
        connection.resets(LEASE, INTERNAL_ERROR).await;
        connection.is_heard().await;
    })
    .await;
    let elapsed = begun.elapsed();
    assert!(
        (PROOF_GRACE..2 * PROOF_GRACE).contains(&elapsed),
        "{elapsed:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_session_that_its_host_does_not_close_is_lost_after_the_call_deadline() {
    let clock = StoppedClock::new();
    let host = ByHand::new().await;
    let mut config = AddressConfig::new(host.address.clone());
    // A host that does not close its sessions may well answer pings.
    config.ping_interval = 2 * DEFAULT_CALL_DEADLINE;
    let provider = AddressSessionProvider::new(config);
    let (session, _connection) = ran(&host, &provider).await;
    drop(clock);
    let begun = Instant::now();
    let error = session.shutdown().await.expect_err("it is not closed");
    assert!(matches!(error, SessionError::RuntimeLost { .. }), "{error}");
    assert!(error.to_string().contains("session/shutdown"), "{error}");
    assert_reached(begun, DEFAULT_CALL_DEADLINE);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_ends_waits_for_no_host_and_leaves_no_connection() {
    let clock = StoppedClock::new();
    let host = ByHand::new().await;
    let provider = AddressSessionProvider::new(AddressConfig::new(host.address.clone()));
    let (_session, mut connection) = ran(&host, &provider).await;
    let begun = Instant::now();
    // The host closes nothing.
    provider.shutdown().await;
    connection.hears_the_end().await;
    assert_eq!(begun.elapsed(), Duration::ZERO, "nothing was waited for");
    drop(clock);
}
