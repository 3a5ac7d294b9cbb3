"""Train one network from one recipe: ``python -m training.train anatomy --data ../shared/data``.

A run can be stopped at any time and started again with the same command: it goes on from its last checkpoint. The
curve is in ``training/runs/<name>/log.tsv`` and ``curve.png``, the weights in ``weights.safetensors``. A member of the
ensemble starts from the weights that its recipe names under ``start``, with its own heads, lesion shapes, seed and
generator settings. A GPU is used when there is one.
"""

from __future__ import annotations

import argparse
import copy
import csv
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from scipy import ndimage
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from csvd.bundle import load_bundle
from csvd.inference import reduced_precision
from csvd.measure.clusters import TOUCHING
from csvd.networks import build
from csvd.preprocessing import SCALINGS, hounsfield_window

from .burden import BurdenGenerator, BurdenSettings
from .ct import CTGenerator, CTSettings
from .ct_volumes import CTVolumeGenerator, CTVolumeSettings
from .heads import load_heads, load_lesion_shapes
from .recipe import HERE, read_recipe
from .scans import load_scans
from .ship import ship, weights_of
from .synthesis import UNKNOWN, Generator, Settings
from .volumes import VolumeGenerator, VolumeSettings

WARM_UP_STEPS = 150
EMA_DECAY = 0.998  # weights shipped are an average over about the last 500 steps
CHECKPOINT_EVERY = 200
RARE = 10.0  # weight of a voxel of a marker in the cross-entropy: choice, for markers of a few voxels in a slice
WORKER_SEEDS = 7919  # apart: choice; any two seeds give streams of their own, unless they are the same
AHEAD = 24  # batches that a worker draws ahead, as one scan makes many at once and then none for a while
RARE_3D, SURE = 3.0, 10.0  # choices: the weights of foci_loss
MIDDLING = 60  # voxels of .8 x .8 x 1 mm of a lacune of 4 mm: choice; a smaller lesion's count more, a larger's less
UNEVEN = 8.0  # most that a voxel counts more or less for the size of its lesion: choice
ON_MARKER = 2 / 3  # share of patches around a voxel of a marker; choice, nnU-Net takes 1/3


def soft_dice(probability: torch.Tensor, target: torch.Tensor, dims: tuple[int, ...]) -> torch.Tensor:
    overlap = (probability * target).sum(dims)
    return (2 * overlap + 1) / (probability.sum(dims) + target.sum(dims) + 1)


