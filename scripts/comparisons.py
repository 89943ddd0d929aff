"""What docs/results compares: data sets with their budgets, and tables of rows, columns and overrides.

A comparison is declared here and run by `scripts/tables.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from gantrain.cli import CONFIGS, experiment_names

Overrides = tuple[str, ...]
Lines = dict[str, Overrides]
"""Label -> overrides of a row or column."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What every run of a data set's tables has in common, and which figures its tables show."""

    length: Overrides
    measuring: Overrides
    figures: dict[str, str]
    """Name of a figure in the run's results -> its head in the table."""
    seeds: int
    tracked: tuple[str, ...] = ()
    """Figures whose course over training is kept as well."""


BUDGETS = {
    "digits": Budget(
        length=("experiment=demo", "schedule.steps=800", "schedule.batch_size=32"),
        measuring=("metrics.every_steps=400",),
        figures={"modes_ema": "modes of 1,000", "modes_kl_ema": "KL"},
        seeds=5,
    ),
    "points": Budget(
        length=(),
        measuring=(),
        figures={"modes_ema": "modes", "high_quality_ema": "high quality", "kl_ema": "KL(q‖p)"},
        seeds=5,
        tracked=("modes", "high_quality", "kl"),
    ),
    "cifar10": Budget(
        length=("schedule.steps=10000",),
        measuring=(
            "metrics.names=[fid,classes]",
            "metrics.samples=50000",
            "metrics.reference_samples=50000",
            "metrics.every_steps=0",
        ),
        figures={"fid_ema": "FID", "classes_ema": "classes of 10", "classes_kl_ema": "class KL"},
        seeds=3,
    ),
}


@dataclass(frozen=True, slots=True)
class Table:
    """Rows × columns of runs that differ in the named overrides.

    Attributes:
        question: what it answers.
        rows: what differs down.
        columns: what differs across.
        data: which data sets it is made for.
        on_request: whether `all` leaves it out.
        own_length: its runs are as long as they say themselves, not as the budget says.
        left_out: cells (row, column) that would be no other run than their neighbors.
    """

    question: str
    rows: Lines
    columns: Lines
    data: tuple[str, ...] = ("digits", "cifar10")
    on_request: bool = False
    own_length: bool = False
    left_out: frozenset[tuple[str, str]] = field(default_factory=frozenset)

    def cell(self, row: str, column: str) -> Overrides | None:
        """The overrides of a cell; None where there is nothing to run."""
        if (row, column) in self.left_out:
            return None
        return (*self.rows[row], *self.columns[column])

    def cells(self) -> Iterator[Overrides]:
        """The overrides of every cell that is run."""
        for row in self.rows:
            for column in self.columns:
                overrides = self.cell(row, column)
                if overrides is not None:
                    yield overrides


def experiments() -> dict[str, dict[str, str]]:
    """What every experiment of the literature says of itself, by name: source and published."""
    found = {}
    for name in experiment_names():
        path = CONFIGS / "experiment" / f"{name}.yaml"
        family = path.with_name("_pair.yaml")
        pages = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in (family, path) if file.is_file()]
        about = {key: text for page in pages for key, text in page.get("about", {}).items()}
        if about:
            found[name] = about
    return found


EXACT = ("loss.rule=exact",)
NORMALISED = (*EXACT, "loss.normalize_ratio=true")
BATCH_NORM, SPECTRAL_NORM = ("model.d_norm=batch",), ("model.d_norm=spectral",)
NORMS: Lines = {"batch norm in D": BATCH_NORM, "spectral norm in D": SPECTRAL_NORM}


def _pairs() -> Lines:
    """The generators by each rule; alt has none, and rkl's three have one gradient."""
    rules = {"Poole": (), "exact": EXACT, "exact, normalized": NORMALISED}
    lines: Lines = {"alt": ("loss.gen=alt",), "rkl, any rule": ("loss.gen=rkl",)}
    for gen in ("js", "hellinger", "kl"):
        lines |= {f"{gen}, {rule}": (f"loss.gen={gen}", *words) for rule, words in rules.items()}
    return lines


