//! New migration files change no Rust source, so the embedding macro has to be told.

fn main() {
    println!("cargo::rerun-if-changed=../../migrations");
}
