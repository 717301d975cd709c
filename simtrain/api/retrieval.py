"""The retrieval test, of a trained model and of baselines."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from simdata.common.errors import UserError
from simdata.common.local_path import local
from simdata.release.splits_files import SplitsLike
from simtrain.api.arguments import RunLike, names_in, open_run, set_to_test, tested_or_all
from simtrain.api.runs import ConfigLike, Overrides, load_config
from simtrain.baselines.experiments import KINDS, Baselines, BaselineSettings, must_suit
from simtrain.common.choices import must_be_at_least, must_be_one_of
from simtrain.common.device import torch_device
from simtrain.config.composition import DEFAULT_PRESET
from simtrain.config.schema import Config
from simtrain.data.dataset import Dataset, StoreLike, open_dataset, resolve
from simtrain.data.experiments import ALL, file_of
from simtrain.data.sets import with_splits
from simtrain.retrieval import clip_sheets, evaluation, family, report, tables
from simtrain.retrieval import figures as pictures
from simtrain.retrieval.best_and_worst import RankedClip, find_best_and_worst, must_be_shown
from simtrain.retrieval.by_modality import Gap, Pool
from simtrain.retrieval.joint import NONE, Joint, JointWeights
from simtrain.retrieval.named_protocols import OURS, named, title_of
from simtrain.retrieval.protocol import Protocol
from simtrain.training.checkpoint import CHECKPOINTS
from simtrain.training.run_folder import TestedWeights


class Retrieval:
    """Experiments of one model or baseline in one retrieval test.

    Attributes
    ----------
    folder : where `save` writes
    protocol : of the test
    results : name of the experiment -> its scores, measures and tested windows
    notes : what is worth knowing of the fit of a baseline, as plain types; empty for a model
    ranked : name of the experiment -> the clips that are retrieved best and worst; empty unless asked for
    weights : of a model, which were tested: ``checkpoint``, best or last, ``step`` and a ``note``
    """

    def __init__(
        self,
        folder: Path,
        protocol: Protocol,
        results: dict[str, evaluation.RetrievalResult],
        dataset: Dataset,
        notes: Mapping[str, Any] | None = None,
        ranked: Mapping[str, list[RankedClip]] | None = None,
        weights: TestedWeights | None = None,
    ) -> None:
        self.folder, self.protocol, self.results, self._dataset = folder, protocol, results, dataset
        self.notes, self.ranked, self.weights = dict(notes or {}), dict(ranked or {}), weights

    @property
    def metrics(self) -> pd.DataFrame:
        """A row for each experiment, direction and figure.

        ``mean`` is over tested windows and their pools: a share from 0 to 1 for ``top-1``, ``top-5`` and
        ``top-10``, percent for ``percentile``, and what other metrics give; ``median_rank`` is a median, from
        1. ``sd_over_draws`` and ``sd_over_rows`` (a subject, a movie and a hemisphere) are of the same unit,
        and ``low`` and ``high`` bound the 95 % interval, for other subjects and other film clips
        (`simtrain.retrieval.intervals`). ``chance`` is the mean over shifts of
        the stimulus in time, ``chance_95`` what 95 % of them do not surpass, ``nominal`` what is expected if
        all ranks are as likely (k / pool), ``p`` is against the shifts, and ``family_p`` the same corrected
        for all rows (`simtrain.retrieval.family`). What is not computed is NaN.
        """
        corrected = family.of_results(self.results)
        rows = [
            {
                "experiment": name,
                "direction": direction,
                "figure": figure,
                "mean": one.mean,
                "sd_over_draws": one.sd_over_draws,
                "sd_over_rows": one.sd_over_rows,
                "low": None if one.interval is None else one.interval.low,
                "high": None if one.interval is None else one.interval.high,
                "chance": one.chance,
                "chance_95": one.chance_95,
                "nominal": one.nominal,
                "p": one.p,
                "family_p": corrected[name, direction, figure],
            }
            for name, result in self.results.items()
            for direction, measures in result.measures.items()
            for figure, one in measures.items()
        ]
        spread = ("sd_over_draws", "sd_over_rows", "low", "high")
        return pd.DataFrame(rows).astype(dict.fromkeys(spread, float))

    @property
    def joint(self) -> JointWeights | None:
        """The weights of all modalities in one query; None if there was none."""
        return next(iter(self.results.values())).joint

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """``subjects``, ``rows``, ``clips``, ``lags`` (if asked for) and ``windows``, as in the CSV files."""
        rows = tables.build(self.results, self._dataset)
        return {name: pd.DataFrame(of_table) for name, of_table in rows.items()}

    @property
    def best_and_worst(self) -> pd.DataFrame:
        """A row for each clip that was retrieved for one of ``ranked``, the most similar first."""
        return pd.DataFrame(clip_sheets.table(self.ranked, self._dataset))

    def save(self, figures: bool = False) -> None:
        """Write retrieval.json and the folder retrieval, or of validation retrieval-val.json and so on.

        Parameters
        ----------
        figures : bool
            Pictures, too; needs matplotlib.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        report.save(self.folder, self.results, self.protocol, self._dataset, figures, self.weights)
        place = self.folder / file_of("retrieval", self.protocol.split)
        clip_sheets.remove(place)
        if self.ranked:
            clip_sheets.write(place, self.ranked, self._dataset, title_of(self.protocol))

    def __repr__(self) -> str:
        return f"<{title_of(self.protocol)}; {', '.join(self.results)}>"


