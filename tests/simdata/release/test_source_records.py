"""What is kept of a run of several files, and when it is another run."""

from dataclasses import replace
from hashlib import sha256

import pytest
from empty_stores import make_store

from simdata.release.catalog import Movie
from simdata.release.source_records import files_of, fingerprints, plays_of, source_hash, source_record
from simdata.release.sources import Part, Play, Run, Scan
from simdata.store.provenance import Provenance

PLAYS = (Play(7.3, 0.0, 20.0), Play(40.0, 20.0))


@pytest.fixture
def run(tmp_path):
    """Two scans of a left and a right file, the first with confounds in another folder."""
    names = ["func/1_L.gii", "func/1_R.gii", "fmap/1.tsv", "func/2_L.gii", "func/2_R.gii"]
    for place, name in enumerate(names):
        (tmp_path / "source" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "source" / name).write_text(name * (place + 1))
    paths = [tmp_path / "source" / name for name in names]
    first = Scan(tuple(paths[:2]), tuple(names[:2]), confounds=paths[2])
    movie = Movie(name="A", volumes=20, phase_encoding="AP", session=1, video="A.mp4", segments=[])
    return Run("s1", movie, (Part(first, PLAYS), Part(Scan(tuple(paths[3:]), tuple(names[3:])))))


def _record(run):
    digests = {name: sha256(path.read_bytes()).hexdigest() for name, path in run.inputs.items()}
    return source_record(run, fingerprints(run), digests)


def test_the_record_of_one_file_is_that_of_the_file(run):
    path = run.path
    alone = Run.of_file("s1", run.movie, path, "func/1_L.gii")
    record = _record(alone)
    assert set(record) == {"path", "size", "mtime_ns", "sha256"}
    assert files_of(record) == [record]
    assert plays_of(record) == [[[0.0, 0.0, None]]]


def test_a_run_of_several_scans_has_all_of_its_files_and_plays(run):
    record = _record(run)
    names = ["func/1_L.gii", "func/1_R.gii", "fmap/1.tsv", "func/2_L.gii", "func/2_R.gii"]
    assert [file["path"] for file in files_of(record)] == names
    assert [file["size"] for file in files_of(record)] == [len(n) * (i + 1) for i, n in enumerate(names)]
    assert record["path"] == names[0]
    assert plays_of(record) == [[[7.3, 0.0, 20.0], [40.0, 20.0, None]], [[0.0, 0.0, None]]]


def test_the_hash_of_a_run_is_of_all_of_its_files_and_plays(run):
    record = _record(run)
    alone = _record(Run.of_file("s1", run.movie, run.path, "func/1_L.gii"))
    assert source_hash(alone) == alone["sha256"]
    later = Part(run.parts[0].scan, (replace(PLAYS[0], onset=7.4), PLAYS[1]))
    others = [_record(replace(run, parts=(later, run.parts[1]))), _record(replace(run, parts=run.parts[:1]))]
    run.parts[1].scan.files[1].write_text("other")
    others.append(_record(run))
    assert len({source_hash(one) for one in (alone, record, *others)}) == 5
    assert source_hash(source_record(run, fingerprints(run), {})) == ""


def test_any_file_or_play_that_changes_makes_another_source(run, tmp_path):
    store = make_store(tmp_path / "store.zarr")
    provenance = Provenance(store)
    assert not provenance.is_current(run)
    provenance.record(run.key, _record(run))
    assert provenance.is_current(run)
    later = Part(run.parts[0].scan, (replace(PLAYS[0], onset=7.4), PLAYS[1]))
    assert not provenance.is_current(replace(run, parts=(later, run.parts[1])))
    assert not provenance.is_current(replace(run, parts=run.parts[:1]))
    for path in run.inputs.values():
        content = path.read_text()
        path.write_text(content + "!")
        assert not provenance.is_current(run)
        provenance.record(run.key, _record(run))
        assert provenance.is_current(run)


def test_files_that_moved_are_the_same_by_their_content(run, tmp_path):
    provenance = Provenance(make_store(tmp_path / "store.zarr"))
    provenance.record(run.key, {**_record(run), "density": "32k"})
    second = run.parts[1].scan
    moved = Part(Scan(second.files, ("func/b_L.gii", "func/b_R.gii")))
    again = replace(run, parts=(run.parts[0], moved))
    assert provenance.is_current(again)
    provenance.record(run.key, source_record(run, fingerprints(run), {}))
    assert not provenance.is_current(again)
