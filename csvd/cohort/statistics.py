"""Agreement with a reference, differences between grades, quintiles; where there is too little for a test, a reason.

The tests are scipy's; concordance and limits of agreement are those of `csvd.measure.agreement`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

from csvd.measure.agreement import bland_altman, concordance

CONFIDENCE = 0.95
FEWEST_PAIRS = 4
"""Pairs from which a correlation has a confidence interval: Fisher's z has a variance of 1 / (n - 3)."""


@dataclass(frozen=True)
class Statistic:
    """A number with its 95 % confidence interval where it has one, ``n`` cases behind it, and how it came about.

    ``value`` is ``None`` where it does not exist; ``note`` then says why.
    """

    name: str
    title: str
    value: float | None
    n: int
    note: str
    unit: str = ""
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Group:
    """The values of the cases with one visual grade."""

    grade: str
    values: np.ndarray


def agreement(ours: Sequence[float], truth: Sequence[float], unit: str = "") -> list[Statistic]:
    """Return how well pairs agree: Pearson's r, Lin's concordance, ICC(2,1), and Bland-Altman's bias and limits.

    ``ours`` and ``truth`` are finite numbers of the same cases in the same unit.
    """
    x, y = np.asarray(ours, float), np.asarray(truth, float)
    n = len(x)
    if n < FEWEST_PAIRS or np.ptp(x) == 0 or np.ptp(y) == 0:
        reason = "one of the two series is constant" if n >= FEWEST_PAIRS else f"fewer than {FEWEST_PAIRS} pairs"
        return [Statistic("pearson", "Pearson r", None, n, f"Not given: {reason}")]
    r = stats.pearsonr(x, y)
    interval = tuple(map(float, r.confidence_interval(CONFIDENCE)))
    ccc = concordance(x, y)
    ba, t = bland_altman(x, y), stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)
    sd = (ba.upper - ba.lower) / (2 * 1.96)
    error = {"bias": float(t * sd / np.sqrt(n)), "limit": float(t * sd * np.sqrt(3 / n))}

    def limit(name: str, title: str, value: float, kind: str, how: str) -> Statistic:
        ends = value - error[kind], value + error[kind]
        return Statistic(name, title, value, n, f"{how}; Bland and Altman 1986", unit, *ends)

    how = "Bias -+ 1.96 SD; interval from an error of SD sqrt(3 / n)"
    one_rater = "Absolute agreement, single measures; Shrout and Fleiss 1979"
    return [
        Statistic(
            "pearson", "Pearson r", float(r.statistic), n, f"{_p(r.pvalue)}; interval by Fisher's z", "", *interval
        ),
        Statistic("concordance", "Lin's concordance", ccc, n, "Lin 1989; interval by Fisher's z", "", *_lin(x, y, ccc)),
        Statistic("icc", "ICC(2,1)", icc(np.stack([x, y], 1)), n, one_rater),
        limit("bias", "Bias", ba.bias, "bias", "Ours minus the reference"),
        limit("lower_limit", "Lower limit of agreement", ba.lower, "limit", how),
        limit("upper_limit", "Upper limit of agreement", ba.upper, "limit", how),
    ]


def icc(ratings: np.ndarray) -> float | None:
    """Return ICC(2,1) of ratings (n cases, k raters): two-way random effects, absolute agreement, single measures.

    From the mean squares of cases, raters and residual (Shrout and Fleiss, Psychol Bull 1979;86:420-428). ``None``
    where nothing varies.
    """
    n, k = ratings.shape
    mean = ratings.mean()
    cases = k * ((ratings.mean(1) - mean) ** 2).sum() / (n - 1)
    raters = n * ((ratings.mean(0) - mean) ** 2).sum() / (k - 1)
    residual = ((ratings - ratings.mean(1, keepdims=True) - ratings.mean(0) + mean) ** 2).sum() / ((n - 1) * (k - 1))
    spread = cases + (k - 1) * residual + k * (raters - residual) / n
    return float((cases - residual) / spread) if spread > 0 else None


