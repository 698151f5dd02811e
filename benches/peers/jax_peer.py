"""The hypergradient of a workload in JAX, compiled and timed.

README.md says what the data file holds. Prints one line of JSON.
"""

import argparse
import json
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from safetensors.numpy import load_file, save_file


def peak_resident_mib():
    """The most physical memory of this process so far, by the same count as `bilevel hypergrad`."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def cross_entropy(logits, labels):
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)
    return -chosen[:, 0]


def dense(activation):
    def forward(layers, hidden):
        for weight, bias in layers[:-1]:
            hidden = activation(hidden @ weight + bias)
        weight, bias = layers[-1]
        return hidden @ weight + bias

    return forward


def conv(layers, hidden):
    """On images of the layout NHWC and kernels HWIO."""
    layout = ("NHWC", "HWIO", "NHWC")
    window = (1, 2, 2, 1)
    for kernel, bias in layers[:-1]:
        hidden = lax.conv_general_dilated(hidden, kernel, (1, 1), "SAME", dimension_numbers=layout)
        hidden = jax.nn.relu(hidden + bias)
        hidden = lax.reduce_window(hidden, -jnp.inf, lax.max, window, window, "VALID")
    weight, bias = layers[-1]
    return hidden.reshape(len(hidden), -1) @ weight + bias


def load(workload, path):
    """The start of the network as pairs of weight and bias, and the samples of both levels."""
    tensors = load_file(path)
    count = sum(name.startswith("weight") for name in tensors)
    start = [(tensors[f"weight{at}"], tensors[f"bias{at}"]) for at in range(count)]
    targets = "labels" if "train_labels" in tensors else "targets"
    train, validation = (
        (tensors[f"{level}_inputs"], tensors[f"{level}_{targets}"])
        for level in ("train", "validation")
    )
    if workload == "conv":
        start = [(w.transpose(2, 3, 1, 0) if w.ndim == 4 else w, b) for w, b in start]
        train, validation = ((u.transpose(0, 2, 3, 1), t) for u, t in (train, validation))
    return jax.tree.map(jnp.asarray, (start, train, validation))


def losses(workload):
    """f(x, y, samples) and F(y, samples)."""
    forward = {"conv": conv, "mlp-tanh": dense(jnp.tanh)}.get(workload, dense(jax.nn.relu))
    if workload in ("small", "meta-batch"):
        error = lambda y, samples: jnp.mean((forward(y, samples[0]) - samples[1]) ** 2)
    else:
        error = lambda y, samples: cross_entropy(forward(y, samples[0]), samples[1]).mean()
    if workload in ("small", "meta-batch", "conv"):
        return (lambda x, y, samples: error(y, samples)), error

    def weighted(x, y, samples):
        return (jax.nn.sigmoid(x) * cross_entropy(forward(y, samples[0]), samples[1])).mean()

    return weighted, error


def descend(lower, options):
    """T steps from y by `lax.scan`, remembering what the way back needs by `options.remat`."""

    def step(x, y, samples):
        slope = jax.grad(lower, argnums=1)(x, y, samples)
        return jax.tree.map(lambda value, part: value - options.step_size * part, y, slope)

    def stretch(x, y, samples, length, step):
        return lax.scan(lambda y, _: (step(x, y, samples), None), y, length=length)[0]

    def run(x, y, samples):
        if options.remat == "none":
            return stretch(x, y, samples, options.lower_steps, step)
        remade = jax.checkpoint(step)
        if options.remat == "step":
            return stretch(x, y, samples, options.lower_steps, remade)
        length = max(1, round(options.lower_steps**0.5))
        whole, rest = divmod(options.lower_steps, length)
        inner = jax.checkpoint(lambda x, y, samples: stretch(x, y, samples, length, remade))
        y = stretch(x, y, samples, whole, inner)
        return stretch(x, y, samples, rest, remade) if rest else y

    return run


def hypergradient(options):
    """A function of x, the start of y (None: x) and the samples of both levels."""
    lower, upper = losses(options.workload)
    adapt = descend(lower, options)

    def through_steps(x, start, train, validation):
        def reached(x):
            return upper(adapt(x, x if start is None else start, train), validation)

        return jax.grad(reached)(x)

    def over_tasks(x, _, train, validation):
        def reached(x):
            one = lambda train, validation: upper(adapt(x, x, train), validation)
            return jax.vmap(one)(train, validation).mean()

        return jax.grad(reached)(x)

    def implicit(x, start, train, validation):
        y = adapt(x, start, train)
        wanted = jax.grad(upper)(y, validation)
        # Forward over reverse, linearised once for all products.
        product = jax.linearize(lambda y: jax.grad(lower, argnums=1)(x, y, train), y)[1]

        def damped(v):
            return jax.tree.map(lambda hv, v: hv + options.damping * v, product(v), v)

        solution, _ = jax.scipy.sparse.linalg.cg(
            damped, wanted, tol=0.0, atol=0.0, maxiter=options.solver_iterations
        )
        _, mixed = jax.vjp(lambda x: jax.grad(lower, argnums=1)(x, y, train), x)
        return -mixed(solution)[0]

    if options.method == "cg":
        return implicit
    return over_tasks if options.workload == "meta-batch" else through_steps


def named(workload, found):
    """The hypergradient by the names and in the orientations of the data file."""
    if workload in ("softmax", "mlp", "mlp-tanh"):
        return {"logits": found}
    if workload == "conv":
        found = [(w.transpose(3, 2, 0, 1) if w.ndim == 4 else w, b) for w, b in found]
    tensors = {}
    for at, (weight, bias) in enumerate(found):
        tensors |= {f"weight{at}": weight, f"bias{at}": bias}
    return tensors


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workload", required=True)
    parser.add_argument("--method", choices=["rad", "cg"], required=True)
    parser.add_argument("--lower-steps", type=int, required=True)
    parser.add_argument("--remat", choices=["none", "step", "sqrt"], default="none")
    parser.add_argument("--solver-iterations", type=int, default=20)
    parser.add_argument("--damping", type=float, default=0.0)
    parser.add_argument("--step-size", type=float, default=0.1)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--data", required=True)
    parser.add_argument("--gradient")
    options = parser.parse_args()

    # Products in f32 on every device.
    jax.config.update("jax_default_matmul_precision", "highest")
    network, train, validation = load(options.workload, options.data)
    if options.workload in ("small", "meta-batch", "conv"):
        arguments = (network, None, train, validation)
    else:
        arguments = (jnp.zeros(len(train[0])), network, train, validation)
    arguments = jax.device_put(arguments)
    compute = jax.jit(hypergradient(options))
    begin = time.perf_counter()
    found = jax.block_until_ready(compute(*arguments))
    first = time.perf_counter() - begin
    seconds = []
    for _ in range(options.repetitions):
        begin = time.perf_counter()
        found = jax.block_until_ready(compute(*arguments))
        seconds.append(time.perf_counter() - begin)
    peak = peak_resident_mib()
    if options.gradient:
        tensors = jax.device_get(named(options.workload, found))
        save_file({name: np.ascontiguousarray(part) for name, part in tensors.items()}, options.gradient)
    report = {"peer": f"jax {jax.__version__}", "seconds_first": first}
    print(json.dumps(report | {"seconds_all": seconds, "peak_resident_mib": peak}))


if __name__ == "__main__":
    main()
