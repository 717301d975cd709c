"""Pictures of what was seen, put together from other clips of the film, and how good they are.

There is no generative model: the embedding of BOLD looks up clips in a gallery (`gallery`) by their
video embeddings in the common space. ``nearest`` is the picture of the nearest clip; ``weighted`` the mean of
the K nearest, by the softmax of their similarities at the temperature of the training; ``decoder`` what a
decoder of the user's makes. Beside them stands what needs no BOLD:

* ``gallery mean``: the mean of the whole gallery, what guessing without BOLD reaches;
* ``perfect BOLD``: the nearest clip by the target's own video embedding: what lookup in this gallery
  reaches if BOLD says all;
* ``gallery best``: for each score, the largest in the gallery. No choice of a clip could do better.

A clip's picture is the thumbnail of the second in its middle.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from simdata.common.errors import UserError
from simdata.store import BoldReader
from simtrain.common.choices import must_be_at_least, must_be_one_of
from simtrain.common.finite import must_tell_apart
from simtrain.config.modalities import kind
from simtrain.data.dataset import Dataset, Embedding
from simtrain.data.experiments import SET_NAMES
from simtrain.data.features import Stimuli
from simtrain.data.windows import Windows, training, validation
from simtrain.models.embeddings import embed_fmri
from simtrain.reconstruction.decoders import COMMON, Decoder, Info, decode
from simtrain.reconstruction.gallery import EXCLUDE, SCENES, Clips, find_gallery, read_clips
from simtrain.reconstruction.identification import Outcome, Reference, Tally, two_way
from simtrain.reconstruction.linear_map import LinearMap, fit_linear_map
from simtrain.reconstruction.lookup import BEST, PERFECT, FilmLookup, Lookup, Made
from simtrain.reconstruction.thumbnails import rounded
from simtrain.retrieval.evaluation import must_be_new
from simtrain.retrieval.pools import NEAREST
from simtrain.retrieval.scores import SHIFTS, SMALLEST_SHIFT, draw_shifts
from simtrain.retrieval.units import EVERYONE, average_fmri, film_clips, find_units
from simtrain.training.run_folder import FitRun
from simtrain.training.trained_model import load_learner

TRUTH, SHOWN_SCORE = "truth", "ssim"
MAP_WINDOWS = 20_000  # that the linear map to another encoder's features is fitted on, at most


@dataclass(frozen=True)
class ReconstructionSettings:
    """How to reconstruct.

    Attributes
    ----------
    lag : s from stimulus to BOLD
    split : the set that is tested, ``test`` or ``val``
    exclude : what of the target the gallery lacks, its movie or its film clip
    scenes : of which scenes the gallery is, ``train`` or ``all`` that are in a set
    neighbours : how many clips the weighted mean is of
    every : test the clips that begin at multiples of so many s
    panels : how many windows to keep pictures of, for the contact sheet
    decoder : what it was asked for by
    features : for the decoder, name of the video encoder whose features to predict; None: the common space
    """

    lag: int = field(kw_only=True)  # as trained, which only the run knows
    split: str = "test"
    exclude: str = EXCLUDE[0]
    scenes: str = SCENES[0]
    neighbours: int = 5
    average_subjects: bool = False
    every: int = 1
    seed: int = 0
    panels: int = 0
    decoder: str | None = None
    features: str | None = None

    def __post_init__(self) -> None:
        must_be_one_of("exclude", self.exclude, EXCLUDE)
        must_be_one_of("gallery", self.scenes, SCENES)
        least = {"lag": self.lag, "seed": self.seed, "sheet": self.panels}
        for name, value in least.items():
            must_be_at_least(name, value, 0)
        for name, value in {"neighbours": self.neighbours, "every": self.every}.items():
            must_be_at_least(name, value, 1)

    def __str__(self) -> str:
        tested, scenes = SET_NAMES[self.split], "training scenes" if self.scenes == "train" else "all scenes"
        subjects = ", mean of subjects" if self.average_subjects else ""
        return (
            f"{tested}, gallery of {scenes} without the target's {self.exclude}, "
            f"{self.neighbours} neighbours, lag {self.lag} s{subjects}"
        )


@dataclass(frozen=True)
class Panel:
    """The pictures (y, x, 3) uint8 of one window by what made them, ``truth`` first, and their SSIM."""

    window: np.void
    frames: dict[str, np.ndarray]
    score: dict[str, float]


@dataclass(frozen=True)
class ReconstructionResult:
    """An experiment.

    Attributes
    ----------
    windows : (n,) WINDOW, all that were tested
    film_clip : (n,) int, the film clip of each, counted over all movies
    nearest : (n, 2) int, movie and second of the nearest clip
    scores, two_way : by who made it and the name of the score
    gallery : (smallest, largest) number of clips in a target's gallery
    """

    windows: np.ndarray
    film_clip: np.ndarray
    nearest: np.ndarray
    scores: dict[tuple[str, str], Outcome]
    two_way: dict[tuple[str, str], Outcome]
    gallery: tuple[int, int]
    panels: list[Panel]


@dataclass(frozen=True)
class _Decoding:
    """A decoder, and what it is told (`Info`), but for the subject."""

    decoder: Decoder
    features: str
    attributes: Mapping[str, Any]
    size: tuple[int, int]


class Reconstructor:
    """A run's model and the gallery of a store, ready to reconstruct its experiments.

    Attributes
    ----------
    trained_on : the store's variable whose features pictures are looked up by, the first of video that the
        model was trained on: scored too, and marked
    temperature : of the softmax, as trained
    moment : s from the beginning of a clip to the thumbnail that stands for it
    linear : the map to the features that the decoder takes, if it takes any but the common space

    Raises
    ------
    UserError
        If the run has no video or no model yet, its embeddings are not finite or all the same, or the store
        lacks what is asked for.
    """

    def __init__(
        self,
        run: FitRun,
        dataset: Dataset,
        settings: ReconstructionSettings,
        device: torch.device,
        decoder: Decoder | None = None,
    ) -> None:
        of_video = [modality for modality in run.config.stimuli if kind(modality) == "video"]
        if not of_video:
            raise UserError(
                f"{run.path} was trained without video, on {', '.join(run.config.stimuli)}: there is nothing "
                "to look pictures up by; give a run that was trained with video, and films with pictures"
            )
        self._modality = of_video[0]
        self._run, self._dataset, self.settings, self._device = run, dataset, settings, device
        self._learner, self._reader = load_learner(run, dataset, device), BoldReader(dataset.path)
        read = (dataset.embedding(f"video_{name}") for name in dataset.encoders["video"])
        seen = {embedding.variable: embedding for embedding in read}
        # Usable in all features, so that every score is of the same windows, and no clip of a long window
        # reaches into another scene.
        self._used = Windows.of(dataset, run.config, also=seen.values())
        own, self._apart = self._used.embeddings, max(NEAREST, self._used.separation)
        self.trained_on = own[self._modality].variable
        self.moment = own[self._modality].window // 2
        self._features = Stimuli(seen)
        self._features.fit(self._used.clips)
        self.temperature = self._learner.loss.temperature
        self._gallery = self._read(*find_gallery(self._used.clips, settings.scenes))
        must_tell_apart(self._gallery.vectors, self._modality, "clips of the gallery", run.path)
        self._decoding = None if decoder is None else self._describe(decoder, seen)
        self.linear: LinearMap | None = None
        if settings.features is not None:
            self.linear = self._fit_map(seen[f"video_{settings.features}"].values)

    def experiments(
        self,
        experiment: str | None,
        progress: Callable[[str, int, int], None] = lambda name, done, total: None,
    ) -> dict[str, ReconstructionResult]:
        """Reconstruct one experiment, or all that the store has windows for.

        Parameters
        ----------
        progress : called with the experiment, the number of the movie that is done, and of movies
        """
        chosen = self._used.experiments(experiment, self.settings.lag, self.settings.split)
        results = {}
        for name, windows in chosen.items():
            must_be_new(self._run, self._dataset, windows, name, self.settings.split)
            results[name] = self._experiment(name, windows, progress)
        return results

    def _experiment(
        self, name: str, windows: np.ndarray, progress: Callable[[str, int, int], None]
    ) -> ReconstructionResult:
        settings = self.settings
        windows = windows[windows["clip"] % settings.every == 0]
        if not len(windows):
            raise UserError(
                f"{name}: no clip begins at a multiple of {settings.every} s: use a smaller `every`"
            )
        rows = np.unique(windows[["movie", "clip"]])
        rng = np.random.default_rng(settings.seed)
        smallest = math.ceil(SMALLEST_SHIFT / settings.every)  # the same in s
        shifts = draw_shifts(rng, rows["movie"], SHIFTS, smallest)
        shifts = np.concatenate([np.arange(len(rows))[None], shifts])
        shown = set(np.linspace(0, len(rows) - 1, min(settings.panels, len(rows))).astype(int).tolist())
        book, turn = _Book(len(shifts) - 1), 0
        movies = np.unique(rows["movie"])
        for number, movie in enumerate(movies, 1):
            here = np.flatnonzero(rows["movie"] == movie)
            film = FilmLookup(
                self._read(rows["movie"][here], rows["clip"][here]), self._gallery, self._lookup()
            )
            must_tell_apart(film.targets.vectors, self._modality, "clips", f"{self._run.path}, {name}")
            perfect = film.perfect()
            of_movie = list(self._by_subject(windows[windows["movie"] == movie]))
            panels: dict[int, list[int]] = {}
            for row in sorted(shown & set(here.tolist())):  # of the subjects in turn
                panels.setdefault(turn % len(of_movie), []).append(row - here[0])
                turn += 1
            for which, (units, fmri) in enumerate(of_movie):
                made = film.look_up(fmri)
                if self._decoding is not None:
                    film.add_decoded(made, self._decode(self._decoding, units, fmri))
                book.add(film, units, made, perfect, shifts[:, here] - here[0], panels.get(which, []))
            progress(name, number, len(movies))
        return book.result(self._dataset.segment)

    def _by_subject(self, windows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Units of every subject, or of their mean, in one movie, by time, with their embeddings."""
        vectors = self._embed(windows)
        units = find_units(windows, self._dataset.segment, 1, self.settings.average_subjects)
        if self.settings.average_subjects:
            vectors = average_fmri(units, windows, vectors, 1)
            must_tell_apart(vectors, "fmri", "windows", self._run.path)
            yield units, vectors
            return
        for subject in np.unique(windows["subject"]):
            own = windows["subject"] == subject
            yield windows[own], vectors[own]

    def _embed(self, windows: np.ndarray) -> np.ndarray:
        vectors = embed_fmri(self._learner, self._reader, windows, self._run.config.data.frames)
        must_tell_apart(vectors, "fmri", "windows", self._run.path)
        return vectors

    def _read(self, movie: np.ndarray, clip: np.ndarray) -> Clips:
        return read_clips(
            self._learner, self._modality, self._dataset, self._features, movie, clip, self.moment
        )

    def _lookup(self) -> Lookup:
        settings = self.settings
        return Lookup(settings.exclude, self._apart, settings.neighbours, self.temperature, self._device)

    def _decode(self, decoding: _Decoding, units: np.ndarray, fmri: np.ndarray) -> np.ndarray:
        subject = int(units["subject"][0])
        named = "mean" if subject == EVERYONE else self._dataset.subjects[subject]
        handed = fmri if self.linear is None else self.linear.predict(fmri)
        info = Info(decoding.features, decoding.attributes, decoding.size, subject=named)
        return decode(decoding.decoder, handed, info)

    def _describe(self, decoder: Decoder, seen: Mapping[str, Embedding]) -> _Decoding:
        size = self._gallery.pictures.frames.shape[1:3]
        if self.settings.features is None:
            return _Decoding(decoder, COMMON, {}, size)
        variable = f"video_{self.settings.features}"
        if variable not in seen:
            known = ", ".join(self._dataset.encoders["video"])
            raise UserError(
                f"{self._dataset.path} has no video embedding {self.settings.features!r}; it has: {known}"
            )
        attributes = dict(self._dataset.view[variable].attrs)
        return _Decoding(decoder, variable, attributes, size)

    def _fit_map(self, features: np.ndarray) -> LinearMap:
        """A map to (movies, seconds, features), fitted on training windows; validation chose its penalty."""
        rng = np.random.default_rng(self.settings.seed)
        found = self._used.find(self.settings.lag)
        pairs = []
        for windows in (training(found), validation(found)):
            if not len(windows):
                raise UserError(
                    f"{self._dataset.path} has no windows for training or none for validation: the decoder's "
                    "features are fitted on both; leave `decoder_features` out"
                )
            windows = np.sort(rng.permutation(windows)[:MAP_WINDOWS], order=["subject", "movie", "second"])
            pairs += [self._embed(windows), features[windows["movie"], windows["clip"]]]
        return fit_linear_map(*pairs)


