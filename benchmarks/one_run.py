"""One measured piece of work in a process of its own, so that its peak memory is its own; prints one line of JSON.

one_run.py command FLAIR FOLDER      the whole command ``csvd wmh``
one_run.py pipeline FLAIR            ``segment_wmh`` alone
one_run.py ensemble FLAIR            the members alone, over all slices of the image as they are
"""

import json
import resource
import sys
import time
from pathlib import Path

STARTED = time.perf_counter()
STATUS = Path("/proc/self/status")


def memory_mb(field: str) -> float:
    """``VmRSS`` (now) or ``VmHWM`` (peak) of this process in MB; elsewhere than on Linux the peak stands for both."""
    if STATUS.exists():
        return int(STATUS.read_text().split(f"{field}:")[1].split()[0]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def network_clock() -> dict[str, float]:
    """Count the seconds that any predictor spends inside its networks from now on."""
    from csvd.inference import Predictor
    from csvd.inference_volume import VolumePredictor

    spent = {"seconds": 0.0}

    def timed(vote):
        def timed_vote(self, *arguments):
            started = time.perf_counter()
            try:
                return vote(self, *arguments)
            finally:
                spent["seconds"] += time.perf_counter() - started

        return timed_vote

    for kind in (Predictor, VolumePredictor):
        kind.vote = timed(kind.vote)
    return spent


def command(flair: str, folder: str) -> dict:
    import csvd.pipelines.wmh
    import csvd.report.html  # noqa: F401  (these two load every library that the command uses)
    from csvd.cli import main

    load_s, spent = time.perf_counter() - STARTED, network_clock()
    status = main(["wmh", flair, "-o", folder, "--device", "cpu", "--quiet"])
    if status:
        sys.exit(status)
    return {"load_s": load_s, "network_s": spent["seconds"]}


def pipeline(flair: str) -> dict:
    from csvd.image import read_image
    from csvd.pipelines.wmh import segment_wmh

    image, spent = read_image(flair), network_clock()
    started, before_mb = time.perf_counter(), memory_mb("VmRSS")
    result = segment_wmh(image, device="cpu")
    seconds = time.perf_counter() - started
    return {
        "slices": image.voxels.shape[2],
        "volume_mb": image.voxels.size * 4 / 1e6,
        "before_mb": before_mb,
        "seconds": seconds,
        "network_s": spent["seconds"],
        "steps_s": result.provenance["times_s"],
    }


def ensemble(flair: str) -> dict:
    import numpy as np

    from csvd.bundle import load_bundle
    from csvd.image import axial_grid, read_image, resample
    from csvd.inference import Predictor
    from csvd.preprocessing import BACKGROUND

    image, bundle = read_image(flair), load_bundle("wmh-seunet")
    grid = axial_grid(image.grid, bundle.in_plane_mm)
    stack = resample(image.voxels.astype(np.float32), image.grid, grid)
    predictor = Predictor(bundle.networks(1), bundle.canvas, "cpu")
    started, before_mb = time.perf_counter(), memory_mb("VmRSS")
    for _ in predictor.batches(stack, BACKGROUND):
        pass
    return {"slices": grid.shape[2], "before_mb": before_mb, "seconds": time.perf_counter() - started}


if __name__ == "__main__":
    kind, *arguments = sys.argv[1:]
    told = {"command": command, "pipeline": pipeline, "ensemble": ensemble}[kind](*arguments)
    print(json.dumps(told | {"peak_mb": memory_mb("VmHWM")}))
