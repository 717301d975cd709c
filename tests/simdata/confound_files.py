"""Tables of confounds as fMRIPrep writes them, and a JSON beside each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

MOTION = [f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"]
TISSUES = ("csf", "white_matter", "global_signal")
MASKS = ("CSF", "WM", "combined")


def confounds(volumes: int, seed: int = 0) -> pd.DataFrame:
    """Random walks of motion, tissues, components, FD and DVARS; derivatives begin with NaN."""
    rng = np.random.default_rng(seed)

    def walk() -> np.ndarray:  # not so smooth that nilearn takes it for a cosine
        return rng.standard_normal(volumes).cumsum() + 4 * rng.standard_normal(volumes)

    table = pd.DataFrame({name: 0.01 * walk() for name in MOTION})
    for name, level in zip(TISSUES, (11_000, 9_000, 10_000), strict=True):
        table[name] = level + 50 * walk()
    for name in (*MOTION, *TISSUES):
        table[f"{name}_derivative1"] = table[name].diff()
        table[f"{name}_power2"] = table[name] ** 2
        table[f"{name}_derivative1_power2"] = table[f"{name}_derivative1"] ** 2
    for component in range(12):  # four of each mask, as fMRIPrep of before 21 numbered them
        table[f"a_comp_cor_{component:02d}"] = rng.standard_normal(volumes)
    table["framewise_displacement"] = np.abs(table[MOTION].diff()).sum(axis=1, min_count=6)
    table["std_dvars"] = np.r_[np.nan, 1 + 0.1 * rng.standard_normal(volumes - 1)]
    table["non_steady_state_outlier00"] = np.arange(volumes) == 0
    table["cosine00"] = np.cos(np.pi * (np.arange(volumes) + 0.5) / volumes)
    return table


def write_confounds(path: Path, table: pd.DataFrame) -> Path:
    """The TSV, and the JSON that says of which mask a component is."""
    table = table.astype({name: int for name in table if table[name].dtype == bool})
    table.to_csv(path, sep="\t", na_rep="n/a", index=False)
    components = [name for name in table if name.startswith("a_comp_cor_")]
    described = {
        name: {"Method": "aCompCor", "Mask": MASKS[place // 4], "Retained": True}
        for place, name in enumerate(components)
    }
    path.with_suffix(".json").write_text(json.dumps(described))
    return path
