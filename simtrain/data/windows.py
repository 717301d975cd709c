"""Windows: which stretches of BOLD, with which stimulus clip, make a sample.

A window of subject and movie at second t is BOLD [t, t + frames) with the clip [t - lag, t - lag + length)
that was on screen before. It is usable if the run is complete, all of its BOLD is there and of one scan, the
clip has features in every embedding in use, and both the clip and the film that the BOLD answers, [t - lag,
t - lag + frames), lie in one segment (not rest) and in one set of scenes. So no BOLD of a training window
answers a test scene, nor shares volumes with BOLD that does (`simtrain.data.scan_rows`). The test-retest clip
and the guard between sets are in none, and so in no window. Training may have others
(`simtrain.data.moments`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from simdata.common.errors import UserError
from simtrain.config.resolved import Resolved
from simtrain.data.dataset import SPLITS, Dataset, Embedding
from simtrain.data.experiments import ADAPTED, experiments_in, why_none
from simtrain.data.filters import narrowed
from simtrain.data.scan_rows import near_held_out, touches, window_starts

TRAIN, VAL, TEST = (SPLITS.index(name) for name in ("train", "val", "test"))
HEMISPHERES = 2
BOTH = tuple(range(HEMISPHERES))  # their positions, L and R

FIELDS = [
    ("subject", "i4"),
    ("movie", "i4"),
    ("second", "i4"),  # of the first frame
    ("clip", "i4"),  # second at which the stimulus clip begins: its row in the embeddings
    ("subject_split", "i1"),
    ("scene_split", "i1"),
]
WINDOW = np.dtype(FIELDS)
SAMPLE = np.dtype([*FIELDS, ("hemisphere", "i4")])


def covered(frames: int, embeddings: Iterable[Embedding]) -> int:
    """Seconds that a window covers, the longer of its BOLD and its clip.

    No shorter one rules out shared moments.
    """
    return max([frames, *(embedding.window for embedding in embeddings)])


def separation(dataset: Dataset, frames: int, embeddings: Iterable[Embedding]) -> int:
    """Seconds between the beginnings of windows of one movie that share no moment and no volume."""
    return covered(frames, embeddings) + int(dataset.reach.max())


def clip_split(dataset: Dataset, embeddings: Iterable[Embedding]) -> np.ndarray:
    """(movies, seconds) int8: the set of the clip beginning there, 0 where no usable one of a set does."""
    return np.where(usable_clips(dataset, embeddings), dataset.sets, 0).astype(np.int8)


def usable_clips(dataset: Dataset, embeddings: Iterable[Embedding]) -> np.ndarray:
    """(movies, seconds) bool: whether a clip that begins there lies in one film clip and one set, or in none.

    A clip is as long as the longest window of the embeddings, or 1 s.
    """
    embeddings = list(embeddings)
    movie, clip = np.indices(dataset.segment.shape).reshape(2, -1)
    whole = within_scene(dataset, movie, clip, 0, covered(1, embeddings) - 1)
    usable = whole.reshape(dataset.segment.shape) & (dataset.segment != 0)
    for embedding in embeddings:
        usable &= ~np.isnan(embedding.values).any(axis=-1)
    return usable


def within_scene(dataset: Dataset, movie: np.ndarray, clip: np.ndarray, first: int, last: int) -> np.ndarray:
    """(n,) bool: whether seconds clip + first ... clip + last are of the clip's segment and set of scenes."""
    at = clip[:, None] + np.arange(first, last + 1)
    inside = (at >= 0) & (at < dataset.segment.shape[1])
    at = np.where(inside, at, clip[:, None])
    for table in (dataset.segment, dataset.scene_split):
        inside &= table[movie[:, None], at] == table[movie, clip][:, None]
    return inside.all(axis=1)


