"""The hypergradient of a workload in PyTorch, timed.

README.md says what the data file holds. Prints one line of JSON.
"""

import argparse
import json
import time

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file


def peak_resident_mib():
    """The most physical memory of this process so far, by the same count as `bilevel hypergrad`."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def network(workload):
    """The forward pass, as a function of a flat list weight0, bias0, weight1 and so on."""

    def dense(activation):
        def forward(parameters, hidden):
            for at in range(0, len(parameters), 2):
                hidden = hidden @ parameters[at] + parameters[at + 1]
                if at + 2 < len(parameters):
                    hidden = activation(hidden)
            return hidden

        return forward

    def conv(parameters, hidden):
        *blocks, weight, bias = parameters
        for kernel, shift in zip(blocks[::2], blocks[1::2]):
            hidden = F.max_pool2d(torch.relu(F.conv2d(hidden, kernel, shift, padding=1)), 2)
        return hidden.flatten(1) @ weight + bias

    if workload == "conv":
        return conv
    return dense(torch.tanh if workload == "mlp-tanh" else torch.relu)


# The workloads in which x weights the samples, and y has a start of its own.
WEIGHTED = ("softmax", "mlp", "mlp-tanh")


class Problem:
    """x, y and both losses. y is None where x is the start of the lower level."""

    def __init__(self, workload, tensors):
        forward = network(workload)
        layers = sum(name.startswith("weight") for name in tensors)
        names = [f"{kind}{at}" for at in range(layers) for kind in ("weight", "bias")]
        start = [tensors[name] for name in names]
        train, validation = tensors["train_inputs"], tensors["validation_inputs"]
        if workload in WEIGHTED:
            labels, clean = tensors["train_labels"], tensors["validation_labels"]
            self.x, self.y, self.names = [torch.zeros(len(train), device=train.device)], start, ["logits"]
            self.lower = lambda x, y: (
                torch.sigmoid(x[0]) * F.cross_entropy(forward(y, train), labels, reduction="none")
            ).mean()
            self.upper = lambda x, y: F.cross_entropy(forward(y, validation), clean)
            return
        self.x, self.y, self.names = start, None, names
        if workload == "conv":
            labels, clean = tensors["train_labels"], tensors["validation_labels"]
            self.lower = lambda x, y: F.cross_entropy(forward(y, train), labels)
            self.upper = lambda x, y: F.cross_entropy(forward(y, validation), clean)
            return
        error = lambda y, inputs, targets: F.mse_loss(forward(y, inputs), targets)
        targets, clean = tensors["train_targets"], tensors["validation_targets"]
        self.lower = lambda x, y: error(y, train, targets)
        self.upper = lambda x, y: error(y, validation, clean)
        self.error, self.tasks = error, (train, targets, validation, clean)


def leaves(tensors):
    return [tensor.detach().requires_grad_() for tensor in tensors]


def lower_step(problem, options, x, y, create_graph):
    """A step of gradient descent from y."""
    slope = torch.autograd.grad(problem.lower(x, y), y, create_graph=create_graph)
    return [value - options.step_size * part for value, part in zip(y, slope)]


def through_steps(problem, options):
    """Back-propagation through the stored steps."""
    x = leaves(problem.x)
    y = x if problem.y is None else leaves(problem.y)
    for _ in range(options.lower_steps):
        y = lower_step(problem, options, x, y, create_graph=True)
    return torch.autograd.grad(problem.upper(x, y), x)


def through_recomputed_steps(problem, options):
    """As `through_steps`, but only the states are stored, and the graph of each step is recomputed on the way back."""
    x = leaves(problem.x)
    states = [leaves(problem.y)]
    for _ in range(options.lower_steps):
        states.append(leaves(lower_step(problem, options, x, states[-1], create_graph=False)))
    last = states.pop()
    adjoint = torch.autograd.grad(problem.upper(x, last), last)
    found = [torch.zeros_like(part) for part in x]
    while states:
        y = states.pop()
        following = lower_step(problem, options, x, y, create_graph=True)
        # The start does not depend on x: nobody needs its adjoint.
        parts = torch.autograd.grad(following, [*x, *y] if states else x, adjoint)
        found = [so_far + part for so_far, part in zip(found, parts)]
        adjoint = parts[len(x) :]
    return found


def over_tasks(problem, options):
    """As `through_steps`, for all tasks at once, by function transforms."""

    def adapted(start, inputs, targets, query, wanted):
        y = start
        for _ in range(options.lower_steps):
            slope = torch.func.grad(problem.error)(y, inputs, targets)
            y = [value - options.step_size * step for value, step in zip(y, slope)]
        return problem.error(y, query, wanted)

    over = torch.func.vmap(adapted, in_dims=(None, 0, 0, 0, 0))
    return torch.func.grad(lambda start: over(start, *problem.tasks).mean())(problem.x)


def implicit(problem, options):
    """Conjugate gradients on the lower Hessian, whose graph is built once and kept."""
    x, y = leaves(problem.x), leaves(problem.y)
    for _ in range(options.lower_steps):
        y = leaves(lower_step(problem, options, x, y, create_graph=False))
    wanted = torch.autograd.grad(problem.upper(x, y), y)
    slope = torch.autograd.grad(problem.lower(x, y), y, create_graph=True)

    def hessian(direction):
        product = torch.autograd.grad(slope, y, direction, retain_graph=True)
        return [part + options.damping * own for part, own in zip(product, direction)]

    def dot(a, b):
        return sum(torch.sum(left * right) for left, right in zip(a, b))

    solution = [torch.zeros_like(part) for part in wanted]
    residual, direction = list(wanted), list(wanted)
    square = dot(residual, residual)
    for _ in range(options.solver_iterations):
        image = hessian(direction)
        length = square / dot(direction, image)
        solution = [part + length * step for part, step in zip(solution, direction)]
        residual = [part - length * step for part, step in zip(residual, image)]
        following = dot(residual, residual)
        direction = [part + following / square * old for part, old in zip(residual, direction)]
        square = following
    mixed = torch.autograd.grad(slope, x, solution)
    return [-part for part in mixed]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workload", required=True)
    parser.add_argument("--method", choices=["rad", "cg"], required=True)
    parser.add_argument("--remat", choices=["none", "step"], default="none")
    parser.add_argument("--lower-steps", type=int, required=True)
    parser.add_argument("--solver-iterations", type=int, default=20)
    parser.add_argument("--damping", type=float, default=0.0)
    parser.add_argument("--step-size", type=float, default=0.1)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--data", required=True)
    parser.add_argument("--gradient")
    options = parser.parse_args()
    if options.remat == "step" and (options.method != "rad" or options.workload not in WEIGHTED):
        parser.error(f"--remat step is for --method rad and the workloads {', '.join(WEIGHTED)}")

    torch.set_num_threads(options.threads)
    # Products in f32 on every device; convolutions have another default.
    torch.backends.cudnn.allow_tf32 = False
    on_gpu = options.device == "gpu"
    problem = Problem(options.workload, load_file(options.data, device="cuda" if on_gpu else "cpu"))
    of_one = through_steps if options.remat == "none" else through_recomputed_steps
    by_steps = over_tasks if options.workload == "meta-batch" else of_one
    method = implicit if options.method == "cg" else by_steps

    def compute(problem, options):
        found = method(problem, options)
        if on_gpu:
            torch.cuda.synchronize()
        return found

    begin = time.perf_counter()
    found = compute(problem, options)
    first = time.perf_counter() - begin
    seconds = []
    for _ in range(options.repetitions):
        begin = time.perf_counter()
        found = compute(problem, options)
        seconds.append(time.perf_counter() - begin)
    peak = peak_resident_mib()
    if options.gradient:
        save_file(
            {name: part.contiguous().cpu() for name, part in zip(problem.names, found)}, options.gradient
        )
    report = {"peer": f"torch {torch.__version__}", "seconds_first": first}
    print(json.dumps(report | {"seconds_all": seconds, "peak_resident_mib": peak}))


if __name__ == "__main__":
    main()
