"""The burden scores of cerebral small vessel disease, from inputs that a reader can see and change.

An input whose sequence is missing is ``None`` and never 0. A score then is a range, from what it is if the missing
inputs are all absent to what it is if they are all at their most: "2-4 (lacunes missing)".
"""

import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Integral

from csvd.errors import InputError
from csvd.measure.measurement import Measurement
from csvd.measure.reference import citation, cutoff
from csvd.measure.regions import MICROBLEED_RULE, PERIVASCULAR_RULE, microbleed_pattern
from csvd.measure.strive import LACUNE, MICROBLEED, PERIVASCULAR_SPACE, Candidate

SIDEROSIS = ("none", "focal", "disseminated")
SLICE_MM = cutoff("rated_slice").value
STAALS_PVS_ABOVE = 10
"""Printed as > 10 in some papers and as > 20 in others, so it is a setting; the default is Potter's grade 2."""
ROUNDING_MM = 1e-6
"""Choice: heights this near are one; far below a slice and far above the rounding of an affine."""


@dataclass(frozen=True)
class ScoreInputs:
    """What the scores are made of; ``None`` is missing.

    Fazekas grades are 0-3. Microbleeds are counted by region. Perivascular spaces are counted as Potter does: in the
    slice and hemisphere with most of them; of the midbrain all. ``superficial_siderosis`` is "none", "focal" or
    "disseminated" and always a reader's word. Raises ``InputError`` for anything else.
    """

    fazekas_periventricular: int | None = None
    fazekas_deep: int | None = None
    lacunes: int | None = None
    microbleeds_lobar: int | None = None
    microbleeds_deep: int | None = None
    microbleeds_brain_stem: int | None = None
    microbleeds_cerebellum: int | None = None
    pvs_basal_ganglia: int | None = None
    pvs_centrum_semiovale: int | None = None
    pvs_midbrain: int | None = None
    superficial_siderosis: str | None = None

    def __post_init__(self):
        for field in fields(self):
            value, title = getattr(self, field.name), TITLES[field.name]
            if value is None:
                continue
            if field.name == "superficial_siderosis":
                if value not in SIDEROSIS:
                    raise InputError(f"{title} is {value!r}: give one of {', '.join(SIDEROSIS)}.")
            elif isinstance(value, bool) or not isinstance(value, Integral) or value < 0:
                raise InputError(
                    f"{title} is {value!r}: give a whole number from 0 on, or nothing where it is missing."
                )
            elif field.name.startswith("fazekas") and value > 3:
                raise InputError(f"{title} is {value}: give a Fazekas grade from 0 to 3.")

    @property
    def microbleeds(self) -> int | None:
        """Microbleeds of all regions; ``None`` when any is missing."""
        counts = [getattr(self, name) for name in MICROBLEEDS]
        return None if None in counts else sum(counts)

    @property
    def microbleed_pattern(self) -> str | None:
        return microbleed_pattern(*(getattr(self, name) for name in MICROBLEEDS))

    def counted(self, marker: str, candidates: Iterable[Candidate]) -> "ScoreInputs":
        """The same inputs with those of one marker counted from its candidates, of which the rejected do not count.

        They must have been found with regions and a midplane. A microbleed outside them that a reader accepted counts
        as lobar, since the surface of the brain is cortex; perivascular spaces outside them are not rated. Raises
        ``KeyError`` for another marker.
        """
        count = {MICROBLEED: _microbleeds, LACUNE: _lacunes, PERIVASCULAR_SPACE: _perivascular_spaces}[marker]
        return replace(self, **count([candidate for candidate in candidates if candidate.counts]))


TITLES = {
    "fazekas_periventricular": "Fazekas periventricular",
    "fazekas_deep": "Fazekas deep",
    "lacunes": "Lacunes",
    "microbleeds_lobar": "Microbleeds, lobar",
    "microbleeds_deep": "Microbleeds, deep",
    "microbleeds_brain_stem": "Microbleeds, brain stem",
    "microbleeds_cerebellum": "Microbleeds, cerebellum",
    "pvs_basal_ganglia": "Perivascular spaces, basal ganglia",
    "pvs_centrum_semiovale": "Perivascular spaces, centrum semiovale",
    "pvs_midbrain": "Perivascular spaces, midbrain",
    "superficial_siderosis": "Superficial siderosis",
}
MICROBLEEDS = tuple(name for name in TITLES if name.startswith("microbleeds"))
"""Lobar, deep, brain stem, cerebellum."""


def potter_grade(count: float) -> int:
    """Return Potter's grade of a count of perivascular spaces: 0 none, 1 1-10, 2 11-20, 3 21-40, 4 more than 40."""
    return sum(count > limit for limit in (0, 10, 20, 40))


