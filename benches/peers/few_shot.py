"""An upper step of few-shot learning on a meta-batch, by `bilevel run few-shot` and by PyTorch with `torch.func.vmap`.

x is a convolutional network of four blocks up to its features, y a linear head from zero: T gradient steps on the
support images of each task, then reverse mode through them, and a step of Adam on x. Images are random. Prints a
Markdown table: the median time of an upper step after the first two, and the peak resident memory of the process.
"""

import argparse
import csv
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

SIDE, CLASSES, IMAGES = 28, 40, 20
WAY, TASKS, LOWER_STEPS, STEP_SIZE, WIDTH, BLOCKS = 5, 4, 10, 0.05, 64, 4


def png(path, rows):
    """Writes 8-bit grey values, one `bytes` a row."""
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


def peak(command, **options):
    """The output of a command, and its peak memory in MiB."""
    with tempfile.TemporaryFile("w+") as output:
        child = subprocess.Popen(command, stdout=output, **options)
        _, status, usage = os.wait4(child.pid, 0)
        if status:
            sys.exit(f"{command[0]} failed")
        output.seek(0)
        return output.read(), usage.ru_maxrss / 1024


def ours(args, images):
    """The time of an upper step and the memory of `bilevel`."""
    with tempfile.TemporaryDirectory() as out:
        command = f"""run few-shot --device flex --data-dir {images} --method rad --network convnet --blocks {BLOCKS}
            --width {WIDTH} --way {WAY} --shot {args.shot} --query {args.query} --meta-batch {TASKS} --feature-norm 0
            --lower-steps {LOWER_STEPS} --step-size {STEP_SIZE} --side {SIDE} --channels 1 --rotations 1
            --upper-steps {args.steps} --looks 1 --look-tasks 1 --test-tasks 1 --out {out}"""
        environment = os.environ | {"RAYON_NUM_THREADS": str(args.threads)}
        _, memory = peak([args.bilevel, *command.split()], env=environment, stderr=subprocess.DEVNULL)
        rows = csv.DictReader(open(Path(out) / "few-shot-0" / "metrics.csv"))
        clock = [float(row["seconds"]) for row in rows]
    return statistics.median(b - a for a, b in zip(clock[1:], clock[2:])), memory


def torch_peer(args):
    """Prints the time of an upper step of PyTorch."""
    import torch
    from torch import nn
    from torch.func import functional_call, grad, vmap
    from torch.nn import functional as F

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)

    class Norm(nn.Module):
        """Batch normalisation by the statistics of its input alone."""

        def __init__(self):
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.ones(WIDTH)), nn.Parameter(torch.zeros(WIDTH))

        def forward(self, images):
            return F.batch_norm(images, None, None, self.weight, self.bias, training=True)

    layers = []
    for block in range(BLOCKS):
        layers += [nn.Conv2d(WIDTH if block else 1, WIDTH, 3, padding=1), Norm(), nn.ReLU(), nn.MaxPool2d(2)]
    features = nn.Sequential(*layers, nn.Flatten())
    width = WIDTH * (SIDE >> BLOCKS) ** 2
    head = (torch.zeros(WAY, width), torch.zeros(WAY))

    def loss(head, inputs, labels):
        return F.cross_entropy(F.linear(inputs, *head), labels)

    def upper_loss(x, support, support_labels, query, query_labels):
        inputs, y = functional_call(features, x, support), head
        for _ in range(LOWER_STEPS):
            slopes = grad(loss)(y, inputs, support_labels)
            y = tuple(part - STEP_SIZE * slope for part, slope in zip(y, slopes))
        return loss(y, functional_call(features, x, query), query_labels)

    tasks = vmap(upper_loss, in_dims=(None, 0, 0, 0, 0))
    if args.loop:
        tasks = lambda x, *batch: torch.stack([upper_loss(x, *task) for task in zip(*batch)])
    optimiser = torch.optim.Adam(features.parameters(), lr=1e-3)
    times = []
    for _ in range(args.steps):
        images = lambda n: torch.rand(TASKS, WAY * n, 1, SIDE, SIDE)
        labels = lambda n: torch.arange(WAY).repeat_interleave(n).expand(TASKS, -1)
        batch = images(args.shot), labels(args.shot), images(args.query), labels(args.query)
        begin = time.perf_counter()
        optimiser.zero_grad()
        tasks(dict(features.named_parameters()), *batch).mean().backward()
        optimiser.step()
        times.append(time.perf_counter() - begin)
    print(statistics.median(times[2:]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bilevel", default="target/release/bilevel", help="the binary")
    parser.add_argument("--torch", default=sys.executable, help="a Python with PyTorch")
    parser.add_argument("--shot", type=int, default=1)
    parser.add_argument("--query", type=int, default=15)
    parser.add_argument("--steps", type=int, default=12, help="upper steps of a process")
    parser.add_argument("--processes", type=int, default=3, help="of each library, in turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--loop", action="store_true", help="PyTorch's tasks one after the other, without vmap")
    parser.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        return torch_peer(args)
    shared = [f"--{name}={getattr(args, name)}" for name in ("shot", "query", "steps", "threads")]
    shared += ["--loop"] if args.loop else []
    found = {"bilevel": [], "torch": []}
    with tempfile.TemporaryDirectory() as images:
        for at in range(CLASSES):
            folder = Path(images) / f"{at:02}"
            folder.mkdir()
            for image in range(IMAGES):
                png(folder / f"{image:02}.png", [os.urandom(SIDE) for _ in range(SIDE)])
        for _ in range(args.processes):
            found["bilevel"].append(ours(args, images))
            output, memory = peak([args.torch, __file__, "--peer", *shared])
            found["torch"].append((float(output), memory))
    (mine, my_memory), (theirs, their_memory) = (
        [statistics.median(values) for values in zip(*runs)] for runs in found.values()
    )
    print("| shot | query | ours, s | torch, s | torch / ours | ours, MiB | torch, MiB |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    print(
        f"| {args.shot} | {args.query} | {mine:.4f} | {theirs:.4f} | {theirs / mine:.2f} "
        f"| {my_memory:.0f} | {their_memory:.0f} |"
    )


if __name__ == "__main__":
    main()
