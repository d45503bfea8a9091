//! The messages of gNMI 0.8 that are used, written by hand.
//!
//! Source: OpenConfig, `gnmi.proto` (field names and numbers).

use std::collections::BTreeMap;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Path {
    #[prost(string, tag = "2")]
    pub(super) origin: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) elem: Vec<PathElem>,
    #[prost(string, tag = "4")]
    pub(super) target: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct PathElem {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(btree_map = "string, string", tag = "2")]
    pub(super) key: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TypedValue {
    #[prost(oneof = "Val", tags = "1, 2, 3, 4, 10, 11, 12")]
    pub(super) value: Option<Val>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Val {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "2")]
    Int(i64),
    #[prost(uint64, tag = "3")]
    Uint(u64),
    #[prost(bool, tag = "4")]
    Bool(bool),
    #[prost(bytes, tag = "10")]
    Json(Vec<u8>),
    #[prost(bytes, tag = "11")]
    JsonIetf(Vec<u8>),
    #[prost(string, tag = "12")]
    Ascii(String),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Update {
    #[prost(message, optional, tag = "1")]
    pub(super) path: Option<Path>,
    #[prost(message, optional, tag = "3")]
    pub(super) val: Option<TypedValue>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Notification {
    #[prost(int64, tag = "1")]
    pub(super) timestamp: i64,
    #[prost(message, optional, tag = "2")]
    pub(super) prefix: Option<Path>,
    #[prost(message, repeated, tag = "4")]
    pub(super) update: Vec<Update>,
    #[prost(message, repeated, tag = "5")]
    pub(super) delete: Vec<Path>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CapabilityRequest {}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CapabilityResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) supported_models: Vec<ModelData>,
    #[prost(enumeration = "Encoding", repeated, tag = "2")]
    pub(super) supported_encodings: Vec<i32>,
    #[prost(string, tag = "3")]
    pub(super) gnmi_version: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ModelData {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) organization: String,
    #[prost(string, tag = "3")]
    pub(super) version: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(super) enum Encoding {
    Json = 0,
    Bytes = 1,
    Proto = 2,
    Ascii = 3,
    JsonIetf = 4,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GetRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) prefix: Option<Path>,
    #[prost(message, repeated, tag = "2")]
    pub(super) path: Vec<Path>,
    #[prost(enumeration = "DataType", tag = "3")]
    pub(super) r#type: i32,
    #[prost(enumeration = "Encoding", tag = "5")]
    pub(super) encoding: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(super) enum DataType {
    All = 0,
    Config = 1,
    State = 2,
    Operational = 3,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GetResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) notification: Vec<Notification>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SetRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) prefix: Option<Path>,
    #[prost(message, repeated, tag = "2")]
    pub(super) delete: Vec<Path>,
    #[prost(message, repeated, tag = "3")]
    pub(super) replace: Vec<Update>,
    #[prost(message, repeated, tag = "4")]
    pub(super) update: Vec<Update>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SetResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) prefix: Option<Path>,
    #[prost(message, repeated, tag = "2")]
    pub(super) response: Vec<UpdateResult>,
    #[prost(int64, tag = "4")]
    pub(super) timestamp: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct UpdateResult {
    #[prost(message, optional, tag = "2")]
    pub(super) path: Option<Path>,
    #[prost(enumeration = "Operation", tag = "4")]
    pub(super) op: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(super) enum Operation {
    Invalid = 0,
    Delete = 1,
    Replace = 2,
    Update = 3,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SubscribeRequest {
    #[prost(oneof = "Asked", tags = "1, 3")]
    pub(super) request: Option<Asked>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Asked {
    #[prost(message, tag = "1")]
    Subscribe(SubscriptionList),
    #[prost(message, tag = "3")]
    Poll(Poll),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Poll {}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SubscriptionList {
    #[prost(message, optional, tag = "1")]
    pub(super) prefix: Option<Path>,
    #[prost(message, repeated, tag = "2")]
    pub(super) subscription: Vec<Subscription>,
    #[prost(enumeration = "ListMode", tag = "5")]
    pub(super) mode: i32,
    #[prost(enumeration = "Encoding", tag = "8")]
    pub(super) encoding: i32,
    #[prost(bool, tag = "9")]
    pub(super) updates_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(super) enum ListMode {
    Stream = 0,
    Once = 1,
    Poll = 2,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Subscription {
    #[prost(message, optional, tag = "1")]
    pub(super) path: Option<Path>,
    #[prost(enumeration = "SubscriptionMode", tag = "2")]
    pub(super) mode: i32,
    /// In nanoseconds.
    #[prost(uint64, tag = "3")]
    pub(super) sample_interval: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(super) enum SubscriptionMode {
    TargetDefined = 0,
    OnChange = 1,
    Sample = 2,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SubscribeResponse {
    #[prost(oneof = "Told", tags = "1, 3")]
    pub(super) response: Option<Told>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Told {
    #[prost(message, tag = "1")]
    Update(Notification),
    #[prost(bool, tag = "3")]
    SyncResponse(bool),
}
