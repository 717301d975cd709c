"""Which variance only one feature space explains, and which several do: commonality analysis.

Models without each of the spaces are fitted and tested as the whole one is (de Heer et al., Journal of
Neuroscience 2017, doi:10.1523/JNEUROSCI.3267-16.2017). What R2 loses without a space is unique to it; the
rest of the whole R2 is shared, by two spaces or more. So the parts sum to R2. Each may be negative: by
chance, or where one space suppresses noise of another.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

SHARED = "shared"


def unique(space: str) -> str:
    """Name of the part that is of one space alone."""
    return f"unique_{space}"


def parts(whole: np.ndarray, without: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Name of the part -> (targets,).

    Parameters
    ----------
    whole : (targets,) R2 of all spaces
    without : space -> (targets,) R2 of all the others
    """
    found = {unique(space): whole - others for space, others in without.items()}
    return {**found, SHARED: whole - sum(found.values())}
