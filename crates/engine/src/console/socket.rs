//! Clients of consoles: WebSocket (Source: RFC 6455). Whoever knows the address that was given out for this time is let in; bytes go
//! both ways as binary messages.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use model::Id;
use model::baremetal::Node;
use sha1::{Digest as _, Sha1};
use store::StoreError;
use subtle::ConstantTimeEq as _;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::session::{Client, Session};
use crate::runtime::Shared;

/// What makes the answer to a client's key (RFC 6455, section 1.3).
const ANSWER: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// How long a client may take to take what it is sent, and the program to take what a client typed.
const SEND_LIMIT: Duration = Duration::from_secs(10);
/// How often a client is asked whether it is there, and after how long without a word it is not.
const ASK: Duration = Duration::from_secs(30);
const SILENT: Duration = Duration::from_secs(90);
/// Largest message of a client, in bytes.
const MESSAGE: usize = 16 << 10;
/// Most that may wait to be sent to a client, in bytes.
const UNSENT: usize = 256 << 10;

type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// What is served with the main API.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new().route("/baremetal/v1/nodes/{node}/console", any(connect)).with_state(shared)
}

/// The session a client may join. `None`: there is no such address.
async fn admitted(shared: &Shared, node: &str, query: Option<&str>) -> Result<Option<Option<Arc<Session>>>, StoreError> {
    let given = query.unwrap_or_default().split('&').find_map(|it| it.strip_prefix("token="));
    let (Some(id), Some(given)) = (Id::<Node>::parse(node), given) else { return Ok(None) };
    let Some(node) = shared.store.get(&id).await? else { return Ok(None) };
    let right = super::token(&shared.store, &node).await?;
    let is_right: bool = given.as_bytes().ct_eq(right.reveal().as_bytes()).into();
    if !is_right || !super::is_wanted(&node) {
        return Ok(None);
    }
    Ok(Some(shared.consoles.find(id.as_str()).filter(|it| it.seq == node.desired.console_seq)))
}

async fn connect(State(shared): State<Arc<Shared>>, Path(node): Path<String>, mut request: Request) -> Response {
    let session = match admitted(&shared, &node, request.uri().query()).await {
        Ok(Some(session)) => session,
        Ok(None) => return StatusCode::NOT_FOUND.into_response(),
        Err(error) => {
            tracing::warn!(%error, "a client of a console could not be let in");
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    };
    let Some(accept) = accept(request.method(), request.headers()) else {
        let headers = [(header::UPGRADE, "websocket"), (HeaderName::from_static("sec-websocket-version"), "13")];
        return (StatusCode::UPGRADE_REQUIRED, headers).into_response();
    };
    let protocols = request.headers().get_all("sec-websocket-protocol").iter().filter_map(|it| it.to_str().ok());
    let binary = protocols.flat_map(|it| it.split(',')).any(|it| it.trim() == "binary");
    let busy = "the console is held by another server, is just being opened, or has as many clients as it may have";
    let Some(client) = session.and_then(|it| it.join()) else {
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], busy).into_response();
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(serve(upgrade, client, node));
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    *response.body_mut() = Body::empty();
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert("sec-websocket-accept", accept);
    if binary {
        headers.insert("sec-websocket-protocol", HeaderValue::from_static("binary"));
    }
    response
}

/// The answer to a client's key, if it asks for a WebSocket.
fn accept(method: &Method, headers: &HeaderMap) -> Option<HeaderValue> {
    let has = |name: HeaderName, wanted: &str| {
        let all = headers.get_all(name);
        all.iter().filter_map(|it| it.to_str().ok()).flat_map(|it| it.split(',')).any(|it| it.trim().eq_ignore_ascii_case(wanted))
    };
    let version = headers.get("sec-websocket-version")?;
    let key = headers.get("sec-websocket-key")?.to_str().ok()?;
    let is_key = STANDARD.decode(key).is_ok_and(|it| it.len() == 16);
    if method != Method::GET || !has(header::UPGRADE, "websocket") || !has(header::CONNECTION, "upgrade") || version != "13" || !is_key {
        return None;
    }
    let sum = Sha1::new().chain_update(key).chain_update(ANSWER).finalize();
    HeaderValue::from_str(&STANDARD.encode(sum)).ok()
}