def retrieve(
    run: RunLike,
    store: StoreLike,
    *,
    experiment: str = ALL,
    split: str | None = None,
    splits: SplitsLike | None = None,
    protocol: str = OURS,
    pool: Pool | None = None,
    clips: int | None = None,
    clips_of: str | None = None,
    draws: int | Literal["exact"] | None = None,
    lag: int | None = None,
    negatives: str | None = None,
    average_subjects: bool = Protocol.average_subjects,
    average_windows: int = Protocol.average_windows,
    hemispheres: str | None = None,
    gap: Gap | None = None,
    joint: Joint | None = None,
    subjects: str | Iterable[str] = (),
    movies: str | Iterable[str] = (),
    lags: Iterable[int] | None = None,
    shuffle: bool = Protocol.shuffle,
    metrics: str | Iterable[str] = (),
    best_and_worst: int = 0,
    figures: bool = False,
    seed: int = Protocol.seed,
    checkpoint: str = CHECKPOINTS[0],
    device: str = "auto",
    save: bool = True,
    out: str | PathLike[str] | None = None,
) -> Retrieval:
    """Test a trained model: which clip was seen, and which BOLD it gave rise to.

    Parameters
    ----------
    run : str, PathLike[str] or object with a ``path``
        Folder of a run of `simtrain fit`, or an object whose ``path`` is one.
    store : str, PathLike[str] or Dataset
        Path or URL of a store that simdata built, or an opened one.
    experiment : str
        What was held out of training: ``new-subjects``, ``new-scenes``, ``both``, or ``all`` that the store
        has windows for; or ``seen``: training subjects in training scenes, which is no test of new ones.
    split : {"test", "val"}, optional
        The set of subjects and scenes that is tested: ``val`` to choose by, such as between models; its files
        are retrieval-val.json and retrieval-val. None: test, but val with ``lags``.
    splits : str, PathLike[str], dict or Splits, optional
        Sets of subjects and scenes in place of those of the run's training, as for `simtrain.fit`, or
        ``store``, its own; a part that they leave out is the run's.
    protocol : {"ours", "published-code", "published-paper"}
        What holds where the parameters below are None (`simtrain.retrieval.named_protocols`).
    pool : int, "movie" or mapping, optional
        Candidates of each test, the true one included; movie: all of the tested window's movie. A mapping has
        one of these for each modality, by its kind or its name: ``{"video": 64, "audio": 32}``.
    clips : int, optional
        Tested windows of a draw; None: 100, or all if nothing is drawn.
    clips_of : {"experiment", "run"}, optional
        Whether so many are of all windows together, or of each run (subject and movie), as published.
    draws : int or "exact", optional
        Draws of windows and pools, 2 or more; of runs 1 or more. exact, as of ours: test every window, and
        work out what is expected over all pools that could be drawn.
    lag : int, optional
        Seconds from stimulus to BOLD; None: as trained.
    negatives : {"same-movie", "other-clips", "other-clips-or-retest", "same-clip", "nearest", "cross-movie"}
        What the others of a pool are (`simtrain.retrieval.pools`): from anywhere in the movie, from its other
        film clips, also those in no set, from the same film clip, the nearest in time, or from other movies.
    average_subjects : bool
        Test the mean of the subjects' embeddings.
    average_windows : int
        Test means over so many consecutive s of one film clip.
    hemispheres : {"mean", "each", "L", "R"}, optional
        What is tested of a window: the mean of its hemispheres' embeddings; each of them by itself, against
        windows of its own hemisphere, as published; or one alone.
    gap : int or mapping, optional
        Seconds between a tested window and a negative of its movie, at least, or as a mapping, as of
        ``pool``. Of ours: 3, or what a window covers if that is more.
    joint : {"validation", "equal", "none"} or mapping, optional
        Weights of all modalities of the stimulus in one query, a direction such as ``fmri->video+audio``:
        those that retrieve best in the validation set, as of ours; the same for each; or as given, as
        ``{"video": 0.7, "audio": 0.3}``. none, as published: there is no such query, nor is there where
        modalities have other pools.
    subjects, movies : str or iterable of str
        Whose windows are tested and make up the pools; none: those of all. They change what is drawn.
    lags : iterable of int, optional
        Seconds at which to repeat the test; may be negative. Of ``split`` val unless told otherwise: a lag
        is chosen by them.
    shuffle : bool
        Control: every clip gets another's stimulus.
    metrics : str or iterable of str
        Others, beside the standard ones: ``mrr``, a name that another package registers, or
        ``my_module:MyMetric`` (`simtrain.retrieval.metrics.RetrievalMetric`).
    best_and_worst : int
        So many clips of each experiment that are retrieved best from fMRI, and worst, with pictures beside
        those of what was retrieved (`simtrain.retrieval.best_and_worst`); needs matplotlib.
    figures : bool
        Write pictures too; needs matplotlib.
    seed : int
        Of draws, pools and shifts.
    checkpoint : {"best", "last"}
        Test the weights that were best by validation, if the run kept any, or the last.
    device : {"auto", "cpu", "cuda"}
        Where to compute; auto takes the GPU if there is one.
    save : bool
        Write retrieval.json and the folder retrieval (or retrieval-val), as `simtrain retrieve` does.
    out : str or PathLike[str], optional
        Folder to write them to; None: the run's.

    Returns
    -------
    Retrieval
        Its ``metrics`` are a table, its ``tables`` those by subject, film clip, lag and window.

    Raises
    ------
    UserError
        If the run has no model yet or does not fit the store, subjects or scenes that should be new are not,
        there are too few windows, or parameters contradict each other.

    Examples
    --------
    >>> found = simtrain.retrieve(run, store, experiment="new-subjects", clips=40, draws=2, device="cpu")
    >>> found  # doctest: +ELLIPSIS
    <Retrieval (ours, but clips 40 and draws 2): test set, pool of 32, ... mean of hemispheres; new-subjects>
    >>> found.metrics.columns[:6].tolist()
    ['experiment', 'direction', 'figure', 'mean', 'sd_over_draws', 'sd_over_rows']
    >>> found.metrics.figure.unique().tolist()
    ['top-1', 'top-5', 'top-10', 'median_rank', 'percentile']
    """
    trained = open_run(run, checkpoint)
    if joint not in (None, NONE) and len(trained.config.stimuli) < 2:
        raise UserError(f"`joint` {joint}: {trained.path} has but one modality of the stimulus")
    curve = [] if lags is None else list(lags)
    test = named(
        protocol,
        trained.config.data.lag if lag is None else lag,
        split=set_to_test(split, experiment, to_choose=bool(curve)),
        pool=pool,
        clips=clips,
        clips_of=clips_of,
        draws=draws,
        negatives=negatives,
        shuffle=shuffle,
        seed=seed,
        average_subjects=average_subjects,
        average_windows=average_windows,
        hemispheres=hemispheres,
        gap=gap,
        joint=joint,
        subjects=names_in(subjects),
        movies=names_in(movies),
        metrics=names_in(metrics),
    )
    if figures:
        pictures.require()
    must_be_at_least("best_and_worst", best_and_worst, 0)
    if best_and_worst:
        pictures.require("`best_and_worst`")
        must_be_shown(test)
    folder = trained.path if out is None else local(out, "out")
    chosen, dataset = tested_or_all(experiment), trained.divided(open_dataset(store), splits)
    where = torch_device(device)
    results = evaluation.retrieve(trained, dataset, chosen, test, where, curve)
    ranked = None
    if best_and_worst:
        ranked = find_best_and_worst(trained, dataset, results, test, best_and_worst, where)
    weights = trained.weights_tested_on(dataset, test.split)
    found = Retrieval(folder, test, results, dataset, ranked=ranked, weights=weights)
    if save:
        found.save(figures)
    return found


