//! A gNMI server with OpenConfig: `Capabilities`, `Get`, `Set` as one transaction, `Subscribe`. It speaks with and without TLS on the
//! same port. What is set is also what the switch starts with the next time.
//!
//! Source: OpenConfig, "gRPC Network Management Interface (gNMI)" 0.8.

mod paths;
mod proto;
mod subscribe;
mod transport;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::net::TcpListener;
use tonic::codegen::Service;
use tonic::server::Grpc;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use self::proto::{
    CapabilityRequest, CapabilityResponse, DataType, Encoding, GetRequest, GetResponse, ModelData, Notification, Operation, Path,
    SetRequest, SetResponse, SubscribeRequest, SubscribeResponse, TypedValue, Update, UpdateResult, Val,
};
pub use self::transport::certificate;
use super::device::{Committed, Device};
use super::faults::{Then, Verdict};
use super::openconfig::{self, schema::Module};
use super::os::Running;
use super::{Access, device};

/// Serves until it is dropped.
pub(crate) fn serve(device: &Arc<Device>, access: &Arc<Access>, listener: TcpListener) -> Running {
    let gnmi = Gnmi { device: Arc::clone(device), access: Arc::clone(access) };
    let connections = transport::connections(Arc::clone(device), listener);
    Box::pin(async move {
        if let Err(error) = tonic::transport::Server::builder().serve_with_incoming(gnmi, connections).await {
            tracing::debug!(%error, "the gNMI server of a simulated switch ended");
        }
    })
}

#[derive(Clone)]
struct Gnmi {
    device: Arc<Device>,
    access: Arc<Access>,
}

type Answer<T> = Pin<Box<dyn Future<Output = Result<T, Status>> + Send>>;

/// The requests one by one.
struct Rpc(Gnmi);

impl Service<Request<CapabilityRequest>> for Rpc {
    type Response = Response<CapabilityResponse>;
    type Error = Status;
    type Future = Answer<Self::Response>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<CapabilityRequest>) -> Self::Future {
        let own = self.0.clone();
        Box::pin(async move { own.capabilities(&request).await })
    }
}

impl Service<Request<GetRequest>> for Rpc {
    type Response = Response<GetResponse>;
    type Error = Status;
    type Future = Answer<Self::Response>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<GetRequest>) -> Self::Future {
        let own = self.0.clone();
        Box::pin(async move { own.get(&request).await })
    }
}

impl Service<Request<SetRequest>> for Rpc {
    type Response = Response<SetResponse>;
    type Error = Status;
    type Future = Answer<Self::Response>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<SetRequest>) -> Self::Future {
        let own = self.0.clone();
        Box::pin(async move { own.set(&request).await })
    }
}

impl Service<Request<Streaming<SubscribeRequest>>> for Rpc {
    type Response = Response<subscribe::Told>;
    type Error = Status;
    type Future = Answer<Self::Response>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Streaming<SubscribeRequest>>) -> Self::Future {
        let own = self.0.clone();
        Box::pin(async move {
            own.let_in(request.metadata())?;
            own.begin("Subscribe", false).await?;
            subscribe::serve(own.device, request.into_inner()).await.map(Response::new)
        })
    }
}

impl Service<http::Request<tonic::body::Body>> for Gnmi {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let own = self.clone();
        Box::pin(async move {
            let rpc = Rpc(own);
            Ok(match request.uri().path() {
                "/gnmi.gNMI/Capabilities" => {
                    let codec: ProstCodec<CapabilityResponse, CapabilityRequest> = ProstCodec::default();
                    Grpc::new(codec).unary(rpc, request).await
                }
                "/gnmi.gNMI/Get" => {
                    let codec: ProstCodec<GetResponse, GetRequest> = ProstCodec::default();
                    Grpc::new(codec).unary(rpc, request).await
                }
                "/gnmi.gNMI/Set" => {
                    let codec: ProstCodec<SetResponse, SetRequest> = ProstCodec::default();
                    Grpc::new(codec).unary(rpc, request).await
                }
                "/gnmi.gNMI/Subscribe" => {
                    let codec: ProstCodec<SubscribeResponse, SubscribeRequest> = ProstCodec::default();
                    Grpc::new(codec).streaming(rpc, request).await
                }
                other => Status::unimplemented(format!("there is no {other}")).into_http(),
            })
        })
    }
}

/// The time in nanoseconds since 1970.
fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok().and_then(|it| i64::try_from(it.as_nanos()).ok()).unwrap_or_default()
}

/// JSON in the encoding that was asked for.
fn encoded(value: &Value, encoding: i32) -> Result<TypedValue, Status> {
    let bytes = value.to_string().into_bytes();
    let value = match Encoding::try_from(encoding) {
        Ok(Encoding::Json) => Val::Json(bytes),
        Ok(Encoding::JsonIetf) => Val::JsonIetf(bytes),
        _ => return Err(Status::unimplemented("only JSON and JSON_IETF are supported")),
    };
    Ok(TypedValue { value: Some(value) })
}

impl Gnmi {
    fn let_in(&self, metadata: &tonic::metadata::MetadataMap) -> Result<(), Status> {
        let text = |key: &str| metadata.get(key).and_then(|it| it.to_str().ok()).unwrap_or_default();
        if self.access.password(text("username"), text("password")) {
            self.device.faults().count_login();
            return Ok(());
        }
        Err(Status::unauthenticated("wrong user or password"))
    }

