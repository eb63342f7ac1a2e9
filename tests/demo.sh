#!/bin/sh
# Shows the main job with real git: push, clone and fetch through git-credential-tok, tokd and PostgreSQL.
#
#   tests/demo.sh [--keep]     --keep leaves everything running and says how to go on and how to stop it
#
# All of it, HOME too, lives in one temporary directory. It stops what it started and removes that directory at its end.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
keep=
for argument in "$@"; do
    case $argument in
        --keep) keep=yes ;;
        -h | --help)
            sed -n '2,7s/^# \{0,1\}//p' "$0"
            exit 0
            ;;
        *)
            echo "demo: unknown argument $argument (there is only --keep)" >&2
            exit 2
            ;;
    esac
done

if [ -n "${TOK_TEST_BIN_DIR:-}" ]; then
    bin=$TOK_TEST_BIN_DIR
else
    (cd -- "$here" && cargo build --workspace --locked --bins --examples --quiet)
    bin=${CARGO_TARGET_DIR:-$here/target}/debug
fi
for program in tokd tok git-credential-tok; do
    [ -x "$bin/$program" ] || {
        echo "demo: $bin/$program is missing: run 'just build' first" >&2
        exit 1
    }
done

began=$(date +%s)
root=$(mktemp -d "${TMPDIR:-/tmp}/tok-demo.XXXXXX")
daemon=
finish() {
    code=$?
    trap - EXIT HUP INT TERM
    [ "$code" -eq 0 ] || [ ! -s "$root/tokd.log" ] || {
        echo
        echo "demo: something went wrong; tokd's last words:" >&2
        tail -n 15 "$root/tokd.log" >&2
    }
    if [ -n "$keep" ] && [ "$code" -eq 0 ]; then exit 0; fi
    if [ -n "$daemon" ]; then
        kill "$daemon" 2>/dev/null || :
        wait "$daemon" || :
    fi
    rm -rf -- "$root"
    exit "$code"
}
trap finish EXIT
trap 'exit 130' HUP INT TERM

# A home of its own, and nothing from outside that would change what git and tok do.
mkdir "$root/home" "$root/trees"
HOME=$root/home
XDG_CONFIG_HOME=$HOME/.config
TOK_SOCKET=$root/data/tokd.sock
GIT_CONFIG_NOSYSTEM=1
# A prompt would be a failure, so there is none.
GIT_TERMINAL_PROMPT=0
NO_COLOR=1
PATH=$bin:$PATH
export HOME XDG_CONFIG_HOME TOK_SOCKET GIT_CONFIG_NOSYSTEM GIT_TERMINAL_PROMPT NO_COLOR PATH
unset TOK_TOKEN TOK_SERVER TOK_USER TOK_OUTPUT GIT_ASKPASS SSH_ASKPASS GIT_DIR GIT_WORK_TREE XDG_RUNTIME_DIR || :
git config --global user.name "Alice"
git config --global user.email "alice@example.com"
git config --global init.defaultBranch main
git config --global gc.auto 0

# `tokd dev` makes a user of whoever starts it; the demo's is another.
alice=alice
[ "$(id -un)" != alice ] || alice=ann

number=0
step() {
    number=$((number + 1))
    printf '\n%s. %s\n' "$number" "$*"
}
say() { printf '   %s\n' "$*"; }
indent() { sed 's/^/   /'; }
# Shows a command and runs it, its output indented.
run() {
    printf '   $ %s\n' "$*"
    if "$@" >"$root/said" 2>&1; then indent <"$root/said"; else
        code=$?
        indent <"$root/said"
        return "$code"
    fi
}
as_alice() { TOK_USER=$alice "$@"; }

# Each git token that nobody was told of yet: its beginning, what it is for, how long it lives.
: >"$root/known"
minted() {
    as_alice tok token list --kind git --state active --limit 100 --output json >"$root/listed"
    awk -F '"' '
        $2 == "id" { id = $4 }
        $2 == "token_prefix" { prefix = $4 }
        $2 == "permission" { permission = $4 }
        listed { repo = $2; listed = 0 }
        $2 == "repo_allowlist" { listed = 1 }
        $2 == "created_at" { from = $4 }
        $2 == "expires_at" {
            split(substr(from, 12, 8), a, ":"); split(substr($4, 12, 8), b, ":")
            seconds = (b[1] - a[1]) * 3600 + (b[2] - a[2]) * 60 + b[3] - a[3]
            if (seconds < 0) seconds += 86400
            printf "%s %s... may %s %s, for %d minutes\n", id, prefix, permission, repo, seconds / 60
        }' "$root/listed" >"$root/tokens"
    new=$(grep -v -F -f "$root/known" "$root/tokens" || :)
    cut -d ' ' -f 1 "$root/tokens" >>"$root/known"
    if [ -n "$new" ]; then
        printf '%s\n' "$new" | while read -r _ words; do say "-> minted: $words"; done
    else
        say "-> nothing minted: the token of before is still good"
    fi
}

