// SPDX-License-Identifier: Apache-2.0
//! What stands between a client and a host: a balancer, or a network that breaks.

use code_mode_client_grpc::Address;
use tokio::io::{AsyncReadExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Carries connections to a host.
pub struct Relay {
    /// Where it listens.
    pub address: Address,
    target: watch::Sender<String>,
}

impl Relay {
    /// Carries connections to `target`.
    pub async fn to(target: &str) -> Self {
        Self::cutting(target, u64::MAX).await
    }

    /// Carries connections to `target`, and cuts each when the host has said so many bytes.
    pub async fn cutting(target: &str, bytes: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let authority = listener.local_addr().expect("it has one").to_string();
        let target = watch::Sender::new(target.to_owned());
        let goes_to = target.subscribe();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.expect("a client");
                let target = goes_to.borrow().clone();
                let host = TcpStream::connect(target).await;
                let host = host.expect("the host is there");
                tokio::spawn(carry(client, host, bytes));
            }
        });
        Self {
            address: Address::Http { authority },
            target,
        }
    }

    /// Carries further connections elsewhere; those that there are stay where they are.
    pub fn redirect(&self, target: &str) {
        self.target.send_replace(target.to_owned());
    }
}

async fn carry(mut client: TcpStream, mut host: TcpStream, bytes: u64) {
    let (mut from_client, mut to_client) = client.split();
    let (from_host, mut to_host) = host.split();
    let mut from_host = from_host.take(bytes);
    tokio::select! {
        // Either end may be gone; then the other is let go as well.
        _ = copy(&mut from_client, &mut to_host) => {}
        _ = copy(&mut from_host, &mut to_client) => {}
    }
}
