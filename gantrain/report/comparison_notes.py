"""What a reader of a comparison has to mind: how it was tested, what is missing, and what would tell more."""

from collections.abc import Iterator, Sequence

from gantrain.report.comparison import BEST, LAST, NOT_FINITE, NOT_MEASURED, ComparedFigure
from gantrain.report.comparison_table import numbered
from gantrain.report.formatting import counted, named
from gantrain.report.run_groups import RunGroup, seed_of
from gantrain.report.significance import LEVEL
from gantrain.run_io.status import FINISHED

MOST_REASONS = 10
MORE_SEEDS = "-m seed=0,1,2,3,4 trains five, the rest of the command line as it was"


def notes(figures: Sequence[ComparedFigure], run_groups: Sequence[RunGroup], steps: Sequence[int]) -> list[str]:
    """Sentences, each about one thing.

    Args:
        figures: as they were compared.
        run_groups: all of them.
        steps: at which every run that measured the first compared figure has measured it.
    """
    compared = [figure for figure in figures if figure.readings]
    return [
        *_of_the_test(compared),
        *_of_one_variant(run_groups),
        *_of_single_seeds(run_groups),
        *_of_no_spread(compared),
        *_of_looks(compared, run_groups),
        *_of_missing(compared, run_groups, steps),
        *_of_repeats(run_groups),
    ]


def _of_the_test(figures: Sequence[ComparedFigure]) -> Iterator[str]:
    if any(reading.p_holm is not None for figure in figures for row in figure.readings.values() for reading in row):
        yield (
            "Differences are to 1, by Welch's t-test over seeds. Each interval is by itself; p (Holm) is corrected for "
            f"all comparisons of its figure, and up to {LEVEL:g} it is called better or worse. Figures are not "
            "corrected for one another."
        )


def _of_one_variant(run_groups: Sequence[RunGroup]) -> Iterator[str]:
    if len(run_groups) == 1:
        yield (
            "There is one group and nothing to compare it with: the runs differ in their seeds alone, and what is "
            "shown is its spread over them. Give runs of another configuration as well."
        )


def _of_single_seeds(run_groups: Sequence[RunGroup]) -> Iterator[str]:
    alone = [numbered(k) for k, run_group in enumerate(run_groups) if len(run_group.replicates) == 1]
    if alone:
        yield f"No significance can be told of a group with one seed ({', '.join(alone)}): {MORE_SEEDS}."


def _of_no_spread(figures: Sequence[ComparedFigure]) -> Iterator[str]:
    still = dict.fromkeys(
        named(figure.name)
        for figure in figures
        for row in figure.readings.values()
        for reading in row
        if reading.difference is not None
        and reading.p_holm is None
        and min(len(reading.values), len(row[0].values)) > 1
    )
    if still:
        yield f"Where neither group varies over its seeds there is no test: {', '.join(still)}."


def _of_looks(figures: Sequence[ComparedFigure], run_groups: Sequence[RunGroup]) -> Iterator[str]:
    runs = [run for run_group in run_groups for run in run_group.replicates if run.state == FINISHED]
    for figure in figures:
        looks = {len(run.measured[figure.name]) for run in runs if figure.name in run.measured}
        if BEST in figure.readings and len(looks) > 1:
            yield (
                f"The best {named(figure.name)} is chosen from {min(looks)} to {max(looks)} measurements, and more "
                "looks find better ones, whatever the group."
            )


def _of_missing(
    figures: Sequence[ComparedFigure], run_groups: Sequence[RunGroup], steps: Sequence[int]
) -> Iterator[str]:
    told: dict[tuple[int, str], dict[int, None]] = {}
    for figure in figures:
        for row in figure.readings.values():
            for k, reading in enumerate(row):
                for seed, why in reading.missing.items():
                    about = f"{why}: {named(figure.name)}" if why in (NOT_FINITE, NOT_MEASURED) else why
                    told.setdefault((k, about), {})[seed] = None
    for (k, why), seeds in list(told.items())[:MOST_REASONS]:
        of_all = f"{len(seeds)} of {len(run_groups[k].replicates)}"
        yield f"{numbered(k)}: {of_all} {why} (seed {', '.join(map(str, seeds))}){_reason(run_groups[k], seeds)}"
    if len(told) > MOST_REASONS:
        yield f"And {len(told) - MOST_REASONS} more of that kind."
    if told:
        yield "Means over what is left favor a group that loses its worst seeds: read them with these counts."
    on_their_way = any(
        run.state != FINISHED and figures[0].name in run.measured
        for run_group in run_groups
        for run in run_group.replicates
    )
    if told and on_their_way and steps and LAST in figures[0].readings:
        yield (
            f"Every run that measured {named(figures[0].name)} at all has done so at step {steps[-1]:,}: "
            f"step={steps[-1]} compares those that did not finish as well."
        )


def _reason(run_group: RunGroup, seeds: dict[int, None]) -> str:
    reasons = [run.reason.splitlines()[0] for run in run_group.replicates if run.reason and seed_of(run) in seeds]
    return f": {reasons[0]}" if reasons else ""


def _of_repeats(run_groups: Sequence[RunGroup]) -> Iterator[str]:
    for k, run_group in enumerate(run_groups):
        repeated = len(run_group.runs) - len(run_group.replicates)
        if repeated:
            yield (
                f"{numbered(k)} has {counted(repeated, 'run')} more of seeds that are there already, and those are no "
                "independent ones: of each seed the finished run counts, or the furthest."
            )
