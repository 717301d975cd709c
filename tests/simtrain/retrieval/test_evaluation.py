import builtins
import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from rich.console import Console
from training_runs import fit_run

from simdata.common.errors import UserError
from simdata.store import BoldReader
from simtrain.cli.root import cli
from simtrain.data.dataset import open_dataset
from simtrain.data.windows import WINDOW, Windows
from simtrain.models.embeddings import embed_hemispheres
from simtrain.retrieval import family, figures, intervals, report, tables
from simtrain.retrieval.cache import Bank
from simtrain.retrieval.evaluation import retrieve
from simtrain.retrieval.named_protocols import named, title_of
from simtrain.retrieval.pools import draw_pools, gap
from simtrain.retrieval.protocol import Protocol
from simtrain.retrieval.units import EVERYONE
from simtrain.training.trained_model import load_learner

CPU = torch.device("cpu")
PROTOCOL = Protocol(pool=32, clips=60, draws=4, lag=6, negatives="same-movie", joint="none", seed=0)
DIRECTIONS = ["fmri->video", "video->fmri", "fmri->audio", "audio->fmri"]


def _retrieve(run, store, lags=(), **changes):
    protocol = replace(PROTOCOL, **changes)
    return retrieve(run, open_dataset(store), "new-subjects", protocol, CPU, lags)["new-subjects"]


@pytest.fixture(scope="module")
def found(trained, store):
    return _retrieve(trained, store)


def _top(result, k=1):
    return np.array([measures[f"top-{k}"].mean for measures in result.measures.values()])


def _p(result, k=1):
    return np.array([measures[f"top-{k}"].p for measures in result.measures.values()])


def test_the_planted_signal_is_found_in_new_subjects(found):
    assert found.subjects == 2
    assert list(found.scores) == list(found.measures) == DIRECTIONS
    assert (_p(found) < 0.01).all()
    assert (_top(found) > 5 / 32).all()
    for measures in found.measures.values():
        assert measures["median_rank"].mean < 8
        assert measures["percentile"].mean < 25
        assert measures["percentile"].p < 0.01
        assert {one.interval for one in measures.values()} == {None}  # two subjects


@pytest.mark.parametrize(
    "changes",
    [
        {"negatives": "cross-movie", "pool": 20},
        {"pool": 10, "negatives": "nearest"},
        {"pool": 6, "negatives": "same-clip"},
        {"pool": "movie"},
        {"pool": 20, "average_windows": 3, "average_subjects": True},
    ],
    ids=["cross-movie", "nearest", "same clip", "whole movie", "averages"],
)
def test_every_protocol_finds_it_too(trained, store, changes):
    result = _retrieve(trained, store, draws=2, **changes)
    assert (_p(result) < 0.01).all()
    pools = result.scores["fmri->video"].ranks.pool
    assert (len(np.unique(pools)) > 1) == (changes["pool"] == "movie")
    averaged = "average_subjects" in changes
    assert (result.tested["fmri->video"]["subject"] == EVERYONE).all() == averaged


def test_averages_find_more(trained, store, found):
    averaged = _retrieve(trained, store, average_windows=3, pool=24)
    assert _top(averaged, 5).mean() > _top(found, 5).mean()


@pytest.mark.parametrize("wrong", [{"lag": 12}, {"shuffle": True}])
def test_a_wrong_lag_or_a_shuffled_stimulus_is_at_chance(trained, store, wrong):
    """In most of three draws and orders: subjects share one, in which neighbours depend on each other."""
    results = [_retrieve(trained, store, **wrong, seed=seed) for seed in range(3)]
    smallest = [min(family.of_results({"it": one}).values()) for one in results]
    assert np.median(smallest) > 0.01
    assert (np.mean([_top(one, 10) for one in results], axis=0) < 10 / 32 + 0.12).all()
    assert (np.mean([_top(one) for one in results], axis=0) < 4 / 32).all()


def test_the_same_seed_gives_the_same_figures(trained, store, found):
    assert _retrieve(trained, store).measures == found.measures