class _Book:
    """Collects what the subjects and movies of one experiment come to."""

    def __init__(self, shifts: int) -> None:
        self._shifts = shifts
        self._scores: dict[tuple[str, str], Tally] = {}
        self._references: dict[tuple[str, str], Reference] = {}
        self._two_way: dict[tuple[str, str], Tally] = {}
        self._windows: list[np.ndarray] = []
        self._nearest: list[np.ndarray] = []
        self._sizes: list[int] = []
        self._panels: list[Panel] = []

    def add(
        self,
        film: FilmLookup,
        units: np.ndarray,
        made: Made,
        perfect: Made,
        shifts: np.ndarray,
        shown: Sequence[int],
    ) -> None:
        """One subject in one movie; ``shown`` are the rows to keep pictures of."""
        self._windows.append(units)
        self._nearest.append(made.nearest)
        self._sizes += film.gallery_sizes
        for key, table in {**made.scores, **perfect.scores}.items():
            identified = two_way(table, film.group, film.targets.clip)
            self._scores.setdefault(key, Tally(self._shifts)).add(table, shifts)
            self._two_way.setdefault(key, Tally(self._shifts)).add(identified, shifts)
        # The same again for every subject: so that all figures are means over the same windows.
        for maker, name, values in film.references():
            self._references.setdefault((maker, name), Reference()).add(values)
        self._panels += [_panel(film, units[row], made, perfect, row) for row in shown]

    def result(self, segment: np.ndarray) -> ReconstructionResult:
        """What was collected; ``segment`` is (movies, seconds), the film clip of each second."""
        windows = np.concatenate(self._windows)
        scores = {key: tally.outcome() for key, tally in self._scores.items()}
        scores |= {key: reference.outcome() for key, reference in self._references.items()}
        return ReconstructionResult(
            windows=windows,
            film_clip=film_clips(windows, segment),
            nearest=np.concatenate(self._nearest),
            scores=scores,
            two_way={key: tally.outcome() for key, tally in self._two_way.items()},
            gallery=(min(self._sizes), max(self._sizes)),
            panels=self._panels,
        )


def _panel(film: FilmLookup, window: np.void, made: Made, perfect: Made, row: int) -> Panel:
    frames = {TRUTH: film.targets.pictures.frames[row]}
    frames |= {maker: rounded(pictures[row]) for maker, pictures in made.frames.items()}
    best, best_score = film.best(row, SHOWN_SCORE)
    frames |= {PERFECT: perfect.frames[PERFECT][row], BEST: best}
    tables = {**made.scores, **perfect.scores}
    score = {maker: float(tables[maker, name][row, row]) for maker, name in tables if name == SHOWN_SCORE}
    return Panel(window, frames, {**score, BEST: best_score})
