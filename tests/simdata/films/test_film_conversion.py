"""One film converted."""

from simdata.films.film_conversion import convert_film
from simdata.release.catalog import Catalog
from simdata.release.sources import find_film


def _files(converted):
    found = (path for path in converted.folder.rglob("*") if path.is_file())
    return {str(path.relative_to(converted.folder)): path.read_bytes() for path in found}


def test_a_second_attempt_is_not_in_the_way_of_the_first_which_may_be_dead_or_at_work(built, tmp_path):
    film = find_film(Catalog.load(built / "mini.yaml").movies[1], built / "movies")
    where = {"store": built / "s.zarr", "staging": tmp_path, "encoders": (), "checksum": False}
    first, second = convert_film(film, **where), convert_film(film, **where)
    assert first.folder != second.folder
    assert _files(first) == _files(second)
    assert any(name.startswith("frame/c/1/") for name in _files(first))
