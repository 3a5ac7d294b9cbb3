"""Score the burden model on patients it never saw: ``python -m training.judge_burden --data ../shared/data``.

The patients are **synthetic**: whole heads in FLAIR, T1 and SWI, drawn from label maps that the recipes leave out, as
no real scan with outlined microbleeds, lacunes or perivascular spaces is to be had. Half of them choose each marker's
threshold, the other half is reported. Real scans show what is found where nothing, or nobody knows what, is.

Every patient is kept in ``training/runs/judge-burden``, drawn and judged, so that a rerun goes on where one stopped.
Writes ``training/scores/<id>.json`` and the thresholds of the cards, of the burden model and of those that it names for
single markers (for ``training.ship``), and ``docs/accuracy_burden.md``;
``--page`` writes the page again from what is kept.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from csvd.bundle import Bundle, load_bundle
from csvd.burden_result import WMH, BurdenResult
from csvd.image import Image, read_image, write_image
from csvd.pipelines.burden import MODEL, marker_models, measure_burden, used_models
from csvd.sequences import SEQUENCE_OF, SEQUENCES

from .burden import BurdenGenerator, BurdenSettings
from .burden_page import FIGURE, as_markdown, draw_candidates, draw_examples
from .ct import nod
from .findings import Marked, choose_threshold, compare_focal, compare_wmh, summary
from .heads import Head, load_heads, load_lesion_shapes
from .patients import Stack
from .recipe import HERE, read_recipe
from .sample_burden import true_markers

DOCS, RUN = HERE.parent / "docs", HERE / "runs" / "judge-burden"
SYNTHETIC = "synthetic patients of heads that were kept out of training"
REAL = "real scans, no reference"
SOURCE = "drawn from label maps of BBillot/SynthSeg (Apache-2.0; Billot et al., Med Image Anal 2023)"
ILL, WELL, FIRST_WELL = 18, 6, 100  # patients with disease and without, and the number of the first of these
# Slices as those of the sample, with room for whole heads that lie anew in every scan.
STACKS = {
    "flair": Stack((240, 288, 34), 0.9, 5.0, 5.0, nod(0)),
    "t1": Stack((208, 264, 180), 1.0, 1.0, 1.0, nod(0)),
    "swi": Stack((240, 288, 70), 0.9, 2.5, 2.5, nod(0)),
}
CONTROLS = ("wholehead", "HC0001")
CONTROLS_AND_PATIENTS = "healthy controls, stroke, multiple sclerosis"
EXAMPLES = 3  # of each marker in the figure
TRACED, OUTLINED = 1, 2  # a drawn marker in the files of a patient: some of a voxel, and half of it or more


@dataclass(frozen=True)
class Patient:
    """One synthetic patient. Every other one of each kind and head chooses the thresholds."""

    number: int
    head: str
    well: bool
    choosing: bool

    @property
    def name(self) -> str:
        return f"{'well' if self.well else 'ill'}-{self.head}-{self.number:02d}"


def patients(heads: list[str], ill: int = ILL, well: int = WELL) -> list[Patient]:
    """In turn from the heads; fewer of them are the first of more."""
    return [
        Patient(FIRST_WELL * healthy + n, heads[n % len(heads)], healthy, bool(n // len(heads) % 2))
        for healthy, count in ((False, ill), (True, well))
        for n in range(count)
    ]


# One patient


def draw(patient: Patient, heads: list[Head], data: tuple, folder: Path) -> None:
    """Scans and true markers of a patient into ``folder``, unless they are there."""
    if folder.exists():
        return
    head = next(head for head in heads if head.name == patient.head)
    settings = BurdenSettings(healthy=float(patient.well), infarct=0.0, none=float(patient.well), size_sd=0.05)
    generator = BurdenGenerator([head], *data, settings, seed=1000 + patient.number)
    partial = folder.with_name(folder.name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    for sequence, scan in generator.patient_scans(head, STACKS).items():
        write_image(scan.image, partial / f"{sequence}.nii.gz")
        traces = true_markers(sequence, replace(scan, truth=scan.traces))
        for marker, truth in true_markers(sequence, scan).items():
            write_image(truth.like(truth.voxels + traces[marker].voxels), partial / f"{marker}.nii.gz")
    partial.rename(folder)


def judge(result: BurdenResult, drawn: dict[str, np.ndarray]) -> dict:
    """What was found of every marker, as JSON keeps it; nothing is true of a marker that is not ``drawn``."""
    marked = {}
    for marker, found in result.markers.items():
        there = drawn.get(marker, np.zeros(found.probability.shape, np.uint8))
        compare = compare_wmh if marker == WMH else compare_focal
        marked[marker] = asdict(compare(there == OUTLINED, found, there >= TRACED))
    return {"warnings": result.warnings, "markers": marked}


def kept(path: Path, make) -> dict:
    """The JSON of ``path``, made and written where there is none."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".partial").write_text(json.dumps(make()), encoding="utf-8")
        path.with_suffix(".partial").rename(path)
    return json.loads(path.read_text(encoding="utf-8"))


