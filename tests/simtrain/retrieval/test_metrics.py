"""Metrics of retrieval: each against its definition, and one's own through all that is shown and written."""

import csv
import json

import numpy as np
import pytest
from command_line import call
from examples import must_run
from hypothesis import given
from hypothesis import strategies as st

import simtrain
from simdata.common.errors import UserError
from simtrain.retrieval.metrics import STANDARD, RetrievalMetric, chosen

GROUP = "simtrain.retrieval_metrics"
HEAD = "import numpy as np\nfrom simtrain.retrieval.metrics import RetrievalMetric\n"
SEVENTH = f"""{HEAD}
class Seventh(RetrievalMetric):
    percent, heading, note = True, "top 7th %", "share among the first seventh"

    def value(self, rank, pool):
        return rank <= pool / 7

    def expected(self, pool):
        return np.floor(pool / 7) / pool
"""
QUICK = {"experiment": "new-subjects", "clips": 40, "draws": 2, "device": "cpu", "save": False}
MEASURED = ("mean", "sd_over_draws", "sd_over_rows", "chance", "chance_95", "nominal", "p", "family_p")
WORDS = ["--experiment", "new-subjects", "--clips", 40, "--draws", 2, "--device", "cpu"]


@pytest.fixture
def seventh(installed):
    installed("sevenths", GROUP, "seventh = sevenths_module:Seventh", SEVENTH)


@given(st.lists(st.integers(2, 40), min_size=1, max_size=5))
def test_chance_is_the_mean_over_all_ranks_of_a_pool(pools):
    for name, metric in chosen(["mrr"]).items():
        reduce = np.median if metric.reduce == "median" else np.mean
        expected = [reduce(metric.value(np.arange(1, size + 1), size)) for size in pools]
        np.testing.assert_allclose(metric.expected(np.array(pools)), expected, err_msg=name)
        assert metric.nominal(np.array(pools)) == pytest.approx(np.mean(expected))


def test_the_mean_reciprocal_rank_is_that_of_scikit_learn():
    """Whose label ranking average precision is the same where one label alone is right."""
    sklearn = pytest.importorskip("sklearn.metrics")
    scores = np.random.default_rng(0).standard_normal((50, 12))
    truth = np.zeros((50, 12), int)
    truth[:, 0] = 1
    rank = 1 + (scores[:, 1:] > scores[:, :1]).sum(axis=1)
    expected = sklearn.label_ranking_average_precision_score(truth, scores)
    assert chosen(["mrr"])["mrr"].value(rank, 12).mean() == pytest.approx(expected)


def test_one_of_ones_own_is_in_all_that_is_shown_and_written(trained, store, tmp_path, seventh):
    plain = simtrain.retrieve(trained, store, **QUICK)
    assert plain.metrics.figure.unique().tolist() == list(STANDARD)
    asked = {**QUICK, "metrics": ["seventh", "mrr"]}
    found = simtrain.retrieve(trained, store, **{**asked, "save": True}, out=tmp_path / "out")
    both = found.metrics.merge(plain.metrics, how="outer", indicator=True)
    assert set(both.figure[both._merge == "left_only"]) == {"seventh", "mrr"}
    assert not (both._merge == "right_only").any()

    ranks = found.tables["windows"]
    (row,) = found.metrics.query("figure == 'seventh' and direction == 'fmri->video'").itertuples()
    share = (ranks[ranks.direction == "fmri->video"]["rank"] <= 32 / 7).mean()
    assert (row.mean, row.nominal) == pytest.approx((share, 4 / 32))
    assert row.p < 0.05
    written = json.loads((tmp_path / "out" / "retrieval.json").read_text())
    told = written["experiments"]["new-subjects"]["directions"]["fmri->video"]["seventh"]
    assert told == {
        **{name: getattr(row, name) for name in MEASURED},
        "interval": None,
    }
    assert list(written["nominal"]) == ["top-1", "top-5", "top-10", "seventh", "mrr"]
    with (tmp_path / "out" / "retrieval" / "subjects.csv").open() as file:
        (first, *_) = csv.DictReader(file)
    own = ranks[(ranks.direction == first["direction"]) & (ranks.subject == first["subject"])]
    assert float(first["mrr"]) == pytest.approx((1 / own["rank"]).mean())
    assert float(first["nominal_seventh"]) == pytest.approx(4 / 32)


