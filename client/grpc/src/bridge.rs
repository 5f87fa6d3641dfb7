// SPDX-License-Identifier: Apache-2.0
//! One connection: what the client says in frames of V1 goes to its sessions, and what they say to the client.

use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;

use code_mode_api::SessionId;
use code_mode_protocol::{
    AgreedCapabilities, ClientMessage, EncodeError, EncodedFrame, FrameReader, FrameWriter,
    HostMessage, HostOffer, OperationRequest, OutputTruncation, RequestId, WireError, negotiate,
};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::cells::ORDER_DEADLINE;
use crate::session::{self, Wish};
use crate::streams::Ending;
use crate::tell::{Tell, Word};
use crate::wire::Wire;

/// Messages for the client, and wishes for one session, that may wait before the one that speaks has to.
const QUEUE: usize = 64;

/// How long a loss waits for what has become of executes that were just sent (50 ms). Where the connection
/// has ended that is known at once; on one that has not, the host need not say it.
pub const PROOF_GRACE: Duration = Duration::from_millis(50);

/// Carries a connection until the client has closed it or it is lost. `name` is the host's, for people.
pub(crate) async fn run(
    wire: Wire,
    offer: HostOffer,
    heard: DuplexStream,
    said: DuplexStream,
    ending: Ending,
    name: String,
) {
    let (client, messages) = mpsc::channel(QUEUE);
    let (lost, mut losses) = mpsc::channel(1);
    let tell = Tell::new(client, lost);
    let mut ended = wire.ended.clone();
    let sent = wire.sent.clone();
    // All tasks of the connection end with this, after the client can see why.
    let mut tasks = JoinSet::new();
    let mut serving = pin!(serve(wire, offer, heard, said, messages, tell, &mut tasks));
    let why = tokio::select! {
        biased;
        why = losses.recv() => why,
        why = &mut serving => why,
        why = async {
            let why = ended.wait_for(Option::is_some).await;
            let why = why.ok().and_then(|why| why.clone());
            // Each session hands on what has come for it before, and then says itself that this is all.
            sleep(ORDER_DEADLINE).await;
            why
        } => why,
    };
    if let Some(why) = why {
        // The client takes those of which nothing is known by then for executes that may have run.
        let _ = timeout(PROOF_GRACE, sent.settled()).await;
        ending.set(format!("the connection to {name} was lost: {why}"));
    }
}

/// Serves the client; resolves when it has closed its side (`None`), or with what it did wrong.
async fn serve(
    wire: Wire,
    offer: HostOffer,
    heard: DuplexStream,
    said: DuplexStream,
    messages: mpsc::Receiver<Word>,
    tell: Tell,
    tasks: &mut JoinSet<()>,
) -> Option<String> {
    let mut reader = FrameReader::new(heard);
    let hello = match reader.next_message(&AgreedCapabilities::none()).await {
        Ok(Some(ClientMessage::Hello(hello))) => hello,
        Ok(None) => return None,
        Ok(Some(_)) => return Some("the client has not greeted".to_owned()),
        Err(error) => return Some(error.to_string()),
    };
    let agreement = match negotiate(&hello, &offer) {
        Ok(agreement) => agreement,
        Err(reason) => return Some(reason.to_string()),
    };
    tell.client(agreement.to_ready()).await;
    let agreed = agreement.capabilities;
    tasks.spawn(write(said, messages, agreed.clone(), tell.clone()));
    let mut sessions = Sessions {
        wire,
        tell,
        open: HashMap::new(),
        next: 1,
    };
    loop {
        let message = tokio::select! {
            message = reader.next_message(&agreed) => message,
            // What has ended is forgotten.
            Some(_) = tasks.join_next() => continue,
        };
        match message {
            Ok(Some(message)) => sessions.hand_on(message, tasks).await,
            Ok(None) => return None,
            Err(error) => return Some(error.to_string()),
        }
    }
}

