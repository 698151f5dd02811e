"""Hypergradients of `bilevel`, PyTorch and JAX on the same numbers: time, memory, and how far they agree.

Writes the numbers of each workload to a safetensors file, runs the three in turn, and prints a Markdown table.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

HERE = Path(__file__).resolve().parent


@dataclass
class Row:
    """One line of the table. `remat`: how PyTorch and JAX recompute states on the way back (none, step or sqrt)."""

    workload: str
    method: str
    steps: int
    iterations: int = 0
    damping: float = 0.0
    step_size: float = 0.1
    plan: str = ""
    keep: int = 0
    remat: str = "none"
    repetitions: int = 5
    processes: int = 3

    @property
    def name(self):
        parts = [self.workload, self.method, f"T={self.steps}"]
        if self.iterations:
            parts.append(f"{self.iterations} iterations")
        if self.plan:
            remat = "" if self.remat == "none" else f" remat {self.remat}"
            parts.append(f"plan {self.plan}{remat}")
        return " ".join(parts)


ROWS = [
    Row("softmax", "rad", 10, plan="results"),
    Row("softmax", "cg", 50, iterations=20),
    Row("mlp", "rad", 10, plan="trajectory"),
    Row("mlp", "rad", 10, plan="trajectory", remat="step"),
    Row("mlp", "rad", 10, plan="results"),
    Row("mlp", "rad", 100, plan="trajectory", repetitions=2),
    Row("mlp", "rad", 100, plan="results", keep=1000, repetitions=2),
    Row("mlp", "rad", 100, plan="sqrt", remat="sqrt", repetitions=2),
    # Undamped, the Hessian of a network after ten steps is not positive definite: conjugate gradients mean nothing.
    Row("mlp", "cg", 10, iterations=20, damping=0.1),
    Row("mlp-tanh", "rad", 10, plan="results"),
    Row("small", "rad", 5, step_size=0.01),
    Row("conv", "rad", 5, step_size=0.001),
    Row("meta-batch", "rad", 5, step_size=0.01),
    Row("mlp", "rad", 2000, step_size=0.01, plan="sqrt", remat="sqrt", repetitions=1, processes=1),
]


def numbers(workload, seed):
    """The tensors of a workload's file, which README.md describes."""
    rng = np.random.default_rng(seed)
    normal = lambda *shape, scale=1.0: (scale * rng.standard_normal(shape)).astype(np.float32)
    tensors = {}

    def layer(at, shape, scale, outputs):
        tensors[f"weight{at}"] = normal(*shape, scale=scale)
        tensors[f"bias{at}"] = np.zeros(outputs, np.float32)

    def samples(shape, targets):
        for level in ("train", "validation"):
            inputs = normal(*shape)
            tensors[f"{level}_inputs"] = inputs
            kind = "targets" if targets is np.sin else "labels"
            tensors[f"{level}_{kind}"] = targets(inputs)

    if workload in ("softmax", "mlp"):
        samples((5000, 784), lambda inputs: rng.integers(0, 10, len(inputs)))
        widths, scales = ((784, 10), [0.01]) if workload == "softmax" else ((784, 300, 10), [0.05] * 2)
    elif workload == "conv":
        samples((25, 1, 28, 28), lambda inputs: np.arange(len(inputs)) % 5)
        for at, channels in enumerate((1, 64, 64, 64)):
            layer(at, (64, channels, 3, 3), (2 / (9 * channels)) ** 0.5, 64)
        layer(4, (64, 5), 0.1, 5)
        return tensors
    else:
        samples((100, 10, 1) if workload == "meta-batch" else (10, 1), np.sin)
        widths, scales = (1, 40, 40, 1), [1.0, 0.16, 0.16]
    for at, (inputs, outputs, scale) in enumerate(zip(widths, widths[1:], scales)):
        layer(at, (inputs, outputs), scale, outputs)
    return tensors


def chosen(options, rows):
    """The rows that are asked for, as often as is asked for."""
    wanted = [set(words.split()) for words in options.only or [""]]
    often = {name: getattr(options, name) for name in ("repetitions", "processes")}
    often = {name: count for name, count in often.items() if count}
    return [replace(row, **often) for row in rows if any(words <= set(row.name.split()) for words in wanted)]


def commands(options, row, data, folder):
    """What to run for a row, by library; libraries that sit it out are left out."""
    settings = ["--workload", row.workload, "--method", row.method, "--lower-steps", str(row.steps)]
    settings += ["--step-size", str(row.step_size), "--data", str(data)]
    settings += ["--repetitions", str(row.repetitions)]
    if row.method == "cg":
        settings += ["--solver-iterations", str(row.iterations), "--damping", str(row.damping)]
    plan = ["--plan", row.plan] if row.plan else []
    plan += ["--keep", str(row.keep)] if row.keep else []
    found = {"ours": [options.ours, "hypergrad", "--device", options.backend, "--json", *settings, *plan]}
    # The implementation in PyTorch cannot recompute in two nested levels.
    if options.torch and row.remat != "sqrt":
        threads = ["--threads", str(options.threads), "--remat", row.remat]
        found["torch"] = [options.torch, str(HERE / "torch_peer.py"), *settings, *threads, "--device", options.device]
    if options.jax:
        found["jax"] = [options.jax, str(HERE / "jax_peer.py"), *settings, "--remat", row.remat]
    for name, command in found.items():
        command += ["--gradient", str(folder / f"{name}.safetensors")]
    return found


