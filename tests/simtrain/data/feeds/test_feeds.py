import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console
from training_runs import assert_equal, lines_of

from simdata.common.errors import UserError
from simdata.common.free_memory import host_room
from simdata.store import BoldReader
from simtrain.config.composition import load
from simtrain.data.dataset import open_dataset, resolve
from simtrain.data.feeds import Device, Memory, Scans, Stream, at_once, choice, open_feed
from simtrain.data.feeds.choice import Needs, Room, choose
from simtrain.data.feeds.device import select_windows
from simtrain.data.feeds.stream import read_ahead
from simtrain.data.windows import SAMPLE
from simtrain.training import checkpoint
from simtrain.training.loop import fit
from simtrain.training.run_folder import FitRun
from simtrain.training.step import Training

CPU = torch.device("cpu")
FEEDS = ("device", "memory", "stream")
GB = 10**9


@pytest.fixture(scope="module")
def truth(store):
    with xr.open_zarr(store, mask_and_scale=False) as opened:
        return opened.bold.values


@pytest.fixture(scope="module")
def everything(store):
    """Every window of three frames of every run."""
    dataset = open_dataset(store)
    samples = [
        (subject, movie, second, 0, 0, 0, hemisphere)
        for subject, movie in np.argwhere(dataset.complete)
        for second in range(dataset.volumes[movie] - 2)
        for hemisphere in range(2)
    ]
    return np.array(samples, SAMPLE)


@pytest.fixture(scope="module")
def feeds(store, everything):
    dataset, reader = open_dataset(store), BoldReader(store)
    runs = Scans(everything, dataset, reader)
    return {
        "device": Device(runs, 3, CPU),
        "memory": Memory(runs, 3, CPU, copiers=3),
        "stream": Stream(reader, 3, CPU),
    }


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), sizes=st.lists(st.integers(1, 9), max_size=9))
def test_all_feeds_give_the_stored_values_of_the_same_batches(feeds, everything, truth, seed, sizes):
    rng = np.random.default_rng(seed)
    asked = [(rng.choice(everything, size), note) for note, size in enumerate(sizes)]
    for name, feed in feeds.items():
        assert feed.name == name
        with feed.batches(iter(asked), 9) as batches:
            count = 0
            for batch, (samples, note) in zip(batches, asked, strict=True):
                count += 1
                assert batch.note == note
                np.testing.assert_array_equal(batch.samples, samples)
                assert batch.stored.dtype == torch.int8
                for sample, stored in zip(samples, batch.stored.numpy(), strict=True):
                    subject, movie, second, *_, hemisphere = sample
                    np.testing.assert_array_equal(
                        stored, truth[subject, movie, second : second + 3, hemisphere]
                    )
            assert count == len(asked)
            assert (batches.waited > 0) == (count > 0 or name != "device")


def test_all_feeds_give_windows_of_a_minute(store, everything, truth):
    dataset, reader = open_dataset(store), BoldReader(store)
    samples = everything[everything["second"] + 60 <= dataset.volumes[everything["movie"]]][::3]
    runs = Scans(samples, dataset, reader)
    for feed in (Device(runs, 60, CPU), Memory(runs, 60, CPU), Stream(reader, 60, CPU)):
        with feed.batches([(samples, None)], len(samples)) as batches:
            stored = next(iter(batches)).stored.numpy()
        for sample, window in zip(samples, stored, strict=True):
            subject, movie, second, *_, hemisphere = sample
            np.testing.assert_array_equal(window, truth[subject, movie, second : second + 60, hemisphere])


def test_large_batches_are_not_read_far_ahead():
    """Four of the usual size, and of a hundred seconds as many as there must be."""
    assert read_ahead((64, 3, 40962), np.dtype(np.int8)) == 4
    assert read_ahead((64, 100, 40962), np.dtype(np.int8)) == 2
    assert read_ahead((64, 100, 40962), np.dtype(np.float32)) == 2


def test_as_many_windows_are_looked_at_together_as_are_no_larger_than_before():
    assert [at_once(64, frames) for frames in (1, 3, 16)] == [64] * 3
    assert [at_once(64, frames) * frames <= 64 * 16 for frames in range(17, 101)] == [True] * 84
    assert at_once(1, 100) == 1


@pytest.mark.parametrize("name", FEEDS)
def test_an_error_on_the_way_reaches_the_consumer(feeds, everything, name):
    outside = everything[:4].copy()
    outside["subject"] = 99
    with feeds[name].batches([(outside, None)], 4) as batches, pytest.raises(IndexError):
        next(iter(batches))


@pytest.mark.parametrize("name", ["device", "memory"])
@pytest.mark.parametrize(
    "changed",
    [{"second": 62}, {"second": -1}, {"subject": 2, "movie": 1}],
    ids=["behind the run's end", "before its beginning", "a run that is absent"],
)
def test_no_window_is_taken_across_runs(feeds, everything, name, changed):
    """In memory, one run lies behind another: what is not within one would be another's."""
    asked = everything[:2].copy()
    for axis, value in changed.items():
        asked[axis][1] = value
    with feeds[name].batches([(asked, None)], 2) as batches, pytest.raises(IndexError, match="no run here"):
        next(iter(batches))


