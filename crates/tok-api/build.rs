//! Compiles the proto files with protox, so that nobody needs protoc, and keeps their descriptors for reflection.

use std::error::Error;
use std::path::PathBuf;

use prost::Message as _;

const FILES: [&str; 4] = ["tok/v1/common.proto", "tok/v1/tokens.proto", "tok/v1/identity.proto", "tok/v1/audit.proto"];

/// Messages that carry a token's text: their `Debug` is written by hand (`src/wire.rs`) and hides it.
const SECRET: [&str; 2] = [".tok.v1.CreateTokenReply", ".tok.v1.CheckTokenRequest"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let target = PathBuf::from(std::env::var("OUT_DIR")?).join("tok_v1_descriptors.bin");
    std::fs::write(target, descriptors.encode_to_vec())?;
    tonic_prost_build::configure().emit_rerun_if_changed(false).skip_debug(SECRET).compile_fds(descriptors)?;
    Ok(())
}
