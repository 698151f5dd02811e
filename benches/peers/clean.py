"""Finding planted label errors: `bilevel clean` beside confident learning (cleanlab) on the same tables.

    python3 -m venv target/clean && target/clean/bin/pip install numpy scikit-learn cleanlab
    target/clean/bin/python benches/peers/clean.py --data DIR [--only digits wine] [--seeds 3] [--more "--upper-steps 20"]

DIR has `sklearn/` (digits.csv.gz, breast_cancer.csv, wine_data.csv, as scikit-learn distributes them), `libsvm/`
(a9a.gz), `cifar-10/` (data_batch_1.bin.gz) and `cifar-10n/` (worse_label-idx1-ubyte.gz, clean_label-idx1-ubyte.gz). A
fifth of the labels outside of the trusted fifth is made wrong, evenly over the other classes; those of `cifar-10n` are
the labels that people gave, and a tenth of the images is trusted. Both get the
same rows, the same labels and, as far as they can use them, the trusted rows: cleanlab's networks are trained on them
too. Its classifier is logistic regression on standardised features in five folds, its score `self_confidence`. The
table has the average precision of finding the wrong labels, in per cent: mean and standard deviation over seeds.
"""

import argparse
import csv
import gzip
import pathlib
import subprocess
import tempfile
import time

import numpy as np
from cleanlab.rank import get_label_quality_scores
from sklearn.datasets import load_svmlight_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.preprocessing import StandardScaler


def load(name, root):
    if name == "digits":
        table = np.loadtxt(gzip.open(root / "sklearn/digits.csv.gz"), delimiter=",")
    elif name == "a9a":
        inputs, labels = load_svmlight_file(str(root / "libsvm/a9a.gz"))
        return np.asarray(inputs.todense()), (labels > 0).astype(int), None
    elif name == "cifar-10n":
        records = np.frombuffer(gzip.open(root / "cifar-10/data_batch_1.bin.gz").read(), np.uint8).reshape(-1, 3073)
        read = lambda file: np.frombuffer(gzip.open(root / "cifar-10n" / file).read(), np.uint8, offset=8)[: len(records)]
        right, given = read("clean_label-idx1-ubyte.gz"), read("worse_label-idx1-ubyte.gz")
        assert (right == records[:, 0]).all()
        return (records[:, 1:] / 255).astype(np.float32), right.astype(int), given.astype(int)
    else:
        file = {"breast-cancer": "breast_cancer.csv", "wine": "wine_data.csv"}[name]
        table = np.loadtxt(root / "sklearn" / file, delimiter=",", skiprows=1)
    return table[:, :-1], table[:, -1].astype(int), None


def ours(binary, folder, rows, method, more):
    ran = [binary, "clean", f"{folder}/data.npz", "--trusted", f"{folder}/trusted.npz"]
    begin = time.time()
    more = ["--method", method, "--device", "flex", "--quiet", "--out", f"{folder}/runs"] + more
    subprocess.run(ran + more, check=True, stdout=subprocess.DEVNULL)
    seconds = time.time() - begin
    given = np.ones(rows)
    with open(f"{folder}/runs/clean-0/suspects-{method}.csv") as file:
        for row in csv.DictReader(file):
            given[int(row["row"]) - 1] = float(row["probability"])
    return 1 - given, seconds


def theirs(inputs, labels, trusted_inputs, trusted_labels, iterations):
    begin = time.time()
    inputs = np.concatenate([inputs, trusted_inputs])
    inputs = StandardScaler().fit_transform(inputs)
    seen = np.concatenate([labels, trusted_labels])
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    model = LogisticRegression(max_iter=iterations)
    shares = cross_val_predict(model, inputs, seen, cv=folds, method="predict_proba")[: len(labels)]
    return 1 - get_label_quality_scores(labels, shares, method="self_confidence"), time.time() - begin


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--only", nargs="*", default=["digits", "breast-cancer", "wine", "a9a"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ours", default="target/release/bilevel")
    parser.add_argument("--method", default="rad")
    parser.add_argument("--more", default="", help="further options of `bilevel clean`")
    parser.add_argument("--iterations", type=int, default=1000, help="of logistic regression at most")
    options = parser.parse_args()
    print("| table | rows | bilevel clean | cleanlab | seconds | cleanlab's |\n|---|---|---|---|---|---|")
    for name in options.only:
        inputs, labels, given = load(name, options.data)
        classes = labels.max() + 1
        found = []
        for seed in range(options.seeds):
            draw = np.random.RandomState(seed)
            order = draw.permutation(len(labels))
            count = len(labels) // (5 if given is None else 10)
            trusted, others = order[:count], order[count:]
            seen = labels[others].copy()
            if given is None:
                wrong = draw.rand(len(others)) < 0.2
                seen[wrong] = (seen[wrong] + draw.randint(1, classes, wrong.sum())) % classes
            else:
                seen, wrong = given[others], given[others] != seen
            with tempfile.TemporaryDirectory() as folder:
                np.savez(f"{folder}/data.npz", inputs=inputs[others], labels=seen)
                np.savez(f"{folder}/trusted.npz", inputs=inputs[trusted], labels=labels[trusted])
                mine, seconds = ours(options.ours, folder, len(others), options.method, options.more.split())
            other, their_seconds = theirs(inputs[others], seen, inputs[trusted], labels[trusted], options.iterations)
            score = lambda suspicion: 100 * average_precision_score(wrong, suspicion)
            found.append([score(mine), score(other), seconds, their_seconds])
        mean, deviation = np.mean(found, axis=0), np.std(found, axis=0, ddof=min(1, options.seeds - 1))
        cells = [f"{mean[at]:.1f} ± {deviation[at]:.1f}" for at in range(2)]
        print(f"| {name} | {len(labels)} | {cells[0]} | {cells[1]} | {mean[2]:.1f} | {mean[3]:.1f} |", flush=True)


if __name__ == "__main__":
    main()