def find_windows(dataset: Dataset, clips: np.ndarray, frames: int, lag: int) -> np.ndarray:
    """(n,) WINDOW: all usable windows, by subject, movie and second.

    Parameters
    ----------
    clips : (movies, seconds) as `clip_split` gives, or bool
    """
    movie, clip = np.nonzero(clips)
    usable = (clip + lag >= 0) & (clip + lag + frames <= dataset.volumes[movie])
    usable &= within_scene(dataset, movie, clip, 0, frames - 1)
    movie, clip = movie[usable], clip[usable]
    sets = np.where(dataset.sets[movie, clip], dataset.scene_split[movie, clip], 0)
    apart = ~touches(near_held_out(dataset, lag, SPLITS), sets, movie, clip + lag, frames)
    movie, clip = movie[apart], clip[apart]
    return of_all_subjects(dataset, movie, clip, clip + lag, dataset.scene_split[movie, clip], frames)


def of_all_subjects(
    dataset: Dataset,
    movie: np.ndarray,
    clip: np.ndarray,
    second: np.ndarray,
    scene_split: np.ndarray,
    frames: int,
) -> np.ndarray:
    """(n,) WINDOW: the same moments of every subject who has usable BOLD of one scan in all of them."""
    subject, film = np.nonzero(window_starts(dataset.run, frames)[:, movie, second])
    windows = np.empty(len(subject), dtype=WINDOW)
    windows["subject"], windows["movie"] = subject, movie[film]
    windows["clip"], windows["second"] = clip[film], second[film]
    windows["subject_split"] = dataset.subject_split[subject]
    windows["scene_split"] = scene_split[film]
    return windows


@dataclass(frozen=True, eq=False)
class Windows:
    """What a resolved configuration uses of a store: its embeddings, their clips, and windows.

    Attributes
    ----------
    embeddings : by modality; none in pretraining
    clips : (movies, seconds) int8 as `clip_split` gives
    in_no_set : (movies, seconds) bool, usable clips of film clips in no set, such as the test-retest clip
    frames, lag : s, of a window, and from its clip to its BOLD
    span : s that a window covers, the longer of its BOLD and its clip
    separation : s between the beginnings of windows of a movie that share no moment and no volume
    """

    dataset: Dataset
    embeddings: dict[str, Embedding]
    clips: np.ndarray
    in_no_set: np.ndarray
    frames: int
    lag: int
    span: int
    separation: int

    @classmethod
    def of(cls, dataset: Dataset, config: Resolved, also: Iterable[Embedding] = ()) -> Windows:
        """The one way from a configuration to its windows.

        Parameters
        ----------
        also : embeddings that must have features, too, where a window is usable

        Raises
        ------
        UserError
            If the store lacks an embedding in use, or one is damaged.
        """
        own, frames = dataset.embeddings(config), config.data.frames
        used = [*own.values(), *also]
        sets, span = clip_split(dataset, used), covered(frames, used)
        in_no_set = usable_clips(dataset, used) & (dataset.scene_split == 0)
        apart = separation(dataset, frames, used)
        return cls(dataset, own, sets, in_no_set, frames, config.data.lag, span, apart)

    def find(self, lag: int | None = None) -> np.ndarray:
        """(n,) WINDOW: as `find_windows`, at the configuration's lag or at another (s)."""
        return find_windows(self.dataset, self.clips, self.frames, self.lag if lag is None else lag)

    def experiment(
        self,
        name: str,
        lag: int,
        split: str = "test",
        subjects: Sequence[str] = (),
        movies: Sequence[str] = (),
        in_no_set: bool = False,
    ) -> np.ndarray:
        """(n,) WINDOW: those of an experiment; none where the store has none.

        Parameters
        ----------
        split : the set in which it is tested, as `simtrain.data.experiments.experiments_in` takes
        subjects, movies : whose windows to take; none: those of all
        in_no_set : whether also those of the same subjects in film clips of no set; where scenes are parts of
            film clips, and are held out, in their second halves, as the published code has it

        Raises
        ------
        UserError
            If the store lacks a subject or movie.
        """
        of_subjects, of_scenes = experiments_in(split)[name]
        found = narrowed(select(self.find(lag), of_subjects, of_scenes), self.dataset, subjects, movies)
        if not in_no_set or not len(found):
            return found
        clips = self.in_no_set
        if of_scenes != TRAIN and parts_clips(self.dataset):
            clips = clips & second_halves(self.dataset.segment)
        more = select(find_windows(self.dataset, clips, self.frames, lag), of_subjects, 0)
        both = np.concatenate([found, narrowed(more, self.dataset, subjects, movies)])
        return np.sort(both, order=["subject", "movie", "second"])

    def experiments(
        self,
        wanted: str | None,
        lag: int,
        split: str = "test",
        subjects: Sequence[str] = (),
        movies: Sequence[str] = (),
        in_no_set: bool = False,
    ) -> dict[str, np.ndarray]:
        """The windows of one experiment in a set, or of all that the store has windows for.

        Of a run that is adapted to a subject all is one, ``ADAPTED``.

        Parameters
        ----------
        split, subjects, movies, in_no_set : as for `experiment`

        Raises
        ------
        UserError
            If it has none, or lacks a subject or movie.
        """
        every = list(experiments_in(split)) if self.dataset.only is None else [ADAPTED]
        names = [wanted] if wanted else every
        chosen = {name: self.experiment(name, lag, split, subjects, movies, in_no_set) for name in names}
        chosen = {name: windows for name, windows in chosen.items() if len(windows)}
        if not chosen:
            only = f" of {' and '.join([*subjects, *movies])}" if subjects or movies else ""
            raise UserError(
                f"{self.dataset.path} has no windows{only} for {' or '.join(names)} at a lag of {lag} s: "
                f"{why_none(self.dataset, names, split)}"
            )
        return chosen


