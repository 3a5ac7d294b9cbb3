"""What is asked of a cohort and what comes out: agreement with a truth, differences by grade, quintiles, burden."""

from dataclasses import dataclass

from csvd.cohort.collect import Case, Cohort, Column, Truth, named, number
from csvd.cohort.statistics import Group, Statistic, agreement, differences, groups_of, quintiles
from csvd.errors import InputError
from csvd.marker import LEUKOARAIOSIS
from csvd.measure.zscore import MARKERS, Burden, Reference, burden, reference_of


@dataclass(frozen=True)
class Question:
    """What is compared: ``measure`` of the results, with the ``column`` of the truth that is a reference for it, and
    between the grades of the column ``grade`` of the truth or of the results."""

    measure: str
    column: str | None = None
    grade: str | None = None


@dataclass(frozen=True)
class Study:
    """The answers.

    ``question`` has its column filled in, ``measured`` is what the measure is called. ``values`` of the measure,
    ``reference_values`` of the column, ``grades`` and ``quintiles`` are by id, of the cases that have them; ``burdens``
    are those of all cases. ``agreement`` and ``differences`` are empty when not asked for. ``notes`` are sentences.
    """

    cohort: Cohort
    question: Question
    truth: Truth | None
    measured: Column
    values: dict[str, float]
    reference_values: dict[str, float]
    grades: dict[str, str]
    agreement: list[Statistic]
    groups: list[Group]
    differences: list[Statistic]
    quintiles: dict[str, int]
    reference: Reference
    burdens: dict[str, Burden]
    notes: list[str]


def study(
    cohort: Cohort,
    question: Question,
    truth: Truth | None = None,
    *,
    log1p: bool = False,
    reference: Reference | None = None,
) -> Study:
    """Answer ``question`` for a cohort; the Z-score burden is against ``reference``, else against the cohort itself.

    Raises ``InputError`` for a measure or a column that is not there, and where no id of the truth is in the cohort.
    """
    if question.measure not in cohort.columns:
        raise InputError(f"No result has the measurement {question.measure}: they have {named(cohort.columns)}.")
    measured, notes = cohort.columns[question.measure], list(cohort.notes)
    values = {case.id: value for case in cohort.cases if (value := case.number(question.measure)) is not None}
    if lacking := [case.id for case in cohort.cases if case.id not in values]:
        notes.append(f"No number for {measured.title} in {named(lacking)}: left out where it is asked for.")

    column = _column(question, truth)
    if truth is not None:
        notes += _match(cohort, truth)
    known = {}
    if column is not None:
        cells = {case: number(row[column]) for case, row in truth.rows.items() if case in values}
        known = {case: value for case, value in cells.items() if value is not None}
        if empty := sorted(set(cells) - set(known)):
            notes.append(f"No number in the column {column} for {named(empty)}.")
    grades = _grades(cohort, question.grade, truth) if question.grade is not None else {}

    parted = quintiles(values)
    if isinstance(parted, str):
        notes.append(parted)
        parted = {}
    groups = groups_of(values, grades)
    of_burden = {case.id: _of_burden(case) for case in cohort.cases}
    if outside := [case.id for case in cohort.cases if _on_ct(case)]:
        notes.append(f"Volumes on CT are no WMH volumes, so not part of the Z-score burden: {named(outside)}.")
    if reference is None:
        known_markers = {marker: [row[marker] for row in of_burden.values()] for marker in MARKERS}
        reference = reference_of(known_markers, log1p=log1p)
    pairs = [values[case] for case in known], list(known.values())
    return Study(
        cohort=cohort,
        question=Question(question.measure, column, question.grade),
        truth=truth,
        measured=measured,
        values=values,
        reference_values=known,
        grades=grades,
        agreement=agreement(*pairs, measured.unit) if column is not None else [],
        groups=groups,
        differences=differences(groups, measured.unit) if question.grade is not None else [],
        quintiles=parted,
        reference=reference,
        burdens={case: burden(row, reference) for case, row in of_burden.items()},
        notes=notes,
    )


def _on_ct(case: Case) -> bool:
    return case.provenance.get("marker") == LEUKOARAIOSIS.key


def _of_burden(case: Case) -> dict[str, float | None]:
    """What the Z-score is made of; the total volume of a CT is another measure than that of a FLAIR."""
    return {marker: None if _on_ct(case) else case.number(marker) for marker in MARKERS}


def _column(question: Question, truth: Truth | None) -> str | None:
    """The column of the truth that the measure is compared with: the one named, or the only one left."""
    if truth is None:
        if question.column is not None:
            raise InputError(f"The column {question.column} was named without a table of truths: give both.")
        return None
    if question.column is not None:
        if question.column not in truth.columns:
            raise InputError(f"{truth.path} has no column {question.column}: there are {named(truth.columns)}.")
        return question.column
    left = [name for name in truth.columns if name != question.grade]
    if len(left) > 1:
        raise InputError(f"{truth.path} has the columns {named(left)}: say with --truth-column which is the reference.")
    return left[0] if left else None


def _match(cohort: Cohort, truth: Truth) -> list[str]:
    ids = {case.id for case in cohort.cases}
    if not ids & set(truth.rows):
        raise InputError(f"No id of {truth.path} is that of a result: the results are {named(sorted(ids))}.")
    notes = []
    if alone := sorted(ids - set(truth.rows)):
        notes.append(f"Not in the table of truths: {named(alone)}.")
    if alone := sorted(set(truth.rows) - ids):
        notes.append(f"In the table of truths without a result: {named(alone)}.")
    return notes


def _grades(cohort: Cohort, name: str, truth: Truth | None) -> dict[str, str]:
    if truth is not None and name in truth.columns:
        ids = {case.id for case in cohort.cases}
        return {case: row[name] for case, row in truth.rows.items() if row[name] and case in ids}
    if name not in cohort.columns:
        where = f"neither {truth.path} nor the results have" if truth is not None else "the results do not have"
        raise InputError(f"The grade {name} is unknown: {where} such a column.")
    return {case.id: str(value) for case in cohort.cases if (value := case.value(name)) is not None}
