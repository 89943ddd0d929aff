"""The sample grids of all runs side by side, at the same step of training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gantrain.formatting import as_word
from gantrain.networks import NETWORKS
from gantrain.report.grid_images import BUDGET, CODINGS, Encoded, GridSequence, encode, fit_grids, is_readable
from gantrain.report.markup import Section, as_json, render, source
from gantrain.report.run_groups import RunGroup, seed_of
from gantrain.report.run_table import RunTable
from gantrain.run_io.run_folder import SAMPLES
from gantrain.run_io.run_reader import BROKEN, RunRecord
from gantrain.run_io.status import FAILED, FINISHED, INTERRUPTED, PRUNED, RUNNING, SKIPPED, STOPPED

MOST_COLUMNS = 6
"""With more groups, images wrap and one seed is shown at a time."""
SMALL = 160
"""Images narrower than this many pixels are enlarged."""
LATENT_KEYS = ("model.latent_dim", "model.prior", "log.grid_images", "cond.name", "data.name")
"""Keys besides the seed on which the z of the grids depend."""
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
class WallPlace:
    """A run's place on the wall.

    Attributes:
        row: heading of its row; '' if the images wrap.
        column: heading of its column.
        name: group and seed, shown if there are no headings.
        seed: its seed; None if seeds cannot be chosen.
        run: None if the combination was not run.
    """

    row: str
    column: str
    name: str
    seed: int | None
    run: RunRecord | None


@dataclass(frozen=True, slots=True)
class WallPlan:
    """How the runs are aligned.

    Attributes:
        places: row by row.
        rows: headings of rows; empty if the images wrap.
        columns: their headings.
        seeds: seeds to choose from; empty if all are shown.
        seed: the seed shown first.
        words: a sentence about the arrangement.
    """

    places: tuple[WallPlace, ...]
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    seed: int | None = None
    words: str = ""


def make_sample_wall(table: RunTable, budget: int = BUDGET) -> Section | None:
    """The wall; None if no run has a grid.

    Args:
        table: the runs.
        budget: most bytes of all embedded images, as data URIs.
    """
    plan = plan_wall(table.groups)
    runs = [place.run for place in plan.places if place.run is not None]
    real = _real(runs)
    grids = fit_grids([run.grids for run in runs], budget - (len(real.uri) if real else 0))
    if not grids.moments:
        return None
    of_run = iter(zip(grids.steps, grids.images, strict=True))
    cells = [_cell(place, grids, *(((), {}) if place.run is None else next(of_run))) for place in plan.places]
    html = render(
        "sample_wall.html.j2",
        plan=plan,
        cells={row: [cell for cell in cells if cell["place"].row == row] for row in plan.rows or ("",)},
        grids=grids,
        thinned=max(len(run.grids) for run in runs) > len(grids.moments),
        left_out=sum(bool(run.grids) and not steps for run, steps in zip(runs, grids.steps, strict=True)),
        latents=latents_note(runs),
        points=any(map(_draws_points, runs)),
        real=real,
        wide=any(cell["width"] > 1.5 * cell["height"] for cell in cells),
        small=SMALL,
    )
    return Section(
        "wall", "Samples at the same step of training", html, source("sample_wall.css"), source("sample_wall.js")
    )


def plan_wall(groups: Sequence[RunGroup]) -> WallPlan:
    """Two keys as rows and columns if at least half of the cells exist; else seeds by groups; else wrapped images."""
    seeds = tuple(sorted({seed for group in groups for seed in group.seeds}))
    first = max(seeds, key=lambda seed: (sum(seed in group.seeds for group in groups), -seeds.index(seed)))
    choice = seeds if len(seeds) > 1 else ()
    by_words = {tuple(f"{key}={as_word(value)}" for key, value in one.values.items()): one for one in groups}
    if len(groups[0].values) == 2:
        rows, columns = (tuple(dict.fromkeys(words[side] for words in by_words)) for side in (0, 1))
        if min(len(rows), len(columns)) > 1 and 2 * len(by_words) >= len(rows) * len(columns):
            places = [
                WallPlace(
                    row, column, f"{row} {column}", seed if choice else None, _run_of(by_words.get((row, column)), seed)
                )
                for row in rows
                for column in columns
                for seed in seeds
            ]
            return WallPlan(tuple(places), rows, columns, choice, first)
    if len(groups) == 1:
        places = [WallPlace("", "", f"seed={seed}", None, _run_of(groups[0], seed)) for seed in seeds]
        return WallPlan(tuple(places), words="An image per seed.")
    if choice and len(groups) <= MOST_COLUMNS:
        places = [
            WallPlace(f"seed={seed}", group.label, f"{group.label} seed={seed}", None, _run_of(group, seed))
            for seed in seeds
            for group in groups
        ]
        return WallPlan(tuple(places), tuple(f"seed={seed}" for seed in seeds), tuple(group.label for group in groups))
    places = [
        WallPlace("", "", group.label, seed if choice else None, _run_of(group, seed))
        for group in groups
        for seed in seeds
    ]
    return WallPlan(tuple(places), seeds=choice, seed=first)


def latents_note(runs: Sequence[RunRecord]) -> str:
    """A sentence that says which grids show the same z."""
    points = all(map(_draws_points, runs))
    words = f"{'The points are' if points else 'The same place of a grid is'} of the same z in every image"
    if len({run.config.get("seed") for run in runs}) > 1:
        words += " of the same seed; another seed draws other z"
    differ = [key for key in LATENT_KEYS if len({run.config.get(key) for run in runs}) > 1]
    if len({run.starts[0].get("device") == "cpu" for run in runs if run.starts}) > 1:
        differ.append("the device (a CPU and a GPU draw differently)")
    if differ:
        words += f", and so does another value of {' or '.join(differ)}"
    return words + "."


def _draws_points(run: RunRecord) -> bool:
    """Whether the run's networks are for points; False for a network that is not registered here."""
    return any(spec.points and spec.name == run.config.get("model.name") for spec in NETWORKS)