def test_the_curve_over_lags_peaks_where_the_signal_was_planted(trained, store):
    curve = _retrieve(trained, store, lags=range(-1, 12), draws=2).lags
    assert list(curve) == DIRECTIONS
    for at in curve.values():
        assert list(at) == list(range(-1, 12))
        top = {lag: measures["top-1"].mean for lag, measures in at.items()}
        assert max(top, key=top.get) == 6
        assert max(top[-1], top[0], top[11]) < 4 / 32


def test_a_lag_of_the_curve_is_the_test_at_that_lag(trained, store):
    # At the longest lag the windows that have BOLD at all of the lags are those of the test itself.
    result = _retrieve(trained, store, lags=[3, 7], lag=7, draws=2)
    assert {direction: at[7] for direction, at in result.lags.items()} == result.measures


def test_bold_is_embedded_once_however_many_lags_look_at_it(store):
    dataset, asked = open_dataset(store), []

    def embed(windows):
        asked.extend(windows[["subject", "movie", "second"]].tolist())
        return np.stack([windows["second"], windows["movie"]], axis=1).astype(np.float32)

    bank = Bank(embed, dataset)
    windows = np.zeros(20, WINDOW)
    windows["second"], windows["movie"] = np.arange(20), np.arange(20) % 2
    bank.add(windows[:12])
    bank.add(np.concatenate([windows[5:], windows[:3]]))
    assert sorted(asked) == sorted(windows[["subject", "movie", "second"]].tolist())
    order = np.random.default_rng(0).permutation(20)
    np.testing.assert_array_equal(bank[windows[order]][:, 0], order)


def test_an_experiment_that_cannot_be_made_is_explained(trained, store):
    with pytest.raises(
        UserError, match=r"new-subjects: a window has only \d+ same-movie negatives; use `pool`"
    ):
        _retrieve(trained, store, pool=200)
    with pytest.raises(UserError, match="new-subjects: no clip has BOLD at all of these lags"):
        _retrieve(trained, store, lags=[70])
    with pytest.raises(UserError, match="new-subjects: no film clip has 60 windows in a row"):
        _retrieve(trained, store, average_windows=60)
    dataset = open_dataset(store)
    dataset.subject_split[:] = 3
    with pytest.raises(UserError, match="was trained or validated on s1, s2, s3, s4"):
        retrieve(trained, dataset, "new-subjects", PROTOCOL, CPU)
    dataset.subject_split[:] = 1
    with pytest.raises(UserError, match="no windows for new-subjects"):
        retrieve(trained, dataset, "new-subjects", PROTOCOL, CPU)


@pytest.mark.parametrize("fewest", [2, 5])
def test_the_report_shows_and_writes_the_same_figures(trained, store, tmp_path, monkeypatch, fewest):
    monkeypatch.setattr(intervals, "FEWEST", fewest)
    results, dataset = {"new-subjects": _retrieve(trained, store)}, open_dataset(store)
    console = Console(record=True, width=80, file=(tmp_path / "out").open("w"))
    report.show(results, PROTOCOL, console)
    report.save(tmp_path, results, PROTOCOL, dataset, with_figures=False)
    written = json.loads((tmp_path / "retrieval.json").read_text())
    top1 = written["experiments"]["new-subjects"]["directions"]["fmri->video"]["top-1"]
    shown = console.export_text()
    assert f"{100 * top1['mean']:.1f}±{100 * top1['sd_over_draws']:.1f}" in shown
    if fewest == 2:
        low, high = top1["interval"]
        assert low < top1["mean"] < high
        assert f"{100 * low:.1f}–{100 * high:.1f}" in shown  # noqa: RUF001
        assert "below: 95 % interval, for other subjects and other film clips" in " ".join(shown.split())
    else:
        assert top1["interval"] is None
        told = "no interval with fewer than 5 subjects or film clips: new-subjects has 2 and 2"
        assert told in " ".join(shown.split())
    assert "…" not in shown
    assert written["nominal"] == {"top-1": 1 / 32, "top-5": 5 / 32, "top-10": 10 / 32}
    of_all = written["experiments"]["new-subjects"]["directions"].values()
    assert all(one["p"] <= one["family_p"] for figures_ in of_all for one in figures_.values())
    assert shown.count(f"{top1['family_p']:.3f}") >= 1
    assert f"{100 * top1['chance']:.1f}/{100 * top1['chance_95']:.1f}" in shown
    assert "nominal chance 3.1 15.6 31.2 16.5" in " ".join(shown.split())
    assert written["protocol"]["lag"] == 6