@pytest.mark.parametrize("name", ["memory", "stream"])
def test_leaving_early_ends_the_threads(feeds, everything, name):
    before = set(threading.enumerate())
    endless = iter(lambda: (everything[:4], None), None)
    with feeds[name].batches(endless, 4) as batches:
        next(iter(batches))
        assert len(set(threading.enumerate()) - before) > 1
    assert set(threading.enumerate()) <= before


def test_windows_are_selected_on_a_gpu_by_the_same_rows():
    """The line of torch that a GPU runs, on a CPU."""
    rows = torch.randint(-128, 128, (50, 12), dtype=torch.int8)
    first, out = np.array([47, 0, 13]), torch.empty(9, 12, dtype=torch.int8)
    select_windows(rows, first, 3, out)
    expected = torch.cat([rows[start : start + 3] for start in first.tolist()])
    assert torch.equal(out, expected)


def test_only_runs_in_use_are_held(store, everything, truth):
    used = everything[(everything["subject"] == 4) & (everything["hemisphere"] == 1)]
    runs = Scans(used, open_dataset(store), BoldReader(store))
    assert len(runs) == 2
    assert runs.nbytes == (64 + 61) * 40962
    rows = Device(runs, 3, CPU).rows.numpy()
    np.testing.assert_array_equal(rows[:64], truth[4, 0, :, 1])
    np.testing.assert_array_equal(rows[64:], truth[4, 1, :61, 1])


def test_runs_can_be_read_in_parts(store, everything):
    runs = Scans(everything, open_dataset(store), BoldReader(store))
    whole, parts = (torch.zeros(runs.shape, dtype=torch.int8) for _ in range(2))
    runs.read_into(whole)
    for part in (2, 0, 1):
        runs.read_into(parts, part, 3)
    assert whole.any()
    assert torch.equal(whole, parts)


TINY = [
    *("model.ico=1", "model.dim=8", "model.depth=1", "model.dim_head=8", "model.dropout=0.1"),
    *("projector.dim=8", "train.steps=6", "train.batch_size=8", "train.log_every=1"),
    *("train.validate_every=3", "train.validation_samples=24", "data.lag_jitter=1"),
]

HALF = ("data.frames=30", "train.steps=2", "train.validate_every=2", "train.validation_samples=8")


def fit_run(store, out, feed, *overrides):
    dataset = open_dataset(store)
    run = FitRun.start(out, resolve(load("demo", [*TINY, *overrides]), dataset), dataset)
    return run, fit(dataset, run, CPU, Console(quiet=True), feed)


def test_a_run_goes_on_with_any_feed_bit_for_bit(store, tmp_path, monkeypatch):
    straight, _ = fit_run(store, tmp_path / "straight", "auto")
    update = Training.update

    def interrupted(self, batch):
        if self.step in (1, 3):
            os.kill(os.getpid(), signal.SIGTERM)
        return update(self, batch)

    monkeypatch.setattr(Training, "update", interrupted)
    for feed, stopped in zip(FEEDS, (signal.SIGTERM, signal.SIGTERM, None), strict=True):
        run, by = fit_run(store, tmp_path / "changing", feed)
        assert by == stopped
    assert checkpoint.load(run.checkpoint)["step"] == 6
    assert_equal(checkpoint.load(run.checkpoint), checkpoint.load(straight.checkpoint))
    assert lines_of(run) == lines_of(straight)


def test_windows_of_half_a_minute_train_the_same_from_every_feed(store, tmp_path):
    kept = [checkpoint.load(fit_run(store, tmp_path / feed, feed, *HALF)[0].checkpoint) for feed in FEEDS]
    assert kept[0]["step"] == 2
    assert_equal(kept[0], kept[1])
    assert_equal(kept[0], kept[2])