def difference(ours, theirs):
    """norm(ours - theirs) / norm(theirs), over all parts of x."""
    ours, theirs = load_file(ours), load_file(theirs)
    assert ours.keys() == theirs.keys(), f"parts of x: {sorted(ours)} and {sorted(theirs)}"
    wide = lambda part: part.astype(np.float64)
    apart = sum(np.sum((wide(ours[name]) - wide(theirs[name])) ** 2) for name in theirs)
    whole = sum(np.sum(wide(theirs[name]) ** 2) for name in theirs)
    return float((apart / whole) ** 0.5)


class Failed(Exception):
    """A command that ended with an error."""


def measure(options, row, data, folder):
    """Runs a row in turn, and takes medians over processes."""
    environment = os.environ | {
        name: str(options.threads)
        for name in ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    }
    environment["JAX_PLATFORMS"] = "cuda" if options.device == "gpu" else "cpu"
    reports = {}
    for _ in range(row.processes):
        for name, command in commands(options, row, data, folder).items():
            ran = subprocess.run(command, env=environment, capture_output=True, text=True)
            if ran.returncode:
                raise Failed(f"{' '.join(command)}\nended with {ran.returncode}:\n{ran.stderr}")
            reports.setdefault(name, []).append(json.loads(ran.stdout.splitlines()[-1]))
    result = {"row": row.name, "settings": vars(row) | {"seed": options.seed}}
    for name, each in reports.items():
        medians = [statistics.median(report["seconds_all"]) for report in each]
        result[name] = {
            "seconds": statistics.median(medians),
            "seconds_by_process": medians,
            "seconds_all": [report["seconds_all"] for report in each],
            "peak_resident_mib": statistics.median(report["peak_resident_mib"] for report in each),
        }
        if name == "ours":
            result[name]["status"] = each[-1]["status"]
        else:
            result[name]["version"] = each[-1]["peer"]
            result[name]["seconds_first"] = each[-1]["seconds_first"]
            files = (folder / f"{library}.safetensors" for library in ("ours", name))
            result[name]["difference"] = difference(*files)
    return result


def line(result):
    """A result as a line of the table."""
    ours, torch, jax = (result.get(name) for name in ("ours", "torch", "jax"))
    settings = result["settings"]
    often = f"{settings['repetitions']} x {settings['processes']}"

    def seconds(found):
        if not found:
            return "-"
        each = sum(found["seconds_all"], [])
        return f"{found['seconds']:.4g} ({min(each):.4g} to {max(each):.4g})"

    ratio = lambda found: f"{found['seconds'] / ours['seconds']:.2f}" if found else "-"
    memory = lambda found: f"{found['peak_resident_mib']:.0f}" if found else "-"
    apart = lambda found: f"{found['difference']:.1e}" if found else "-"
    cells = [result["row"], often, *map(seconds, (ours, torch, jax)), *map(ratio, (torch, jax))]
    cells += [*map(memory, (ours, torch, jax)), *map(apart, (torch, jax))]
    return "| " + " | ".join(cells) + " |"


COLUMNS = ["hypergradient", "repetitions x processes", "ours, s", "torch, s", "jax, s", "torch / ours", "jax / ours"]
COLUMNS += ["ours, MiB", "torch, MiB", "jax, MiB", "difference from torch", "from jax"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", default="target/release/bilevel", help="the binary bilevel")
    parser.add_argument("--torch", default="", help="a Python with torch and safetensors [default: leave it out]")
    parser.add_argument("--jax", default="", help="a Python with jax and safetensors [default: leave it out]")
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu", help="of the libraries; gpu is CUDA's")
    parser.add_argument("--backend", help="of bilevel [default: flex, on a GPU wgpu]")
    parser.add_argument("--only", nargs="*", default=[], help="rows whose name has these words, as 'mlp T=10'")
    parser.add_argument("--repetitions", type=int, help="timed hypergradients of a process [default: 5, 2 of T=100]")
    parser.add_argument("--processes", type=int, help="processes of each library, in turn [default: 3]")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="runs/peers.json", help="the results as JSON")
    options = parser.parse_args()
    options.backend = options.backend or ("wgpu" if options.device == "gpu" else "flex")

    if hasattr(os, "sched_setaffinity"):
        # JAX has no setting for the number of threads: it takes as many as the cores it is given.
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[: options.threads])
    out = Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    rows = chosen(options, ROWS)
    print(f"Seed {options.seed}; seconds: the median over processes of their medians (least to greatest of all).\n")
    print("| " + " | ".join(COLUMNS) + " |")
    print("|---" + "|---:" * (len(COLUMNS) - 1) + "|", flush=True)
    results, failures = [], []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for row in rows:
            source = "mlp" if row.workload == "mlp-tanh" else row.workload
            data = folder / f"{source}-data.safetensors"
            if not data.exists():
                save_file(numbers(source, options.seed), data)
            try:
                results.append(measure(options, row, data, folder))
            except Failed as failed:
                failures.append(str(failed))
                continue
            out.write_text(json.dumps(results, indent=1))
            print(line(results[-1]), flush=True)
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
