"""The import of decord, made harmless.

On import, decord2 3.4 loads every library of the installed ``nvidia-*`` packages into the process for all to
see. One is libnvblas, which takes over the BLAS calls of torch and crashes it where there is no GPU. Only
decord's CUDA builds need those libraries; the build that simdata uses decodes on the CPU.
"""

from __future__ import annotations

import importlib.util


def _import_without_cuda_libraries():
    find_spec = importlib.util.find_spec

    def find_spec_but_nvidia(name: str, package: str | None = None):
        return None if name == "nvidia" else find_spec(name, package)

    importlib.util.find_spec = find_spec_but_nvidia
    try:
        import decord
    finally:
        importlib.util.find_spec = find_spec
    return decord


decord = _import_without_cuda_libraries()
