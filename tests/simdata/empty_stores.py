"""Stores of HCP's catalog without a run or a film."""

from simdata.release import catalog as catalogs
from simdata.store import schema
from simdata.store.encoding import ENCODINGS

CATALOG, TEXT = catalogs.load("hcp7t-movie")


class NamedEncoder:
    """As much of an encoder as the schema asks for."""

    def __init__(self, modality, name, features):
        self.modality, self.name, self.features = modality, name, features
        self.array = f"{modality}_{name}"

    def attributes(self):
        return {
            "encoder": self.name,
            "modality": self.modality,
            "window": 3,
            "stride": 1,
            "weights_sha256": "",
        }


def make_store(path, encoding="int8", subjects=("100610", "102311")):
    schema.create(
        path,
        catalog=CATALOG,
        subjects=subjects,
        encoding=ENCODINGS[encoding],
        encoders=[NamedEncoder("video", "motion", 12), NamedEncoder("audio", "mel", 5)],
        thumbnail=(72, 102),
        metadata={"catalog": TEXT, "recipe": {"encoders": {}}},
    )
    return path
