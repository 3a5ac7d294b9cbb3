"""``make bench``: how fast the main job is, in ratios taken within one run, on two CPU cores.

The input is a 256 x 256 x 24 FLAIR cut from the synthetic sample. Ratios compare machines and versions; a number of
seconds belongs to the machine it was taken on, so the only ones printed say "this machine". Nothing here says how good
the masks are, only whether faster ways give the same ones.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from csvd.anatomy import find_anatomy
from csvd.bundle import load_bundle
from csvd.image import Grid, Image, axial_grid, read_image, resample, write_image
from csvd.inference import Predictor, content_window
from csvd.pipelines.wmh import network_slices, relative_slices
from csvd.preprocessing import BACKGROUND

HERE = Path(__file__).resolve().parent
SAMPLE = HERE.parent / "Resources" / "SampleData" / "synthetic_ct_5mm_flair.nii.gz"
IN_PLANE = (256, 0.9)  # pixels, mm
SLICES = 24
STACKS = (40, 80, 160, 320)  # slices; the same head, cut thinner
MATRIX = 2048  # sides beyond this no longer raise the rate on two cores
REPEATS = 3  # the best of so many: what else the machine does only ever adds time


def cut(flair: Image, slices: int) -> Image:
    """The same head on 256 x 256 pixels of 0.9 mm and so many axial slices that together cover its field of view."""
    native = axial_grid(flair.grid, IN_PLANE[1])
    height_mm = native.shape[2] * native.spacing_mm[2]
    steps = np.array([IN_PLANE[1], IN_PLANE[1], height_mm / slices])
    shape = (IN_PLANE[0], IN_PLANE[0], slices)
    affine = np.eye(4)
    affine[:3, :3] = native.affine[:3, :3] / native.spacing_mm * steps
    centre = native.affine @ [*(np.array(native.shape) - 1) / 2, 1]
    affine[:3, 3] = centre[:3] - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    grid = Grid(shape, affine)
    return Image(resample(flair.voxels, flair.grid, grid), affine)


def best_seconds(work: Callable[[], object], repeats: int = REPEATS) -> float:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def matrix_rate(dtype: torch.dtype) -> float:
    """Floating-point operations per second of this machine's matrix product, two for each multiply-add."""
    a, b = torch.randn(2, MATRIX, MATRIX).to(dtype)
    torch.mm(a, b)
    return 2 * MATRIX**3 / best_seconds(lambda: torch.mm(a, b), 5)


def convolution_rate(predictor: Predictor, stack: np.ndarray) -> tuple[float, float]:
    """Operations per second of the members over one batch: by time in convolutions, by all time in the networks."""
    images = next_batch(predictor, stack)
    predictor.vote(images)
    with FlopCounterMode(display=False) as counter:
        predictor.vote(images)
    work = counter.get_total_flops()
    network_s = best_seconds(lambda: predictor.vote(images))
    convolutions_s = min(seconds_in_convolutions(predictor, images) for _ in range(REPEATS))
    return work / convolutions_s, work / network_s


def seconds_in_convolutions(predictor: Predictor, images: torch.Tensor) -> float:
    """Time between the start and the end of every convolution of one vote; the CPU has no queue that would hide any."""
    spent, started = 0.0, 0.0

    def start(*_):
        nonlocal started
        started = time.perf_counter()

    def stop(*_):
        nonlocal spent
        spent += time.perf_counter() - started

    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    found = [module for member in predictor.members for module in member.modules() if isinstance(module, kinds)]
    hooks = [module.register_forward_pre_hook(start) for module in found]
    hooks += [module.register_forward_hook(stop) for module in found]
    predictor.vote(images)
    for hook in hooks:
        hook.remove()
    return spent


def next_batch(predictor: Predictor, stack: np.ndarray) -> torch.Tensor:
    """The batch of slices that the predictor sees first, taken from its own ``vote``."""
    seen, vote = [], predictor.vote
    predictor.vote = lambda images, cancelled=None: seen.append(images) or vote(images)
    next(predictor.batches(stack, BACKGROUND))
    del predictor.vote
    return seen[0]


