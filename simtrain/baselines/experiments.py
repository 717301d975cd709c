"""The baselines, fitted on training subjects in training scenes and put to the same test as a model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from simdata.common import json_text
from simdata.common.errors import UserError
from simtrain.baselines.courses import Courses
from simtrain.baselines.intersubject import Aligned, InterSubjectLearner, Seen, mean_of_others
from simtrain.baselines.isc import isc_maps, summary, write_maps
from simtrain.baselines.kernel_ridge import KernelRidge, by_film_clips, fit_kernel_ridge
from simtrain.baselines.pca import Axes, fit_axes
from simtrain.baselines.projectors import ScoresLearner, embed_scores, train_projectors
from simtrain.baselines.ridge import Ridge, film_folds, fit_ridge
from simtrain.baselines.scores import Scores, ScoresFeed
from simtrain.baselines.targets import Targets
from simtrain.baselines.vertices import VertexCourses, Volumes
from simtrain.common.choices import must_be_one_of
from simtrain.config.resolved import ResolvedConfig
from simtrain.data.dataset import NO_MESH, Dataset
from simtrain.data.features import Stimuli
from simtrain.data.moments import find_moments
from simtrain.data.windows import Windows, by_hemisphere, training, validation, within_scene
from simtrain.models.embeddings import units_of
from simtrain.retrieval.cache import Bank
from simtrain.retrieval.evaluation import RetrievalResult, put_to_test
from simtrain.retrieval.examination import Examinee
from simtrain.retrieval.protocol import Protocol as RetrievalProtocol
from simtrain.retrieval.weighting import ExamineeOf
from simtrain.training import checkpoint
from simtrain.training.software import software_versions

ICO = 2
INPUTS = ("patches", "vertices")

Predict = Callable[[np.ndarray, str], np.ndarray]  # from windows and a modality to embeddings


@dataclass(frozen=True)
class BaselineSettings:
    """What the baselines' own options say.

    Attributes
    ----------
    inputs : what ridge regression sees, one of ``INPUTS``: means of patches, or every vertex of the cortex
    ico : patches of ridge are the faces of this icosphere, None: of ``ICO``
    delays : first and last, s after the lag, whose BOLD ridge regression sees
    targets : predict so many main components of an embedding, None: all of its features
    components : main axes of a window's vertices, of PCA and between subjects
    samples : windows that these, or ridge regression of vertices, are fitted on at most
    """

    inputs: str = INPUTS[0]
    ico: int | None = None
    delays: tuple[int, int] = (-1, 3)
    targets: int | None = None
    components: int = 256
    samples: int = 20_000


class Baselines:
    """Fits and tests baselines on a store.

    Parameters
    ----------
    config : its encoders, window and lag are those of all baselines, its course of training, input and
        projectors those of PCA
    """

    def __init__(
        self, dataset: Dataset, config: ResolvedConfig, settings: BaselineSettings, device: torch.device
    ) -> None:
        if config.context.seconds:
            raise UserError(
                "context.before, context.after: baselines see windows alone; take both as 0, or longer "
                "windows (data.frames)"
            )
        if settings.ico is not None and dataset.parcels:
            raise UserError(f"`ico` {settings.ico}: {dataset.path} {NO_MESH}; leave out `ico`")
        self._dataset, self._config, self._device = dataset, config, device
        self._ico = ICO if settings.ico is None else settings.ico
        self._settings = replace(settings, ico=self._ico)
        self._used = used = Windows.of(dataset, config)
        self._embeddings, self._clips = used.embeddings, used.clips
        self._windows = used.find()
        self._training = training(self._windows)
        found = find_moments(used, config.data.moments)
        self._of_pca, self._held_out = training(found), validation(found)
        if not len(self._training):
            raise UserError(
                f"{dataset.path} has no training windows at a lag of {config.data.lag} s: see `simdata info`"
            )

    def fit(self, kind: str, out: Path, hemispheres: str = "mean") -> tuple[ExamineeOf, dict[str, Any]]:
        """Fit one of ``KINDS``, and write what was fitted to the folder ``out``.

        Parameters
        ----------
        hemispheres : as the test will have it: ridge regression is fitted to all of them together, or to each
            that is tested by itself

        Returns
        -------
        fitted : what is tested, from the windows of an experiment
        notes : what is worth knowing of the fit, as plain types; ``out``/fit.json holds them with the
            configuration, the store and the versions of software
        """
        out.mkdir(parents=True, exist_ok=True)
        fitted, notes = KINDS[kind](self, out, units_of(hemispheres, self._config.data.side_names))
        self._describe(out / "fit.json", notes)
        return fitted, notes

    def test(
        self, fitted: ExamineeOf, experiment: str | None, protocol: RetrievalProtocol
    ) -> dict[str, RetrievalResult]:
        """What `fit` gave, in one experiment or in all that the store has windows for."""
        return put_to_test(fitted, self._used, experiment, protocol)

    def _describe(self, path: Path, notes: dict[str, Any]) -> None:
        content = {
            "notes": notes,
            "settings": asdict(self._settings),
            "config": self._config.model_dump(mode="json"),
            "store": self._dataset.identity,
            "software": software_versions(),
        }
        json_text.write(path, content)

    @cached_property
    def targets(self) -> Targets:
        """What ridge regression predicts."""
        return Targets(self._embeddings, self._clips, self._settings.targets)

    def courses(self, unit: str) -> Courses:
        """Of one of `units_of`: a hemisphere, or for ``mean`` all in use, side by side."""
        return Courses(self._dataset, self._ico, self._sides(unit))

    def ridge(self, courses: Courses) -> Ridge:
        """Fitted to predict the targets from the delays that were asked for."""
        windows, delays = self._for_ridge()
        fold = film_folds(windows, self._dataset.segment)
        return fit_ridge(courses, windows, fold, self.targets, delays, self._device)

    def vertex_ridge(self, courses: VertexCourses) -> KernelRidge:
        """As `ridge`, from every vertex, on so many of the windows as ``samples`` says."""
        windows, delays = self._for_ridge()
        count, seed = self._settings.samples, self._config.train.seed
        windows = by_film_clips(windows, self._dataset.segment, count, seed)
        fold = film_folds(windows, self._dataset.segment)
        return fit_kernel_ridge(courses, windows, fold, self.targets, delays, self._device)

    def _sides(self, unit: str) -> Sequence[int]:
        data = self._config.data
        return data.sides if unit == "mean" else [data.sides[data.side_names.index(unit)]]

    def _for_ridge(self) -> tuple[np.ndarray, np.ndarray]:
        """Training windows, and the delays that were asked for."""
        first, last = self._settings.delays
        windows = self._training
        # No delay may lead into BOLD that answers a scene which is held out.
        windows = windows[within_scene(self._dataset, windows["movie"], windows["clip"], first, last)]
        if not len(windows):
            raise UserError(
                f"delays: no training window has all of {first} to {last} s within its scene: take fewer"
            )
        return windows, np.arange(first, last + 1)

    @cached_property
    def axes(self) -> Axes:
        """The main axes of training windows."""
        return fit_axes(
            self._dataset,
            self._of_pca,
            self._config,
            components=self._settings.components,
            samples=self._settings.samples,
            seed=self._config.train.seed,
            device=self._device,
        )

    def _ridge(self, out: Path, units: tuple[str, ...]) -> tuple[ExamineeOf, dict[str, Any]]:
        for old in out.glob("ridge*.npz"):
            old.unlink()
        sides, notes = {}, {}
        for unit in units:
            model, predict = self._ridge_of(unit)
            model.save(out / ("ridge.npz" if unit == "mean" else f"ridge_{unit}.npz"))
            sides[unit] = _RidgeSides(tuple(model.columns), predict, self.targets)
            notes[unit] = _told(model)
        return (lambda windows: self._tested_ridge(sides)), notes.get("mean", notes)

    def _ridge_of(self, unit: str) -> tuple[Ridge | KernelRidge, Predict]:
        """What was fitted to a unit, and what predicts of its windows in tests."""
        if self._settings.inputs == "patches":
            patches = self.courses(unit)
            model = self.ridge(patches)
            return model, partial(model.predict, patches)
        trained, tested = (
            VertexCourses(self._dataset, config, self._sides(unit))
            for config in (self._config, self._config.as_tested)
        )
        of_vertices = self.vertex_ridge(trained)
        return of_vertices, partial(of_vertices.predict, tested)

    def _pca(self, out: Path, units: tuple[str, ...]) -> tuple[ExamineeOf, dict[str, Any]]:
        Stimuli(self._embeddings).fit(self._clips)  # if features say nothing, so before the work begins
        config, axes = self._config, self.axes
        learner = ScoresLearner(config, self._dataset, self._embeddings, axes.axes.shape[1])
        learner.stimuli.fit(self._clips)
        samples = by_hemisphere(np.concatenate([self._of_pca, self._held_out]), config.data.sides)
        feed = ScoresFeed(samples, self._scores(config).of(samples))
        train_projectors(learner.to(self._device), config, self._used, self._of_pca, self._held_out, feed)
        checkpoint.save(out / "pca.pt", {"axes": axes._asdict(), "learner": learner.state_dict()})
        tested = self._scores(config.as_tested)

        def examinee_of(windows: np.ndarray) -> Examinee:
            return Examinee(learner, self._banks(learner, tested, units), self._dataset)

        return examinee_of, {"components": axes.axes.shape[1], "explained_variance": float(axes.share)}

    def _intersubject(self, out: Path, units: tuple[str, ...]) -> tuple[ExamineeOf, dict[str, Any]]:
        config, axes, dataset = self._config, self.axes, self._dataset
        maps = isc_maps(dataset, config.data.lag, config.data.sides)
        write_maps(maps, out / "isc.zarr")
        aligned = Aligned.of(
            self._training,
            validation(self._windows),
            self._scores(config),
            config.data.sides,
            dataset.segment.shape,
        )
        means = aligned.sums.mean / aligned.scale
        learner = InterSubjectLearner(config, dataset, means, self._used.separation, axes.axes.shape[1])
        # Not among the candidates of validation: clips that lead out of all runs.
        clips = np.where(means.isfinite().all(dim=2).cpu().numpy(), self._clips, 0)
        used = replace(self._used, clips=clips)
        train_projectors(
            learner.to(self._device), config, used, aligned.windows, aligned.held_out, aligned.feed
        )
        kept = {"axes": axes._asdict(), "learner": learner.state_dict(), "scale": aligned.scale}
        checkpoint.save(out / "intersubject.pt", kept)
        tested = self._scores(config.as_tested)

        def examinee_of(windows: np.ndarray) -> Examinee:
            others = mean_of_others(windows, tested, dataset, config.data) / aligned.scale
            return Examinee(Seen(learner, others), self._banks(learner, tested, units), dataset)

        return examinee_of, {"components": axes.axes.shape[1], "isc": summary(maps)}

    def _scores(self, config: ResolvedConfig) -> Scores:
        return Scores(self.axes, Volumes(self._dataset, config, self._device), config.data.frames)

    def _banks(self, learner: ScoresLearner, scores: Scores, units: tuple[str, ...]) -> dict[str, Bank]:
        """The same for all modalities, which have one space."""
        bank = Bank(partial(embed_scores, learner, scores, units), self._dataset, units)
        return dict.fromkeys(learner.modalities, bank)

    def _tested_ridge(self, of_units: Mapping[str, _RidgeSides]) -> Examinee:
        """By what is fitted to each unit that is tested; clips are the same to all of them."""
        sides, units = list(of_units.values()), tuple(of_units)
        banks = {
            modality: Bank(partial(_by_unit, sides, modality), self._dataset, units)
            for modality in sides[0].modalities
        }
        return Examinee(_ClipSide(sides[0], self._used.separation), banks, self._dataset)


KINDS = {"ridge": Baselines._ridge, "pca": Baselines._pca, "intersubject": Baselines._intersubject}


def must_suit(kinds: Collection[str], settings: BaselineSettings) -> None:
    """Refuse what makes no sense of these kinds.

    Raises
    ------
    UserError
        If options are given that none of the kinds has.
    """
    must_be_one_of("inputs", settings.inputs, INPUTS)
    if settings.inputs == "vertices":
        if "ridge" not in kinds:
            raise UserError("`inputs` vertices: they are of ridge alone, which is not among the kinds")
        if settings.ico is not None:
            raise UserError(
                f"`inputs` vertices, `ico` {settings.ico}: vertices have no patches; leave out `ico`"
            )


@dataclass(frozen=True)
class _RidgeSides:
    """What ridge regression predicts of windows, and what it should have."""

    modalities: tuple[str, ...]
    predict: Predict
    targets: Targets

    def from_windows(self, windows: np.ndarray, modality: str) -> np.ndarray:
        return self.predict(windows, modality)

    def from_clips(self, movie: np.ndarray, clip: np.ndarray, modality: str) -> np.ndarray:
        return self.targets.embed(movie, clip)[modality]


@dataclass(frozen=True)
class _ClipSide:
    """What ridge regression is compared with of clips, as the retrieval test takes it."""

    sides: _RidgeSides
    window: int

    def embed_clips(self, movie: np.ndarray, clip: np.ndarray) -> dict[str, torch.Tensor]:
        of_each = {
            modality: _unit_length(partial(self.sides.from_clips, modality=modality), movie, clip)
            for modality in self.sides.modalities
        }
        return {modality: torch.from_numpy(values) for modality, values in of_each.items()}


def _told(model: Ridge | KernelRidge) -> dict[str, Any]:
    penalty = {
        modality: np.quantile(model.penalty[columns], [0, 0.5, 1]).tolist()
        for modality, columns in model.columns.items()
    }
    return {"features": model.features, "penalty_min_median_max": penalty}


def _by_unit(of_units: Iterable[_RidgeSides], modality: str, windows: np.ndarray) -> np.ndarray:
    """(n, units, dim): what baselines make of the BOLD of a window that each of them sees."""
    embedded = [_unit_length(partial(one.from_windows, modality=modality), windows) for one in of_units]
    return np.stack(embedded, axis=1)


def _unit_length(embed: Callable[..., np.ndarray], *arguments: np.ndarray) -> np.ndarray:
    values = embed(*arguments)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return (values / np.where(length > 0, length, 1)).astype(np.float32)


def shown(notes: Any) -> str:
    """Notes of a fit in one line, with three digits."""
    if isinstance(notes, dict):
        return ", ".join(f"{name} {shown(value)}" for name, value in notes.items())
    if isinstance(notes, list):
        return "/".join(map(shown, notes))
    return f"{notes:.3g}" if isinstance(notes, float) else str(notes)
