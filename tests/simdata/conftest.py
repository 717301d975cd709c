import shutil

import pytest
from store_files import build, write_sources


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """A folder with a store, s.zarr, and what it was built from; not to be changed."""
    folder = tmp_path_factory.mktemp("built")
    write_sources(folder)
    build(folder)
    return folder


@pytest.fixture
def own(built, tmp_path):
    """A copy to work on; file times are kept, so the films are those of the store."""
    return shutil.copytree(built, tmp_path / "own")
