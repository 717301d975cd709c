"""A training step of simtrain's model against the published model's own structure, at the same sizes.

Both sides run here in turn, each variant in a process of its own for its peak memory: forward, symmetric
InfoNCE of fMRI and video, backward, AdamW, on random windows of BOLD that are on the device as patches.

* published: vit-pytorch's blocks as SIM's code has them, attention written out (matmul, softmax, matmul);
* ours: `simtrain.models`, with scaled-dot-product attention; with torch.compile; with bf16 autocast.

    python scripts/bench_step.py --size tiny --batch 4 --out bench_step.json
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from simdata.common import json_text
from simtrain.models.positions import sincos_positions
from simtrain.models.projector import Projector
from simtrain.models.sit import SiT

SIZES = {"tiny": (192, 3), "small": (384, 6), "base": (768, 12)}  # width, heads
PATCHES, PATCH_SIZE, DEPTH, HEAD, VIDEO, COMMON = 1280, 45 * 3, 12, 64, 768, 384


class PublishedAttention(nn.Module):
    """Scores of all pairs of tokens, kept for the backward pass."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(dim, 3 * heads * HEAD, bias=False)
        self.to_out = nn.Linear(heads * HEAD, dim)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            t.unflatten(-1, (self.heads, HEAD)).transpose(1, 2) for t in self.to_qkv(x).chunk(3, dim=-1)
        )
        scores = (q @ k.transpose(-1, -2) * HEAD**-0.5).softmax(dim=-1)
        return self.to_out((scores @ v).transpose(1, 2).flatten(2))


class PublishedSiT(nn.Module):
    """Pre-norm blocks in vit-pytorch's manner."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.embed = nn.Linear(PATCH_SIZE, dim)
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim))
        self.register_buffer("positions", sincos_positions(PATCHES, dim))
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                [
                    nn.Sequential(nn.LayerNorm(dim), PublishedAttention(dim, heads)),
                    nn.Sequential(
                        nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim)
                    ),
                ]
            )
            for _ in range(DEPTH)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, patches: Tensor) -> Tensor:
        x = self.embed(patches) + self.positions
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        for attention, mlp in self.blocks:
            x = attention(x) + x
            x = mlp(x) + x
        return self.norm(x)[:, 1:].mean(dim=1)


def make(variant: str, dim: int, heads: int, device: str) -> nn.ModuleDict:
    torch.manual_seed(0)
    if variant == "published":
        encoder: nn.Module = PublishedSiT(dim, heads)
    else:
        encoder = SiT(
            patches=PATCHES, patch_size=PATCH_SIZE, dim=dim, depth=DEPTH, heads=heads, dim_head=HEAD
        )
    return nn.ModuleDict(
        {"encoder": encoder, "fmri": Projector(dim, COMMON), "video": Projector(VIDEO, COMMON)}
    ).to(device)


def run(variant: str, size: str, batch: int, steps: int, device: str) -> dict[str, float]:
    """Seconds a step (median, without the first) and peak memory in MB."""
    model = make(variant, *SIZES[size], device)
    encoder = torch.compile(model["encoder"]) if "compile" in variant else model["encoder"]
    optimizer = torch.optim.AdamW(model.parameters(), 3e-4)
    patches = torch.randn(batch, PATCHES, PATCH_SIZE, device=device)
    video, target = torch.randn(batch, VIDEO, device=device), torch.arange(batch, device=device)
    times, loss = [], torch.zeros(())
    for _ in range(1 + steps):
        began = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled="bf16" in variant):
            fmri, seen = model["fmri"](encoder(patches)), model["video"](video)
        logits = normalize(fmri.float(), dim=-1) @ normalize(seen.float(), dim=-1).T / 0.07
        loss = (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2
        loss.backward()
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    if device == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**20
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "first_s": times[0],
        "step_s": statistics.median(times[1:]),
        "peak_mb": peak,
        "loss": float(loss.detach()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument(
        "--rounds", type=int, default=2, help="how often the variants take turns; medians count"
    )
    parser.add_argument("--variants", default="published,ours,ours-compile,ours-bf16")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    variants = options.variants.split(",")
    context = multiprocessing.get_context("spawn")
    runs: dict[str, list[dict[str, float]]] = {variant: [] for variant in variants}
    for _ in range(options.rounds):
        for variant in variants:
            with context.Pool(1) as pool:
                found = pool.apply(run, (variant, options.size, options.batch, options.steps, device))
            runs[variant].append(found)
            print(f"{variant}: {found}", file=sys.stderr)
    step = {name: statistics.median(run["step_s"] for run in found) for name, found in runs.items()}
    peak = {name: max(run["peak_mb"] for run in found) for name, found in runs.items()}
    result = {
        "size": options.size,
        "batch": options.batch,
        "device": torch.cuda.get_device_name()
        if device == "cuda"
        else f"CPU, {torch.get_num_threads()} threads",
        "step_s": step,
        "peak_mb": peak,
        "published_over": {name: step["published"] / step[name] for name in variants},
    }
    for name in variants:
        ratio = result["published_over"][name]
        print(f"{name:14s} {step[name]:8.3f} s a step, {peak[name]:6.0f} MB, {ratio:.2f} x")
    if options.out:
        options.out.write_text(json_text.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
