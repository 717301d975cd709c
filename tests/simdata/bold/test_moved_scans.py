"""Scans of any TR on a film's seconds, through the conversion: real CIFTI files of a signal that is known."""

import json

import numpy as np
import pytest
from cifti_files import brain_models, noise, valid_vertices, write_dtseries
from confound_files import confounds, write_confounds
from conversions import cell_of, convert, convert_cell, stored
from nilearn.signal import clean

from simdata.bold.clock import Timing
from simdata.bold.run_conversion import memory_needed
from simdata.common.errors import UserError
from simdata.release.clean_rule import Clean, Scrub
from simdata.release.sources import Play
from simdata.store.encoding import ENCODINGS
from simdata.surface.resampling import cortex_weights

SIZE = brain_models("32k").size
RNG = np.random.default_rng(5)
FREQUENCIES = RNG.uniform(0.01, 0.08, (12, 3))
PHASES = RNG.uniform(0, 2 * np.pi, (12, 3))
LOADINGS = RNG.standard_normal((3, SIZE)).astype(np.float32)
WHOLE = [Play()]
CAPACITY = 150


def signal(film):
    """(time, 3), what a film drives, at its time, s."""
    return np.cos(2 * np.pi * np.asarray(film)[:, None, None] * FREQUENCIES + PHASES).sum(axis=1)


def driven(film, level=1000.0):
    """(volumes, grayordinates) of a brain at these times of a film."""
    return (level + signal(film) @ LOADINGS).astype(np.float32)


def scan(path, volumes, tr, onset, start=0.0, film_start=0.0, **options):
    middles = start + (np.arange(volumes) + 0.5) * tr
    return write_dtseries(path, driven(middles - onset + film_start, **options), step=tr, start=start)


def weights(hemisphere):
    vertices = valid_vertices("32k", hemisphere)
    first = 0 if hemisphere == "L" else len(valid_vertices("32k", "L"))
    return cortex_weights("32k", hemisphere, vertices).astype(float), slice(first, first + len(vertices))


def on_ico6(values, hemisphere):
    matrix, rows = weights(hemisphere)
    return (matrix @ values[:, rows].T).T


def in_scanner_units(converted, place=0):
    values = stored(converted, "float32", CAPACITY)[place]
    return values * converted.std[place] + converted.mean[place]


def convert_to(parts, staging, **options):
    return convert_cell(parts, CAPACITY, staging, **options)


@pytest.mark.parametrize("tr", [0.8, 1.0, 1.49, 2.0])
@pytest.mark.parametrize("start", [0.0, 0.6])
def test_rows_are_what_the_film_drove_at_their_time(tmp_path, tr, start):
    path = scan(tmp_path / "a.dtseries.nii", int(120 / tr), tr, onset=7.3, start=start)
    converted = convert_to([(path, [Play(7.3)], None)], tmp_path, threads=2)
    found = in_scanner_units(converted)
    rows = np.flatnonzero(converted.run)
    assert set(converted.run.tolist()) <= {0, 1}
    expected_rows = Timing.of(int(120 / tr), tr, start, [Play(7.3)], CAPACITY).rows
    np.testing.assert_array_equal(rows, expected_rows)
    assert converted.reach == np.ceil(4 * max(tr, 1))
    inside = converted.cortex[0]
    truth = on_ico6(driven(rows + 0.5), "L")[:, inside]
    r = np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(found[rows][:, inside].T, truth.T, strict=True)])
    assert np.median(r) > 0.999
    assert np.isnan(found[converted.run == 0]).all()
    late = on_ico6(driven(rows + 0.5 + 7.3), "L")[:, inside]
    wrong = np.corrcoef(found[rows][:, inside].ravel() - 1000, late.ravel() - 1000)[0, 1]
    assert abs(wrong) < 0.5


def test_int8_rows_without_data_are_the_fill(tmp_path):
    path = scan(tmp_path / "a.dtseries.nii", 60, 2.0, onset=20)
    converted = convert_to([(path, [Play(20, 10)], None)], tmp_path, encoding="int8")
    values = stored(converted, "int8", CAPACITY)
    for hemisphere in (0, 1):
        inside = converted.cortex[hemisphere]
        none = converted.run == 0
        assert none[:10].all()
        assert (values[hemisphere][none] == -128).all()
        assert (values[hemisphere][~none][:, inside] != -128).all()
        assert (values[hemisphere][:, ~inside] == -128).all()
        z = values[hemisphere][~none][:, inside] / 16
        np.testing.assert_allclose(z.mean(axis=0), 0, atol=0.02)
        np.testing.assert_allclose(z.std(axis=0), 1, atol=0.02)


