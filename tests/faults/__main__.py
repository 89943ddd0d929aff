"""`python -m tests.faults`: runs many trials and prints a table; exit code 1 if anything was lost."""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from tests.faults.harness import Trial, run_trial, run_undisturbed
from tests.faults.scenarios import KINDS, ON_CPU, ON_CUDA, SHORT, Scenario, unavailable

FAULTS_PER_TRIAL = 5

Plan = list[tuple[Scenario, tuple[str, ...]]]


def make_plan(scenarios: tuple[Scenario, ...], count: int, seed: int) -> Plan:
    """Trials with about `count` faults: every kind of every scenario at least once, the rest in proportion."""
    chosen = random.Random(seed)
    kinds = {scenario: [kind for kind in scenario.faults if unavailable(kind) is None] for scenario in scenarios}
    total = sum(map(len, kinds.values()))
    trials: Plan = []
    for scenario, possible in kinds.items():
        drawn: list[str] = []
        wanted = max(len(possible), round(count * len(possible) / total))
        while len(drawn) < wanted:
            drawn += chosen.sample(possible, min(len(possible), wanted - len(drawn)))
        trials += [(scenario, tuple(drawn[k : k + FAULTS_PER_TRIAL])) for k in range(0, len(drawn), FAULTS_PER_TRIAL)]
    chosen.shuffle(trials)
    return trials


def table(trials: list[Trial], skipped: dict[str, str]) -> str:
    """Faults by kind and how many survived; in a trial that lost something none counts as survived."""
    counts = Counter(kind for trial in trials for kind, _, _ in trial.observed)
    survived = Counter(kind for trial in trials if trial.failure is None for kind, _, _ in trial.observed)
    lines = [f"{'fault':<32}{'count':>7}{'survived':>10}"]
    lines += [f"{kind:<32}{counts[kind]:>7}{survived[kind]:>10}" for kind in KINDS if counts[kind]]
    lines.append(f"{'all':<32}{counts.total():>7}{survived.total():>10}")
    lines += [f"not tried: {kind}: {reason}" for kind, reason in skipped.items()]
    return "\n".join(lines)


def main() -> int:
    """Runs the trials; 0 if nothing was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--short", action="store_true", help="three trials with nine faults, as in CI")
    parser.add_argument("--faults", type=int, default=110, help="number of faults")
    parser.add_argument("--seed", type=int, default=0, help="of kinds, moments and damages")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="device that trains")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="trials at a time")
    parser.add_argument("--scenario", help="only this way of training")
    parser.add_argument("--out", type=Path, help="folder for faults.txt and faults.json")
    options = parser.parse_args()
    scenarios = ON_CUDA if options.device == "cuda" else ON_CPU
    scenarios = tuple(scenario for scenario in scenarios if options.scenario in (None, scenario.name))
    plan = make_plan(scenarios, options.faults, options.seed)
    if options.short:
        plan = [(scenario, kinds) for scenario, kinds in SHORT if not any(map(unavailable, kinds))]
    kinds = dict.fromkeys(kind for scenario in scenarios for kind in scenario.faults)
    skipped = {kind: reason for kind in kinds if (reason := unavailable(kind)) is not None}
    folder, started = Path(tempfile.mkdtemp(prefix="gantrain-faults-")), time.monotonic()
    print(f"{sum(len(kinds) for _, kinds in plan)} faults in {len(plan)} trials, seed {options.seed}, in {folder}")
    trials = []
    with ThreadPoolExecutor(options.jobs) as pool:
        references = {
            scenario: pool.submit(run_undisturbed, scenario, folder / f"undisturbed {scenario.name}")
            for scenario in dict.fromkeys(scenario for scenario, _ in plan)
        }
        undisturbed = {scenario: future.result() for scenario, future in references.items()}
        futures = [
            pool.submit(run_trial, scenario, kinds, options.seed * 1000 + k, folder / f"{k:03d}", undisturbed[scenario])
            for k, (scenario, kinds) in enumerate(plan)
        ]
        for future in as_completed(futures):
            trial = future.result()
            trials.append(trial)
            faults = ", ".join(f"{kind} at {step} ({seen})" for kind, step, seen in trial.observed)
            print(f"{len(trials)}/{len(plan)} {trial.scenario.name}, {trial.seconds:.0f} s: {faults}", flush=True)
            if trial.failure is not None:
                print(f"  LOST: {trial.failure}", flush=True)
    text = f"{table(trials, skipped)}\n{(time.monotonic() - started) / 60:.1f} minutes"
    print(text)
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "faults.txt").write_text(f"{text}\n")
        (options.out / "faults.json").write_text(json.dumps([asdict(trial) for trial in trials], indent=1) + "\n")
    if any(trial.failure is not None for trial in trials):
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
