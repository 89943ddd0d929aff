"""What a reader of a comparison has to mind: how it was tested, what is missing, and what would tell more."""

from collections.abc import Iterator, Sequence

from gantrain.logs.status import FINISHED
from gantrain.report.comparison import BEST, LAST, NOT_FINITE, NOT_MEASURED, ComparedFigure
from gantrain.report.comparison_table import numbered
from gantrain.report.significance import LEVEL
from gantrain.report.variants import Variant, seed_of
from gantrain.report.wording import counted, named

MOST_REASONS = 10
MORE_SEEDS = "-m seed=0,1,2,3,4 trains five, the rest of the command line as it was"


def notes(figures: Sequence[ComparedFigure], variants: Sequence[Variant], steps: Sequence[int]) -> list[str]:
    """Sentences, each about one thing.

    Args:
        figures: as they were compared.
        variants: all of them.
        steps: at which every run that measured the first compared figure has measured it.
    """
    compared = [figure for figure in figures if figure.readings]
    return [
        *_of_the_test(compared),
        *_of_one_variant(variants),
        *_of_single_seeds(variants),
        *_of_no_spread(compared),
        *_of_looks(compared, variants),
        *_of_missing(compared, variants, steps),
        *_of_repeats(variants),
    ]


def _of_the_test(figures: Sequence[ComparedFigure]) -> Iterator[str]:
    if any(reading.p_holm is not None for figure in figures for row in figure.readings.values() for reading in row):
        yield (
            "Differences are to 1, by Welch's t-test over seeds. Each interval is by itself; p (Holm) is corrected for "
            f"all comparisons of its figure, and up to {LEVEL:g} it is called better or worse. Figures are not "
            "corrected for one another."
        )


def _of_one_variant(variants: Sequence[Variant]) -> Iterator[str]:
    if len(variants) == 1:
        yield (
            "There is one variant and nothing to compare it with: the runs differ in their seeds alone, and what is "
            "shown is its spread over them. Give runs of another configuration as well."
        )


def _of_single_seeds(variants: Sequence[Variant]) -> Iterator[str]:
    alone = [numbered(k) for k, variant in enumerate(variants) if len(variant.replicates) == 1]
    if alone:
        yield f"No significance can be told of a variant with one seed ({', '.join(alone)}): {MORE_SEEDS}."


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
        yield f"Where neither variant varies over its seeds there is no test: {', '.join(still)}."


def _of_looks(figures: Sequence[ComparedFigure], variants: Sequence[Variant]) -> Iterator[str]:
    runs = [run for variant in variants for run in variant.replicates if run.state == FINISHED]
    for figure in figures:
        looks = {len(run.measured[figure.name]) for run in runs if figure.name in run.measured}
        if BEST in figure.readings and len(looks) > 1:
            yield (
                f"The best {named(figure.name)} is chosen from {min(looks)} to {max(looks)} measurements, and more "
                "looks find better ones, whatever the variant."
            )


def _of_missing(figures: Sequence[ComparedFigure], variants: Sequence[Variant], steps: Sequence[int]) -> Iterator[str]:
    told: dict[tuple[int, str], dict[int, None]] = {}
    for figure in figures:
        for row in figure.readings.values():
            for k, reading in enumerate(row):
                for seed, why in reading.missing.items():
                    about = f"{why}: {named(figure.name)}" if why in (NOT_FINITE, NOT_MEASURED) else why
                    told.setdefault((k, about), {})[seed] = None
    for (k, why), seeds in list(told.items())[:MOST_REASONS]:
        of_all = f"{len(seeds)} of {len(variants[k].replicates)}"
        yield f"{numbered(k)}: {of_all} {why} (seed {', '.join(map(str, seeds))}){_reason(variants[k], seeds)}"
    if len(told) > MOST_REASONS:
        yield f"And {len(told) - MOST_REASONS} more of that kind."
    if told:
        yield "Means over what is left favour a variant that loses its worst seeds: read them with these counts."
    on_their_way = any(
        run.state != FINISHED and figures[0].name in run.measured for variant in variants for run in variant.replicates
    )
    if told and on_their_way and steps and LAST in figures[0].readings:
        yield (
            f"Every run that measured {named(figures[0].name)} at all has done so at step {steps[-1]:,}: "
            f"step={steps[-1]} compares those that did not finish as well."
        )


def _reason(variant: Variant, seeds: dict[int, None]) -> str:
    reasons = [run.reason.splitlines()[0] for run in variant.replicates if run.reason and seed_of(run) in seeds]
    return f": {reasons[0]}" if reasons else ""


def _of_repeats(variants: Sequence[Variant]) -> Iterator[str]:
    for k, variant in enumerate(variants):
        repeated = len(variant.runs) - len(variant.replicates)
        if repeated:
            yield (
                f"{numbered(k)} has {counted(repeated, 'run')} more of seeds that are there already, and those are no "
                "independent ones: of each seed the finished run counts, or the furthest."
            )
