//! Tollgate's wire, generated from the `.proto` files beside this crate, which are its manual.

#![allow(
    clippy::doc_lazy_continuation,
    reason = "the comments of .proto files are indented in their own way"
)]

/// The public API.
pub mod v1 {
    tonic::include_proto!("tollgate.v1");

    /// The encoded descriptor set of the public API, for gRPC reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/public_descriptor.bin"));
}

/// What nodes say to each other. Private to the server.
pub mod peer {
    /// The only version so far.
    pub mod v1 {
        tonic::include_proto!("tollgate.peer.v1");
    }
}
