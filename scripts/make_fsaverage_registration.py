"""Make the registration of fs_LR to fsaverage that comes with simdata.

    python scripts/make_fsaverage_registration.py FOLDER

FOLDER has the deformed spheres of HCPpipelines (global/templates/standard_mesh_atlases/resample_fsaverage):
fs_LR-deformed_to-fsaverage.L.sphere.59k_fs_LR.surf.gii and that of R. It prints how far the shipped positions
lie from those of the files, and from the 32k files' where they are there too.
"""

from __future__ import annotations

from pathlib import Path

import click
import nibabel as nib
import numpy as np

from simdata.surface import registration
from simdata.surface.meshes import HEMISPHERES

PLACE = Path(registration.__file__).with_name(registration.FILE)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=PLACE)
def main(folder: Path, out: Path) -> None:
    real = {h: positions(folder, "59k", h) for h in HEMISPHERES}
    np.savez_compressed(out, **registration.packed(np.stack([real[h] for h in HEMISPHERES])))
    click.echo(f"{out}: {out.stat().st_size:,} bytes")
    for hemisphere in HEMISPHERES:
        shipped = registration.shipped(hemisphere)
        tell(f"{hemisphere}: shipped from the 59k sphere", shipped, real[hemisphere])
        tell(f"{hemisphere}: shipped from the 32k sphere", shipped, positions(folder, "32k", hemisphere))


def positions(folder: Path, density: str, hemisphere: str) -> np.ndarray:
    file = folder / f"fs_LR-deformed_to-fsaverage.{hemisphere}.sphere.{density}_fs_LR.surf.gii"
    return registration.registered(density, nib.load(file).agg_data("pointset").astype(np.float64))


def tell(what: str, ours: np.ndarray, theirs: np.ndarray) -> None:
    far = np.linalg.norm(ours - theirs, axis=1)
    median, most = np.percentile(far, [50, 99])
    click.echo(f"{what}: median {median:.4f} mm, 99th percentile {most:.4f} mm, largest {far.max():.4f} mm")


if __name__ == "__main__":
    main()
