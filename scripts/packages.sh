#!/usr/bin/env bash
# Packages every crate that can be published, and checks that it holds its licences and what it embeds. They are not
# built again: their sources are those of the workspace.
set -euo pipefail
cd "$(dirname "$0")/.."

packages="${CARGO_TARGET_DIR:-target}/package"
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
