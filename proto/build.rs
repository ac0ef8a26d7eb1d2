//! Generates types and stubs with protox, a protobuf compiler in Rust, so that no `protoc` is needed.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

const PUBLIC: [&str; 4] = [
    "tollgate/v1/permit.proto",
    "tollgate/v1/resource.proto",
    "tollgate/v1/plan.proto",
    "tollgate/v1/cluster.proto",
];
const PRIVATE: [&str; 1] = ["tollgate/peer/v1/peer.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=tollgate");
    let out = PathBuf::from(env::var("OUT_DIR")?);

    // Reflection shows the public API alone.
    fs::write(out.join("public_descriptor.bin"), protox::compile(PUBLIC, ["."])?.encode_to_vec())?;

    let all = protox::compile(PUBLIC.iter().chain(&PRIVATE), ["."])?;
    tonic_prost_build::configure()
        .bytes(".tollgate.peer.v1")
        .btree_map(".tollgate.v1")
        // Rare, and large beside the other answers.
        .boxed(".tollgate.v1.DeniedPermit.circuit")
        .boxed(".tollgate.v1.DeniedPermit.pace")
        .compile_fds(all)?;
    Ok(())
}
