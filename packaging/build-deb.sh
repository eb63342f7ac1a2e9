#!/bin/sh
# packaging/build-deb.sh [--no-build] [--output DIR]: one .deb with the daemon, the CLI and the helper, in target/package.
#
#   --no-build          package the binaries that are there
#   --output DIR        where to put it, instead of target/package
#   TOK_PACKAGE_PROFILE a cargo profile for all three binaries ("dev" is quick) instead of the ones that are shipped:
#                       release, and for the helper its own
#   SOURCE_DATE_EPOCH   the time written into everything; by default that of the last commit
#   DEBFULLNAME, DEBEMAIL  who maintains the package
#
# The last line it prints is the package's path. The same sources and tools give the same bytes: every time is
# SOURCE_DATE_EPOCH, every owner root, and no path of this machine gets into a shipped binary.
#
# It works with dpkg-deb and not with cargo-deb, because one package of three crates, each with a profile of its own, is
# what cargo-deb does not do; it would also be one more tool to install, to replace the page of shell below.
set -eu

called_from=$PWD
here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd -- "$here"
umask 022
LC_ALL=C
export LC_ALL

say() { printf 'build-deb: %s\n' "$*" >&2; }
die() {
    say "$*"
    exit 1
}

build=yes
output=
while [ $# -gt 0 ]; do
    case $1 in
        --no-build) build= ;;
        --output)
            [ $# -gt 1 ] || die "--output needs a directory"
            output=$2
            shift
            ;;
        *) die "unknown argument '$1': it takes --no-build and --output DIR" ;;
    esac
    shift
done

for tool in cargo dpkg-deb dpkg-shlibdeps gzip strip; do
    [ "$tool" != cargo ] || [ -n "$build" ] || continue
    command -v "$tool" >/dev/null || die "$tool is missing: './dev package' installs what is needed (Debian or Ubuntu only)"
done

target=${CARGO_TARGET_DIR:-target}
case $output in
    '') output=$target/package ;;
    /*) ;;
    *) output=$called_from/$output ;;
esac
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version *= *"\(.*\)"/\1/p' Cargo.toml)
[ -n "$version" ] || die "Cargo.toml names no version"
# A pre-release comes before its release: 1.0.0-rc.1 is Debian's 1.0.0~rc.1.
version=$(printf '%s' "$version" | tr - '~')
architecture=$(dpkg --print-architecture)
maintainer="${DEBFULLNAME:-The tok authors} <${DEBEMAIL:-tok@example.com}>"
# Without a commit yet, as in an export of the sources: the time of the workspace's own file.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y Cargo.toml)}
export SOURCE_DATE_EPOCH

# ---- the binaries -------------------------------------------------------------------------------------------------------

profile=${TOK_PACKAGE_PROFILE:-release}
helper_profile=${TOK_PACKAGE_PROFILE:-helper}
# What is shipped is built with flags of its own; in a directory of its own, other builds need not start over.
[ -n "${TOK_PACKAGE_PROFILE:-}" ] || target=$target/package/build
# Cargo's directory for its profile "dev" is called otherwise.
directory() { [ "$1" = dev ] && echo "$target/debug" || echo "$target/$1"; }

build() { cargo build --locked --target-dir "$target" --profile "$@"; }
if [ -n "$build" ] && [ -n "${TOK_PACKAGE_PROFILE:-}" ]; then
    build "$profile" --package tokd --package tok --package git-credential-tok
elif [ -n "$build" ]; then
    # Panics name their source files: where this machine keeps them is nobody's business.
    RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo --remap-path-prefix=$here=/tok"
    export RUSTFLAGS
    build "$profile" --package tokd --package tok
    # As the justfile's recipe `helper` does: started thousands of times a day, it must not look for libraries each time.
    cargo rustc --locked --target-dir "$target" --profile "$helper_profile" \
        --package git-credential-tok --bin git-credential-tok -- -C target-feature=+crt-static
fi

# ---- the files ----------------------------------------------------------------------------------------------------------

mkdir -p -- "$output"
work=$(mktemp -d "$output/.building.XXXXXX")
trap 'rm -rf -- "$work"' EXIT
trap 'exit 1' HUP INT TERM
# dpkg-shlibdeps knows a package by this shape.
stage=$work/debian/tok
mkdir -p "$stage/DEBIAN"

# put MODE FROM TO: TO is a path in the installed system
put() { install -D -m "$1" -- "$2" "$stage$3"; }
# put_compressed FROM TO: without the name and time of the original, which would differ from build to build
put_compressed() {
    mkdir -p -- "$(dirname -- "$stage$2")"
    gzip -9n <"$1" >"$stage$2"
}

put 755 "$(directory "$profile")/tokd" /usr/bin/tokd
put 755 "$(directory "$profile")/tok" /usr/bin/tok
put 755 "$(directory "$helper_profile")/git-credential-tok" /usr/bin/git-credential-tok
strip --strip-all --remove-section=.comment --remove-section=.note -- "$stage"/usr/bin/*

put 644 config/tokd.toml /etc/tok/tokd.toml
put 644 packaging/tokd.service /usr/lib/systemd/system/tokd.service
put 644 packaging/systemd-user/tok-agent.service /usr/lib/systemd/user/tok-agent.service
put 644 packaging/systemd-user/tok-agent.socket /usr/lib/systemd/user/tok-agent.socket
put 644 packaging/sysusers.d/tok.conf /usr/lib/sysusers.d/tok.conf
put 644 packaging/debian/copyright /usr/share/doc/tok/copyright

for page in packaging/man/*.[1-8]; do
    put_compressed "$page" "/usr/share/man/man${page##*.}/${page##*/}.gz"