echo "tok, shown with real git. Everything is in $root."

step "Start a server: tokd dev makes its own PostgreSQL cluster, keys and first manager"
say "\$ tokd dev --data $root/data --listen 127.0.0.1:0"
: >"$root/ready"
tokd dev --data "$root/data" --listen 127.0.0.1:0 >>"$root/ready" 2>"$root/tokd.log" </dev/null &
daemon=$!
tries=0
until grep -q '^ready ' "$root/ready"; do
    tries=$((tries + 1))
    if [ "$tries" -gt 600 ] || ! kill -0 "$daemon" 2>/dev/null; then
        echo "demo: tokd did not start" >&2
        exit 1
    fi
    sleep 0.1
done
indent <"$root/ready"
url=$(cut -d ' ' -f 2 "$root/ready")
url=${url%/}

step "Make a user and a workspace"
run tok user create "$alice"
run tok workspace create acme
run tok workspace member add acme "$alice" --role writer

step "One command, and git gets its credentials for this server from tok"
run tok git setup "$url"

step "Push a first commit to a repository that does not exist yet, as $alice"
TOK_USER=$alice
export TOK_USER
git init --quiet "$root/trees/first"
cd "$root/trees/first"
echo "hello" >README
git add README
git commit --quiet --message "First commit"
git remote add origin "$url/acme/app.git"
run git push --set-upstream origin main
minted

step "Clone it elsewhere"
cd "$root/trees"
run git clone "$url/acme/app.git" second
minted

step "Push a second commit from there"
cd "$root/trees/second"
echo "and hello again" >>README
git commit --quiet --all --message "Second commit"
run git push
minted

step "Fetch it in the first place"
cd "$root/trees/first"
run git pull --ff-only
minted
[ "$(git rev-parse HEAD)" = "$(git -C "$root/trees/second" rev-parse HEAD)" ]

step "The token for fetching cannot push"
# What git says to a helper when the server asked for reading. The token goes into a file that only we may read.
umask 077
printf '%s\n' protocol=http "host=${url#http://}" path=acme/app.git \
    'wwwauth[]=Basic realm="tok", Bearer realm="tok", scope="repo:read", resource="acme/app"' '' |
    git-credential-tok get | sed -n 's/^password=//p' >"$root/secret"
# shellcheck disable=SC2016 # for the script that it writes
printf '#!/bin/sh\ncase $1 in Username*) echo %s ;; *) cat "%s" ;; esac\n' "$alice" "$root/secret" >"$root/askpass"
chmod 700 "$root/askpass"
say "the helper gives out $(cut -c 1-11 "$root/secret")... again; with it alone, and no helper:"
echo "not with this token" >>README
git commit --quiet --all --message "Third commit"
# An empty helper takes away those before it: git has this token and nothing else.
with_it_alone() {
    GIT_ASKPASS=$root/askpass GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=credential.$url.helper GIT_CONFIG_VALUE_0='' git "$@"
}
printf '   $ git fetch\n'
with_it_alone fetch --quiet && say "works"
printf '   $ git push\n'
if with_it_alone push >"$root/said" 2>&1; then
    say "the push went through, and it should not have"
    exit 1
fi
indent <"$root/said"
say "through the helper, with the token for it:"
run git push
minted

step "Revoked tokens are replaced without a prompt"
# shellcheck disable=SC2046 # the IDs are words
tok token revoke --force $(cut -d ' ' -f 1 "$root/tokens") >"$root/said" 2>&1
indent <"$root/said"
run git fetch
minted

step "All of $alice's tokens"
# Uses are written in batches; the last one is due within a second.
tries=0
until TOK_USER='' tok audit --limit 1 --output json | grep -q '"git_command": "upload-pack"' || [ "$tries" -ge 50 ]; do
    tries=$((tries + 1))
    sleep 0.1
done
tok token list --limit 100 | indent

step "The audit trail, in the order in which it happened"
unset TOK_USER
tok audit --oldest-first --limit 100 | indent

printf '\nDone in %s s. No prompt, no password, and no token lives longer than it is needed.\n' "$(($(date +%s) - began))"
if [ -n "$keep" ]; then
    cat <<EOF

It goes on running (process $daemon). In a shell of your own:

    export PATH="$bin:\$PATH" HOME=$HOME TOK_SOCKET=$TOK_SOCKET TOK_USER=$alice
    git clone $url/acme/app.git $root/trees/third
    tok token list
    tok token create "my laptop" --expires 30d --scopes repo:read
    TOK_USER='' tok status
    TOK_USER='' tok audit --since 10m

To end it:

    kill $daemon && rm -rf $root
EOF
fi
