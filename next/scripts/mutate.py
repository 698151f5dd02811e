#!/usr/bin/env python3
"""Do the rule tests notice a wrong tangent rule?  scripts/mutate.py [first [last]]

Builds the mutants of scripts/mutants.txt into one test binary, in a copy of the workspace: each
expression becomes `match crate::mutant() { 1 => mutant, .., _ => original }`, and the environment says
which one is on. So a run takes one build, and then seconds a mutant. The tests that the list names are
run first, and all of the table if those pass. Prints a line a mutant; exits with 1 if one survives.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DUAL = Path("crates/bilevel-autodiff/src/dual")
SWITCH = """
/// The number of the mutant that is on; 0 for none.
pub(crate) fn mutant() -> usize {
    static ON: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *ON.get_or_init(|| std::env::var("MUTANT").map_or(0, |n| n.parse().unwrap()))
}
"""


def read(path):
    """[(file, function, tests, original, [mutants])], from the list."""
    places, place = [], None
    for line in path.read_text().splitlines():
        mark, _, text = line.partition(" ")
        if mark == "@":
            place = text.split()
        elif mark == "-":
            places.append((*place, text, []))
        elif mark == "+":
            places[-1][4].append(text)
    return places


def span(source, function, original):
    """Where `original` stands in `function`: the first place, which tokens and not spaces decide."""
    start = re.search(rf"fn {re.escape(function)}\b", source)
    if not start:
        sys.exit(f"no function {function}")
    tokens = re.findall(r"\w+|\S", original)
    # A trailing comma before a closing parenthesis belongs to the layout too.
    pattern = r"\s*".join((r",?\s*" if t in ")]}" else "") + re.escape(t) for t in tokens)
    end = re.search(r"\n\s*(pub\(\w+\) )?fn ", source[start.end():])
    stop = start.end() + end.start() if end else len(source)
    found = re.compile(rf"(?<![\w.]){pattern}(?!\w)").search(source, start.end(), stop)
    if not found:
        sys.exit(f"{function} has no `{original}`")
    return found.span()


def mutate(tree, places):
    """Writes all mutants into `tree`; [(number, file, function, tests, original, mutant)]."""
    mutants, edits = [], {}
    for file, function, tests, original, replacements in places:
        path = tree / DUAL / file
        start, stop = span(path.read_text(), function, original)
        arms = ""
        for replacement in replacements:
            mutants.append((len(mutants) + 1, file, function, tests, original, replacement))
            arms += f"{len(mutants)} => {{ {replacement} }} "
        edits.setdefault(path, []).append((start, stop, arms))
    for path, spans in edits.items():
        source = path.read_text()
        for start, stop, arms in sorted(spans, reverse=True):
            original = source[start:stop]
            source = f"{source[:start]}(match crate::mutant() {{ {arms}_ => {{ {original} }} }}){source[stop:]}"
        path.write_text(source)
    lib = tree / DUAL.parent / "lib.rs"
    lib.write_text(lib.read_text() + SWITCH)
    # Cargo tells workspaces apart by their versions: the copy must not pass for the original.
    manifest = tree / "Cargo.toml"
    manifest.write_text(re.sub(r'(?m)^(version = "[^"]*)"', r'\1+mutants"', manifest.read_text()))
    return mutants


def build(tree):
    """The test binary of the rules on flex."""
    command = "cargo test --no-run --message-format=json -p bilevel-autodiff --test rules_flex"
    env = {"CARGO_TARGET_DIR": str(ROOT / "target"), **os.environ}
    done = subprocess.run(command.split(), cwd=tree, env=env, stdout=subprocess.PIPE, text=True)
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode:
        sys.exit("\n".join(m["message"]["rendered"] for m in messages if m.get("message", {}).get("level") == "error"))
    built = next(m["executable"] for m in messages if m.get("executable"))
    return shutil.copy(built, tree / "rules")  # where no other build replaces it


def passes(binary, mutant, *arguments):
    """Whether the tests named pass, and be it that none has the name."""
    env = {**os.environ, "MUTANT": str(mutant), "PROPTEST_FAILURE_PERSISTENCE": "off"}
    try:
        done = subprocess.run([binary, *arguments], env=env, capture_output=True, timeout=300, text=True)
    except subprocess.TimeoutExpired:
        return False  # a rule that does not end
    return done.returncode == 0


def main():
    first, last = (int(a) for a in (sys.argv[1:] + ["1", "100000"][len(sys.argv) - 1:])[:2])
    with tempfile.TemporaryDirectory() as copy:
        tree = Path(copy) / "tree"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns("target", ".git"))
        mutants = mutate(tree, read(ROOT / "scripts/mutants.txt"))
        binary = build(tree)
        if not passes(binary, 0):
            sys.exit("the tests fail without a mutant")
        chosen = [m for m in mutants if first <= m[0] <= last]
        survivors = []
        for number, file, function, tests, original, mutant in chosen:
            killed = not passes(binary, number, tests) or not passes(binary, number)
            if not killed:
                survivors.append(number)
            print(f"{number:4} {'killed' if killed else 'SURVIVED'}  {file} {function}: {original} -> {mutant}", flush=True)
    print(f"{len(chosen)} of {len(mutants)} mutants run, {len(chosen) - len(survivors)} killed, survivors: {survivors}")
    sys.exit(bool(survivors))


if __name__ == "__main__":
    main()
