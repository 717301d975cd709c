"""Two retrieval tests compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike

import pandas as pd

from simdata.common import json_text
from simdata.common.errors import UserError
from simdata.common.local_path import local
from simtrain.api.arguments import RunLike, folder_of, names_in, set_to_test, tested_or_all
from simtrain.api.retrieval import Retrieval
from simtrain.data.experiments import ALL
from simtrain.retrieval.comparison import RankTable, compare_tests, compared_metrics, must_be_by


class Comparison:
    """What `compare` returns.

    Attributes
    ----------
    names : of the two
    protocol : of both tests, name of a parameter -> value; its own is ``name``
    compared : the metrics, by their names
    differences : the rows of ``metrics``, each with its fields
    metrics : a row for each experiment, direction and figure: ``one`` and ``other``, means over tested
        windows; ``difference``, the first less the second, with ``low`` and ``high``, its 95 % interval for
        other subjects and other film clips; ``p``, two-sided; ``family_p``, corrected for all rows; and the
        numbers of ``subjects`` and film ``clips``
    subjects : a row for each subject as well; ``n`` is how many windows were tested
    """

    def __init__(
        self,
        one: RankTable,
        other: RankTable,
        experiment: str | None,
        subjects: Sequence[str] = (),
        movies: Sequence[str] = (),
        metrics: Iterable[str] = (),
    ) -> None:
        self.names = one.name, other.name
        self.protocol = {"name": one.protocol_name, **one.protocol}
        self.compared = compared_metrics(metrics)
        self.differences, self._of_subjects = compare_tests(
            one, other, experiment, subjects, movies, self.compared
        )
        self.metrics = pd.DataFrame(self.differences).astype({"low": float, "high": float})
        self.subjects = pd.DataFrame(self._of_subjects)

    def save(self, path: str | PathLike[str]) -> None:
        """Write all of it as JSON; missing intervals are null."""
        content = {
            "names": list(self.names),
            "protocol": self.protocol,
            "metrics": [row._asdict() for row in self.differences],
            "subjects": [row._asdict() for row in self._of_subjects],
        }
        json_text.write(local(path, "path"), content)

    def __repr__(self) -> str:
        return f"<Comparison of {self.names[0]} with {self.names[1]}: {len(self.metrics)} figures>"


def compare(
    one: RunLike | Retrieval,
    other: RunLike | Retrieval,
    *,
    experiment: str = ALL,
    split: str | None = None,
    protocol: str | None = None,
    subjects: str | Iterable[str] = (),
    movies: str | Iterable[str] = (),
    metrics: str | Iterable[str] = (),
) -> Comparison:
    """Tell whether a model is better than another model, or than a baseline, in the same retrieval test.

    Windows are compared one by one; intervals are for other subjects and other film clips, and the p-value is
    over subjects (`simtrain.retrieval.comparison`).

    Parameters
    ----------
    one, other : str, PathLike[str], object with a ``path``, or Retrieval
        Folder of a run that `simtrain retrieve` has tested or of a baseline, such as ``baselines/ridge``; an
        object whose ``path`` is one; or what `retrieve` or `baseline` returned.
    experiment : str
        One that both were tested in, or ``all`` of those.
    split : {"test", "val"}, optional
        The set that both were tested in, as for `retrieve`; None: test, or of what `retrieve` or `baseline`
        returned its own.
    protocol : str, optional
        The name of the one that both must have been tested by; None: any, but the same for both.
    subjects, movies : str or iterable of str
        Whose windows to compare; none: those of all that were tested.
    metrics : str or iterable of str
        Others, beside the standard ones, as for `retrieve`; the tests need not have had them.

    Returns
    -------
    Comparison

    Raises
    ------
    UserError
        If one was not tested, the tests differ in their protocol or windows, or the mean of subjects was
        tested.

    Examples
    --------
    >>> compared = simtrain.compare(run, untrained)
    >>> compared.metrics.columns.tolist()  # doctest: +ELLIPSIS
    ['experiment', 'direction', 'figure', 'one', 'other', 'difference', 'low', 'high', 'p', 'family_p', ...]
    >>> top1 = compared.metrics.query("figure == 'top-1' and direction == 'fmri->video'")
    >>> bool((top1.difference > 0).all())
    True
    """
    in_memory = (of.protocol.split for of in (one, other) if isinstance(of, Retrieval))
    otherwise = next(in_memory, None) if split is None else None
    wanted = otherwise or set_to_test(split, experiment, to_choose=False)
    first, second = _ranks(one, wanted), _ranks(other, wanted)
    for tested in (first, second):
        must_be_by(tested, protocol)
    only = names_in(subjects), names_in(movies)
    return Comparison(first, second, tested_or_all(experiment), *only, names_in(metrics))


def _ranks(one: RunLike | Retrieval, split: str) -> RankTable:
    if not isinstance(one, Retrieval):
        return RankTable.read(folder_of(one), split)
    if one.protocol.split != split:
        raise UserError(f"`split` {split}: {one!r} is of {one.protocol.split}")
    return RankTable.of(one.folder.name, one.protocol, one.tables["windows"])