@torch.inference_mode()
def plain_loop(members: list[nn.Module], stack: np.ndarray) -> np.ndarray:
    """The first thing one would write: every slice, alone, whole, through every member, eager float32."""
    stride, probability = members[0].STRIDE, np.zeros(stack.shape, np.float32)
    right, anterior = (-n % stride for n in stack.shape[:2])
    for k in range(stack.shape[2]):
        image = torch.from_numpy(np.ascontiguousarray(stack[None, None, :, :, k]))
        image = functional.pad(image, (0, anterior, 0, right), value=BACKGROUND)
        votes = [member(image).sigmoid() for member in members]
        mean = torch.stack(votes).mean(0).numpy()[0, 0]
        probability[:, :, k] = mean[: stack.shape[0], : stack.shape[1]]
    return probability


def window_of(predictor: Predictor, stack: np.ndarray) -> Callable[[np.ndarray, float], np.ndarray]:
    """A cut to the window that the predictor takes from ``stack``, so that a loop can see exactly the same pixels."""
    window = content_window((stack != BACKGROUND).any(axis=2), predictor.canvas, predictor.stride)
    reach = [(max(-w.start, 0), max(w.stop - n, 0)) for w, n in zip(window, stack.shape, strict=False)]
    inside = tuple(slice(w.start + low, w.stop + low) for w, (low, _) in zip(window, reach, strict=True))
    return lambda volume, outside: np.pad(volume, [*reach, (0, 0)], constant_values=outside)[inside]


def dice(a: np.ndarray, b: np.ndarray) -> float:
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return float(2 * np.count_nonzero(a & b) / total) if total else 1.0


