"""The leukoaraiosis network beside nnU-Net's own predictor: ``make bench``, in an environment of its own.

The input is the synthetic sample CT. Both get the same slices and the same weights; ratios are of one run.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from bench import Table, alone, dice

from csvd.anatomy import find_anatomy
from csvd.bundle import load_bundle
from csvd.head_ct import AIR_HU, find_head
from csvd.image import axial_grid, read_image
from csvd.inference import content_window
from csvd.pipelines.ct import MODEL, brain_slices

HERE = Path(__file__).resolve().parent
SAMPLE = HERE.parent / "Resources" / "SampleData" / "synthetic_ct_5mm.nii.gz"
REPEATS = 3  # the best of so many: what else the machine does only ever adds time


def network_slices(path: Path) -> np.ndarray:
    """Brain slices in HU, (R, A, S), cut to the window of the network's training around the brain."""
    bundle, ct = load_bundle(MODEL), read_image(path, slanted=True)
    head = find_head(ct, bundle.slice_mm)
    anatomy, _ = find_anatomy(head.windowed, device="cpu", within=head.cavity)
    stack = brain_slices(head, anatomy, axial_grid(head.image.grid, bundle.in_plane_mm))
    window = content_window((stack > AIR_HU).any(axis=2), bundle.canvas, 1)
    reach = [(max(-w.start, 0), max(w.stop - n, 0)) for w, n in zip(window, stack.shape, strict=False)]
    inside = tuple(slice(w.start + low, w.stop + low) for w, (low, _) in zip(window, reach, strict=True))
    return np.pad(stack, [*reach, (0, 0)], constant_values=AIR_HU)[inside]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ct", type=Path, default=SAMPLE)
    parser.add_argument("--cores", type=int, default=2, help="cores to use (default: 2)")
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
    torch.set_num_threads(arguments.cores)
    table = Table()
    with tempfile.TemporaryDirectory() as folder:
        stack, masks, runs = network_slices(arguments.ct), {}, {}
        np.save(f"{folder}/stack.npy", stack)
        print(f"CT: {stack.shape[2]} slices of {stack.shape[0]} x {stack.shape[1]}, {arguments.cores} cores")
        for which in ("csvd", "nnunet"):
            files = (f"{folder}/stack.npy", f"{folder}/mask.npy")
            found = [alone(which, *files, script="ct_run.py") for _ in range(REPEATS)]
            runs[which] = {key: min(run[key] for run in found) for key in ("seconds", "before_mb", "peak_mb")}
            masks[which] = np.load(files[1])
    ours, theirs = runs["csvd"], runs["nnunet"]
    voxel_ml = load_bundle(MODEL).in_plane_mm ** 2 * load_bundle(MODEL).slice_mm / 1000
    same, speed = dice(*masks.values()), theirs["seconds"] / ours["seconds"]
    table.add("leukoaraiosis in the masks that are compared", np.count_nonzero(masks["csvd"]) * voxel_ml, "mL")
    table.add("Dice of our mask and nnU-Net's, same weights", same, "", ">= .99", same >= 0.99)
    table.add("times faster than nnU-Net's predictor", speed, "x", ">= 2", speed >= 2)
    table.add("peak memory against nnU-Net's", ours["peak_mb"] / theirs["peak_mb"], "x", "< 1",
              ours["peak_mb"] < theirs["peak_mb"])  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