def parts_clips(dataset: Dataset) -> bool:
    """Whether a film clip has scenes of several sets."""
    movie, second = np.nonzero(dataset.sets)
    clip, of_set = dataset.segment[movie, second], dataset.sets[movie, second]
    pieces = np.unique(np.stack([movie, clip, of_set], axis=1), axis=0)
    return len(np.unique(pieces[:, :2], axis=0)) < len(pieces)


def second_halves(segment: np.ndarray) -> np.ndarray:
    """(movies, seconds) bool: the later half of every film clip, without the second in the middle.

    Parameters
    ----------
    segment : (movies, seconds), the store's
    """
    later = np.zeros(segment.shape, bool)
    for movie, codes in enumerate(segment):
        for code in np.unique(codes[codes != 0]):
            seconds = np.flatnonzero(codes == code)
            later[movie, seconds[seconds > (seconds[0] + seconds[-1]) // 2]] = True
    return later


def select(windows: np.ndarray, subjects: int, scenes: int) -> np.ndarray:
    """The windows of one set of subjects in one set of scenes."""
    return windows[(windows["subject_split"] == subjects) & (windows["scene_split"] == scenes)]


def training(windows: np.ndarray) -> np.ndarray:
    """Training subjects in training scenes."""
    return select(windows, TRAIN, TRAIN)


def validation(windows: np.ndarray) -> np.ndarray:
    """Everything with a validation subject or scene and nothing of the test set."""
    return np.concatenate([select(windows, *sets) for sets in ((VAL, TRAIN), (TRAIN, VAL), (VAL, VAL))])


def by_hemisphere(windows: np.ndarray, hemispheres: Sequence[int] = BOTH) -> np.ndarray:
    """(n * hemispheres,) SAMPLE: every window once for each hemisphere, L first."""
    samples = np.empty((len(windows), len(hemispheres)), dtype=SAMPLE)
    for field, _ in FIELDS:
        samples[field] = windows[field][:, None]
    samples["hemisphere"] = hemispheres
    return samples.reshape(-1)
