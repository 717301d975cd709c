"""A pretraining step of vsMAE, 3,840 tokens, against plain torch as a competent user would write it.

All sides take turns, step by step, in one process, on the same random windows of BOLD that are on the device
as patches, with the same masks: forward, the error over hidden values, backward, AdamW.

* plain: the strongest rival: visible tokens are taken first, `scaled_dot_product_attention`, predictions of
  hidden tokens alone;
* published: the published code's way: all tokens are embedded before the hidden ones are taken out, attention
  is written out (matmul, softmax, matmul), and so is the choice of hidden values;
* ours: `simtrain.models`; with activations worked out again; plain and ours with bf16 autocast.

    python scripts/bench_pretrain.py --batch 2 --out bench_pretrain.json
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from simdata.common import json_text
from simtrain.config.composition import load
from simtrain.config.schema import PretrainConfig
from simtrain.models.factory import surface_encoder
from simtrain.models.mae import MAE, masked_error
from simtrain.models.masking import Mask, Masking
from simtrain.models.positions import sincos_positions
from simtrain.surface.patches import patch_vertices

FRAMES, DIM, DEPTH, DECODER_DEPTH, HEADS, HEAD = 3, 192, 12, 3, 3, 64
Shape = tuple[int, int]  # patches, and vertices in one


class Block(nn.Module):
    """Pre-norm attention and MLP."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.fused = fused
        self.norm, self.qkv = nn.LayerNorm(DIM), nn.Linear(DIM, 3 * HEADS * HEAD, bias=False)
        self.out = nn.Linear(HEADS * HEAD, DIM)
        self.mlp = nn.Sequential(
            nn.LayerNorm(DIM), nn.Linear(DIM, 4 * DIM), nn.GELU(), nn.Linear(4 * DIM, DIM)
        )

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            part.unflatten(-1, (HEADS, HEAD)).transpose(1, 2)
            for part in self.qkv(self.norm(x)).chunk(3, dim=-1)
        )
        if self.fused:
            mixed = scaled_dot_product_attention(q, k, v)
        else:
            mixed = (q @ k.transpose(-1, -2) * HEAD**-0.5).softmax(dim=-1) @ v
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.mlp(x)


class Plain(nn.Module):
    """The masked autoencoder in plain torch; its loss of (batch, tokens, vertices) and a mask."""

    def __init__(self, shape: Shape, fused: bool) -> None:
        super().__init__()
        self.fused, self.tokens = fused, FRAMES * shape[0]
        self.embed, self.to_pixels = nn.Linear(shape[1], DIM), nn.Linear(DIM, shape[1])
        self.register_buffer("positions", sincos_positions(self.tokens, DIM))
        self.encoder = nn.Sequential(*(Block(fused) for _ in range(DEPTH)), nn.LayerNorm(DIM))
        self.decoder = nn.Sequential(*(Block(fused) for _ in range(DECODER_DEPTH)), nn.LayerNorm(DIM))
        self.mask_token = nn.Parameter(torch.randn(DIM))

    def forward(self, x: Tensor, visible: Tensor, hidden: Tensor) -> Tensor:
        rows = torch.arange(len(x), device=x.device)[:, None]
        if self.fused:
            seen = self.embed(x[rows, visible]) + self.positions[0, visible]
        else:
            seen = (self.embed(x) + self.positions)[rows, visible]
        seen = self.encoder(seen)
        every = self.mask_token.to(seen.dtype).expand(len(x), self.tokens, DIM).clone()
        every[rows, visible] = seen
        decoded = self.decoder(every + self.positions)
        if self.fused:
            return (self.to_pixels(decoded[rows, hidden]).float() - x[rows, hidden]).square().mean()
        errors = (self.to_pixels(decoded).float() - x).square()
        chosen = torch.zeros(len(x), self.tokens, 1, device=x.device).scatter_(1, hidden[..., None], 1.0)
        return errors[chosen.expand_as(errors) == 1].mean()


