#!/usr/bin/env python3
"""Do the tests notice a wrong formula?  scripts/mutate.py [--jobs N] [--built FOLDER] LIST [first [last]]

Builds the mutants of a list (scripts/mutants.txt, scripts/mutants-core.txt) into the test binaries that it
names, in a copy of the workspace: each expression becomes `match crate::mutant() { 1 => mutant, ..,
_ => original }`, and the environment says which one is on. So a run takes one build, and then seconds a
mutant. The tests that the list names are run first, and all of the binaries if those pass. A mutant is
killed by a test that fails, or that takes five times the time it takes without. Prints a line a mutant;
exits with 1 if one survives.
"""
import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
# In a place of their own, so that no build or test of the repository finds a mutant.
MUTANTS = TARGET / "mutants"
SWITCH = """
/// The number of the mutant that is on; 0 for none.
pub(crate) fn mutant() -> usize {
    static ON: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *ON.get_or_init(|| std::env::var("MUTANT").map_or(0, |n| n.parse().unwrap()))
}
"""


def read(path):
    """(crate, root, binaries) and [(file, function, tests, original, [mutants])], from the list."""
    target, places, place = None, [], None
    for line in path.read_text().splitlines():
        mark, _, text = line.partition(" ")
        if mark == "!":
            crate, root, *binaries = text.split()
            target = (crate, root, binaries)
        elif mark == "@":
            place = text.split()
        elif mark == "-":
            places.append((*place, text, []))
        elif mark == "+":
            places[-1][4].append(text)
    return target, places


def function_in(source, name):
    """Where the body of a function begins and ends, by `name` or `Type::name`."""
    within, _, name = name.rpartition("::")
    blocks = [(0, len(source))]
    if within:
        heads = re.finditer(rf"\nimpl\b[^{{]*\b{re.escape(within)}\b[^{{]*{{", source)
        blocks = [(head.end(), source.find("\n}", head.end())) for head in heads]
    for begin, stop in blocks:
        start = re.compile(rf"fn {re.escape(name)}\b").search(source, begin, stop)
        if start:
            end = re.compile(r"\n\s*(pub(\(\w+\))? )?fn ").search(source, start.end(), stop)
            return start.end(), end.start() if end else stop
    sys.exit(f"no function {name} in {within or 'the file'}")


def span(source, function, original):
    """Where `original` stands in `function`: the first place, which tokens and not spaces decide."""
    tokens = re.findall(r"\w+|\S", original)
    # A trailing comma before a closing parenthesis belongs to the layout too.
    pattern = r"\s*".join((r",?\s*" if t in ")]}" else "") + re.escape(t) for t in tokens)
    found = re.compile(rf"(?<![\w.]){pattern}(?!\w)").search(source, *function_in(source, function))
    if not found:
        sys.exit(f"{function} has no `{original}`")
    return found.span()


def mutate(tree, crate, root, places):
    """Writes all mutants into `tree`."""
    number, edits = 0, {}
    base = tree / "crates" / crate
    for file, function, _, original, replacements in places:
        path = base / root / file
        start, stop = span(path.read_text(), function, original)
        arms = ""
        for replacement in replacements:
            number += 1
            arms += f"{number} => {{ {replacement} }} "
        edits.setdefault(path, []).append((start, stop, arms))
    for path, spans in edits.items():
        source = path.read_text()
        end = len(source)
        for start, stop, arms in sorted(spans, reverse=True):
            original = source[start:stop]
            if stop > end:
                sys.exit(f"{path.name}: `{original}` is in two places of the list")
            end = start
            source = f"{source[:start]}(match crate::mutant() {{ {arms}_ => {{ {original} }} }}){source[stop:]}"
        path.write_text(source)
    lib = base / "src/lib.rs"
    lib.write_text(lib.read_text() + SWITCH)


def build(tree, binaries, folder):
    """The test binaries, in `folder`, where no other build replaces them."""
    command = "cargo test --workspace --no-run --message-format=json".split()
    command += [word for binary in binaries for word in ("--test", binary)]
    # Those of the repository, of which a copy at another place takes Burn, and no crate of the workspace.
    env = {**os.environ, "CARGO_TARGET_DIR": str(TARGET)}
    done = subprocess.run(command, cwd=tree, env=env, stdout=subprocess.PIPE, text=True)
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode:
        sys.exit("\n".join(m["message"]["rendered"] for m in messages if m.get("message", {}).get("level") == "error"))
    built = {m["target"]["name"]: m["executable"] for m in messages if m.get("executable")}
    folder.mkdir(exist_ok=True)
    for binary in binaries:
        shutil.copy(built[binary], folder)
        os.replace(folder / Path(built[binary]).name, folder / binary)


def failing(binary, mutant, tests, seconds):
    """The first of the tests named that fails, None if all pass; it may be that none has the name."""
    env = {**os.environ, "MUTANT": str(mutant), "PROPTEST_FAILURE_PERSISTENCE": "off"}

    def limit():
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_DATA, (8 << 30, 8 << 30))

    with subprocess.Popen([binary, *tests], env=env, cwd=binary.parent, preexec_fn=limit, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        for line in process.stdout:
            failed = re.match(r"test (.*) \.\.\. FAILED", line)
            if failed:
                process.kill()
                return failed[1]
        process.wait()
    return None if process.returncode == 0 else f"the end of {binary.name} by {process.returncode}"


def killer(binaries, mutant, tests, seconds):
    """What notices a mutant."""
    for names in ([tests], []):
        for binary in binaries:
            found = failing(binary, mutant, names, seconds[binary])
            if found:
                return found
    return None


def main():
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--jobs", type=int, default=1)
    arguments.add_argument("--built", type=Path, help="a folder with the test binaries of an earlier run")
    arguments.add_argument("list", type=Path)
    arguments.add_argument("first", type=int, nargs="?", default=1)
    arguments.add_argument("last", type=int, nargs="?", default=100_000)
    chosen = arguments.parse_args()
    (crate, root, names), places = read(chosen.list)
    folder = chosen.built or MUTANTS / "built"
    if not chosen.built:
        tree = MUTANTS / "source"
        shutil.rmtree(tree, ignore_errors=True)
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns("target", ".git"))
        mutate(tree, crate, root, places)
        build(tree, names, folder)
    binaries = [folder / name for name in names]
    mutants = [(*place, original, mutant) for *place, original, all in places for mutant in all]
    run = [m for m in enumerate(mutants, 1) if chosen.first <= m[0] <= chosen.last]
    seconds = {}
    for binary in binaries if run else []:
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        if failing(binary, 0, [], 3600):
            sys.exit(f"{binary.name} fails without a mutant")
        seconds[binary] = 10 + 5 * int(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before)
    survivors = []
    with ThreadPoolExecutor(chosen.jobs) as pool:
        found = pool.map(lambda m: killer(binaries, m[0], m[1][2], seconds), run)
        for (number, (file, function, _, original, mutant)), by in zip(run, found):
            survivors += [] if by else [number]
            fate = f"killed by {by}" if by else "SURVIVED"
            print(f"{number:4} {fate}  {file} {function}: {original} -> {mutant}", flush=True)
    print(f"{len(run)} of {len(mutants)} mutants run, {len(run) - len(survivors)} killed, survivors: {survivors}")
    sys.exit(bool(survivors))


if __name__ == "__main__":
    main()