GENERATORS: Lines = {gen: (f"loss.gen={gen}",) for gen in ("kl", "hellinger", "pearson")}
WAYS: Lines = {
    "Poole's rule": BATCH_NORM,
    "and |log r| within 3": ("loss.max_log_ratio=3", *BATCH_NORM),
    "and label smoothing 0.1": ("loss.label_smoothing=0.1", *BATCH_NORM),
    "and instance noise 0.2": ("tricks.instance_noise=0.2", *BATCH_NORM),
    "and dropout 0.3 in D": ("model.d_dropout=0.3", *BATCH_NORM),
    "and a learning rate of 1e-4 for D": ("optimizer.lr_d=1e-4", *BATCH_NORM),
    "and r normalized": ("loss.normalize_ratio=true", *BATCH_NORM),
    "and spectral norm in D": SPECTRAL_NORM,
    "exact rule": (*EXACT, *BATCH_NORM),
    "exact rule, r normalized (the preset)": (*NORMALISED, *BATCH_NORM),
    "the preset, spectral norm in D": (*NORMALISED, *SPECTRAL_NORM),
}

TABLES = {
    "pairs": Table("Which generator objective covers the data, by which rule, against which D?", _pairs(), NORMS),
    "longer": Table(
        "Is what the shorter runs say a matter of speed?",
        {
            "alt": ("loss.gen=alt",),
            "hellinger, exact, normalized": ("loss.gen=hellinger", *NORMALISED),
            "kl, exact, normalized": ("loss.gen=kl", *NORMALISED),
        },
        {
            "batch norm in D": (*BATCH_NORM, "schedule.steps=2400"),
            "spectral norm in D": (*SPECTRAL_NORM, "schedule.steps=2400"),
        },
        data=("digits",),
    ),
    "ways": Table(
        "What lets the mode-covering objectives train?",
        WAYS,
        GENERATORS,
        left_out=frozenset((row, "pearson") for row in WAYS if row.startswith("and ")),
    ),
    "constraints": Table(
        "Does a constraint on D help every loss (Kurach et al. 2019, Figure 2)?",
        {
            "non-saturating": ("loss.disc=gan",),
            "least squares": ("loss=lsgan",),
            "Wasserstein": ("loss=wasserstein",),
        },
        {
            "none": ("model.d_norm=none",),
            "spectral norm": SPECTRAL_NORM,
            "gradient penalty": ("model.d_norm=none", "regularizer=gp"),
        },
    ),
    "toys": Table(
        "Which generator objective finds the modes of points in the plane, by which rule?",
        _pairs(),
        {"ring of 8": ("data=ring",), "grid of 25": ("data=grid",)},
        data=("points",),
    ),
    "constrained": Table(
        "And with spectral norm in D?",
        {
            "alt": ("loss.gen=alt",),
            **{f"{gen}, exact, normalized": (f"loss.gen={gen}", *NORMALISED) for gen in ("js", "hellinger", "kl")},
        },
        {"ring of 8": ("data=ring", *SPECTRAL_NORM)},
        data=("points",),
    ),
    "hinge": Table(
        "Hinge's linear generator, or the non-saturating hinge that Jackson (2021) asks about?",
        {"linear": ("loss=hinge",), "hinge_ns": ("loss=hinge", "loss.gen=hinge_ns")},
        {**NORMS, "no norm in D": ("model.d_norm=none",)},
    ),
    "best": Table(
        "What does the aimed-at pair reach, and which of its parts help?",
        {
            "best_cnn": ("experiment=best_cnn",),
            "and DiffAugment": ("experiment=best_cnn", "augment=diffaugment"),
            "relativistic, R1 and R2 in place of hinge": (
                "experiment=best_cnn",
                "loss=relativistic",
                "regularizer=r1r2",
                "model.d_norm=none",
            ),
        },
        {"its own length": ()},
        data=("cifar10",),
        own_length=True,
    ),
    "experiments": Table(
        "What does each experiment of the literature reach, at its own length?",
        {name: (f"experiment={name}",) for name in experiments()},
        {"its own length": ()},
        data=("cifar10",),
        on_request=True,
        own_length=True,
    ),
}
