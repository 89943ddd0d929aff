"""The wall: every run's sample grids beside each other, at the same moment of training."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from gantrain.config import as_word
from gantrain.report.markup import render, source
from gantrain.report.pictures import BUDGET, CODINGS, Encoded, Films, encode, fit_films, is_whole
from gantrain.report.run_groups import RunGroup, seed_of
from gantrain.report.section import Section
from gantrain.run_io.run_folder import SAMPLES
from gantrain.run_io.run_reader import BROKEN, RunRecord
from gantrain.run_io.status import FAILED, FINISHED, INTERRUPTED, PRUNED, RUNNING, SKIPPED, STOPPED

MOST_COLUMNS = 6
"""More run_groups than these wrap, for one seed at a time."""
SMALL = 160
"""Pictures less wide, in pixels, are enlarged where they stand."""
OF_LATENTS = ("model.latent_dim", "model.prior", "log.grid_images", "cond.name", "data.name")
"""Keys beside the seed in which the z of the grids may differ."""
ENDS = {
    FAILED: "failed",
    STOPPED: "stopped by the doctor",
    PRUNED: "pruned",
    SKIPPED: "skipped by the sweep",
    INTERRUPTED: "interrupted",
    BROKEN: "killed",
    RUNNING: "still running",
    FINISHED: "finished",
}


@dataclass(frozen=True, slots=True)
class Place:
    """One run's place on the wall, or that of none.

    Attributes:
        row: heading of its row; '' where the pictures wrap.
        column: heading of its column.
        name: what is read where there are no headings: the run_group and the seed.
        seed: by which it is chosen; None where no choice is.
        run: None where there is no run.
    """

    row: str
    column: str
    name: str
    seed: int | None
    run: RunRecord | None


@dataclass(frozen=True, slots=True)
class Plan:
    """How the runs are aligned.

    Attributes:
        places: row by row.
        rows: their headings; none where the pictures wrap.
        columns: their headings.
        seeds: to choose from; none where all are shown.
        seed: the one that is shown first.
        words: what rows and columns are.
    """

    places: tuple[Place, ...]
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    seed: int | None = None
    words: str = ""


def make_wall(run_groups: list[RunGroup], budget: int = BUDGET) -> Section | None:
    """The wall of these run_groups; None where no run has a grid.

    Args:
        run_groups: as `group_runs` gives them.
        budget: bytes of the pictures that are embedded, as data URIs.
    """
    plan = plan_wall(run_groups)
    runs = [place.run for place in plan.places if place.run is not None]
    real = _real(runs)
    films = fit_films([run.grids for run in runs], budget - (len(real.uri) if real else 0))
    if not films.moments:
        return None
    of_run = iter(zip(films.steps, films.pictures, strict=True))
    cells = [_cell(place, films, *(((), {}) if place.run is None else next(of_run))) for place in plan.places]
    html = render(
        "sample_wall.html.j2",
        plan=plan,
        cells={row: [cell for cell in cells if cell["place"].row == row] for row in plan.rows or ("",)},
        films=films,
        thinned=max(len(run.grids) for run in runs) > len(films.moments),
        left_out=sum(bool(run.grids) and not steps for run, steps in zip(runs, films.steps, strict=True)),
        latents=latents_in_words(runs),
        points=any(run.config.get("model.name") == "mlp" for run in runs),
        real=real,
        wide=any(cell["width"] > 1.5 * cell["height"] for cell in cells),
        small=SMALL,
    )
    return Section(
        "wall", "Samples, at the same moment of training", html, source("sample_wall.css"), source("sample_wall.js")
    )


def plan_wall(run_groups: Sequence[RunGroup]) -> Plan:
    """Rows by columns of two keys where these fill at least half of it; else seeds by run_groups; else what wraps."""
    seeds = tuple(sorted({seed for run_group in run_groups for seed in run_group.seeds}))
    first = max(seeds, key=lambda seed: (sum(seed in run_group.seeds for run_group in run_groups), -seeds.index(seed)))
    choice = seeds if len(seeds) > 1 else ()
    by_words = {tuple(f"{key}={as_word(value)}" for key, value in one.values.items()): one for one in run_groups}
    if len(run_groups[0].values) == 2:
        rows, columns = (tuple(dict.fromkeys(words[side] for words in by_words)) for side in (0, 1))
        if min(len(rows), len(columns)) > 1 and 2 * len(by_words) >= len(rows) * len(columns):
            places = [
                Place(
                    row, column, f"{row} {column}", seed if choice else None, _run_of(by_words.get((row, column)), seed)
                )
                for row in rows
                for column in columns
                for seed in seeds
            ]
            return Plan(tuple(places), rows, columns, choice, first)
    if len(run_groups) == 1:
        places = [Place("", "", f"seed={seed}", None, _run_of(run_groups[0], seed)) for seed in seeds]
        return Plan(tuple(places), words="A picture is a seed.")
    if choice and len(run_groups) <= MOST_COLUMNS:
        places = [
            Place(f"seed={seed}", run_group.label, f"{run_group.label} seed={seed}", None, _run_of(run_group, seed))
            for seed in seeds
            for run_group in run_groups
        ]
        return Plan(
            tuple(places), tuple(f"seed={seed}" for seed in seeds), tuple(run_group.label for run_group in run_groups)
        )
    places = [
        Place("", "", run_group.label, seed if choice else None, _run_of(run_group, seed))
        for run_group in run_groups
        for seed in seeds
    ]
    return Plan(tuple(places), seeds=choice, seed=first)


def latents_in_words(runs: Sequence[RunRecord]) -> str:
    """Which of the grids show the same z."""
    points = all(run.config.get("model.name") == "mlp" for run in runs)
    words = f"{'The points are' if points else 'The same place of a grid is'} of the same z in every picture"
    if len({run.config.get("seed") for run in runs}) > 1:
        words += " of the same seed; another seed draws other z"
    differ = [key for key in OF_LATENTS if len({run.config.get(key) for run in runs}) > 1]
    if len({run.starts[0].get("device") == "cpu" for run in runs if run.starts}) > 1:
        differ.append("the device (a CPU and a GPU draw differently)")
    if differ:
        words += f", and so does another value of {' or '.join(differ)}"
    return words + "."


def _run_of(run_group: RunGroup | None, seed: int) -> RunRecord | None:
    """The run_group's run of that seed; of several the one that stands for it elsewhere."""
    return None if run_group is None else next((run for run in run_group.replicates if seed_of(run) == seed), None)