def test_whole_seconds_of_a_tr_of_1_s_are_the_volumes_themselves(tmp_path):
    """Onset 5, from film second 3 on, the film broken off and gone on with."""
    path = write_dtseries(tmp_path / "a.dtseries.nii", noise("32k", 60))
    plays = [Play(5, 3, 20), Play(40, 23, 10.0)]
    converted = convert_to([(path, plays, None)], tmp_path)
    volumes = [*range(5, 25), *range(40, 50)]
    rows = [*range(3, 23), *range(23, 33)]
    assert np.flatnonzero(converted.run).tolist() == rows
    assert converted.reach == 0
    expected = on_ico6(noise("32k", 60)[volumes], "R")
    inside = converted.cortex[1]
    found = in_scanner_units(converted, 1)[rows]
    np.testing.assert_allclose(found[:, inside], expected[:, inside], rtol=1e-5)
    np.testing.assert_allclose(converted.mean[1, inside], expected[:, inside].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(converted.std[1, inside], expected[:, inside].std(axis=0), rtol=1e-4)


def test_plays_that_go_back_are_put_in_place(tmp_path):
    path = write_dtseries(tmp_path / "a.dtseries.nii", noise("32k", 60))
    ordered = convert_to([(path, [Play(30, 0, 20), Play(0, 20, 30)], None)], tmp_path)
    alone = convert_to([(path, [Play(0, 20, 30), Play(30, 0, 20)], None)], tmp_path)
    for ours, theirs in zip(ordered.shards, alone.shards, strict=True):
        assert ours.read_bytes() == theirs.read_bytes()
    found = in_scanner_units(ordered)
    expected = on_ico6(noise("32k", 60)[[*range(30, 50), *range(30)]], "L")
    inside = ordered.cortex[0]
    np.testing.assert_allclose(found[:, inside], expected[:, inside], rtol=1e-5)


def test_a_film_over_two_scans_is_one_cell_of_both(tmp_path):
    """Of other levels, TRs and coverage: each is z-scored by itself."""
    one = scan(tmp_path / "one.dtseries.nii", 60, 1.0, onset=0)
    data = driven((np.arange(50) + 0.5) * 1.49 + 58, level=3000.0) * 2
    hole = slice(100, 4000)
    data[:, hole] = 0
    two = write_dtseries(tmp_path / "two.dtseries.nii", data, step=1.49)
    parts = [(one, [Play(0, 0, 60)], None), (two, [Play(2, 60)], None)]
    converted = convert_to(parts, tmp_path, checksum=True)
    of_each = [
        convert_to(parts[:1], tmp_path / "1"),
        convert_to([(two, [Play(2, 60)], None)], tmp_path / "2"),
    ]
    codes = converted.run
    assert codes[:60].tolist() == [1] * 60
    assert set(codes[60:].tolist()) <= {0, 2}
    assert converted.reach == 6
    for place in (0, 1):
        inside = of_each[0].cortex[place] & of_each[1].cortex[place]
        np.testing.assert_array_equal(converted.cortex[place], inside)
        both = stored(converted, "float32", CAPACITY)[place]
        for number, single in enumerate(of_each, 1):
            rows = np.flatnonzero(codes == number)
            alone = stored(single, "float32", CAPACITY)[place]
            np.testing.assert_array_equal(both[rows][:, inside], alone[rows][:, inside])
        counts = [np.count_nonzero(codes == number) for number in (1, 2)]
        for name in ("mean", "std"):
            means = np.average([getattr(s, name)[place, inside] for s in of_each], axis=0, weights=counts)
            np.testing.assert_allclose(getattr(converted, name)[place, inside], means, rtol=1e-6)
        assert np.isnan(both[:, ~inside]).all()
    assert converted.cortex[0].sum() != of_each[0].cortex[0].sum()
    assert [s["tr"] for s in converted.provenance["scans"]] == [pytest.approx(1.0), pytest.approx(1.49)]
    assert converted.provenance["scans"][0]["seconds"] == "0-59"


def test_cleaning_and_scrubbing_through_the_conversion_are_nilearns(tmp_path):
    volumes, tr = 110, 1.0
    data = noise("32k", volumes) / 10
    table = confounds(volumes)
    table.loc[[40, 41], "framewise_displacement"] = 3.0
    motion = table[[c for c in table if c.startswith(("trans", "rot")) and "_p" not in c and "_d" not in c]]
    data += (motion.to_numpy() @ RNG.standard_normal((6, SIZE)) * 2000).astype(np.float32)
    name = "sub-1_task-a_space-fsLR_den-91k_bold.dtseries.nii"
    path = write_dtseries(tmp_path / name, data, step=tr)
    written = write_confounds(tmp_path / "sub-1_task-a_desc-confounds_timeseries.tsv", table)
    rule = Clean(high_pass=0.01, confounds=["motion6"], scrub=Scrub(fd=1.0))
    converted = convert_to([(path, WHOLE, written)], tmp_path, clean=rule)
    kept = np.setdiff1d(np.arange(volumes), [0, 40, 41])  # 0 is not in the steady state
    assert np.flatnonzero(converted.run < 0).tolist() == [0, 40, 41]
    assert np.flatnonzero(converted.run > 0).tolist() == kept.tolist()
    expected = clean(
        on_ico6(data, "L"),
        detrend=False,
        standardize="zscore_sample",
        confounds=motion.to_numpy(),
        sample_mask=kept,
        filter="cosine",
        high_pass=0.01,
        t_r=tr,
    )
    expected *= np.sqrt(len(kept) / (len(kept) - 1))  # our s.d. is that of the rows, not of a population
    inside = converted.cortex[0]
    found = stored(converted, "float32", CAPACITY)[0][kept]
    np.testing.assert_allclose(found[:, inside], expected[:, inside], atol=2e-4)
    assert np.isfinite(stored(converted, "float32", CAPACITY)[0][[0, 40, 41]][:, inside]).all()
    (record,) = converted.provenance["scans"]
    assert record["clean"]["scrubbed"] == [0, 40, 41]
    assert record["clean"]["thresholds"] == {"fd": 1.0, "shortest": 0}
    assert record["clean"]["rank"] == len(record["clean"]["columns"]) == 8
    json.dumps(converted.provenance)


def test_a_volume_that_is_scrubbed_marks_the_rows_that_it_is_in(tmp_path):
    path = scan(tmp_path / "a.dtseries.nii", 60, 2.0, onset=0)
    table = confounds(60).drop(columns="non_steady_state_outlier00")
    table.loc[[30], "std_dvars"] = 9
    written = write_confounds(tmp_path / "t.tsv", table)
    converted = convert_to([(path, WHOLE, written)], tmp_path, clean=Clean(scrub=Scrub(dvars=1.8)))
    assert np.flatnonzero(converted.run < 0).tolist() == list(range(57, 65))


def test_a_catalog_that_gives_tr_and_length_has_them_checked(tmp_path):
    path = write_dtseries(tmp_path / "a.dtseries.nii", noise("32k", 39))
    with pytest.raises(UserError, match="has 39 volumes, the catalog says 40"):
        convert(path, tmp_path)


def test_what_was_shown_twice_or_not_at_all_is_one_message(tmp_path):
    path = write_dtseries(tmp_path / "a.dtseries.nii", noise("32k", 60))
    with pytest.raises(UserError, match=r"seconds 10-19 of A were shown more than once"):
        convert_to([(path, [Play(0, 0, 20), Play(30, 10)], None)], tmp_path)
    with pytest.raises(UserError, match=r"takes 60 s, and has no two seconds of film .* began at 70 s"):
        convert_to([(path, [Play(70)], None)], tmp_path)


@pytest.mark.parametrize("tr", [0.00149, 1490.0])
def test_a_tr_in_other_units_is_named(tmp_path, tr):
    path = write_dtseries(tmp_path / "a.dtseries.nii", noise("32k", 20), step=tr)
    with pytest.raises(UserError, match=r"a\.dtseries\.nii: has a TR of .* does it count in other units"):
        convert_to([(path, WHOLE, None)], tmp_path)


def test_memory_is_that_of_the_longest_scan(tmp_path):
    fast = write_dtseries(tmp_path / "a.dtseries.nii", noise("32k", 200), step=0.46)
    slow = write_dtseries(tmp_path / "b.dtseries.nii", noise("32k", 50), step=2.0)
    encoding = ENCODINGS["int8"]
    needed = [memory_needed(cell_of([(p, WHOLE, None)], 100), encoding) for p in (fast, slow)]
    assert needed[0] - needed[1] == 100 * 4 * 108_441  # 200 volumes against the film's 100 s
    broken = tmp_path / "c.dtseries.nii"
    broken.write_bytes(b"nothing")
    assert memory_needed(cell_of([(broken, WHOLE, None)], 100), encoding) == needed[1]