def worst_slice_count(candidates: Iterable[Candidate], region: str, slice_mm: float = SLICE_MM) -> int:
    """Return the most candidates of a region that one axial slice and one hemisphere hold.

    Thinner slices of the image are taken together up to ``slice_mm``, thicker ones are taken as they are.
    """
    worst = 0
    here = [candidate for candidate in candidates if candidate.region == region]
    for side in {candidate.hemisphere for candidate in here}:
        spans = [(c.inferior_mm, c.superior_mm) for c in here if c.hemisphere == side]
        # The slice with most can be moved up until one candidate is about to leave it below, and loses none by that.
        for _, start in spans:
            end = start + slice_mm - ROUNDING_MM
            worst = max(worst, sum(bottom < end and top > start - ROUNDING_MM for bottom, top in spans))
    return worst


def _microbleeds(found: Sequence[Candidate]) -> dict[str, int]:
    regions = [candidate.region or "lobar" for candidate in found]
    return {name: regions.count(name.removeprefix("microbleeds_").replace("_", " ")) for name in MICROBLEEDS}


def _lacunes(found: Sequence[Candidate]) -> dict[str, int]:
    return {"lacunes": len(found)}


def _perivascular_spaces(found: Sequence[Candidate]) -> dict[str, int]:
    return {
        "pvs_basal_ganglia": worst_slice_count(found, "basal ganglia"),
        "pvs_centrum_semiovale": worst_slice_count(found, "centrum semiovale"),
        "pvs_midbrain": sum(candidate.region == "midbrain" for candidate in found),
    }


@dataclass(frozen=True)
class Item:
    """A line of a score. ``points`` takes inputs that are all known, and more of any never gives fewer points."""

    title: str
    points: Callable[[ScoreInputs], int]


@dataclass(frozen=True)
class Score:
    """A score from ``low`` to ``high``, the same where it is known.

    ``missing`` are the titles of the lines that keep it from being known, ``lines`` the points of every line in words.
    """

    low: int
    high: int
    missing: tuple[str, ...]
    lines: tuple[str, ...]

    @property
    def value(self) -> int | str:
        if self.low == self.high:
            return self.low
        return f"{self.low}-{self.high} ({', '.join(self.missing)} missing)"


def add_up(items: Iterable[Item], inputs: ScoreInputs) -> Score:
    """Return the score that ``items`` give. Missing inputs make a range only where they can change the points."""
    lowest, highest = _filled(inputs, most=False), _filled(inputs, most=True)
    points = {item.title: (item.points(lowest), item.points(highest)) for item in items}
    low, high = (sum(ends) for ends in zip(*points.values(), strict=True))
    lines = [f"{title} {least}" + (f"-{most}" if least < most else "") for title, (least, most) in points.items()]
    return Score(low, high, tuple(title for title, (least, most) in points.items() if least < most), tuple(lines))


_WMH = Item("WMH", lambda i: int(i.fazekas_deep >= 2 or i.fazekas_periventricular == 3))
_LACUNES = Item("lacunes", lambda i: int(i.lacunes >= 1))
WMH_POINTS = Item("WMH", lambda i: sum(i.fazekas_periventricular + i.fazekas_deep >= least for least in (3, 5)))
LAU = (
    WMH_POINTS,
    _LACUNES,
    Item("microbleeds", lambda i: sum(i.microbleeds >= least for least in (1, 5))),
    Item("perivascular spaces", lambda i: int(i.pvs_basal_ganglia > 20)),
)
CAA_SVD = (
    Item("lobar microbleeds", lambda i: sum(i.microbleeds_lobar >= least for least in (2, 5))),
    Item("superficial siderosis", lambda i: SIDEROSIS.index(i.superficial_siderosis)),
    Item("perivascular spaces", lambda i: int(i.pvs_centrum_semiovale > 20)),
    _WMH,
)


def staals(pvs_above: int = STAALS_PVS_ABOVE) -> tuple[Item, ...]:
    """The lines of the total score, with the count of perivascular spaces that must be exceeded."""
    return (
        _WMH,
        _LACUNES,
        Item("microbleeds", lambda i: int(i.microbleeds >= 1)),
        Item("perivascular spaces", lambda i: int(i.pvs_basal_ganglia > pvs_above)),
    )


