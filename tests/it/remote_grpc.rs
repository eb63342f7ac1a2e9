//! gRPC on the remote address.
