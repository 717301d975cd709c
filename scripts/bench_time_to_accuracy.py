"""How long training takes to a given validation retrieval: the preset demo, and the published structure.

Both sides train on the demo in one process, in turn, by seeds. Seconds are the processor's, from the call to
the first validation that is as good as the target, without the time of validations; all that a side does
before its first step counts, such as looking at training windows for main components. The published side has
the published structure (one linear embedding of patches of ico3, the mean of tokens) and the published
settings (batch of 4, rate, loss, schedule, BOLD, features, moments), in the demo's sizes. If it does not get
there in ``--most`` times our time, that is said.

    OMP_NUM_THREADS=1 nice -n 10 python scripts/bench_time_to_accuracy.py demo.zarr --out time.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from measure_differences import CHANGES

import simtrain
from simdata.common import json_text
from simtrain.training import loop
from simtrain.training.validation import Validation

PRESET, RETRIEVAL = "demo", "val/retrieval"
COURSE = {"train.steps": 200, "train.validation_samples": 256, "train.checkpoint_every": 1_000_000}
OURS = {**COURSE, "train.validate_every": 10}
PUBLISHED = {
    **COURSE,
    **CHANGES["all of the above but patches, frames, batch and halves"],
    "model.patch_embedding": "linear",
    "model.positions": "sincos",
    "model.ico": 3,
    "model.pool": "mean",
    "loss.weights": {"fmri_video": 0.8, "fmri_audio": 0.1, "video_audio": 0.1},
    "train.batch_size": 4,
    "train.learning_rate": 3e-4,
    "train.steps": 100_000,
    "train.validate_every": 50,
}

WARM = {**OURS, "train.steps": 1, "train.validation_samples": 16}

Side = dict[
    str, Any
]  # seconds, step and retrieval of the last validation, whether it was enough, and all of them


class Ended(Exception):
    """The target is reached, or time is up."""


class Clock:
    """The processor's seconds since it was made, but for those within `stopped`."""

    def __init__(self) -> None:
        self._began = time.process_time()

    @property
    def seconds(self) -> float:
        return time.process_time() - self._began

    def without(self, seconds: float) -> None:
        self._began += seconds


def trained(store: Path, settings: Mapping[str, Any], seed: int, target: float, most: float) -> Side:
    """Train until a validation is as good as ``target``, or has come after ``most`` seconds."""
    curve: list[tuple[int, float, float]] = []

    class Timed(Validation):
        def __call__(self) -> dict[str, float]:
            before = clock.seconds
            values = super().__call__()
            clock.without(clock.seconds - before)
            return values

    def report(step: int, steps: int, values: Mapping[str, float]) -> None:
        if RETRIEVAL in values:
            curve.append((step, round(clock.seconds, 2), values[RETRIEVAL]))
            if values[RETRIEVAL] >= target or clock.seconds >= most:
                raise Ended

    with tempfile.TemporaryDirectory() as folder, mock.patch.object(loop, "Validation", Timed):
        clock = Clock()
        try:
            overrides = {**settings, "train.seed": seed}
            simtrain.fit(store, folder, PRESET, overrides=overrides, device="cpu", progress=report)
        except Ended:
            pass
    step, seconds, retrieval = curve[-1]
    reached = retrieval >= target
    return {"seconds": seconds, "step": step, "retrieval": retrieval, "reached": reached, "curve": curve}


def told(pairs: Sequence[Mapping[str, Side]], target: float, most: float) -> str:
    """A line for each seed, and the ratio over all."""
    lines, ratios = [f"to {target:.0%} validation retrieval, seconds of the processor:"], []
    for seed, pair in enumerate(pairs):
        ours, published = pair["ours"], pair["published"]
        if not ours["reached"]:
            lines.append(f"seed {seed}: ours ends at {ours['retrieval']:.1%}")
            continue
        ratios.append(published["seconds"] / ours["seconds"])
        reached = "" if published["reached"] else f", and is at {published['retrieval']:.1%} there"
        more = "" if published["reached"] else "> "
        lines.append(
            f"seed {seed}: ours {ours['seconds']:.1f} ({ours['step']} steps), published "
            f"{more}{published['seconds']:.1f} ({published['step']} steps{reached}): {more}{ratios[-1]:.1f} x"
        )
    if ratios and all(pair["published"]["reached"] for pair in pairs):
        spread = f" ± {statistics.stdev(ratios):.1f}" if len(ratios) > 1 else ""
        lines.append(f"ratio: {statistics.mean(ratios):.1f}{spread} (mean ± s.d. of seeds)")
    elif ratios:
        lines.append(f"ratio: > {most:.0f}, or as above where the target was reached")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("store", type=Path)
    parser.add_argument("--out", type=Path, default=Path("time_to_accuracy.json"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--target", type=float, default=0.2, help="validation retrieval; chance is .03")
    parser.add_argument("--most", type=float, default=20, help="times our time that the other side has")
    options = parser.parse_args(words)
    trained(options.store, WARM, 0, 0.0, 0.0)  # what the process does once, such as compiling, is no training
    pairs = json.loads(options.out.read_text())["seeds"] if options.out.exists() else []
    for seed in range(len(pairs), options.seeds):
        ours = trained(options.store, OURS, seed, options.target, float("inf"))
        print(f"seed {seed}: ours {ours['seconds']} s", file=sys.stderr, flush=True)
        limit = options.most * ours["seconds"]
        pairs.append(
            {"ours": ours, "published": trained(options.store, PUBLISHED, seed, options.target, limit)}
        )
        json_text.write(options.out, {"target": options.target, "most": options.most, "seeds": pairs})
    print(told(pairs, options.target, options.most))


if __name__ == "__main__":
    main()