def test_tables_are_means_over_the_tested_windows(found, store):
    built = tables.build({"new-subjects": found}, open_dataset(store))
    windows = [row for row in built["windows"] if row["direction"] == "video->fmri"]
    assert len(windows) == 4 * 60
    assert all(row["second"] == row["clip_second"] + 6 for row in windows)
    for row in built["subjects"]:
        if row["direction"] == "video->fmri":
            own = [one["rank"] for one in windows if one["subject"] == row["subject"]]
            assert row["n"] == len(own)
            assert row["median_rank"] == np.median(own)
            assert row["top5"] == pytest.approx(np.mean([rank <= 5 for rank in own]))
            assert row["percentile"] == pytest.approx(np.mean([100 * (rank - 1) / 31 for rank in own]))
    assert [row["subject"] for row in built["subjects"]] == ["s5", "s6"] * 4
    assert {(row["movie"], row["clip"]) for row in built["clips"]} == {("M1", "alpha"), ("M2", "gamma")}
    assert sum(row["n"] for row in built["clips"]) == 4 * 4 * 60


def _call(run, store, *options):
    arguments = ["retrieve", run.path, store, "--experiment", "new-subjects", "--device", "cpu", *options]
    return CliRunner().invoke(cli, list(map(str, arguments)))


def test_the_command_writes_tables_and_figures_and_clears_old_ones(trained, store):
    pytest.importorskip("matplotlib")
    options = ["--pool", "movie", "--average-windows", 2, "--lags", "5:7", "--clips", 20, "--draws", 2]
    options += ["--split", "test"]
    result = _call(trained, store, *options, "--figures")
    assert result.exit_code == 0, result.output
    title = "pool of the whole movie, lag 6 s, mean of hemispheres, mean of 2 s"
    assert title in " ".join(result.output.split())
    assert "%ile" in result.output
    assert "Top-1 % by lag, test set" in result.output
    assert "so no lag may be chosen by it" in " ".join(result.output.split())
    folder = trained.path / "retrieval"
    assert {path.name for path in folder.iterdir()} == {
        *(f"{name}.csv" for name in tables.NAMES),
        *figures.NAMES,
    }
    for name in figures.NAMES:
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    written = json.loads((trained.path / "retrieval.json").read_text())
    assert written["nominal"] is None
    assert 0 < written["experiments"]["new-subjects"]["nominal"]["top-1"] < 0.1
    with (folder / "lags.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["lag"] for row in rows] == ["5", "6", "7"] * 6
    assert [float(row["top1"]) for row in rows] == [row["top1"] for row in written["tables"]["lags"]]

    result = _call(trained, store, "--pool", 12, "--negatives", "nearest", "--clips", 20, "--draws", 2)
    assert "pool of 12, nearest negatives, lag 6 s" in " ".join(result.output.split())
    assert {path.name for path in folder.iterdir()} == {
        f"{name}.csv" for name in ("subjects", "rows", "clips", "windows")
    }


def test_a_long_title_is_in_the_picture(tmp_path):
    pytest.importorskip("matplotlib")
    title = title_of(named("published-paper", 6, pool={"video": 30, "audio": 20}, average_windows=2))
    for count in (1, 3):
        figure, _ = figures._panels(["new-subjects"] * count, title, figures.SPREAD, width=1.2)
        figure.canvas.draw()
        box = figure._suptitle.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pool", "1"], "neither a number of candidates"),
        (["--pool", "film"], "neither a number of candidates"),
        (["--pool", "video=8,audio=1"], "'1' is neither a number of candidates"),
        (["--pool", "video=8,video=9"], "names a modality twice"),
        (["--gap", "video=movie"], "'movie' is no number of seconds"),
        (["--lags", "5"], "not A:B"),
        (["--lags", "7:3"], "not A:B"),
    ],
)
def test_options_that_make_no_sense_are_explained(trained, store, options, message):
    result = _call(trained, store, *options)
    assert result.exit_code == 2
    assert message in result.output