    /// Lets the faults strike before a request, told by its text, is carried out.
    async fn begin(&self, text: &str, changes: bool) -> Result<(), Status> {
        let faults = self.device.faults();
        faults.pass().await;
        match faults.line(text, changes) {
            Verdict::Go => {}
            Verdict::Refuse | Verdict::Broken(Then::Refuse) => return Err(Status::aborted("the device refused the request")),
            Verdict::Broken(Then::Hang) => return std::future::pending().await,
            Verdict::Broken(Then::Drop) => return Err(self.cut()),
        }
        let long = if changes { faults.commit_delay() } else { Duration::ZERO };
        tokio::time::sleep(long + faults.line_delay()).await;
        Ok(())
    }

    fn cut(&self) -> Status {
        self.device.drop_connections();
        Status::unavailable("the connection broke")
    }

    async fn capabilities(&self, request: &Request<CapabilityRequest>) -> Result<Response<CapabilityResponse>, Status> {
        self.let_in(request.metadata())?;
        self.begin("Capabilities", false).await?;
        let model = |it: Module| ModelData {
            name: it.name().into(),
            organization: "OpenConfig working group".into(),
            version: it.version().into(),
        };
        Ok(Response::new(CapabilityResponse {
            supported_models: Module::ALL.into_iter().map(model).collect(),
            supported_encodings: vec![Encoding::Json.into(), Encoding::JsonIetf.into()],
            gnmi_version: "0.8.0".into(),
        }))
    }

    async fn get(&self, request: &Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        self.let_in(request.metadata())?;
        let request = request.get_ref();
        self.begin("Get", false).await?;
        let running = self.device.running();
        let whole = openconfig::with_state(&openconfig::tree(&running), &running);
        let tree = match DataType::try_from(request.r#type) {
            Ok(DataType::All) => whole,
            Ok(DataType::Config) => openconfig::only(&whole, true),
            Ok(DataType::State | DataType::Operational) => openconfig::only(&whole, false),
            Err(_) => return Err(Status::invalid_argument("there is no such type of data")),
        };
        let root = [Path::default()];
        let paths = if request.path.is_empty() { &root[..] } else { &request.path };
        let mut notification = Vec::new();
        for path in paths {
            let elems = paths::elems(request.prefix.as_ref(), Some(path))?;
            let found = paths::locate(&tree, &elems)?;
            if found.is_empty() {
                return Err(Status::not_found(format!("there is nothing at {}", paths::text(&elems))));
            }
            let mut update = Vec::new();
            for it in found {
                let val = Some(encoded(&it.json(), request.encoding)?);
                update.push(Update { path: Some(Path { elem: it.elems, ..Path::default() }), val });
            }
            notification.push(Notification { timestamp: now(), update, ..Notification::default() });
        }
        self.device.faults().pass().await;
        Ok(Response::new(GetResponse { notification }))
    }

    async fn set(&self, request: &Request<SetRequest>) -> Result<Response<SetResponse>, Status> {
        self.let_in(request.metadata())?;
        let request = request.get_ref();
        let prefix = request.prefix.as_ref();
        let mut told = String::from("Set");
        let mut response = Vec::new();
        let mut edits = Vec::new();
        let deletes = request.delete.iter().map(|path| (Operation::Delete, Some(path), None));
        let replaces = request.replace.iter().map(|it| (Operation::Replace, it.path.as_ref(), it.val.as_ref()));
        let updates = request.update.iter().map(|it| (Operation::Update, it.path.as_ref(), it.val.as_ref()));
        for (operation, path, value) in deletes.chain(replaces).chain(updates) {
            let elems = paths::elems(prefix, path)?;
            told.push_str(&format!(" {operation:?} {}", paths::text(&elems)));
            if let Some(Val::JsonIetf(bytes) | Val::Json(bytes)) = value.and_then(|it| it.value.as_ref()) {
                told.push_str(&String::from_utf8_lossy(bytes));
            }
            response.push(UpdateResult { path: path.cloned(), op: operation.into() });
            edits.push((operation, elems, value));
        }
        self.begin(&told, true).await?;
        let running = self.device.running();
        let mut tree = openconfig::tree(&running);
        for (operation, elems, value) in edits {
            match operation {
                Operation::Delete => paths::delete(&mut tree, &elems)?,
                other => paths::put(&mut tree, &elems, value, other == Operation::Replace)?,
            }
        }
        openconfig::prune(&mut tree);
        let wrong = openconfig::check(&tree, &running);
        if let Some((path, says)) = wrong.first() {
            return Err(Status::failed_precondition(format!("{path}: {says}")));
        }
        let config = openconfig::configuration(&tree, &running);
        if config == *running {
            // It is kept for the next start all the same.
            self.device.set_startup(config);
        } else {
            self.put_in_force(config).await?;
        }
        self.device.faults().pass().await;
        Ok(Response::new(SetResponse { prefix: request.prefix.clone(), response, timestamp: now() }))
    }

    async fn put_in_force(&self, config: device::Config) -> Result<(), Status> {
        match self.device.commit(config) {
            Committed::Whole => {
                self.device.set_startup((*self.device.running()).clone());
                Ok(())
            }
            Committed::Partly(Then::Refuse) => Err(Status::internal("the change failed on the way")),
            Committed::Partly(Then::Hang) => std::future::pending().await,
            Committed::Partly(Then::Drop) => Err(self.cut()),
        }
    }
}

#[cfg(test)]
mod tests;