def judge_patient(folder: Path, bundle: Bundle) -> dict:
    scans = {sequence: read_image(folder / f"{sequence}.nii.gz") for sequence in SEQUENCES}
    drawn = {marker: read_image(folder / f"{marker}.nii.gz").voxels for marker in SEQUENCE_OF}
    return judge(measure_burden(**scans, model=bundle), drawn)


# Real scans


def real_scans(data: Path) -> dict[str, dict[str, Path]]:
    """Files by sequence, by the scan's name; no SWI of a whole brain is to be had."""
    healthy = data / "healthy"
    scans = {
        "wholehead": {"flair": healthy / "wholehead_FLAIR.nii.gz"},
        "HC0001": {s: healthy / f"HC0001_{s.upper()}_brain.nii.gz" for s in ("flair", "t1")},
    }
    for folder in (data / "multisequence_stroke", *sorted((data / "flair_lesions").glob("patient*"))):
        scans[folder.name] = {s: folder / f"{s.upper()}.nii.gz" for s in ("flair", "t1")}
    return scans


def judge_real(paths: dict[str, Path], bundle: Bundle, picture: Path) -> dict:
    """What is found at every threshold, and a picture of the candidates at the bundle's own."""
    result = measure_burden(**{s: read_image(path) for s, path in paths.items()}, model=bundle)
    draw_candidates(result, picture)
    return judge(result, {})


# All of it


def halves(found: dict[Patient, dict], marker: str, choosing: bool) -> tuple[list[Marked], list[Marked]]:
    """Patients with disease and without, of the half that chooses or of the one that is reported."""
    kinds: tuple[list[Marked], list[Marked]] = ([], [])
    for patient, told in found.items():
        if patient.choosing == choosing:
            kinds[patient.well].append(Marked.read(told["markers"][marker]))
    return kinds


def figures_of(found: dict[Patient, dict], fixed: dict[str, float]) -> dict[str, dict]:
    """The figures of every marker on the half that is reported, with the threshold that the other half chose.

    A marker of ``fixed`` has that threshold.
    """
    figures = {}
    for marker in SEQUENCE_OF:
        ill, well = halves(found, marker, choosing=True)
        threshold = fixed.get(marker) or choose_threshold(marker, [*ill, *well])
        figures[marker] = summary(marker, *halves(found, marker, choosing=False), threshold)
    return figures


def real_rows(found: dict[str, dict], figures: dict[str, dict]) -> list[dict]:
    """Candidates that count in every real scan, and mL of hyperintensities; None without the sequence."""
    rows = []
    for name, told in found.items():
        row = {"scan": name, "control": name in CONTROLS, "warnings": told["warnings"]}
        for marker in SEQUENCE_OF:
            at = told["markers"].get(marker, {}).get("at", {}).get(str(figures[marker]["threshold"]))
            row[marker] = None if at is None else round(at["ml"], 2) if marker == WMH else at["count"]
        rows.append(row)
    return rows


def examples(bundle: Bundle, folder: Path, thresholds: dict[str, float]) -> list[tuple[str, np.ndarray, ...]]:
    """Slices with the most of each marker of one patient: title, picture, drawn and found mask, (R, A) each."""
    scans = {sequence: read_image(folder / f"{sequence}.nii.gz") for sequence in SEQUENCES}
    result = measure_burden(**scans, model=bundle, thresholds=thresholds)
    shown = []
    for marker, found in result.markers.items():
        truth: Image = read_image(folder / f"{marker}.nii.gz")
        for k in np.argsort(-np.count_nonzero(truth.voxels, axis=(0, 1)))[: 3 * EXAMPLES : 3]:
            picture = scans[SEQUENCE_OF[marker]].voxels[:, :, k]
            shown.append((marker, picture, truth.voxels[:, :, k] == OUTLINED, found.mask[:, :, k]))
    return shown


