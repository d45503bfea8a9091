//! The messages of gNMI that are used, by hand.
//!
//! Source: openconfig/gnmi, `proto/gnmi/gnmi.proto`, version 0.8.

use std::collections::HashMap;

use prost::{Message, Oneof};

/// Asks what the target can do.
#[derive(Clone, PartialEq, Message)]
pub(super) struct CapabilityRequest {}

/// What the target can do.
#[derive(Clone, PartialEq, Message)]
pub(super) struct CapabilityResponse {
    #[prost(message, repeated, tag = "1")]
    pub supported_models: Vec<ModelData>,
    #[prost(int32, repeated, tag = "2")]
    pub supported_encodings: Vec<i32>,
    #[prost(string, tag = "3")]
    pub version: String,
}

/// A YANG module.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ModelData {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub organization: String,
    #[prost(string, tag = "3")]
    pub version: String,
}

/// Values are JSON.
pub(super) const JSON: i32 = 0;
/// Values are JSON by RFC 7951.
pub(super) const JSON_IETF: i32 = 4;

/// A place in the tree.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Path {
    #[prost(string, tag = "2")]
    pub origin: String,
    #[prost(message, repeated, tag = "3")]
    pub elem: Vec<PathElem>,
    #[prost(string, tag = "4")]
    pub target: String,
}

/// A step to a place.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PathElem {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(map = "string, string", tag = "2")]
    pub key: HashMap<String, String>,
}

/// A value.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TypedValue {
    #[prost(oneof = "Typed", tags = "1, 2, 3, 4, 8, 10, 11, 12, 14")]
    pub value: Option<Typed>,
}

/// The kinds of values.
#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Typed {
    #[prost(string, tag = "1")]
    String(String),
    #[prost(int64, tag = "2")]
    Int(i64),
    #[prost(uint64, tag = "3")]
    Uint(u64),
    #[prost(bool, tag = "4")]
    Bool(bool),
    #[prost(message, tag = "8")]
    LeafList(ScalarArray),
    #[prost(bytes = "vec", tag = "10")]
    Json(Vec<u8>),
    #[prost(bytes = "vec", tag = "11")]
    JsonIetf(Vec<u8>),
    #[prost(string, tag = "12")]
    Ascii(String),
    #[prost(double, tag = "14")]
    Double(f64),
}

/// Several values.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ScalarArray {
    #[prost(message, repeated, tag = "1")]
    pub element: Vec<TypedValue>,
}

/// A value at a place.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Update {
    #[prost(message, optional, tag = "1")]
    pub path: Option<Path>,
    #[prost(message, optional, tag = "3")]
    pub val: Option<TypedValue>,
    #[prost(uint32, tag = "4")]
    pub duplicates: u32,
}

/// Values at one time.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Notification {
    #[prost(int64, tag = "1")]
    pub timestamp: i64,
    #[prost(message, optional, tag = "2")]
    pub prefix: Option<Path>,
    #[prost(message, repeated, tag = "4")]
    pub update: Vec<Update>,
    #[prost(message, repeated, tag = "5")]
    pub delete: Vec<Path>,
    #[prost(bool, tag = "6")]
    pub atomic: bool,
}

/// Only what is configured.
pub(super) const CONFIG: i32 = 1;
/// Only what is so.
pub(super) const STATE: i32 = 2;

/// Asks for values.
#[derive(Clone, PartialEq, Message)]
pub(super) struct GetRequest {
    #[prost(message, optional, tag = "1")]
    pub prefix: Option<Path>,
    #[prost(message, repeated, tag = "2")]
    pub path: Vec<Path>,
    #[prost(int32, tag = "3")]
    pub data_type: i32,
    #[prost(int32, tag = "5")]
    pub encoding: i32,
}

/// The values.
#[derive(Clone, PartialEq, Message)]
pub(super) struct GetResponse {
    #[prost(message, repeated, tag = "1")]
    pub notification: Vec<Notification>,
}

/// A change, made as a whole: first what is deleted, then what is replaced, then what is updated.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SetRequest {
    #[prost(message, optional, tag = "1")]
    pub prefix: Option<Path>,
    #[prost(message, repeated, tag = "2")]
    pub delete: Vec<Path>,
    #[prost(message, repeated, tag = "3")]
    pub replace: Vec<Update>,
    #[prost(message, repeated, tag = "4")]
    pub update: Vec<Update>,
}

/// It was made.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SetResponse {
    #[prost(int64, tag = "4")]
    pub timestamp: i64,
}

/// What is to be told, and when.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SubscribeRequest {
    #[prost(message, optional, tag = "1")]
    pub subscribe: Option<SubscriptionList>,
}

/// Subscriptions of one kind; mode 0 is a stream.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SubscriptionList {
    #[prost(message, optional, tag = "1")]
    pub prefix: Option<Path>,
    #[prost(message, repeated, tag = "2")]
    pub subscription: Vec<Subscription>,
    #[prost(int32, tag = "5")]
    pub mode: i32,
    #[prost(int32, tag = "8")]
    pub encoding: i32,
}

/// On each change.
pub(super) const ON_CHANGE: i32 = 1;

/// One subscription.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Subscription {
    #[prost(message, optional, tag = "1")]
    pub path: Option<Path>,
    #[prost(int32, tag = "2")]
    pub mode: i32,
}

/// What is told.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SubscribeResponse {
    #[prost(message, optional, tag = "1")]
    pub update: Option<Notification>,
    /// All that there was at first has been told.
    #[prost(bool, tag = "3")]
    pub sync_response: bool,
}