def _real(runs: Sequence[RunRecord]) -> Encoded | None:
    """Training examples, where all runs have the same."""
    if len({(run.config.get("data.name"), run.config.get("data.root")) for run in runs}) > 1:
        return None
    pictures = (run.folder / SAMPLES / "real.png" for run in runs)
    return next((encode(picture, CODINGS[0]) for picture in pictures if is_whole(picture)), None)


def _cell(place: Place, films: Films, steps: Sequence[int], pictures: Mapping[int, Encoded]) -> dict[str, Any]:
    """What the template shows in a place: the last picture at once, the others by the script."""
    cell: dict[str, Any] = {"place": place, "picture": None, "width": 0, "height": 0, "ended": False}
    run = place.run
    if run is None:
        return cell | {"words": "not run" if place.seed is None else f"seed {place.seed} not run"}
    if not steps:
        why = f": {run.reason}" if run.reason else ""
        return cell | {
            "words": ("no readable grid, or no room for it" if run.grids else f"{ENDS[run.state]}, no grid") + why
        }
    notes = [_note(run, step, moment, films.moments[-1]) for step, moment in zip(steps, films.moments, strict=True)]
    last = pictures[steps[-1]]
    others = [step for step in pictures if step != steps[-1]]
    frames = {
        "pictures": [pictures[step].uri for step in others],
        "frames": [others.index(step) if step in others else -1 for step in steps],
        "notes": [note for note, _ in notes],
        "ended": [ended for _, ended in notes],
    }
    return cell | {
        "picture": last.uri,
        "width": last.width,
        "height": last.height,
        "note": notes[-1][0],
        "ended": notes[-1][1],
        "reason": run.reason or "",
        "frames": Markup(json.dumps(frames, ensure_ascii=False).replace("<", "\\u003c")),
    }


def _note(run: RunRecord, step: int, moment: int, last_moment: int) -> tuple[str, bool]:
    """What is said of a picture, and whether its run had ended before its time by then."""
    of_end = step == max(run.grids) and (moment > step or moment == last_moment)
    if of_end and run.state != FINISHED:
        reached = max(step, run.status.step, *(row["step"] for row in run.rows))
        its_last = "" if step == reached else f"; its last grid, step {step:,}"
        return f"{ENDS[run.state]} at step {reached:,}{its_last}", run.state != RUNNING
    if of_end and moment > step:
        return f"its last step, {step:,}", False
    return (f"step {step:,}" if step != moment else ""), False
