"""Films with bytes changed, zeroed or missing: each is decoded, or refused with a UserError that names it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from film_files import write_film

from simdata.common.errors import UserError
from simdata.common.workers import execute
from simdata.films.blocks import stimulus_blocks

SECONDS = 2


@dataclass(frozen=True)
class Broken:
    path: Path


def decode(film):
    (block,) = stimulus_blocks(film.path, [], [(0, SECONDS)], (18, 30), waveform=True)
    shapes = {name: rows.shape for name, rows in block.arrays.items()}
    whole = {"frame": (SECONDS, 18, 30, 3), "waveform": (SECONDS, 16_000)}
    assert shapes
    assert shapes == {name: whole[name] for name in shapes}  # damage may take a stream off


def broken(rng, content):
    kind, place = rng.integers(4), int(rng.integers(len(content)))
    if kind == 0:  # the header that says where all lies is at one of the ends
        place = int(rng.choice([rng.integers(1000), len(content) - 1 - rng.integers(3000)]))
    if kind < 2:
        return content[:place] + rng.bytes(int(rng.integers(1, 20))) + content[place + 20 :]
    if kind == 2:
        return content[:place]
    return content[:place] + bytes(len(content[place : place + 2000])) + content[place + 2000 :]


@pytest.mark.parametrize(("workers", "seeds"), [(1, range(60)), (2, range(60, 80))])
def test_each_is_decoded_or_refused_by_name(tmp_path, workers, seeds):
    content = write_film(tmp_path / "good.mp4", seconds=SECONDS, rate=8).read_bytes()
    films = [Broken(tmp_path / f"{seed}.mp4") for seed in seeds]
    for seed, film in zip(seeds, films, strict=True):
        film.path.write_bytes(broken(np.random.default_rng(seed), content))
    refused = 0
    for film, outcome in execute(decode, films, workers):
        if isinstance(outcome, UserError):
            assert str(film.path) in str(outcome)
            refused += 1
    assert 0 < refused < len(films)