def mark(bundles: Sequence[Bundle]) -> str:
    """Eight digits that change with any weight of the bundles."""
    sums = [digest for bundle in bundles for digest in bundle.provenance["sha256"]]
    return hashlib.sha256("".join(sums).encode()).hexdigest()[:8]


def write_scores(
    bundle: Bundle, models: dict[str, Bundle], found: dict[Patient, dict], figures: dict[str, dict], rows: list[dict]
) -> None:
    """Scores and thresholds: all into those of ``bundle``, those of the markers that it finds into another model's."""
    known = [vars(patient) for patient in found]
    named: dict[str, tuple[Bundle, list[str]]] = {}
    for marker, model in models.items():
        if marker != WMH:
            named.setdefault(model.id, (model, []))[1].append(marker)
    for model, markers in ((bundle, list(figures)), *named.values()):
        of_them = {marker: figures[marker] for marker in markers}
        scores = [{"kind": SYNTHETIC, "data": SOURCE, "n": len(found), "markers": of_them, "patients": known}]
        if any(row[marker] is not None for row in rows for marker in markers):
            told = [{key: row[key] for key in ("scan", "control", "warnings", *markers)} for row in rows]
            scores.append({"kind": REAL, "data": CONTROLS_AND_PATIENTS, "n": len(rows), "scans": told})
        path = HERE / "scores" / f"{model.id}.json"
        path.write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")
        path = HERE / "cards" / f"{model.id}.json"
        card = json.loads(path.read_text(encoding="utf-8"))
        own = [marker for marker in markers if model is not bundle or marker not in models]
        card["thresholds"] |= {marker: figures[marker]["threshold"] for marker in own}
        path.write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=MODEL, help="id or folder of a bundle")
    parser.add_argument("--data", type=Path, required=True, help="folder with label_maps, lesion_masks_mni and scans")
    parser.add_argument("--patients", type=int, nargs=2, default=(ILL, WELL), help="with disease and without")
    parser.add_argument("--dry", action="store_true", help="print only, write no page, scores or thresholds")
    parser.add_argument("--page", action="store_true", help="take what is kept, judge no patient that is not")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    bundle = load_bundle(arguments.model)
    models = marker_models(bundle)
    place = RUN / f"{bundle.id}-{mark(used_models(bundle, models))}"
    heads = [h for h in load_heads(arguments.data, HERE / "cache") if h.name in read_recipe("burden")["exclude"]]
    shapes = load_lesion_shapes(arguments.data)
    found, real = {}, {}
    for patient in patients([head.name for head in heads], *arguments.patients):
        path, folder = place / f"{patient.name}.json", RUN / "patients" / patient.name
        if arguments.page and not path.exists():
            continue
        draw(patient, heads, shapes, folder)
        found[patient] = kept(path, lambda folder=folder: judge_patient(folder, bundle))
        print(patient.name, flush=True)
    for name, paths in real_scans(arguments.data).items():
        path = place / f"real-{name}.json"
        if path.exists() or not arguments.page:
            real[name] = kept(path, lambda paths=paths, path=path: judge_real(paths, bundle, path.with_suffix(".png")))
            print(name, flush=True)
    figures = figures_of(found, {WMH: models[WMH].threshold} if WMH in models else {})
    rows = real_rows(real, figures)
    print(json.dumps({"figures": figures, "real": rows}, indent=2))
    if arguments.dry:
        return
    write_scores(bundle, models, found, figures, rows)
    page = as_markdown(bundle, models, list(found), figures, rows)
    (DOCS / "accuracy_burden.md").write_text(page, encoding="utf-8")
    reported = [patient for patient in found if not patient.choosing]
    shown = max(reported, key=lambda patient: sum(bool(told["lesions"]) for told in found[patient]["markers"].values()))
    limits = {marker: row["threshold"] for marker, row in figures.items() if marker != WMH}
    draw_examples(examples(bundle, RUN / "patients" / shown.name, limits), DOCS / FIGURE)


if __name__ == "__main__":
    main()