def test_the_command_shows_it_beside_the_others(trained, store, tmp_path, seventh):
    words = ["--metric", "sevenths_module:Seventh", "--metric", "mrr"]
    shown = call("retrieve", trained.path, store, *WORDS, *words)
    directions = json.loads((trained.path / "retrieval.json").read_text())["experiments"]["new-subjects"]
    for name, scale, digits, shown_as in (("Seventh", 100, 1, "top 7th %"), ("mrr", 1, 3, "mrr")):
        one = directions["directions"]["video->fmri"][name]
        mean, sd = (f"{scale * value:.{digits}f}" for value in (one["mean"], one["sd_over_draws"]))
        row = f"new-subjects video->fmri {shown_as} {mean}±{sd}"
        lines = [" ".join(line.split()) for line in shown.splitlines()]
        (place,) = (place for place, line in enumerate(lines) if line.startswith(row))
        assert lines[place].endswith(f"{one['family_p']:.3f}")
        chance, bound, nominal = (
            f"{scale * one[of]:.{digits}f}" for of in ("chance", "chance_95", "nominal")
        )
        assert lines[place + 1 : place + 3] == [f"chance {chance}/{bound}", f"nominal {nominal}"]
    assert "top 7th %: share among the first seventh; mrr: mean reciprocal rank" in " ".join(shown.split())
    assert "…" not in shown
    compared = call("compare", trained.path, trained.path, "--metric", "mrr")
    assert "mrr" in compared
    assert "top 7th" not in compared
    call("retrieve", trained.path, store, *WORDS)


def test_baselines_are_measured_alike(store, tmp_path):
    asked = {"config": "demo", "ico": 1, "metrics": "mrr", **{k: v for k, v in QUICK.items() if k != "save"}}
    found = simtrain.baseline(store, tmp_path, "ridge", **asked)["ridge"]
    assert found.metrics.query("figure == 'mrr'").p.notna().all()


def test_a_comparison_may_ask_for_what_the_tests_did_not(trained, store):
    tested = simtrain.retrieve(trained, store, **QUICK)
    other = simtrain.retrieve(trained, store, **QUICK)
    found = simtrain.compare(tested, other, metrics="mrr").metrics
    here = simtrain.retrieve(trained, store, **QUICK, metrics="mrr").metrics
    expected = here.query("figure == 'mrr'").set_index("direction")["mean"].to_dict()
    assert found.query("figure == 'mrr'").set_index("direction")["one"].to_dict() == pytest.approx(expected)
    with pytest.raises(UserError, match="`metrics`: median_rank is a median"):
        simtrain.compare(tested, other, metrics=["median_rank"])


def test_the_example_in_the_docstring_is_right():
    must_run(RetrievalMetric, np=np, RetrievalMetric=RetrievalMetric)


def _class(value, expected="np.ones(pool.shape)", arguments="self, rank, pool"):
    return (
        f"{HEAD}class Odd(RetrievalMetric):\n    def value({arguments}): return {value}\n"
        f"    def expected(self, pool): return {expected}\n"
    )


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("ndcg", "", "no retrieval metric 'ndcg': choose from median_rank, mrr, odd"),
        ("odd", "class Odd: ...", "odd of odd .*: is no subclass of RetrievalMetric"),
        ("odd", f"{HEAD}class Odd(RetrievalMetric): ...", "odd of odd .*: has no method expected and value"),
        ("odd", _class("rank", arguments="self, rank"), r"value\(self, rank\) cannot be called"),
        ("odd", _class("rank.mean()"), "odd of odd .*: value must give a finite number for each window"),
        ("odd", _class("np.where(rank > 1, 1, np.nan)"), "value must give a finite number"),
        ("odd", _class("rank", "1.0"), "expected must give a finite number"),
        ("odd_module:mrr", f"{HEAD}class mrr(RetrievalMetric): ...", "mrr and odd_module:mrr have one name"),
    ],
)  # fmt: skip
def test_what_is_no_metric_is_refused_before_anything_is_tested(
    trained, store, tmp_path, installed, name, code, message
):
    installed("odd", GROUP, "odd = odd_module:Odd", code)
    with pytest.raises(UserError, match=message):
        simtrain.retrieve(trained, store, **QUICK, metrics=["mrr", name])