done

# What the CLI says about itself better than a file here could.
cli=$stage/usr/bin/tok
# completions SHELL TO
completions() {
    mkdir -p -- "$stage${2%/*}"
    env -i "$cli" completions "$1" >"$stage$2"
    [ -s "$stage$2" ] || die "'tok completions $1' printed nothing"
}
completions bash /usr/share/bash-completion/completions/tok
completions zsh /usr/share/zsh/vendor-completions/_tok
completions fish /usr/share/fish/vendor_completions.d/tok.fish
mkdir "$work/man"
env -i "$cli" internal-reference --man "$work/man"
[ -s "$work/man/tok.1" ] || die "'tok internal-reference --man' wrote no tok.1"
for page in "$work"/man/*.1; do
    put_compressed "$page" "/usr/share/man/man1/${page##*/}.gz"
done

{
    printf 'tok (%s) unstable; urgency=medium\n\n' "$version"
    printf '  * Release %s. CHANGELOG.md in the sources says what is new.\n\n' "$version"
    printf ' -- %s  %s\n' "$maintainer" "$(date -u -d "@$SOURCE_DATE_EPOCH" '+%a, %d %b %Y %H:%M:%S +0000')"
} >"$work/changelog"
put_compressed "$work/changelog" /usr/share/doc/tok/changelog.gz

# ---- the package --------------------------------------------------------------------------------------------------------

# ... and reads this.
printf 'Source: tok\n\nPackage: tok\nArchitecture: any\n' >"$work/debian/control"
libraries=$(cd -- "$work" && dpkg-shlibdeps -O debian/tok/usr/bin/*)
libraries=${libraries#shlibs:Depends=}
[ -n "$libraries" ] || die "dpkg-shlibdeps found no library that the binaries need, which cannot be"

size=$(find "$stage" -type f -printf '%s\n' | awk '{ kib += int(($1 + 1023) / 1024) } END { print kib }')

# fill NAME VALUE: a command for sed
fill() { printf 's/@%s@/%s/\n' "$1" "$(printf '%s' "$2" | sed 's/[\/&]/\\&/g')"; }
{
    fill VERSION "$version"
    fill ARCHITECTURE "$architecture"
    fill MAINTAINER "$maintainer"
    fill SIZE "$size"
    fill LIBRARIES "$libraries"
} >"$work/fill.sed"
sed -f "$work/fill.sed" packaging/debian/control >"$stage/DEBIAN/control"
(cd -- "$stage" && find etc -type f -printf '/%p\n' | sort) >"$stage/DEBIAN/conffiles"
(cd -- "$stage" && find etc usr -type f | sort | xargs md5sum --) >"$stage/DEBIAN/md5sums"
for script in postinst prerm postrm; do
    install -m 755 "packaging/debian/$script" "$stage/DEBIAN/$script"
done
find "$stage" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" -- {} +

package=$output/tok_${version}_$architecture.deb
# One thread: several would cut the data into blocks by their number. A build for tests need not be small.
compression='-Zxz --threads-max=1'
[ "$profile" != dev ] || compression='-Zgzip -z1'
# shellcheck disable=SC2086 # two options
dpkg-deb $compression --root-owner-group --build "$stage" "$work/package.deb" >&2
mv -f -- "$work/package.deb" "$package"
echo "$package"
