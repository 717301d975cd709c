"""What the maps of saliency are called in files, and what the JSON beside them says."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from simdata.common.checksum import sha256
from simtrain.attribution.maps import Attributions
from simtrain.attribution.methods import Method
from simtrain.data.dataset import Dataset
from simtrain.retrieval.selection import Selection
from simtrain.surface.map_files import Maps
from simtrain.training import checkpoint
from simtrain.training.run_folder import FitRun
from simtrain.training.software import software_versions

MEAN, RANDOM = "mean", "mean, random weights"


def named_maps(saliency: Attributions, random: Attributions | None, by_frame: bool, by_head: bool) -> Maps:
    """The mean, that of random weights, that of each frame and head if wanted, and each subject's."""
    maps = {MEAN: saliency.mean}
    if random is not None:
        maps[RANDOM] = random.mean
    if by_frame:
        maps |= {f"frame {number}": frame for number, frame in enumerate(saliency.values.mean(axis=0))}
    if by_head:
        heads = saliency.by_head.mean(axis=0).sum(axis=1)
        maps |= {f"head {number}": head for number, head in enumerate(heads)}
    return maps | dict(zip(saliency.subjects, saliency.values.sum(axis=1), strict=True))


def record(
    run: FitRun, dataset: Dataset, method: Method, selection: Selection, saliency: Attributions
) -> dict[str, Any]:
    """What the maps are, for the JSON."""
    chosen = asdict(selection)
    if selection.seconds is not None:
        chosen["seconds"] = [selection.seconds[0], selection.seconds[-1]]
    return {
        "method": asdict(method),
        "selection": chosen,
        "windows": dict(zip(saliency.subjects, saliency.windows, strict=True)),
        "incomplete": saliency.incomplete,
        "run": str(run.path.absolute()),
        "weights_sha256": sha256(run.tested),
        "weights_step": checkpoint.step_of(run.tested),
        **({} if run.adaptation is None else {"adaptation": str(run.adaptation)}),
        "store": dataset.identity,
        "software": software_versions(),
    }