class Ours(nn.Module):
    """The preset vsmae, on patches as `simtrain.models.input` gives them."""

    def __init__(self, shape: Shape, checkpointing: bool) -> None:
        super().__init__()
        self.vertices = shape[1]
        settings = [f"model.checkpointing={str(checkpointing).lower()}"]
        config = load("vsmae", settings, kind=PretrainConfig)
        mae = config.mae
        self.mae = MAE(
            surface_encoder(config.model, shape, FRAMES),
            frames=FRAMES,
            kind=mae.mask,
            dim=mae.decoder_dim,
            depth=mae.decoder_depth,
            heads=mae.decoder_heads,
            dim_head=mae.decoder_dim_head,
        )

    def forward(self, x: Tensor, mask: Mask) -> Tensor:
        counted = mask.hidden.repeat(1, 1, self.vertices)
        return masked_error(self.mae(x, mask), x, counted)


def make(variant: str, shape: Shape, device: str) -> nn.Module:
    torch.manual_seed(0)
    if variant.startswith("ours"):
        return Ours(shape, checkpointing="again" in variant).to(device)
    return Plain(shape, fused=not variant.startswith("published")).to(device)


def inputs(variant: str, shape: Shape, batch: int, device: str) -> tuple[Tensor | Mask, ...]:
    """Windows and masks, the same in all variants, as each takes them."""
    x = torch.randn(batch, shape[0], shape[1] * FRAMES, generator=torch.Generator().manual_seed(0))
    mask = Masking("tubes", 0.75, shape[0], FRAMES, apart=True).draw(range(batch), torch.device("cpu"))
    assert mask.visible is not None  # as of tokens that are left out
    if variant.startswith("ours"):
        return x.to(device), Mask(mask.hidden.to(device), mask.visible.to(device))
    of_tokens = x.unflatten(2, (-1, FRAMES)).permute(0, 3, 1, 2).flatten(1, 2).contiguous()
    hidden = mask.hidden.transpose(1, 2).flatten(1).nonzero()[:, 1].view(batch, -1)
    return of_tokens.to(device), mask.visible.to(device), hidden.to(device)


class Side:
    """A variant that is trained step by step."""

    def __init__(self, variant: str, shape: Shape, batch: int, device: str) -> None:
        self.variant, self.device = variant, device
        self.model, self.given = make(variant, shape, device), inputs(variant, shape, batch, device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), 3e-4)
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self.peak = 0.0

    def step(self) -> None:
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        wall, cpu = time.perf_counter(), time.process_time()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled="bf16" in self.variant):
            loss = self.model(*self.given)
        loss.backward()
        self.optimizer.step()
        if self.device == "cuda":
            torch.cuda.synchronize()
            self.peak = max(self.peak, torch.cuda.max_memory_allocated() / 2**20)
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--ico", type=int, default=3, help="whose faces are the patches")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--threads", type=int, help="of a CPU; one, where others work on it too")
    parser.add_argument("--steps", type=int, default=5, help="of each variant, behind a first one")
    parser.add_argument("--variants", default="plain,ours,published,ours-again,plain-bf16,ours-bf16")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.threads:
        torch.set_num_threads(options.threads)
    shape = patch_vertices(options.ico).shape
    sides = [Side(variant, shape, options.batch, device) for variant in options.variants.split(",")]
    for _ in range(1 + options.steps):
        for side in sides:
            side.step()
    wall = {side.variant: statistics.median(side.wall[1:]) for side in sides}
    cpu = {side.variant: statistics.median(side.cpu[1:]) for side in sides}
    result = {
        "tokens": FRAMES * shape[0],
        "batch": options.batch,
        "device": torch.cuda.get_device_name()
        if device == "cuda"
        else f"CPU, {torch.get_num_threads()} threads",
        "step_s": wall,
        "cpu_s": cpu,
        "plain_over": {name: wall["plain"] / wall[name] for name in wall},
        "plain_over_in_cpu_time": {name: cpu["plain"] / cpu[name] for name in cpu},
    }
    if device == "cuda":
        result["peak_mb"] = {side.variant: side.peak for side in sides}
    for name in wall:
        ratio, own = result["plain_over"][name], result["plain_over_in_cpu_time"][name]
        print(
            f"{name:12s} {wall[name]:7.3f} s a step, {ratio:.2f} x; {cpu[name]:7.3f} s of CPUs, {own:.2f} x"
        )
    if options.out:
        json_text.write(options.out, result)


if __name__ == "__main__":
    main()