async fn serve(upgrade: OnUpgrade, client: Client, node: String) {
    let Ok(Ok(upgraded)) = tokio::time::timeout(SEND_LIMIT, upgrade).await else { return };
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE))
        .max_frame_size(Some(MESSAGE))
        .read_buffer_size(MESSAGE)
        .write_buffer_size(0)
        .max_write_buffer_size(UNSENT);
    let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    tracing::info!(node.id = node, "a client joined the console");
    let (code, why) = talk(&mut socket, client).await;
    let frame = CloseFrame { code, reason: why.into() };
    // A client that is gone already need not be told.
    drop(tokio::time::timeout(SEND_LIMIT, socket.close(Some(frame))).await);
    tracing::info!(node.id = node, why, "a client left the console");
}

async fn send(socket: &mut Socket, message: Message) -> Result<(), (CloseCode, &'static str)> {
    match tokio::time::timeout(SEND_LIMIT, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Error::WriteBufferFull(_))) | Err(_) => Err((CloseCode::Again, "too slow")),
        Ok(Err(_)) => Err((CloseCode::Normal, "gone")),
    }
}

/// Passes bytes on both ways; why it ended.
async fn talk(socket: &mut Socket, mut client: Client) -> (CloseCode, &'static str) {
    let before = Bytes::from(std::mem::take(&mut client.before));
    if !before.is_empty()
        && let Err(end) = send(socket, Message::Binary(before)).await
    {
        return end;
    }
    let mut heard = Instant::now();
    let mut ask = tokio::time::interval(ASK);
    loop {
        tokio::select! {
            said = client.output.recv() => match said {
                Ok(data) => if let Err(end) = send(socket, Message::Binary(data)).await { return end },
                Err(RecvError::Lagged(_)) => return (CloseCode::Again, "too slow"),
                Err(RecvError::Closed) => return (CloseCode::Normal, "the console is off"),
            },
            message = socket.next() => {
                heard = Instant::now();
                let typed = match message {
                    Some(Ok(Message::Binary(data))) => data,
                    Some(Ok(Message::Text(text))) => Bytes::from(text),
                    // Pings are answered below this.
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                    Some(Ok(Message::Close(_))) | None => return (CloseCode::Normal, "closed by the client"),
                    Some(Err(Error::Capacity(_))) => return (CloseCode::Size, "a message was too large"),
                    Some(Err(_)) => return (CloseCode::Protocol, "the connection broke off"),
                };
                match tokio::time::timeout(SEND_LIMIT, client.type_in(typed)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return (CloseCode::Normal, "the console is off"),
                    Err(_) => return (CloseCode::Again, "what was typed is not taken"),
                }
            }
            _ = ask.tick() => {
                if heard.elapsed() >= SILENT {
                    return (CloseCode::Away, "silent");
                }
                if let Err(end) = send(socket, Message::Ping(Bytes::new())).await {
                    return end;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_asks_rightly_is_answered() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        // The example of RFC 6455.
        assert_eq!(accept(&Method::GET, &headers).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(accept(&Method::POST, &headers).is_none());
        for (name, value) in [("connection", "close"), ("upgrade", "h2c"), ("sec-websocket-version", "8"), ("sec-websocket-key", "x")] {
            let mut headers = headers.clone();
            headers.insert(name, HeaderValue::from_static(value));
            assert!(accept(&Method::GET, &headers).is_none(), "{name}");
            headers.remove(name);
            assert!(accept(&Method::GET, &headers).is_none(), "{name}");
        }
    }
}
