"""Four markers with one encoder beside four networks: ``make bench``. Ratios of one run, on two CPU cores.

The input is the synthetic sample of one patient in FLAIR, T1 and SWI. Four networks have the same weights, so both
must give the same maps; what a shared encoder saves for a patient is one pass on T1, whose slices show two markers.
What it saves where a slice is asked for all four is measured beside it.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from bench import MATRIX, REPEATS, Table, alone, best_seconds, convolution_rate, matrix_rate
from burden_run import predictor_for

from csvd.bundle import Bundle, available_models, load_bundle
from csvd.image import axial_grid, read_image
from csvd.pipelines.burden import MODEL
from csvd.pipelines.laying import lay_sequences
from csvd.pipelines.wmh import network_slices, relative_slices
from csvd.preprocessing import BACKGROUNDS
from csvd.sequences import SEQUENCE_OF, SEQUENCES, TITLES

HERE = Path(__file__).resolve().parent
SAMPLES = HERE.parent / "Resources" / "SampleData"
MARKERS, SLICES = tuple(SEQUENCE_OF), 8


def slices_of_patient(bundle: Bundle) -> dict[str, np.ndarray]:
    """The slices of each sequence of the sample as the networks get them, (R, A, S)."""
    scans = {sequence: read_image(SAMPLES / f"synthetic_burden_{sequence}.nii.gz") for sequence in SEQUENCES}
    laid, _ = lay_sequences(scans, "cpu")
    stacks = {}
    for sequence, image in scans.items():
        grid = axial_grid(image.grid, bundle.in_plane_mm)
        stacks[sequence] = network_slices(*relative_slices(image, laid[sequence].anatomy, grid), bundle)
    return stacks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=MODEL, help="id or folder of a bundle")
    parser.add_argument("--cores", type=int, default=2, help="cores to use (default: 2)")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="runs of which the best counts")
    arguments = parser.parse_args()
    if arguments.model == MODEL and MODEL not in available_models():
        print(f"Burden: {MODEL} is not there yet, nothing was measured")
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
    torch.set_num_threads(arguments.cores)
    bundle, table = load_bundle(arguments.model), Table()
    stacks = slices_of_patient(bundle)
    told = ", ".join(f"{TITLES[sequence]} {stack.shape[2]}" for sequence, stack in stacks.items())
    print(f"Burden: slices of {told}, {arguments.cores} cores")

    predictor = predictor_for(bundle, SEQUENCES["t1"])
    dtype = predictor.dtype or torch.float32
    machine = matrix_rate(dtype)
    convolutions, networks = convolution_rate(predictor, stacks["t1"])
    table.add("T1: convolutions' share of the matrix-product rate", convolutions / machine)
    table.add("T1: whole network's share of the matrix-product rate", networks / machine)

    some, background = stacks["t1"][:, :, stacks["t1"].shape[2] // 2 :][:, :, :SLICES], BACKGROUNDS[bundle.intensity]
    one, four = ([predictor_for(bundle, m) for m in groups] for groups in ([MARKERS], [(m,) for m in MARKERS]))
    seconds = [best_seconds(lambda of=of: [list(p.batches(some, background)) for p in of]) for of in (one, four)]
    table.add("times faster than four networks, all four on one slice", seconds[1] / seconds[0], "x")

    runs, maps = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/stacks.npz", **stacks)
        for which in ("shared", "separate"):
            files = (str(bundle.folder), f"{folder}/stacks.npz", f"{folder}/{which}.npz")
            found = [alone(which, *files, script="burden_run.py") for _ in range(arguments.repeats)]
            runs[which] = {key: min(run[key] for run in found) for key in ("seconds", "before_mb", "peak_mb")}
            maps[which] = dict(np.load(files[2]))
    shared, separate = runs["shared"], runs["separate"]
    apart = max(float(np.abs(maps["shared"][marker] - maps["separate"][marker]).max()) for marker in SEQUENCE_OF)
    speed = separate["seconds"] / shared["seconds"]
    slices = sum(stack.shape[2] for stack in stacks.values())
    table.add("times faster than four networks, one patient", speed, "x", ">= 1.5", speed >= 1.5)
    table.add("  largest difference of a probability", apart, "", "<= .01", apart <= 0.01)
    table.add("peak memory against four networks", shared["peak_mb"] / separate["peak_mb"], "x", "< 1",
              shared["peak_mb"] < separate["peak_mb"])  # fmt: skip
    table.add("peak memory, all sequences", shared["peak_mb"] / 1e3, "GB")
    products = shared["seconds"] / slices * machine / (2 * MATRIX**3)
    table.add(f"one slice, in products of two matrices of {MATRIX} x {MATRIX}", products)


if __name__ == "__main__":
    sys.exit(main())
