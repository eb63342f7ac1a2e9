# `./dev RECIPE` installs what a recipe needs and runs it; with everything in place, `just RECIPE` does the same.

set positional-arguments

# Half of what a test does is to wait for somebody: two at a time for each processor keep them busy.
export RUST_TEST_THREADS := env('RUST_TEST_THREADS', `echo $((2 * $(getconf _NPROCESSORS_ONLN)))`)

[private]
default:
    @just --justfile '{{ justfile() }}' --list --unsorted

# Everything that must hold: format, lints, docs, walls, and every test
test: fmt-check lint doc deny walls openapi build typescript browser
    cargo test --workspace --locked --doc
    cargo test --workspace --locked --tests --no-fail-fast

# The quick look while writing: format and lints
check: fmt-check lint

# Unit and property tests only: no servers, a few seconds once built
unit *ARGS:
    cargo test --workspace --locked --lib --bins -- "$@"

# Real PostgreSQL, daemon, helper and git; ARGS are the test runner's (a filter, --nocapture)
e2e *ARGS: build typescript browser
    cargo test --workspace --locked --test it -- "$@"

# Build the three binaries, and the examples: with what the tests ask of their libraries, so that nothing is built twice
build:
    cargo build --workspace --locked --bins --examples

# Build the TypeScript client in clients/typescript, with its packages as they are locked
typescript:
    cd clients/typescript && { [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --no-audit --no-fund --loglevel=error; }
    cd clients/typescript && npm run --silent build

# Clients that others wrote, against a live tokd: they know what /openapi.json and gRPC's reflection say, and no more; ARGS are a seed
clients *ARGS: build
    cd tests/clients/issuer && { [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --no-audit --no-fund --loglevel=error; }
    PYTHONPATH="${TOK_CLIENT_PACKAGES:-}" python3 -B tests/clients/run.py "${CARGO_TARGET_DIR:-target}"/debug "$@"

# Made-up bytes for all that reads the bytes of others on git's way to a token: COUNT of them, of a SEED that was said before
fuzz count='10000000' seed='':
    TOK_FUZZ_COUNT="$1" TOK_FUZZ_SEED="$2" cargo test --locked --profile fuzz --package git-credential-tok --test it -- --nocapture --test-threads 1 fuzz::

# What the console's tests put into its pages, with the packages as they are locked
browser:
    cd tests/browser && { [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --no-audit --no-fund --loglevel=error; }

# Push, clone and fetch through the whole product, shown step by step; --keep leaves it running
demo *ARGS: build
    tests/demo.sh "$@"

# The helper as it is shipped: small, and linked statically, since finding libraries is half of its start; ARGS are cargo's
helper *ARGS:
    cargo rustc --locked --profile helper --package git-credential-tok --bin git-credential-tok "$@" -- -C target-feature=+crt-static

# Measure against the baselines, say which numbers miss their goal, and write bench/latest.json; ARGS are rows, such as 4
bench *ARGS: helper
    cargo build --release --locked --package tokd --package tok --package git-credential-tok
    cargo build --release --locked --package tok-tests --bins
    "${CARGO_TARGET_DIR:-target}"/release/bench --helper "${CARGO_TARGET_DIR:-target}"/helper/git-credential-tok "$@"

# Make the .deb
package *ARGS:
    packaging/build-deb.sh "$@"

# Write what is generated anew: docs/cli.md from the CLI, schema.rs from the migrations, the TypeScript types from docs/openapi.json, docs/openapi.json from the routes, docs/permissions.txt from the tests' table
generate:
    cargo run --locked --package tok -- internal-reference > target/cli.md
    mv target/cli.md docs/cli.md
    TOK_UPDATE=1 cargo test --locked --package tok-store schema
    TOK_UPDATE=1 cargo test --locked --package tokd openapi
    TOK_UPDATE=1 cargo test --locked --package tokd the_committed_list_of_metrics
    TOK_UPDATE=1 cargo test --locked --package tok-tests --test it the_committed_table
    cd clients/typescript && { [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --no-audit --no-fund --loglevel=error; } && npm run --silent generate

# Write all code in the one format
fmt:
    cargo fmt --all

# Clippy over everything; a warning is an error
lint:
    cargo clippy --workspace --all-targets --locked -- -D warnings

# The API's documentation; a broken link is an error
doc:
    RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked

# Who may depend on what, licences and sources of every dependency (deny.toml)
deny:
    cargo-deny --locked check -D unused-wrapper bans licenses sources

# docs/openapi.json, judged by somebody else's validator
openapi:
    openapi-spec-validator docs/openapi.json

# The arrows between our own crates, and what each must never reach
walls:
    tests/walls.sh

[private]
fmt-check:
    cargo fmt --all --check