def measure_scores(
    inputs: ScoreInputs, *, edited: Collection[str] = (), staals_pvs_above: int = STAALS_PVS_ABOVE
) -> dict[str, Measurement]:
    """Return the inputs, Potter's grades, the pattern of microbleeds and the scores, by name in the order of a report.

    ``edited`` are the names of inputs that a reader set, whose source then says so. A score that is a range is given as
    text, one that cannot be given as ``None``, with the reason in its source.
    """
    by_hand, counted = "Set by a reader", "Clusters by STRIVE-2 that no reader rejected"
    rated = f"Most in one axial slice of {SLICE_MM:g} mm and one hemisphere. {cutoff('rated_slice').source}"
    sources = {
        "fazekas": "Fazekas by geometry",
        "lacunes": counted,
        "microbleeds": f"{counted}. {MICROBLEED_RULE}",
        "pvs": f"{rated}. {PERIVASCULAR_RULE}",
        "superficial": "Not measured: a reader gives it",
    }
    measured = [
        Measurement(
            f"input_{name}",
            title,
            getattr(inputs, name),
            "",
            by_hand if name in edited else sources[name.split("_")[0]],
        )
        for name, title in TITLES.items()
    ]
    measured += [
        Measurement("microbleed_pattern", "Microbleeds, pattern", inputs.microbleed_pattern, "", _PATTERN_RULE),
        *_potter(inputs),
        _measurement("wmh_points", "WMH points (0-2)", (WMH_POINTS,), inputs, _WMH_RULE),
        _measurement(
            "svd_score", "Total SVD score (0-4)", staals(staals_pvs_above), inputs,
            f"1 point each: WMH (deep 2-3 or periventricular 3), lacunes, microbleeds, more than {staals_pvs_above} "
            f"perivascular spaces in the basal ganglia. {citation('staals2014')}",
        ),
        _measurement(
            "amended_svd_score", "Amended SVD score (0-6)", LAU, inputs,
            "WMH points; lacunes 1; 1-4 microbleeds 1, 5 or more 2; more than 20 perivascular spaces in the basal "
            f"ganglia 1. {citation('lau2017')}",
        ),
        _caa_svd(inputs),
    ]  # fmt: skip
    return {m.name: m for m in measured}


_WMH_RULE = f"Fazekas total 3-4 is 1, 5-6 is 2. {citation('mounet2025')}"
_PATTERN_RULE = f"Those of the brain stem are deep, those of the cerebellum neither. {citation('boston2')}"
_CAA_RULE = (
    "2-4 lobar microbleeds 1, 5 or more 2; superficial siderosis focal 1, disseminated 2; more than 20 perivascular "
    f"spaces in the centrum semiovale 1; WMH deep 2-3 or periventricular 3 1. {citation('charidimou2016')}"
)
_POTTER_RULE = f"0 none, 1 1-10, 2 11-20, 3 21-40, 4 more than 40. {citation('potter2015')}"
_MIDBRAIN_RULE = f"1 where any is visible. {citation('potter2015')}"


def _potter(inputs: ScoreInputs) -> list[Measurement]:
    rated = (
        ("basal_ganglia", "(0-4)", potter_grade, _POTTER_RULE),
        ("centrum_semiovale", "(0-4)", potter_grade, _POTTER_RULE),
        ("midbrain", "(0-1)", lambda count: int(count > 0), _MIDBRAIN_RULE),
    )
    measured = []
    for region, span, grade, rule in rated:
        count = getattr(inputs, f"pvs_{region}")
        title = f"{TITLES[f'pvs_{region}']}, grade {span}"
        measured.append(Measurement(f"pvs_grade_{region}", title, None if count is None else grade(count), "", rule))
    return measured


def _caa_svd(inputs: ScoreInputs) -> Measurement:
    name, title = "caa_svd_score", "CAA-SVD score (0-6)"
    if inputs.superficial_siderosis is None:
        why = "Withheld: superficial siderosis is not measured, and no reader gave it."
        return Measurement(name, title, None, "", f"{why} {_CAA_RULE}")
    return _measurement(name, title, CAA_SVD, inputs, _CAA_RULE)


def _measurement(name: str, title: str, items: tuple[Item, ...], inputs: ScoreInputs, rule: str) -> Measurement:
    score = add_up(items, inputs)
    return Measurement(name, title, score.value, "", f"{'; '.join(score.lines)}. {rule}")


def _filled(inputs: ScoreInputs, most: bool) -> ScoreInputs:
    """The inputs with all that is missing at its least or at its most."""
    ends = {name: (0, 3 if name.startswith("fazekas") else sys.maxsize) for name in TITLES}
    ends["superficial_siderosis"] = (SIDEROSIS[0], SIDEROSIS[-1])
    return replace(inputs, **{name: end[most] for name, end in ends.items() if getattr(inputs, name) is None})
