"""A sweep on disk with failed and pruned runs; its metrics are functions of the step."""

import json
from collections.abc import Callable
from pathlib import Path

from gantrain.diagnostics.doctor import Finding
from gantrain.run_io.run_folder import JOB, REASON
from gantrain.run_io.run_reader import read_run
from gantrain.run_io.status import FAILED, PRUNED, mark
from tests.written_runs import write_request, write_run

GENS, SEEDS = ("alt", "kl", "rkl"), (0, 1, 2)
FINISHED_SEEDS = {"alt": (0, 1, 2), "kl": (0, 1), "rkl": (1, 2)}
"""The seeds that finish, of the runs that `write_sweep` writes."""
REASON_WORDS = "loss.gen=<kl> & co: not finite\nTraceback:\n  a <b>second</b> line\n"
FINDING = Finding("ratio explosion", 300, "In steps 100 to 300 log r fell to -14.", "Set loss.max_log_ratio=10.")


def value(gen: str, seed: int, name: str) -> Callable[[int], float]:
    """fid falls and rises again, so that its best is not its last; recall grows."""
    base = {"alt": 30.0, "kl": 60.0, "rkl": 25.5}[gen] + (0.7, 0.1, 0.4)[seed] * (1 + GENS.index(gen))

    def of_step(step: int) -> float:
        x = step / 1000
        fid = base + 100 * (x - 0.7) ** 2
        return fid if name == "fid" else 1 / fid

    return of_step


def write_sweep(folder: Path) -> Path:
    """Three groups of three seeds: the last of kl failed, with a finding, and the first of rkl was pruned."""
    number = 0
    for gen in GENS:
        for seed in SEEDS:
            odd = {("kl", 2): FAILED, ("rkl", 0): PRUNED}.get((gen, seed))
            run = write_run(
                folder / f"{number:03d}-loss.gen={gen},seed={seed}",
                f"loss.gen={gen}",
                f"seed={seed}",
                measured={name: value(gen, seed, name) for name in ("fid", "recall")},
                findings=(FINDING,) if odd == FAILED else (),
                job=number,
                grids=0,
            )
            number += 1
            if odd is not None:
                mark(run, odd)
            if odd == FAILED:
                (run / REASON).write_text(REASON_WORDS)
    (folder / "sweep.json").write_text(json.dumps({"words": ["-m", "loss.gen=alt,kl,rkl", "seed=0,1,2"]}))
    return folder


def refuse_a_job(folder: Path, *, like: Path, gen: str) -> Path:
    """A job that was refused: what was asked for, status.json and error.txt."""
    job = json.loads((like / JOB).read_text())
    job["config"]["loss"]["gen"] = gen
    write_request(folder, job["job"], read_run(like).overrides, job["config"])
    (folder / REASON).write_text("loss.gen='hinge_ns' needs disc=hinge\n")
    mark(folder, FAILED)
    return folder