def test_without_matplotlib_figures_say_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"pip install 'simdata\[figures\]'"):
        figures.require()


@pytest.mark.parametrize("clips_of", ["experiment", "run"])
def test_what_one_modality_comes_to_does_not_depend_on_the_other(trained, store, clips_of):
    """Nor does it on whether the pool is given for all modalities or for each."""
    own = {"clips_of": clips_of, "clips": 20, "draws": 2, "negatives": "same-clip"}
    mixed = _retrieve(trained, store, pool={"video": 8, "audio": 5}, gap={"video": 4, "audio": 1}, **own)
    alone = {
        "video": _retrieve(trained, store, pool=8, gap=4, **own),
        "audio": _retrieve(trained, store, pool=5, gap=1, **own),
    }
    assert list(mixed.scores) == DIRECTIONS
    for direction in DIRECTIONS:
        same = alone["video" if "video" in direction else "audio"]
        assert mixed.measures[direction] == same.measures[direction]
        np.testing.assert_array_equal(mixed.tested[direction], same.tested[direction])
        assert mixed.measures[direction]["top-1"].nominal == (1 / 8 if "video" in direction else 1 / 5)


def test_nominal_chance_is_told_of_each_modality_whose_pools_differ(trained, store, tmp_path):
    protocol = replace(PROTOCOL, pool={"video": 8, "audio": 5}, clips=10, draws=2)
    results = retrieve(trained, open_dataset(store), "new-subjects", protocol, CPU)
    console = Console(record=True, width=80, file=(tmp_path / "out").open("w"))
    report.show(results, protocol, console)
    rows = {" ".join(line.split()[:3]) for line in console.export_text().splitlines() if "nominal" in line}
    assert rows == {"nominal video 12.5", "nominal audio 20.0"}
    report.save(tmp_path, results, protocol, open_dataset(store), with_figures=False)
    written = json.loads((tmp_path / "retrieval.json").read_text())
    assert written["nominal"] is written["experiments"]["new-subjects"]["nominal"] is None
    assert written["protocol"]["pool"] == {"video": 8, "audio": 5}
    directions = written["experiments"]["new-subjects"]["directions"]
    assert directions["audio->fmri"]["top-5"]["nominal"] == 1


def test_subjects_and_movies_are_those_that_were_named(trained, store):
    named = {"subjects": ("s6",), "movies": ("M2",), "pool": 12, "clips": 20, "draws": 2}
    result = _retrieve(trained, store, lags=[6], **named)
    tested = result.tested["fmri->video"]
    assert (set(tested["subject"].ravel()), set(tested["movie"].ravel())) == ({5}, {1})
    assert result.subjects == 1
    assert result.measures["fmri->video"]["top-1"].interval is None
    assert list(result.lags["fmri->video"]) == [6]
    for wrong, message in (
        ({"subjects": ("nobody",)}, "has no subject nobody: see `simdata info`"),
        ({"movies": ("M9",)}, "has no movie M9"),
        ({"subjects": ("s1",)}, "no windows of s1 for new-subjects"),
    ):
        with pytest.raises(UserError, match=message):
            _retrieve(trained, store, **wrong)


