"""A model's embeddings of every usable window, as a Zarr store of subject, movie and second, or volume."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
import zarr

from simdata.common.attributes import flat
from simdata.common.checksum import sha256
from simdata.common.errors import UserError
from simdata.store import BoldReader
from simdata.store.arrays import array_of
from simdata.store.schema import empty, quiet_zarr, strings
from simtrain.common.finite import Apart, must_tell_apart
from simtrain.config.resolved import ResolvedData
from simtrain.data.dataset import SPLITS, Dataset
from simtrain.data.filters import positions
from simtrain.data.own_clock import OwnClock
from simtrain.data.windows import Windows
from simtrain.models.embeddings import embed_hemispheres, mean_of_hemispheres
from simtrain.models.learner import Learner
from simtrain.training import checkpoint
from simtrain.training.run_folder import FitRun
from simtrain.training.software import software_versions
from simtrain.training.trained_model import load_learner

FMRI_BY_HEMISPHERE = "fmri_by_hemisphere"


@dataclass(frozen=True)
class _Axis:
    """What lies along time: the store's seconds, or the volumes of a data set's own clock."""

    seconds: int
    clock: OwnClock | None

    @property
    def name(self) -> str:
        return "second" if self.clock is None else "volume"

    @property
    def length(self) -> int:
        return self.seconds if self.clock is None else len(self.clock.film_time(self.seconds))

    def spread(self, values: np.ndarray, second: np.ndarray) -> np.ndarray:
        """(n, ...) -> (length, ...): each row in its second, NaN in the others; on this clock."""
        table = np.full((self.seconds, *values.shape[1:]), np.nan, np.float32)
        table[second] = values
        return table if self.clock is None else self.clock.move(table)

    def labels(self, of_seconds: np.ndarray) -> np.ndarray:
        """(movies, seconds) -> (movies, length)."""
        clock = self.clock
        return of_seconds if clock is None else np.array([clock.move_labels(of) for of in of_seconds])

    def coordinates(self, lag: int) -> dict[str, xr.Variable]:
        if self.clock is not None:
            film = self.clock.film_time(self.seconds)
            times = {
                "scan_time": (film + self.clock.onset, "time of the scan in the middle of the volume"),
                "film_time": (film, "time of the film then"),
            }
        else:
            second = np.arange(self.seconds)
            times = {
                "second": (second, "second of the run at which the clip begins"),
                "bold_second": (second + lag, "second of the run at which the BOLD window begins"),
            }
        return {
            name: xr.Variable(self.name, values, {"units": "s", "long_name": text})
            for name, (values, text) in times.items()
        }


def predict(
    run: FitRun,
    dataset: Dataset,
    out: Path,
    device: torch.device,
    *,
    subjects: Sequence[str] = (),
    by_hemisphere: bool = False,
    clock: OwnClock | None = None,
    progress: Callable[[str, int, int], None] = lambda subject, done, total: None,
) -> None:
    """Write the embeddings of a run's model to ``out``, which appears whole or not at all.

    Row s of every variable belongs to the stimulus clip that begins at second s: ``video`` and ``audio``
    (movie, second, embedding) of the clip itself, ``fmri`` (subject, movie, second, embedding) of the BOLD
    window that begins at s + lag. NaN where there is no usable window (`data.windows`). At no time is
    more than one run's BOLD embeddings in memory.

    Parameters
    ----------
    subjects : which ones; none for all that the store has
    by_hemisphere : also the embedding of each hemisphere, before their mean
    clock : volumes take the place of seconds: those around each in the film, interpolated
    progress : called with the subject, its number and the number of subjects

    Raises
    ------
    UserError
        If ``out`` exists, a subject is unknown, the run does not fit the store, or embeddings are not finite
        or all the same.
    """
    if out.exists():
        raise UserError(f"{out} exists: give `out` a new path, or remove it first")
    everyone = dataset.subjects if dataset.only is None else [dataset.only]
    chosen = sorted({*positions("subject", subjects or everyone, dataset.subjects, dataset)})
    if by_hemisphere:
        dataset.must_have_mesh("`by_hemisphere`")
    learner = load_learner(run, dataset, device)
    used = Windows.of(dataset, run.config)
    clips = used.clips
    axis = _Axis(clips.shape[1], clock)
    if not axis.length:
        raise UserError("`onset` and `tr`: no volume has any of the film; see how the film began in the scan")
    temporary = out.with_name(f".{out.name}.writing")
    shutil.rmtree(temporary, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with quiet_zarr():
            template = _template(run, dataset, clips, axis, chosen, by_hemisphere)
            template.to_zarr(temporary, compute=False, zarr_format=3, consolidated=True)
        group = zarr.open_group(temporary, mode="r+")
        _write_stimuli(group, run, learner, clips, axis)
        _write_fmri(group, run, learner, used, axis, chosen, by_hemisphere, progress)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    os.replace(temporary, out)


def _write_fmri(
    group: zarr.Group,
    run: FitRun,
    learner: Learner,
    used: Windows,
    axis: _Axis,
    chosen: list[int],
    by_hemisphere: bool,
    progress: Callable[[str, int, int], None],
) -> None:
    dataset, frames = used.dataset, used.frames
    windows, reader = used.find(), BoldReader(dataset.path)
    apart = Apart("fmri", "windows", run.path)
    for row, position in enumerate(chosen):
        progress(dataset.subjects[position], row + 1, len(chosen))
        own = windows[windows["subject"] == position]
        for movie in np.unique(own["movie"]).tolist():
            of_run = own[own["movie"] == movie]
            embedded = embed_hemispheres(learner, reader, of_run, frames)
            mean = mean_of_hemispheres(embedded)
            apart.add(mean)
            array_of(group, "fmri")[row, movie] = axis.spread(mean, of_run["clip"])
            if by_hemisphere:
                array_of(group, FMRI_BY_HEMISPHERE)[row, movie] = axis.spread(embedded, of_run["clip"])
    apart.must_differ()


@torch.no_grad()
def _write_stimuli(group: zarr.Group, run: FitRun, learner: Learner, clips: np.ndarray, axis: _Axis) -> None:
    movie, second = np.nonzero(clips)
    for modality, values in learner.embed_clips(movie, second).items():
        vectors = values.cpu().numpy()
        must_tell_apart(vectors, modality, "clips", run.path)
        for one in range(len(clips)):
            here = movie == one
            array_of(group, modality)[one] = axis.spread(vectors[here], second[here])


def _template(
    run: FitRun,
    dataset: Dataset,
    clips: np.ndarray,
    axis: _Axis,
    chosen: list[int],
    by_hemisphere: bool,
) -> xr.Dataset:
    """The store without its embeddings, all of which read as NaN."""
    movies, dim, lag = len(clips), run.config.projector.dim, run.config.data.lag
    of_run = ("subject", "movie", axis.name)
    fmri = f"BOLD of the window that begins {lag} s after this {axis.name}"
    variables = {
        "fmri": _empty(
            (*of_run, "embedding"),
            (len(chosen), movies, axis.length, dim),
            f"embedding of {fmri}: unit-length mean over hemispheres",
        )
    }
    if by_hemisphere:
        variables[FMRI_BY_HEMISPHERE] = _empty(
            (*of_run, "hemisphere", "embedding"),
            (len(chosen), movies, axis.length, len(run.config.data.sides), dim),
            f"embedding of {fmri}, one hemisphere",
        )
    for modality in run.config.stimuli:
        variables[modality] = _empty(
            ("movie", axis.name, "embedding"),
            (movies, axis.length, dim),
            f"embedding of the {modality} of the clip that begins in this {axis.name}",
            {"encoder": run.config.variable(modality).partition("_")[2]},
        )
    variables["scene_split"] = xr.Variable(
        ("movie", axis.name),
        axis.labels(clips),
        {
            "long_name": f"set of the scene of the clip that begins in this {axis.name}; none: not usable",
            "flag_values": list(range(len(SPLITS))),
            "flag_meanings": " ".join(SPLITS),
        },
    )
    coordinates = _coordinates(dataset, chosen, axis, run.config.data)
    return xr.Dataset(variables, coordinates, _attributes(run, dataset, axis))


def _coordinates(
    dataset: Dataset, chosen: list[int], axis: _Axis, data: ResolvedData
) -> dict[str, xr.Variable]:
    subjects = [dataset.subjects[position] for position in chosen]
    splits = [SPLITS[dataset.subject_split[position]] for position in chosen]
    return {
        "subject": strings("subject", subjects),
        "subject_split": strings("subject", splits, long_name="set of this subject: train, val or test"),
        "movie": strings("movie", dataset.movies),
        **({} if dataset.parcels else {"hemisphere": strings("hemisphere", data.side_names)}),
        **axis.coordinates(data.lag),
    }


def _attributes(run: FitRun, dataset: Dataset, axis: _Axis) -> dict[str, Any]:
    config, records = run.config, [store.record for store in run.stores]
    rows = "row s: the stimulus clip that begins at second s, and the BOLD window at s + stimulus_lag"
    if axis.clock is not None:
        rows = "volume k: what seconds around its film_time have, interpolated; second s stands for s + 1/2"
    attributes = {
        "Conventions": "CF-1.11",
        "title": "Embeddings of movie-watching fMRI and of the movie in one common space",
        "source": f"simtrain predict, model of {run.path.absolute()}",
        "comment": f"{rows}; NaN: no usable window; all embeddings have unit length, so that their dot "
        "product is the cosine similarity",
        "stimulus_lag": config.data.lag,
        "frames": config.data.frames,
        **({} if axis.clock is None else {"tr": axis.clock.tr, "onset": axis.clock.onset}),
        "config": config.model_dump(mode="json"),
        "weights_sha256": sha256(run.tested),
        "weights_step": checkpoint.load_tested(run.tested)["step"],
        "store": dataset.identity,
        "trained_on": records[0] if len(records) == 1 else records,
        **({} if run.adaptation is None else {"adaptation": str(run.adaptation)}),
        "software": software_versions(),
    }
    return flat(attributes)


def _empty(
    dims: tuple[str, ...], shape: tuple[int, ...], text: str, attrs: dict[str, Any] | None = None
) -> xr.Variable:
    """A lazy float32 variable, NaN until it is written; a chunk is all of one run, or of one movie."""
    whole = dims.index("movie") + 1
    chunk = (1,) * whole + shape[whole:]
    return empty(dims, shape, np.dtype("f4"), chunk, {"long_name": text, "units": "1", **(attrs or {})})