def alone(*arguments: str, script: str = "one_run.py") -> dict:
    """What a script measured in a process of its own, and the seconds from its start to its end."""
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    started = time.perf_counter()
    run = subprocess.run(
        [sys.executable, str(HERE / script), *arguments],
        env=os.environ | threads,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(run.stdout.splitlines()[-1]) | {"process_s": time.perf_counter() - started}


class Table:
    """Rows of what was measured beside what was aimed at; printed as they come, kept for ``last.json``."""

    def __init__(self):
        self.rows = []

    def add(self, what: str, value: float, unit: str = "", aim: str = "", reached: bool | None = None):
        self.rows.append({"what": what, "value": round(value, 4), "unit": unit, "aim": aim, "reached": reached})
        verdict = "" if reached is None else "yes" if reached else "NO"
        print(f"  {what:<66} {value:>8.4g} {unit:<6} {aim:<10} {verdict}".rstrip(), flush=True)


def speed_of_the_networks(table: Table, flair: Image) -> None:
    bundle = load_bundle("wmh-seunet")
    anatomy, _ = find_anatomy(flair, device="cpu")
    grid = axial_grid(flair.grid, bundle.in_plane_mm)
    stack = network_slices(*relative_slices(flair, anatomy, grid), bundle)
    members = bundle.networks()
    predictor = Predictor(members, bundle.canvas, "cpu")
    full = Predictor(members, bundle.canvas, "cpu", precision="full")
    narrow = predictor.dtype is not None
    print(
        f"Networks: {bundle.members} members, {np.count_nonzero((stack != BACKGROUND).any((0, 1)))} slices with brain"
    )

    for one in (full, predictor)[: 1 + narrow]:
        dtype = one.dtype or torch.float32
        name, before = str(dtype).removeprefix("torch."), matrix_rate(dtype)
        convolutions, networks = convolution_rate(one, stack)
        machine = max(before, matrix_rate(dtype))
        table.add(f"{name}: convolutions' share of the matrix-product rate", convolutions / machine)
        table.add(f"{name}: whole networks' share of the matrix-product rate", networks / machine)

    cut_out = window_of(predictor, stack)
    ours_s = best_seconds(lambda: predictor(stack, BACKGROUND))
    loop_s = best_seconds(lambda: plain_loop(members, cut_out(stack, BACKGROUND)), 1)
    whole_s = best_seconds(lambda: plain_loop(members, stack), 1)
    ours = predictor(stack, BACKGROUND) >= bundle.threshold
    loop = plain_loop(members, cut_out(stack, BACKGROUND)) >= bundle.threshold
    whole = plain_loop(members, stack) >= bundle.threshold
    speed, same = loop_s / ours_s, dice(cut_out(ours, False), loop)
    table.add("WMH in the masks that are compared", np.count_nonzero(ours) * grid.voxel_volume_ml, "mL")
    table.add("times faster than a plain loop that sees the same window", speed, "x", ">= 2.5", speed >= 2.5)
    table.add("  Dice of the two masks", same, "", ">= .995", same >= 0.995)
    table.add("times faster than a plain loop over whole slices", whole_s / ours_s, "x")
    table.add("  Dice of the two masks (gates see more background there)", dice(ours, whole))
    if narrow:
        full_s = best_seconds(lambda: full(stack, BACKGROUND))
        same = dice(ours, full(stack, BACKGROUND) >= bundle.threshold)
        table.add("reduced precision: times faster than float32", full_s / ours_s, "x")
        table.add("  Dice of the two masks", same, "", ">= .995", same >= 0.995)


def whole_job(table: Table, flair: Image, folder: Path) -> None:
    path = folder / "flair.nii.gz"
    write_image(flair, path)
    run = alone("pipeline", str(path))
    rest = 1 - run["network_s"] / run["seconds"]
    steps = ", ".join(f"{step} {seconds / run['seconds']:.0%}" for step, seconds in run["steps_s"].items())
    print(f"The whole job (of the pipeline's time: {steps})")
    table.add("share that is not a network, pipeline", rest, "", "< .2", rest < 0.2)
    run = alone("command", str(path), str(folder / "out"))
    table.add("share of the whole command: networks", run["network_s"] / run["process_s"])
    table.add("share of the whole command: loading libraries", run["load_s"] / run["process_s"])
    table.add("whole command, this machine", run["process_s"], "s", "< 30", run["process_s"] < 30)
    table.add("whole command, peak memory", run["peak_mb"] / 1e3, "GB", "< 2.5", run["peak_mb"] < 2500)


def growth(table: Table, flair: Image, folder: Path) -> None:
    print("More slices: the same head, cut thinner")
    runs, members = [], []
    for slices in STACKS:
        path = folder / f"flair_{slices}.nii"
        write_image(cut(flair, slices), path)
        runs.append(alone("pipeline", str(path)))
        members.append(alone("ensemble", str(path)))
        path.unlink()
    first, last = runs[0], runs[-1]
    for run in runs[1:]:
        per_slice = run["seconds"] / run["slices"] / (first["seconds"] / first["slices"])
        most = run is last
        table.add(f"time per slice, {run['slices']} against {first['slices']} slices", per_slice, "x",
                  "<= 1.15" if most else "", per_slice <= 1.15 if most else None)  # fmt: skip
    volumes = (last["peak_mb"] - first["peak_mb"]) / (last["volume_mb"] - first["volume_mb"])
    table.add("memory a slice adds, in float32 slices of the input", volumes, "x")
    table.add(f"peak memory, {last['slices']} slices", last["peak_mb"] / 1e3, "GB")
    extra = [run["peak_mb"] - run["before_mb"] for run in members]
    table.add(f"networks' own memory, {last['slices']} against {first['slices']} slices", extra[-1] / extra[0], "x",
              "<= 1.15", extra[-1] <= 1.15 * extra[0])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flair", type=Path, default=SAMPLE, help="another head to cut the input from")
    parser.add_argument("--cores", type=int, default=2, help="cores to use (default: 2)")
    parser.add_argument("--quick", action="store_true", help="leave out the runs on more slices")
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
    torch.set_num_threads(arguments.cores)
    head = read_image(arguments.flair)
    flair, table = cut(head, SLICES), Table()
    print(f"FLAIR {' x '.join(map(str, flair.voxels.shape))}, {arguments.cores} cores, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        speed_of_the_networks(table, flair)
        whole_job(table, flair, Path(folder))
        if not arguments.quick:
            growth(table, head, Path(folder))
    about = {
        "torch": torch.__version__,
        "machine": platform.processor() or platform.machine(),
        "cores": arguments.cores,
    }
    (HERE / "last.json").write_text(json.dumps(about | {"rows": table.rows}, indent=2) + "\n", encoding="utf-8")
    print(f"Kept in {HERE / 'last.json'}")


if __name__ == "__main__":
    main()