def wmh_loss(logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Binary cross-entropy + Dice over the batch; the second value is the synthetic training Dice at .5.

    Pixels whose target is unknown take no part.
    """
    known = (target != UNKNOWN).float()
    logits, target = logits[:, 0].float(), target * known
    dice = soft_dice(logits.sigmoid() * known, target, (0, 1, 2))
    loss = F.binary_cross_entropy_with_logits(logits, target, known) + 1 - dice
    return loss, float(soft_dice((logits > 0) * known, target, (0, 1, 2)))


def anatomy_loss(logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Cross-entropy + mean Dice over the classes; the second value is the mean synthetic Dice without background."""
    logits = logits.float()
    one_hot = F.one_hot(target, logits.shape[1]).permute(0, 3, 1, 2).float()
    dice = soft_dice(logits.softmax(1), one_hot, (0, 2, 3))
    hard = F.one_hot(logits.argmax(1), logits.shape[1]).permute(0, 3, 1, 2).float()
    return F.cross_entropy(logits, target) + 1 - dice.mean(), float(soft_dice(hard, one_hot, (0, 2, 3))[1:].mean())


def ct_loss(logits: torch.Tensor | Sequence[torch.Tensor], target: torch.Tensor) -> tuple[torch.Tensor, float]:
    """``wmh_loss``; of several levels, finest first, their mean with weights 1, 1/2, 1/4 ... (nnU-Net).

    A coarse pixel is lesion where any pixel in it is, as small lesions would be lost otherwise. The second value is
    that of the finest level.
    """
    levels = [logits] if isinstance(logits, torch.Tensor) else logits
    weights = [0.5**n for n in range(len(levels))]
    results = [wmh_loss(level, F.adaptive_max_pool2d(target, level.shape[-2:])) for level in levels]
    loss = sum(weight * loss for weight, (loss, _) in zip(weights, results, strict=True)) / sum(weights)
    return loss, results[0][1]


def burden_loss(
    logits: torch.Tensor, target: torch.Tensor, rare: float | torch.Tensor = RARE, sure: float = 1.0
) -> tuple[torch.Tensor, float]:
    """Mean over the markers of cross-entropy, and of Dice for those drawn in the batch: (B, M, ...) both.

    Dice of a marker that is nowhere in the batch would only ask for less of it: of few and small markers a network then
    learns to find none. The second value is the mean synthetic Dice of the markers drawn, nan where none is. A voxel of
    a marker counts ``rare`` times, each its own where it is a tensor as ``target``.
    """
    losses, scores = [], []
    rare = torch.as_tensor(rare, dtype=torch.float32, device=logits.device).expand(target.shape)
    for marker, truth, weight in zip(logits.float().unbind(1), target.unbind(1), rare.unbind(1), strict=True):
        known = (truth != UNKNOWN).float()
        truth = truth * known
        entropy = F.binary_cross_entropy_with_logits(marker, truth, known, pos_weight=weight)
        losses.append(sure * entropy)
        if truth.any():
            all_of_it = tuple(range(truth.ndim))
            losses[-1] = losses[-1] + 1 - soft_dice(marker.sigmoid() * known, truth, all_of_it)
            scores.append(float(soft_dice((marker > 0) * known, truth, all_of_it)))
    return sum(losses) / len(losses), float(np.mean(scores)) if scores else float("nan")


def foci_loss(logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, float]:
    """``burden_loss`` in 3D, where most of a block is not the marker: Dice alone says little of how sure to be there.

    So cross-entropy counts ``SURE`` times, and a voxel of a marker less than in a slice.
    """
    return burden_loss(logits, target, rare=RARE_3D, sure=SURE)


def evenly(target: torch.Tensor) -> torch.Tensor:
    """Weight of every voxel of targets (B, M, S, R, A) by which each lesion counts alike, whatever its size.

    Inversely to the size of its lesion, as Shirokikh et al. (MICCAI 2020) do; 1 where no lesion is.
    """
    weights = np.ones(target.shape, np.float32)
    for each, marked in zip(weights.reshape(-1, *target.shape[2:]), target.flatten(0, 1).cpu().numpy(), strict=True):
        labels, count = ndimage.label(marked == 1, TOUCHING)
        by_size = MIDDLING / np.bincount(labels.ravel(), minlength=count + 1)
        by_size[0] = 1
        each[:] = by_size.clip(1 / UNEVEN, UNEVEN)[labels]
    return torch.from_numpy(weights).to(target.device)


def even_foci_loss(logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, float]:
    """``foci_loss`` in which small lesions count as much as large ones."""
    return burden_loss(logits, target, rare=RARE_3D * evenly(target), sure=SURE)


def lesions_loss(logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, float]:
    """``burden_loss`` of hyperintensities in 3D, of which a block holds many voxels."""
    return burden_loss(logits, target, rare=1.0)


def even_lesions_loss(logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, float]:
    """``lesions_loss`` in which the voxels of small lesions count more, and those of large ones no less.

    Of fewer than ``MIDDLING`` voxels, as for lacunes: no other size was tried.
    """
    return burden_loss(logits, target, rare=evenly(target).clamp(min=1))


def restore_loss(picture: torch.Tensor, whole: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Mean absolute error of a picture restored from what was left of it; the second value is one minus it."""
    loss = (picture[:, 0].float() - whole).abs().mean()
    return loss, 1 - float(loss.detach())


class Task(NamedTuple):
    """Who draws for a task, with which settings and which method, and the loss of what a network says to that."""

    generator: type
    settings: type
    draw: Callable
    loss: Callable


TASKS = {
    "wmh": Task(Generator, Settings, Generator.flair, wmh_loss),
    "anatomy": Task(Generator, Settings, Generator.anatomy, anatomy_loss),
    "leukoaraiosis": Task(CTGenerator, CTSettings, CTGenerator.ct, ct_loss),
    "leukoaraiosis_slices": Task(CTVolumeGenerator, CTVolumeSettings, CTVolumeGenerator.neighbours, ct_loss),
    "leukoaraiosis_3d": Task(CTVolumeGenerator, CTVolumeSettings, CTVolumeGenerator.block, lesions_loss),
    "burden": Task(BurdenGenerator, BurdenSettings, BurdenGenerator.slice_of, burden_loss),
    "restore": Task(BurdenGenerator, BurdenSettings, BurdenGenerator.torn_slice, restore_loss),
    "foci": Task(VolumeGenerator, VolumeSettings, VolumeGenerator.block, foci_loss),
    "even_foci": Task(VolumeGenerator, VolumeSettings, VolumeGenerator.block, even_foci_loss),
    "lesions": Task(VolumeGenerator, VolumeSettings, VolumeGenerator.block, lesions_loss),
    "even_lesions": Task(VolumeGenerator, VolumeSettings, VolumeGenerator.block, even_lesions_loss),
}
PREPARE = {**SCALINGS, "hounsfield": hounsfield_window}


def learning_rate(step: int, steps: int, peak: float) -> float:
    """A linear rise over ``WARM_UP_STEPS``, at most a quarter of the run, then a cosine to nearly 0."""
    warm_up = min(WARM_UP_STEPS, steps // 4)
    if step < warm_up:
        return peak * (step + 1) / warm_up
    return peak * (0.005 + 0.995 * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / (steps - warm_up))))


def subset(items: list, share: float, seed: int) -> list:
    """A seeded share of the items: the members see different heads and shapes, as Kim's saw different patients."""
    count = max(1, round(share * len(items)))
    return [items[i] for i in sorted(np.random.default_rng(seed).permutation(len(items))[:count])]


def make_generator(recipe: dict, data: Path, seed: int, device: torch.device) -> Generator:
    heads = load_heads(data, HERE / "cache", tuple(recipe.get("exclude", ())))
    shapes, box = load_lesion_shapes(data)
    share = recipe.get("data_share", 1.0)
    scans = []
    if "teacher" in recipe:  # self-training: the real scans as a finished bundle of runs sees them
        scans = load_scans(
            data, HERE / "cache" / "scans", load_bundle(ship(recipe["teacher"], HERE / "runs" / "bundles"))
        )
    heads, shapes = (subset(items, share, recipe["seed"]) for items in (heads, shapes))
    task = TASKS[recipe["task"]]
    settings = task.settings(**{k: tuple(v) if isinstance(v, list) else v for k, v in recipe["settings"].items()})
    heads, shapes, scans = ([item.to(device) for item in items] for items in (heads, shapes, scans))
    return task.generator(heads, shapes, box, settings, seed, device, scans)


def forward(network: torch.nn.Module, images: torch.Tensor, targets: torch.Tensor, task: str) -> torch.Tensor:
    """Logits; in an MO-UNet a slice goes to the decoders of the markers that its sequence shows, and to no other."""
    if task != "burden":
        return network(images)
    return network.routed(images, (targets != UNKNOWN).any(-1).any(-1))


def patches(
    images: torch.Tensor, targets: torch.Tensor, shape: Sequence[int], rng: np.random.Generator, each: int = 1
) -> tuple[torch.Tensor, torch.Tensor]:
    """``each`` patches of every picture, many around a voxel of a marker.

    (B, S, R, A) and (B, M, R, A) -> (B * each, S, r, a) and (B * each, M, r, a).
    """
    cut = []
    for image, target in each * list(zip(images, targets, strict=True)):
        marked = (target == 1).any(0).nonzero()
        middle = [int(rng.integers(n)) for n in image.shape[1:]]
        if len(marked) and rng.random() < ON_MARKER:
            middle = marked[rng.integers(len(marked))].tolist()
        r, a = (min(max(m - n // 2, 0), full - n) for m, n, full in zip(middle, shape, image.shape[1:], strict=True))
        where = (..., slice(r, r + shape[0]), slice(a, a + shape[1]))
        cut.append((image[where], target[where]))
    return tuple(map(torch.stack, zip(*cut, strict=True)))


class Batches(IterableDataset):
    """Endless batches of a recipe, as its network sees them: pictures (B, S, R, A) and targets.

    Where a ``DataLoader`` has workers, each draws batches of its own, ahead of the training that they wait for.
    """

    def __init__(self, recipe: dict, data: Path, seed: int, device: torch.device):
        self.recipe, self.data, self.seed, self.device = recipe, data, seed, device

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        recipe, worker = self.recipe, get_worker_info()
        seed = self.seed + (worker.id * WORKER_SEEDS if worker else 0)
        generator = make_generator(recipe, self.data, seed, self.device)
        draw, turns = TASKS[recipe["task"]].draw, recipe.get("draw", [{}])
        prepare = PREPARE[recipe["intensity"]] if "intensity" in recipe else lambda image: image
        while True:  # every batch has every sequence
            drawn = (draw(generator, **turns[n % len(turns)]) for n in range(recipe["batch"]))
            images, targets = map(torch.stack, zip(*drawn, strict=True))
            images = prepare(images[:, None] if images.ndim == 3 else images)
            if "patch" in recipe:
                images, targets = patches(images, targets, recipe["patch"], generator.rng, recipe.get("patches", 1))
            yield images, targets


def start_log(log: Path, first: int) -> float:
    """Keep the rows up to the step from which training goes on; return the seconds spent so far."""
    rows = log.read_text(encoding="utf-8").splitlines()[1:] if log.exists() else []
    rows = [row for row in rows if int(row.split("\t")[0]) <= first]
    log.write_text("\n".join(["step\tslices\tseconds\tlearning_rate\tloss\tsynthetic_dice", *rows]) + "\n")
    return float(rows[-1].split("\t")[2]) if rows else 0.0


def draw_curve(log: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = list(csv.DictReader(log.open(), delimiter="\t"))
    figure, axis = plt.subplots(figsize=(7, 4))
    for key in ("loss", "synthetic_dice"):
        axis.plot([int(r["step"]) for r in rows], [float(r[key]) for r in rows], label=key)
    axis.set(xlabel="step", title=f"{log.parent.name}: training on synthetic slices")
    axis.legend()
    figure.tight_layout()
    figure.savefig(log.with_name("curve.png"), dpi=110)
    plt.close(figure)


def seeing(kernel: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """A kernel for one slice as one for several, of which it sees that in the middle; others as they are."""
    if kernel.shape == wanted.shape:
        return kernel
    several = torch.zeros_like(wanted)
    several[:, wanted.shape[1] // 2] = kernel[:, 0]
    return several


def blended(early: dict[str, torch.Tensor], late: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Mean of two states of one network; counters are those of the later."""
    return {
        name: (early[name].to(values.device) + values) / 2 if values.is_floating_point() else values
        for name, values in late.items()
    }


def save_weights(state: dict[str, torch.Tensor], path: Path) -> None:
    save_file({name: values.contiguous() for name, values in state.items()}, path)


def train(recipe: dict, data: Path, device: torch.device, workers: int = 0) -> Path:
    loss_of = TASKS[recipe["task"]].loss
    run = HERE / "runs" / recipe["name"]
    run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe["seed"])
    layout = getattr(torch, recipe.get("memory_format", "channels_last"))
    network = build(recipe["network"]).to(device, memory_format=layout)
    if "start" in recipe:
        start = weights_of(recipe["start"])
        own, parts = network.state_dict(), tuple(recipe.get("start_parts", ("",)))  # a U-Net has no gates
        network.load_state_dict(own | {name: seeing(start[name], own[name]) for name in own if name.startswith(parts)})
    if recipe.get("frozen_norm"):  # a few blocks have no statistics to speak of: those learned so far stay
        for layer in network.modules():
            if isinstance(layer, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
                layer.eval()
    average = copy.deepcopy(network).requires_grad_(False)
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe["learning_rate"], weight_decay=1e-4)
    first, checkpoint = 0, run / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["step"]
    log = run / "log.tsv"
    seconds = start_log(log, first)
    batches = Batches(recipe, data, recipe["seed"] * 1_000_003 + first, torch.device("cpu") if workers else device)
    batches = DataLoader(batches, batch_size=None, num_workers=workers, prefetch_factor=AHEAD if workers else None)
    steps, batch, started = recipe["steps"], recipe["batch"], time.monotonic() - seconds
    narrow = torch.bfloat16 if reduced_precision(device) else None  # emulated where hardware has none: ten times slower
    losses, scores = [], []
    for step, (images, targets) in zip(range(first, steps), batches, strict=False):
        images, targets = images.to(device, memory_format=layout), targets.to(device)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps, recipe["learning_rate"])
        with torch.autocast(device.type, narrow, enabled=narrow is not None):
            logits = forward(network, images, targets, recipe["task"])
        loss, score = loss_of(logits, targets)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        decay = min(EMA_DECAY, 1 - 10 / max(steps, 11), (step + 1) / (step + 10))
        with torch.no_grad():
            for ours, theirs in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
                if ours.dtype.is_floating_point:
                    ours.lerp_(theirs, 1 - decay)
        losses.append(float(loss.detach()))
        scores.append(score)
        if step + 1 == recipe.get("blend"):  # what is shipped is the mean of the averages at this step and at the end
            save_weights(average.state_dict(), run / "blend.safetensors")
        if (step + 1) % 50 == 0:
            row = (step + 1, (step + 1) * batch, time.monotonic() - started, optimiser.param_groups[0]["lr"])
            with log.open("a") as file:
                file.write(
                    f"{row[0]}\t{row[1]}\t{row[2]:.0f}\t{row[3]:.2e}\t{np.mean(losses):.4f}\t{np.nanmean(scores):.4f}\n"
                )
            losses, scores = [], []
        if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == steps:
            state = {"network": network.state_dict(), "average": average.state_dict()}
            state |= {"optimiser": optimiser.state_dict(), "step": step + 1}
            torch.save(state, checkpoint.with_suffix(".part"))
            checkpoint.with_suffix(".part").replace(checkpoint)
            weights = average.state_dict()
            if step + 1 == steps and "blend" in recipe:
                weights = blended(load_file(run / "blend.safetensors"), weights)
            save_weights(weights, run / "weights.safetensors")
    draw_curve(log)
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="+", help="names in training/recipes, trained one after another")
    parser.add_argument("--data", type=Path, required=True, help="folder with label_maps, lesion_masks_mni, mars_atlas")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads of this process")
    parser.add_argument("--workers", type=int, default=0, help="processes that draw ahead, each on a core of its own")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    for name in arguments.recipe:
        print(train(read_recipe(name), arguments.data, torch.device(arguments.device), arguments.workers))


if __name__ == "__main__":
    main()
