//! Generates the code of the protocol. `protox` compiles the `.proto` files, so no `protoc` is
//! needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let cluster = protox::compile(["cluster.proto"], ["proto"])?;
    tonic_prost_build::configure().compile_fds(cluster)?;
    let etcd = protox::compile(["etcd.proto"], ["proto"])?;
    tonic_prost_build::configure().build_server(false).compile_fds(etcd)?;
    Ok(())
}