def _run_of(group: RunGroup | None, seed: int) -> RunRecord | None:
    """The group's run of that seed."""
    return None if group is None else next((run for run in group.replicates if seed_of(run) == seed), None)


def _real(runs: Sequence[RunRecord]) -> Encoded | None:
    """Training examples, if they are the same in all runs."""
    if len({(run.config.get("data.name"), run.config.get("data.root")) for run in runs}) > 1:
        return None
    images = (run.folder / SAMPLES / "real.png" for run in runs)
    return next((encode(image, CODINGS[0]) for image in images if is_readable(image)), None)


def _cell(place: WallPlace, grids: GridSequence, steps: Sequence[int], images: Mapping[int, Encoded]) -> dict[str, Any]:
    """What the template shows: the last image; the script shows the others."""
    cell: dict[str, Any] = {"place": place, "image": None, "width": 0, "height": 0, "ended": False}
    run = place.run
    if run is None:
        return cell | {"words": "not run" if place.seed is None else f"seed {place.seed} not run"}
    if not steps:
        why = f": {run.reason}" if run.reason else ""
        return cell | {
            "words": ("no readable grid, or no space for it" if run.grids else f"{ENDS[run.state]}, no grid") + why
        }
    notes = [_note(run, step, moment, grids.moments[-1]) for step, moment in zip(steps, grids.moments, strict=True)]
    last = images[steps[-1]]
    others = [step for step in images if step != steps[-1]]
    frames = {
        "images": [images[step].uri for step in others],
        "frames": [others.index(step) if step in others else -1 for step in steps],
        "notes": [note for note, _ in notes],
        "ended": [ended for _, ended in notes],
    }
    return cell | {
        "image": last.uri,
        "width": last.width,
        "height": last.height,
        "note": notes[-1][0],
        "ended": notes[-1][1],
        "reason": run.reason or "",
        "frames": as_json(frames),
    }


def _note(run: RunRecord, step: int, moment: int, last_moment: int) -> tuple[str, bool]:
    """A note on an image, and whether its run had ended before."""
    of_end = step == max(run.grids) and (moment > step or moment == last_moment)
    if of_end and run.state != FINISHED:
        reached = max(step, run.status.step, *(row["step"] for row in run.rows))
        its_last = "" if step == reached else f"; its last grid, step {step:,}"
        return f"{ENDS[run.state]} at step {reached:,}{its_last}", run.state != RUNNING
    if of_end and moment > step:
        return f"its last step, {step:,}", False
    return (f"step {step:,}" if step != moment else ""), False