/// Writes what there is to say, in its order.
async fn write(
    said: DuplexStream,
    mut messages: mpsc::Receiver<Word>,
    agreed: AgreedCapabilities,
    tell: Tell,
) {
    let mut writer = FrameWriter::new(said);
    let mut lost: Option<(String, Instant)> = None;
    loop {
        let deadline = lost.as_ref().map(|(_, deadline)| *deadline);
        let word = tokio::select! {
            word = messages.recv() => word,
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => None,
        };
        let message = match word {
            Some(Word::Message(message)) => message,
            Some(Word::Lost(why)) => {
                lost.get_or_insert_with(|| (why, Instant::now() + ORDER_DEADLINE));
                if !tell.all_have_spoken() {
                    continue;
                }
                return lost.into_iter().for_each(|(why, _)| tell.lost(why));
            }
            None => return lost.into_iter().for_each(|(why, _)| tell.lost(why)),
        };
        let frame = EncodedFrame::encode(&message, &agreed)
            .or_else(|error| EncodedFrame::encode(&instead(message, &error), &agreed));
        let written = match frame {
            Ok(frame) => writer
                .write(&frame)
                .await
                .map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = written {
            return tell.lost(error);
        }
    }
}

/// What is said in the place of a message that is larger than a frame.
fn instead(message: HostMessage, error: &EncodeError) -> HostMessage {
    let refusal = || {
        WireError::new(format!(
            "what the host has sent cannot be handed on: {error}"
        ))
    };
    match message {
        HostMessage::OperationResponse { id, .. } => HostMessage::OperationResponse {
            id,
            result: Err(refusal()),
        },
        HostMessage::ExecuteInitialResponse { id, .. } => HostMessage::ExecuteInitialResponse {
            id,
            result: Err(refusal()),
        },
        // The client knows no call of this id, so it does nothing; the host ends the call with its cell.
        HostMessage::DelegateRequest { id, .. } => HostMessage::DelegateCancel { id },
        message => message,
    }
}

/// The sessions of a connection.
struct Sessions {
    wire: Wire,
    tell: Tell,
    open: HashMap<SessionId, OpenSession>,
    /// The number of the next one, which the ids of its calls carry.
    next: i64,
}

struct OpenSession {
    number: i64,
    wishes: mpsc::Sender<Wish>,
}

impl Sessions {
    async fn hand_on(&mut self, message: ClientMessage, tasks: &mut JoinSet<()>) {
        match message {
            ClientMessage::Hello(_) => self.tell.lost("the client has greeted twice"),
            ClientMessage::OperationRequest { id, request } => {
                let session_id = request.session_id().clone();
                if let OperationRequest::Open {
                    output_truncation, ..
                } = request
                {
                    let cuts_output = output_truncation == Some(OutputTruncation::Server);
                    return self.open(id, session_id, cuts_output, tasks);
                }
                let Some(session) = self.open.get(&session_id) else {
                    return self.refuse(id, "there is no such session").await;
                };
                let asked = Wish::Asked { id, request };
                if session.wishes.send(asked).await.is_err() {
                    self.refuse(id, "the session is closed").await;
                }
            }
            ClientMessage::OperationCancel { id } => {
                // Whose request it is, the session knows that has it.
                for session in self.open.values() {
                    let _ = session.wishes.send(Wish::Cancelled { id }).await;
                }
            }
            // It was never offered, so nobody says it.
            ClientMessage::OperationYield { .. } => {}
            ClientMessage::DelegateResponse { id, result } => {
                let number = session::number_of(id);
                let mut sessions = self.open.values();
                if let Some(session) = sessions.find(|session| session.number == number) {
                    // A session that is gone wants no answer.
                    let _ = session.wishes.send(Wish::Answered { id, result }).await;
                }
            }
        }
    }

    fn open(
        &mut self,
        id: RequestId,
        session_id: SessionId,
        cuts_output: bool,
        tasks: &mut JoinSet<()>,
    ) {
        self.open.retain(|_, session| !session.wishes.is_closed());
        let (wishes, heard) = mpsc::channel(QUEUE);
        let number = self.next;
        self.next += 1;
        let opening = session::Opening {
            request: id,
            session_id: session_id.clone(),
            cuts_output,
            number,
            host: self.wire.host.clone(),
            extensions: self.wire.extensions.clone(),
            tell: self.tell.clone(),
            sent: self.wire.sent.clone(),
        };
        tasks.spawn(session::run(opening, heard));
        self.open.insert(session_id, OpenSession { number, wishes });
    }

    /// Refuses what is asked of a session that is not there. Once the connection is over its sessions are gone before
    /// the client knows: what it asks of them then is lost with the connection, and no mistake of the client's.
    async fn refuse(&self, id: RequestId, why: &str) {
        if self.tell.is_over() {
            return;
        }
        let result = Err(WireError::new(why));
        let message = HostMessage::OperationResponse { id, result };
        self.tell.client(message).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::sync::mpsc::error::TryRecvError;

    use super::*;
    use crate::{Address, AddressConfig};

    #[tokio::test]
    async fn what_is_asked_of_a_session_that_is_gone_is_refused_until_the_connection_is_over() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let authority = listener.local_addr().expect("it has one").to_string();
        let config = AddressConfig::new(Address::Http { authority });
        let (client, mut messages) = mpsc::channel(QUEUE);
        let (lost, mut losses) = mpsc::channel(1);
        let tell = Tell::new(client, lost);
        let (wishes, _) = mpsc::channel(1);
        let [gone, unknown] =
            ["gone", "unknown"].map(|id| SessionId::new(id).expect("it is an id"));
        let mut sessions = Sessions {
            wire: Wire::connect(&config).await.expect("a connection"),
            tell: tell.clone(),
            open: HashMap::from([(gone.clone(), OpenSession { number: 1, wishes })]),
            next: 2,
        };
        let mut tasks = JoinSet::new();
        let mut ask = async |id, session_id| {
            let id = RequestId::new(id);
            let request = OperationRequest::ListCells { session_id };
            let message = ClientMessage::OperationRequest { id, request };
            sessions.hand_on(message, &mut tasks).await;
        };
        for (id, session_id) in [(1, gone.clone()), (2, unknown.clone())] {
            ask(id, session_id).await;
            let said = messages.try_recv();
            let Ok(Word::Message(HostMessage::OperationResponse { id: of, result })) = said else {
                panic!("it must be refused");
            };
            assert!(of == RequestId::new(id) && result.is_err());
        }
        tell.lost("for a test");
        ask(3, gone).await;
        ask(4, unknown).await;
        assert!(matches!(messages.try_recv(), Err(TryRecvError::Empty)));
        assert_eq!(losses.recv().await.as_deref(), Some("for a test"));
    }
}
