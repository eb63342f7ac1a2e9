#!/bin/sh
# The walls between our own crates, and what deny.toml cannot say because it only sees direct parents: what a crate
# must not reach at all, however long the way. A list here grows by decision; a name that nothing needs any more leaves it.
set -eu
cd -- "$(dirname -- "$0")/.."

# Who may depend on whom, as ARCHITECTURE.md draws it. tok-tests judges from outside: it knows the model, the store, and
# tok-api as every program may that calls tokd; never a door.
arrows='
tok-store tok-model
tok-api tok-model
tokd tok-model
tokd tok-store
tokd tok-api
tok tok-model
tok tok-api
git-credential-tok tok-model
tok-tests tok-model
tok-tests tok-store
tok-tests tok-api
'

# Everything that tok-model may be made of: arithmetic, digests, text. No input, no output, no runtime.
model='
block-buffer cfg-if chrono cmov const-oid cpufeatures crc32fast crypto-common ctutils digest getrandom hmac
hybrid-array libc num-traits rand rand_core secrecy serde serde_core sha2 thiserror typenum uuid zeroize
'

# What git-credential-tok may have on top of the model: the system calls it makes itself.
helper="$model tok-model rustix bitflags linux-raw-sys"

failures=0
fail() {
    printf 'wall: %s\n' "$*" >&2
    failures=$((failures + 1))
}

# tree CRATE ARGS: the names of what CRATE depends on, one a line. A cargo that cannot answer ends the script: no
# wall stands because nobody looked.
tree() {
    found=$(cargo tree --quiet --locked --prefix none --format '{p}' --package "$@") || exit 1
    printf '%s\n' "$found" | cut -d ' ' -f 1 | sort -u | sed "/^$1\$/d; /^$/d"
}

# words LIST: one a line, sorted.
words() {
    printf '%s\n' "$1" | tr -s ' \n' '\n' | sed '/^$/d' | sort -u
}

# made_of CRATE LIST: everything linked into CRATE is in LIST, and LIST names nothing else.
made_of() {
    reached=$(tree "$1" --edges normal,no-proc-macro)
    for name in $reached; do
        words "$2" | grep -qxF -- "$name" ||
            fail "$1 now reaches '$name': see 'cargo tree -p $1 -i $name'; if it belongs there, add it to tests/walls.sh"
    done
    for name in $(words "$2"); do
        printf '%s\n' "$reached" | grep -qxF -- "$name" || fail "$1 no longer reaches '$name': take it off its list in tests/walls.sh"
    done
}

# never CRATE NAME...: CRATE reaches none of these, at any distance.
never() {
    reached=$(tree "$1" --edges normal)
    crate=$1
    shift
    for name in "$@"; do
        if printf '%s\n' "$reached" | grep -qxF -- "$name"; then
            fail "$crate must never reach '$name': see 'cargo tree -p $crate -i $name'"
        fi
    done
}

# Every arrow that is there must be one that was drawn.
ours=$(cargo tree --quiet --locked --workspace --depth 0 --prefix none --format '{p}') || exit 1
ours=$(printf '%s\n' "$ours" | cut -d ' ' -f 1 | sed '/^$/d' | sort -u)
for crate in $ours; do
    targets=$(tree "$crate" --edges normal,build,dev --depth 1)
    for target in $targets; do
        printf '%s\n' "$ours" | grep -qxF -- "$target" || continue
        printf '%s\n' "$arrows" | grep -qxF -- "$crate $target" ||
            fail "$crate -> $target is not one of the arrows between our crates"
    done
done

made_of tok-model "$model"
made_of git-credential-tok "$helper"
never tok-store tokio mio futures-util hyper axum tonic prost interprocess clap tok-api
never tok-api diesel pq-sys r2d2 clap argon2 moka tok-store
never tok diesel diesel_migrations pq-sys r2d2 argon2 moka tok-store

if [ "$failures" -gt 0 ]; then
    printf 'walls: %s broken\n' "$failures" >&2
    exit 1
fi
echo "walls ok: $(words "$ours" | wc -l) crates, $(printf '%s' "$arrows" | grep -c .) arrows"
