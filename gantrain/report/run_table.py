"""Runs as pandas tables, with one row per run and per measurement, grouped by the varied keys."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gantrain.data import DATASETS
from gantrain.metrics.registry import lower_is_better
from gantrain.report.formatting import SeedMean, measures_diversity
from gantrain.report.run_groups import RunGroup, canonical, is_varied, requested_words, seed_of, value_of
from gantrain.run_io.run_reader import RunRecord
from gantrain.run_io.status import FINISHED

if TYPE_CHECKING:
    import pandas as pd

BEST, LAST = "best", "last"
DATA_KEYS = ("data.name", "data.image_size", "data.means", "data.stds", "data.weights")
"""Configuration keys that are part of a metric's protocol."""
NOT_PROTOCOL = (
    *("network", "step", "std", "kid_std", "inception_score_std", "real", "near", "held_out_accuracy"),
    "weights_origin",  # a path or URL; the digest is in `weights`
)
"""Fields of a measurement's protocol that are results or follow from other fields."""
METRIC_COLUMNS = ("run", "metric", "name", "network", "primary", "step", "value", "protocol")


@dataclass(frozen=True, eq=False)
class RunTable:
    """All runs of a report.

    Attributes:
        groups: in the order of their first runs.
        runs: one row per run, ordered by group and seed: group, seed, folder, state, done (generator steps), images,
            seconds, findings, reason, replicate (bool, see `RunGroup`), averaged (bool: included in means: a
            finished replicate, or any replicate if none in its group has finished), and the varied keys.
        metrics: one row per measurement, with `METRIC_COLUMNS`: run is the row in `runs`, metric includes the network
            (`fid_ema`), name does not, primary marks the network that decides the best checkpoint, protocol is JSON.
    """

    groups: tuple[RunGroup, ...]
    runs: pd.DataFrame
    metrics: pd.DataFrame

    @property
    def varied(self) -> list[str]:
        """The configuration keys in which the groups differ, in the configuration's order."""
        return list(self.groups[0].values)

    @property
    def records(self) -> list[RunRecord]:
        """The runs in the order of the rows of `runs`."""
        return [run for group in self.groups for run in group.runs]

    @functools.cached_property
    def reached(self) -> pd.DataFrame:
        """One row per run and metric: best, best_step, last, last_step, count of measurements, and the run's columns.

        best is NaN for a metric without a direction; last is NaN if the last measurement was not finite.
        """
        keys = ["run", "metric"]
        sign = self.metrics["name"].map(
            {
                n: -1.0 if low is False else 1.0
                for n in set(self.metrics["name"])
                if (low := lower_is_better(n)) is not None
            }
        )
        rows = self.metrics.assign(rank=self.metrics["value"] * sign.astype(float))
        best = rows.dropna(subset=["rank"]).sort_values("rank", kind="stable").drop_duplicates(keys)
        best = best[[*keys, "value", "step"]].rename(columns={"value": BEST, "step": "best_step"})
        last = rows.drop_duplicates(keys, keep="last").drop(columns=["rank", "protocol"])
        last = last.rename(columns={"value": LAST, "step": "last_step"})
        found = last.merge(best, on=keys, how="left").join(rows.groupby(keys).size().rename("count"), on=keys)
        return found.join(self.runs[["group", "seed", "state", "replicate", "averaged"]], on="run")

    def reached_by(self, name: str, which: str) -> pd.DataFrame:
        """The rows of `reached` with a finite `which` (best or last) of a metric: `fid_ema`, or its primary `fid`."""
        found = self.reached
        chosen = (found["metric"] == name) | ((found["name"] == name) & found["primary"])
        return found[chosen].dropna(subset=[which])

    def over_seeds(self, name: str, which: str, among: str = "averaged", by: str = "group") -> dict[int, SeedMean]:
        """Mean, standard deviation and count by group or run, among the `averaged`, the `replicate` or `any` runs."""
        rows = self.reached_by(name, which)
        stats = (rows if among == "any" else rows[rows[among]]).groupby(by)[which].agg(["mean", "std", "count"])
        return {int(key): SeedMean.of(*values) for key, *values in stats.itertuples()}

    def by_seed(self, name: str, which: str, among: str = "averaged") -> dict[int, dict[int, float]]:
        """Values by group and seed."""
        rows = self.reached_by(name, which)
        found: dict[int, dict[int, float]] = {number: {} for number in range(len(self.groups))}
        for group, seed, value in rows.loc[rows[among], ["group", "seed", which]].itertuples(index=False):
            found[group][seed] = float(value)
        return found

    @functools.cached_property
    def metric_names(self) -> list[str]:
        """All measured metrics: first those of quality, then those of diversity."""
        return sorted(self.metrics["name"].unique(), key=measures_diversity)

    @functools.cached_property
    def headline(self) -> str | None:
        """The metric that decides which group is best: the one that selected the best checkpoints."""
        chosen = [run.status.best.get("name") for run in self.records]
        directed = (
            name for name in (*chosen, *self.metrics["name"].unique()) if name and lower_is_better(name) is not None
        )
        return next(directed, None)

    @functools.cached_property
    def incomparable(self) -> list[str]:
        """Metrics that were measured under different protocols."""
        primary = self.metrics[self.metrics["primary"]]
        counts = primary.groupby("name")["protocol"].nunique()
        return [name for name in self.metric_names if counts[name] > 1]

    @functools.cached_property
    def ranking(self) -> list[int]:
        """Groups sorted by the headline metric, the best first; unsorted if its protocols differ."""
        name = self.headline
        if name is None or name in self.incomparable:
            return list(range(len(self.groups)))
        sign = 1 if lower_is_better(name) else -1
        means = {group: sign * found.mean for group, found in self.over_seeds(name, BEST).items()}
        return sorted(range(len(self.groups)), key=lambda group: means.get(group, float("inf")))