class TestChoice:
    @pytest.mark.parametrize(
        ("runs", "training", "host", "gpu", "kind"),
        [
            (36, 7, 110, 80, "device"),
            (48, 7, 110, 12, "memory"),
            (52, 40, 110, 80, "memory"),  # the runs alone would fit
            (48, 7, 50, 12, "stream"),  # some is left to others
            (48, 7, 110, None, "memory"),
            (48, 60, 110, None, "stream"),  # training is in the same memory
        ],
    )
    def test_the_quickest_for_which_there_is_room(self, runs, training, host, gpu, kind):
        room = Room(host * GB, gpu and gpu * GB)
        chosen = choose(Needs(runs * GB, training * GB), room)
        assert chosen.kind == kind
        assert f"training and validation take {runs}.0 GB of " in chosen.reason
        assert f"{training}.0 GB" in chosen.reason

    @pytest.mark.parametrize("kind", ["device", "memory"])
    def test_what_was_asked_for_and_does_not_fit_is_refused(self, store, everything, monkeypatch, kind):
        monkeypatch.setattr(choice, "host_room", lambda: 40 * 2**20)
        asked = (everything, open_dataset(store), BoldReader(store), 3, CPU, 0, Console(quiet=True))
        with pytest.raises(
            UserError, match=rf"`feed` {kind}: .* take 0\.1 GB, and 0\.0 GB of memory are free"
        ):
            open_feed(kind, *asked)
        assert open_feed("auto", *asked).name == "stream"
        assert open_feed("stream", *asked).name == "stream"

    def test_auto_says_why(self, store, everything, capsys):
        feed = open_feed(
            "auto", everything, open_dataset(store), BoldReader(store), 3, CPU, 10**8, Console(width=40)
        )
        said = capsys.readouterr().out
        assert said.startswith(f"feed: {feed.name} (training and validation take 0.1 GB of ")
        assert said.endswith("training itself some 0.1 GB)\n")


class TestRoom:
    @staticmethod
    def _machine(root: Path, groups: str, available_kb: int) -> Path:
        (root / "proc/self").mkdir(parents=True)
        (root / "proc/meminfo").write_text(
            f"MemTotal: {available_kb * 2} kB\nMemAvailable:   {available_kb} kB\nHugePages_Total:   0\n"
        )
        (root / "proc/self/cgroup").write_text(groups)
        return root

    def test_of_this_machine(self):
        available = host_room()
        physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        assert 0 < available <= physical

    def test_a_job_has_what_its_groups_leave(self, tmp_path):
        root = self._machine(tmp_path, "0::/slurm/job_7/step\n", 10**6)
        for group, limit, held in (("slurm", "max", 9 * 10**8), ("slurm/job_7", "600000000", 4 * 10**8)):
            folder = root / "sys/fs/cgroup" / group
            folder.mkdir(parents=True)
            (folder / "memory.max").write_text(f"{limit}\n")
            (folder / "memory.current").write_text(f"{held}\n")
            (folder / "memory.stat").write_text("anon 1\nactive_file 60000000\ninactive_file 40000000\n")
        assert host_room(root) == 600_000_000 - 400_000_000 + 100_000_000

    def test_version_1_of_groups(self, tmp_path):
        root = self._machine(tmp_path, "12:cpu,cpuacct:/x\n9:memory:/docker/abc\n", 10**6)
        folder = root / "sys/fs/cgroup/memory"  # in the container, the group is at the top
        folder.mkdir(parents=True)
        (folder / "memory.limit_in_bytes").write_text("500000000\n")
        (folder / "memory.usage_in_bytes").write_text("200000000\n")
        (folder / "memory.stat").write_text("total_active_file 0\ntotal_inactive_file 1000\n")
        assert host_room(root) == 300_001_000

    def test_without_limits_the_machine_counts(self, tmp_path):
        assert host_room(self._machine(tmp_path, "0::/\n", 10**6)) == 1024 * 10**6


HOLDER = """
import sys, time
from pathlib import Path
import torch
from simtrain.data.feeds.shared import _common
rank, folder = int(sys.argv[1]), Path(sys.argv[2])
meeting = f"file://{folder / 'meeting'}"
torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
memory = _common(2**24, [0, 1])
memory[2**23 + rank] = 7
torch.distributed.barrier()
(folder / f"holds-{rank}").touch()
while not (folder / "other-killed").exists():
    time.sleep(0.05)
assert memory[2**23 : 2**23 + 3] == bytes([7, 7, 0])
"""


def _mapped(process: subprocess.Popen) -> set[str]:
    """The files in memory of a process, as device and inode."""
    maps = Path(f"/proc/{process.pid}/maps").read_text().splitlines()
    return {" ".join(line.split()[3:5]) for line in maps if "simtrain-bold" in line}


def test_shared_memory_is_one_and_outlives_whoever_made_it_but_not_all(tmp_path):
    named = set(Path("/dev/shm").iterdir())
    command = [sys.executable, "-c", HOLDER]
    first, second = (subprocess.Popen([*command, str(rank), str(tmp_path)]) for rank in range(2))
    try:
        while not all((tmp_path / f"holds-{rank}").exists() for rank in range(2)):
            assert first.poll() is None
            assert second.poll() is None
            time.sleep(0.05)
        assert len(_mapped(first)) == 1
        assert _mapped(first) == _mapped(second)
        first.kill()
        (tmp_path / "other-killed").touch()
        assert second.wait(timeout=30) == 0
    finally:
        first.kill()
        second.kill()
        first.wait()
        second.wait()
    # Without a name there is nothing that could stay when the last is gone.
    assert not {path for path in set(Path("/dev/shm").iterdir()) - named if "simtrain" in path.name}
