"""What a window may see around it, beside a walk from the window, second by second."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simtrain.config.composition import load
from simtrain.data.dataset import open_dataset, resolve
from simtrain.data.moments import find_moments
from simtrain.data.surroundings import Surroundings
from simtrain.data.windows import Windows, training

from .test_moments import _used
from .test_windows import _films, may_be_used

ANY_SET = "any"
MOMENTS = ("clips", "shown", "any")


def _around(dataset, frames, lag, before, after):
    context = SimpleNamespace(before=before, after=after)
    return Surroundings.of(
        dataset, SimpleNamespace(data=SimpleNamespace(frames=frames, lag=lag), context=context)
    )


def _answers(dataset, movie, second, lag):
    """The set of the film that a second of BOLD answers, by looking back for it."""
    for earlier in range(second - lag, -1, -1):
        if dataset.segment[movie, earlier]:
            return int(dataset.scene_split[movie, earlier])
    return ANY_SET


def _walk(dataset, window, frames, lag, before, after):
    """The seconds that a window may see, in order."""
    subject, movie, begin, own = (int(window[name]) for name in ("subject", "movie", "second", "scene_split"))
    seen = list(range(begin, begin + frames))

    def may_be_seen(second):
        if not 0 <= second < dataset.volumes[movie]:
            return False
        return (
            dataset.run[subject, movie, second] == dataset.run[subject, movie, begin]
            and may_be_used(dataset, subject, movie, [second], lag, own)
            and _answers(dataset, movie, second, lag) in (own, ANY_SET)
        )

    for inner, step, most in ((begin, -1, before), (begin + frames - 1, 1, after)):
        second = inner
        while abs(second - inner) < most and may_be_seen(second) and may_be_seen(second + step):
            second += step
            seen.append(second)
    return sorted(seen)


@settings(max_examples=60)
@given(films=_films(), before=st.integers(0, 12), after=st.integers(0, 12))
def test_windows_see_what_a_walk_from_them_finds(films, before, after):
    dataset, embeddings, frames, lag = films
    around, used = _around(dataset, frames, lag, before, after), _used(dataset, embeddings, frames, lag)
    for moments in MOMENTS:
        windows = find_moments(used, moments)
        at, seen = around.of_samples(windows)
        assert at.shape == seen.shape == (len(windows), before + frames + after)
        for window, seconds, mask in zip(windows, at, seen, strict=True):
            assert seconds[mask].tolist() == _walk(dataset, window, frames, lag, before, after)
            assert mask[before : before + frames].all()
            # What is not seen has the place of a second that is.
            assert set(seconds.tolist()) == set(seconds[mask].tolist())


@settings(max_examples=60)
@given(films=_films(), before=st.integers(0, 20), after=st.integers(0, 20))
def test_no_training_window_sees_bold_that_answers_a_held_out_scene(films, before, after):
    """The window itself, which has the rule of its moments, included."""
    dataset, embeddings, frames, lag = films
    around, used = _around(dataset, frames, lag, before, after), _used(dataset, embeddings, frames, lag)
    for moments in MOMENTS:
        windows = find_moments(used, moments)
        at, seen = around.of_samples(windows)
        for window, seconds, mask in zip(windows, at, seen, strict=True):
            film = seconds[mask] - lag
            film = film[(film >= 0) & (film < dataset.segment.shape[1])]
            sets = dataset.scene_split[window["movie"], film][dataset.segment[window["movie"], film] != 0]
            assert set(sets[sets > 0].tolist()) <= {int(window["scene_split"])}


@pytest.mark.parametrize("moments", MOMENTS)
def test_trained_and_tested_windows_see_no_second_in_common(store, moments):
    """But for rest before all film, which is of no set."""
    dataset = open_dataset(store)
    given = [f"data.moments={moments}", "context.before=48", "context.after=49", "train.batch_size=8"]
    config = resolve(load("demo", given), dataset)
    used, around = Windows.of(dataset, config), Surroundings.of(dataset, config)

    def film(windows):
        at, seen = around.of_samples(windows)
        movie = np.broadcast_to(windows["movie"][:, None], at.shape)
        return set(zip(movie[seen].tolist(), (at[seen] - config.data.lag).tolist(), strict=True))

    tested = used.find()
    tested = tested[tested["scene_split"] == 3]
    trained = film(training(find_moments(used, moments)))
    shared = trained & film(tested)
    assert len(tested)
    assert {bool(dataset.segment[movie, second]) for movie, second in shared if second >= 0} <= {False}


def test_a_context_ends_at_the_retest_clip_and_goes_on_through_rest(store):
    """The first film: alpha (train) to 41, rest, beta (test) 44 to 54, rest, the retest clip from 56 on."""
    dataset = open_dataset(store)
    config = resolve(load("demo", ["data.frames=1", "context.before=99"]), dataset)
    window = np.zeros(2, [("subject", int), ("movie", int), ("second", int), ("scene_split", int)])
    window["second"], window["scene_split"] = (20, 50), (1, 3)
    at, seen = Surroundings.of(dataset, config).of_samples(window)
    assert at[0][seen[0]].tolist() == list(range(21))  # back through rest to the run's beginning
    assert at[1][seen[1]].tolist() == [
        50
    ]  # BOLD of 50 answers the first second of beta, behind rest after alpha
    config = resolve(load("demo", ["data.frames=1", "context.after=40"]), dataset)
    at, seen = Surroundings.of(dataset, config).of_samples(window)
    assert at[0][seen[0]].tolist() == list(range(20, 50))
    assert at[1][seen[1]].tolist() == list(range(50, 62))  # to the retest clip of second 56, 6 s later