def baseline(
    store: StoreLike,
    out: str | PathLike[str],
    kinds: str | Iterable[str] = tuple(KINDS),
    *,
    modalities: str | Iterable[str] | None = None,
    config: ConfigLike = DEFAULT_PRESET,
    overrides: Overrides = (),
    inputs: str = BaselineSettings.inputs,
    ico: int | None = BaselineSettings.ico,
    delays: tuple[int, int] = BaselineSettings.delays,
    targets: int | None = BaselineSettings.targets,
    components: int = BaselineSettings.components,
    samples: int = BaselineSettings.samples,
    splits: SplitsLike | None = None,
    experiment: str = ALL,
    split: str | None = None,
    protocol: str = OURS,
    pool: Pool | None = None,
    clips: int | None = None,
    clips_of: str | None = None,
    draws: int | Literal["exact"] | None = None,
    lag: int | None = None,
    negatives: str | None = None,
    average_subjects: bool = Protocol.average_subjects,
    average_windows: int = Protocol.average_windows,
    hemispheres: str | None = None,
    gap: Gap | None = None,
    joint: Joint | None = None,
    subjects: str | Iterable[str] = (),
    movies: str | Iterable[str] = (),
    shuffle: bool = Protocol.shuffle,
    metrics: str | Iterable[str] = (),
    seed: int = Protocol.seed,
    device: str = "auto",
) -> dict[str, Retrieval]:
    """Fit baselines on the training set of a store, and test them as `retrieve` tests a model.

    Parameters
    ----------
    store : str, PathLike[str] or Dataset
        Path or URL of a store that simdata built, or an opened one.
    out : str or PathLike[str]
        Folder; ``out``/KIND gets retrieval.json (or retrieval-val.json), its tables, what was fitted, and
        fit.json.
    kinds : str or iterable of str
        ``ridge`` regression to stimulus embeddings, ``pca`` with SIM's projectors, or ``intersubject``, the
        same with other subjects' mean BOLD in place of the film: one, or several, which share the main axes.
    modalities, config, overrides
        As for `simtrain.fit`: window and encoders of all kinds, training of the projectors.
    inputs : {"patches", "vertices"}
        Ridge sees means of patches, z-scored over the run, or every vertex of the cortex as
        ``data.normalise`` has it (`simtrain.baselines.kernel_ridge`).
    ico : int, optional
        Ridge sees means over the faces of this icosphere; None: of 2. Not beside ``vertices``.
    delays : tuple of int
        First and last s after the lag whose BOLD ridge sees.
    targets : int, optional
        Ridge predicts so many main components of an embedding; None: all of its features.
    components : int
        Main axes, of ``pca`` and ``intersubject``.
    samples : int
        Training windows that main axes are fitted on, and ridge of ``vertices``, at most.
    lag : int, optional
        Seconds from stimulus to BOLD; None: as ``config`` says, or the store.
    splits : str, PathLike[str], dict or Splits, optional
        Sets of subjects and scenes, as for `simtrain.fit`; None: the store's own.
    experiment, split, protocol, pool, clips, clips_of, draws, negatives
        As for `retrieve`.
    average_subjects, average_windows, hemispheres, gap, joint, subjects, movies
        As for `retrieve`.
    shuffle, metrics, seed, device
        As for `retrieve`.

    Returns
    -------
    dict
        Kind -> `Retrieval`, whose ``notes`` are of the fit.

    Raises
    ------
    UserError
        If the store has no training windows, a kind is unknown or needs a package that is not installed,
        there are too few windows, or parameters contradict each other.

    Examples
    --------
    >>> shared = {"experiment": "new-subjects", "clips": 40, "draws": 2, "device": "cpu"}
    >>> tested = simtrain.baseline(store, out, "pca", config="demo", components=8, **shared)
    >>> sorted(tested["pca"].notes)
    ['components', 'explained_variance']
    """
    test = {
        "split": split,
        "protocol": protocol,
        "pool": pool,
        "clips": clips,
        "clips_of": clips_of,
        "draws": draws,
        "lag": lag,
        "negatives": negatives,
        "shuffle": shuffle,
        "seed": seed,
        "average_subjects": average_subjects,
        "average_windows": average_windows,
        "hemispheres": hemispheres,
        "gap": gap,
        "joint": joint,
        "subjects": names_in(subjects),
        "movies": names_in(movies),
        "metrics": names_in(metrics),
    }
    settings = BaselineSettings(inputs, ico, delays, targets, components, samples)
    composed = load_config(config, overrides=overrides, modalities=modalities)
    place = local(out, "out")
    dataset = with_splits(open_dataset(store), splits)
    return dict(
        tested_baselines(dataset, place, names_in(kinds), composed, settings, experiment, test, device)
    )


def tested_baselines(
    dataset: Dataset,
    out: Path,
    kinds: Collection[str],
    config: Config,
    settings: BaselineSettings,
    experiment: str,
    test: Mapping[str, Any],
    device: str,
) -> Iterator[tuple[str, Retrieval]]:
    """`baseline`, kind by kind, each as it is done and saved; ``test`` are its arguments of the test."""
    for kind in kinds:
        must_be_one_of("kinds", kind, tuple(KINDS))
    chosen, where = tested_or_all(experiment), torch_device(device)
    resolved = resolve(config, dataset)
    asked = {"lag": resolved.data.lag} | {name: value for name, value in test.items() if value is not None}
    asked["split"] = set_to_test(test["split"], experiment, to_choose=False)
    protocol = named(asked.pop("protocol"), **asked)
    must_suit(kinds, settings)
    fits = Baselines(dataset, resolved, settings, where)
    for kind in kinds:
        fitted, notes = fits.fit(kind, out / kind, protocol.hemispheres)
        tested = Retrieval(out / kind, protocol, fits.test(fitted, chosen, protocol), dataset, notes)
        tested.save()
        yield kind, tested
