//! Compiles the proto files with protox, so that nobody needs protoc, and keeps their descriptors for reflection.

use std::error::Error;
use std::path::PathBuf;

use prost::Message as _;

const FILES: [&str; 7] = [
    "tok/v1/common.proto",
    "tok/v1/tokens.proto",
    "tok/v1/authorization.proto",
    "tok/v1/identity.proto",
    "tok/v1/audit.proto",
    "tok/v1/session.proto",
    "tok/v1/trust.proto",
];

/// The agent's own, which no server has: it is compiled apart, so that no server's reflection shows it.
const AGENT: [&str; 1] = ["tok/agent/v1/agent.proto"];

/// Messages that carry a secret: their `Debug` is written by hand (`src/wire.rs`) and hides it.
const SECRET: [&str; 17] = [
    ".tok.v1.CreateTokenRequest",
    ".tok.v1.CreateTokenReply",
    ".tok.v1.RotateTokenRequest",
    ".tok.v1.RotateTokenReply",
    ".tok.v1.RevokeSecretRequest",
    ".tok.v1.ImportTokensRequest",
    ".tok.v1.CheckTokenRequest",
    ".tok.v1.IntrospectRequest",
    ".tok.v1.SetPasswordRequest",
    ".tok.v1.StartDeviceReply",
    ".tok.v1.PollDeviceRequest",
    ".tok.v1.OpenSessionRequest",
    ".tok.v1.OpenSessionReply",
    ".tok.v1.MintGitReply",
    ".tok.v1.CheckIdentityRequest",
    ".tok.v1.ExchangeRequest",
    ".tok.v1.ExchangeReply",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let target = PathBuf::from(std::env::var("OUT_DIR")?).join("tok_v1_descriptors.bin");
    std::fs::write(target, descriptors.encode_to_vec())?;
    tonic_prost_build::configure().emit_rerun_if_changed(false).skip_debug(SECRET).compile_fds(descriptors)?;
    let agent = protox::compile(AGENT, ["proto"])?;
    tonic_prost_build::configure().emit_rerun_if_changed(false).compile_fds(agent)?;
    Ok(())
}