def groups_of(values: Mapping[str, float], grades: Mapping[str, str]) -> list[Group]:
    """Return the values by grade, in the order of numbers or else of words; cases without a grade are left out."""
    by_grade = {}
    for case, value in values.items():
        if grades.get(case):
            by_grade.setdefault(grades[case], []).append(value)
    return [Group(grade, np.array(by_grade[grade])) for grade in sorted(by_grade, key=grade_order)]


def differences(groups: Sequence[Group], unit: str = "") -> list[Statistic]:
    """Return ANOVA, Kruskal-Wallis and Tukey's differences of all pairs of groups; groups of one case are left out.

    Kruskal-Wallis stands beside the ANOVA because volumes are skewed and spread more the higher the grade.
    """
    several = [group for group in groups if len(group.values) > 1]
    n = sum(len(group.values) for group in several)
    reason = None
    if len(several) < 2:
        reason = "fewer than two grades have two cases"
    elif all(np.ptp(group.values) == 0 for group in several):
        reason = "within the grades nothing varies"
    if reason:
        return [Statistic("anova", "One-way ANOVA, F", None, n, f"Not given: {reason}")]
    alone = [group.grade for group in groups if len(group.values) == 1]
    left_out = f"; left out with one case: grade {', '.join(alone)}" if alone else ""
    values = [group.values for group in several]
    f, h, tukey = stats.f_oneway(*values), stats.kruskal(*values), stats.tukey_hsd(*values)
    interval = tukey.confidence_interval(CONFIDENCE)
    found = [
        Statistic("anova", "One-way ANOVA, F", float(f.statistic), n, _p(f.pvalue) + left_out),
        Statistic("kruskal_wallis", "Kruskal-Wallis, H", float(h.statistic), n, _p(h.pvalue) + left_out),
    ]
    for a, b in combinations(range(len(several)), 2):
        low, high = several[a].grade, several[b].grade
        found.append(
            Statistic(
                f"tukey_{low}_{high}",
                f"Grade {high} minus grade {low}",
                float(tukey.statistic[b, a]),
                len(values[a]) + len(values[b]),
                f"Tukey HSD, {_p(tukey.pvalue[b, a])}",
                unit,
                float(interval.low[b, a]),
                float(interval.high[b, a]),
            )
        )
    return found


def quintiles(values: Mapping[str, float]) -> dict[str, int] | str:
    """Return the quintile 1-5 of every case, by the 20th to 80th percentiles of the cohort, or why there are none.

    A value on a limit belongs to the lower quintile, so equal values stay together and quintiles may differ in size.
    """
    if len(set(values.values())) < 5:
        return f"No quintiles: they need five different values, and there are {len(set(values.values()))}."
    limits = np.percentile(list(values.values()), [20, 40, 60, 80])
    return {case: int(np.searchsorted(limits, value)) + 1 for case, value in values.items()}


def _lin(x: np.ndarray, y: np.ndarray, ccc: float) -> tuple[float | None, float | None]:
    """Interval of the concordance by Fisher's z: Lin, Biometrics 1989, with the correction of 2000; from memory, and
    checked by simulation."""
    r, n = np.corrcoef(x, y)[0, 1], len(x)
    if r == 0 or abs(ccc) >= 1 - 1e-12:
        return None, None
    u2 = (x.mean() - y.mean()) ** 2 / (x.std() * y.std())
    c2, left = ccc**2, 1 - ccc**2
    variance = (1 - r**2) * c2 / (left * r**2) + 2 * ccc * c2 * (1 - ccc) * u2 / (r * left**2)
    variance -= (c2 * u2 / (r * left)) ** 2 / 2
    half = stats.norm.ppf((1 + CONFIDENCE) / 2) * np.sqrt(max(variance, 0.0) / (n - 2))
    return float(np.tanh(np.arctanh(ccc) - half)), float(np.tanh(np.arctanh(ccc) + half))


def _p(p: float) -> str:
    return "p < .001" if p < 0.001 else f"p = {p:.3f}".replace("0.", ".")


def grade_order(grade: str) -> tuple[int, float, str]:
    """Sorts grades: numbers by their value, then words."""
    try:
        return 0, float(grade), grade
    except ValueError:
        return 1, 0.0, grade