def test_what_was_trained_on_is_tested_by_its_name_alone(trained, store, tmp_path):
    dataset, protocol = open_dataset(store), replace(PROTOCOL, split="train", clips=20, draws=2)
    results = retrieve(trained, dataset, "seen", protocol, CPU)
    tested = results["seen"].tested["fmri->video"]
    assert {dataset.subjects[one] for one in tested["subject"].ravel()} <= {"s1", "s2", "s3"}
    assert set(tested["scene_split"].ravel()) == {1}
    console = Console(record=True, width=80, file=(tmp_path / "out").open("w"))
    report.show(results, protocol, console)
    shown = " ".join(console.export_text().split())
    assert "seen: subjects and scenes that the model was trained on, no test of new ones" in shown


@pytest.fixture(scope="module")
def by_unit(trained, store):
    """The same test of the trained run by each unit."""
    dataset = open_dataset(store)

    def tested(hemispheres):
        protocol = Protocol(lag=6, clips=30, draws=3, hemispheres=hemispheres, joint="equal")
        return retrieve(trained, dataset, "new-subjects", protocol, torch.device("cpu"))["new-subjects"]

    return {hemispheres: tested(hemispheres) for hemispheres in ("mean", "each", "L", "R")}


def test_each_hemisphere_is_both_alone_on_the_same_pools(by_unit):
    each, left, right = (by_unit[name] for name in ("each", "L", "R"))
    assert (each.units, left.units, by_unit["mean"].units) == (("L", "R"), ("L",), ("mean",))
    tested = [one.tested["fmri->video"] for one in (each, left, right)]
    np.testing.assert_array_equal(tested[0], np.concatenate(tested[1:], axis=1))
    for direction, score in each.scores.items():
        ranks = [one.scores[direction].ranks.rank for one in (left, right)]
        np.testing.assert_array_equal(score.ranks.rank, np.concatenate(ranks, axis=1))
        assert not np.array_equal(*ranks)
        means = [one.measures[direction]["top-1"].mean for one in (left, right)]
        assert each.measures[direction]["top-1"].mean == pytest.approx(np.mean(means))


def test_the_rank_of_a_hemisphere_is_that_of_its_own_embeddings(by_unit, trained, store):
    """By hand: one tested window of the right hemisphere against its pool, drawn again."""
    dataset, result = open_dataset(store), by_unit["R"]
    learner = load_learner(trained, dataset, torch.device("cpu"))
    windows = Windows.of(dataset, trained.config).experiments("new-subjects", 6)["new-subjects"]
    protocol = Protocol(lag=6, clips=30, draws=3, hemispheres="R")
    clip, apart = dataset.segment[windows["movie"], windows["clip"]], gap(protocol, learner.window)
    pool = draw_pools(np.random.default_rng(0), windows, clip, protocol, apart, "test")[4]
    bold = embed_hemispheres(learner, BoldReader(store), windows[pool], 3)[:, 1]
    with torch.no_grad():
        clips = learner.embed_clips(windows[pool]["movie"], windows[pool]["clip"])["video"].numpy()
    similarity = clips @ bold[0]
    assert result.tested["fmri->video"][0, 4] == windows[pool[0]]
    assert result.scores["fmri->video"].ranks.rank[0, 4] == 1 + (similarity[1:] >= similarity[0] - 1e-6).sum()


def test_the_mean_of_hemispheres_beats_each_by_itself(by_unit):
    top1 = {name: result.measures["fmri->video"]["top-1"].mean for name, result in by_unit.items()}
    assert top1["mean"] > top1["each"] > 1 / 32


def test_a_model_of_one_hemisphere_has_no_other(store, tmp_path):
    run, _ = fit_run(store, tmp_path / "run", "data.hemispheres=L", "train.steps=1")
    with pytest.raises(UserError, match="`hemispheres` R: the model is of L alone"):
        _retrieve(run, store, hemispheres="R")
    each, mean = (_retrieve(run, store, hemispheres=name) for name in ("each", "mean"))
    assert each.units == ("L",)
    found = [one.scores["fmri->video"].ranks.rank for one in (each, mean)]
    np.testing.assert_array_equal(*found)