def group_runs(records: Sequence[RunRecord]) -> RunTable:
    """Groups runs that differ only in their seeds; runs without a configuration are grouped by their overrides."""
    import pandas as pd

    need_root = {spec.name for spec in DATASETS if spec.needs_root}
    have_roots = any(run.config.get("data.name") in need_root for run in records)
    words = pd.DataFrame(
        [
            {
                key: canonical(value_of(run, key))
                for key in run.config
                if is_varied(key) or (have_roots and key == "data.root")
            }
            for run in records
        ],
        index=range(len(records)),
    )
    known = words[[bool(run.config) for run in records]]
    varied = list(known.columns[known.nunique(dropna=False) > 1])
    keys = (
        words[varied]
        .fillna("")
        .assign(requested=[" ".join(requested_words(run)) * (not run.config) for run in records])
    )
    runs = pd.DataFrame(
        {
            "group": keys.groupby(list(keys.columns), sort=False).ngroup(),
            "seed": [seed_of(run) for run in records],
            "folder": folder_names(records),
            "state": [run.state for run in records],
            "done": [run.status.step for run in records],
            "time": [run.status.time for run in records],
            "images": pd.array([images_seen(run) for run in records], dtype="Int64"),
            "seconds": pd.array([training_seconds(run) for run in records], dtype="Float64"),
            "findings": ["; ".join(str(row["name"]) for row in run.findings) for run in records],
            "reason": [first_line(run.reason) for run in records],
            **{key: pd.Series([value_of(run, key) for run in records], dtype=object) for key in varied},
        }
    )
    runs = runs.sort_values(["group", "seed"], kind="stable")
    ordered = [records[place] for place in runs.index]
    runs = runs.reset_index(drop=True)
    finished = runs["state"] == FINISHED
    by_worth = runs.assign(finished=finished).sort_values(["finished", "done", "time"], kind="stable")
    runs["replicate"] = runs.index.isin(by_worth.drop_duplicates(["group", "seed"], keep="last").index)
    some = (runs["replicate"] & finished).groupby(runs["group"]).transform("any")
    runs["averaged"] = runs["replicate"] & (finished | ~some)
    groups = tuple(
        RunGroup(
            {key: value_of(ordered[rows.index[0]], key) for key in varied},
            tuple(ordered[place] for place in rows.index),
            tuple(ordered[place] for place in rows.index[rows["replicate"]]),
        )
        for _, rows in runs.groupby("group")
    )
    measured = pd.DataFrame(
        [row for place, run in enumerate(ordered) for row in _measurements(place, run)], columns=METRIC_COLUMNS
    )
    measured = measured.astype({"value": float, "primary": bool, "step": "int64"})
    return RunTable(groups, runs, measured)


def images_seen(run: RunRecord) -> int | None:
    """Real images that D has seen; None if neither status.json nor metrics.jsonl has it."""
    series = run.series("cost/images")
    return run.status.images or (int(series[-1][1]) if series else None)


def training_seconds(run: RunRecord) -> float | None:
    """Seconds of training, without evaluation, grids and checkpoints; None if unknown."""
    series = run.series("cost/seconds")
    return run.status.seconds or (series[-1][1] if series else None)


def folder_names(records: Sequence[RunRecord]) -> list[str]:
    """Each run's folder relative to the common parent, which does not change when the parent is moved."""
    folders = [run.folder.resolve() for run in records]
    base = os.path.commonpath([folder.parent for folder in folders])
    return [Path(os.path.relpath(folder, base)).as_posix() for folder in folders]


def first_line(text: str | None) -> str:
    """The first line of a reason; '' without one."""
    return text.strip().splitlines()[0] if text and text.strip() else ""


def _measurements(place: int, run: RunRecord) -> list[tuple[Any, ...]]:
    """A run's rows of `RunTable.metrics`."""
    first = (run.config.get("metrics.networks") or [None])[0]
    data = {key: run.config[key] for key in DATA_KEYS if run.config.get(key) not in (None, [])}
    rows = [row for row in run.rows if row["kind"] == "metric"]
    primary: dict[str, str] = {}
    for row in rows:
        network = str(row["protocol"]["network"])
        if row["name"] not in primary or network == first:
            primary[row["name"]] = network
    found = []
    for row in rows:
        name, network = row["name"], str(row["protocol"]["network"])
        conditions = {k: _rounded(value) for k, value in row["protocol"].items() if k not in NOT_PROTOCOL}
        protocol = json.dumps({"network": network, **data, **conditions}, ensure_ascii=False)
        columns = (place, f"{name}_{network}", name, network, primary[name] == network)
        found.append((*columns, row["step"], row["value"], protocol))
    return found


def _rounded(value: Any) -> Any:
    """Floats rounded to six digits, since machines differ in the last digits."""
    return float(f"{value:.6g}") if isinstance(value, float) else value
