"""`python -m tests.faults`: many lives, and a table of what befell them; exit code 1 where anything was lost."""

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
from pathlib import Path

from tests.faults.harness import Life, live, live_undisturbed
from tests.faults.ways import KINDS, ON_CPU, ON_CUDA, Way, why_not

PER_LIFE = 5


def plan(ways: tuple[Way, ...], count: int, seed: int) -> list[tuple[Way, tuple[str, ...]]]:
    """Lives of some `count` faults: every kind of every way once, the rest shared out by how many kinds a way has."""
    chosen = random.Random(seed)
    decks = {way.name: [kind for kind in way.faults if why_not(kind) is None] for way in ways}
    total = sum(map(len, decks.values()))
    lives = []
    for way in ways:
        deck = decks[way.name]
        if not deck:
            continue
        wanted = max(len(deck), round(count * len(deck) / total))
        drawn: list[str] = []
        while len(drawn) < wanted:
            drawn += chosen.sample(deck, len(deck))
        drawn = drawn[:wanted]
        lives += [(way, tuple(drawn[k : k + PER_LIFE])) for k in range(0, len(drawn), PER_LIFE)]
    chosen.shuffle(lives)
    return lives


def table(lives: list[Life], left_out: dict[str, str]) -> str:
    """Kind, count and survived; a life that lost something has survived none of its faults."""
    counts, survived = Counter[str](), Counter[str]()
    for life in lives:
        for fault in life.faults:
            counts[fault.kind] += 1
            survived[fault.kind] += life.lost is None
    lines = [f"{'kind':<32}{'count':>7}{'survived':>10}"]
    lines += [f"{kind:<32}{counts[kind]:>7}{survived[kind]:>10}" for kind in KINDS if counts[kind]]
    lines.append(f"{'all':<32}{counts.total():>7}{survived.total():>10}")
    by_way = Counter({life.way.name: 0 for life in lives})
    for life in lives:
        by_way[life.way.name] += len(life.faults)
    lines.append("by way of training: " + ", ".join(f"{name} {count}" for name, count in sorted(by_way.items())))
    lines += [f"not tried: {kind}: {reason}" for kind, reason in left_out.items()]
    return "\n".join(lines)


def main() -> int:
    """Lives them, two at a time on two cores."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--faults", type=int, default=110, help="how many at least")
    parser.add_argument("--seed", type=int, default=0, help="of kinds, moments and damages")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="what trains")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="lives at a time")
    parser.add_argument("--way", help="this way of training alone")
    parser.add_argument("--out", type=Path, help="where the table, faults.json and what was lost are left")
    asked = parser.parse_args()
    ways = tuple(w for w in (ON_CUDA if asked.device == "cuda" else ON_CPU) if asked.way in (None, w.name))
    kinds = {kind for way in ways for kind in way.faults}
    left_out = {kind: reason for kind in KINDS if kind in kinds and (reason := why_not(kind)) is not None}
    place = Path(tempfile.mkdtemp(prefix="gantrain-faults-"))
    lives, begun = plan(ways, asked.faults, asked.seed), time.monotonic()
    print(f"{sum(len(k) for _, k in lives)} faults in {len(lives)} lives, seed {asked.seed}, in {place}", flush=True)
    done: list[Life] = []
    with ThreadPoolExecutor(asked.jobs) as pool:
        used = list(dict.fromkeys(way for way, _ in lives))
        alone = {way: pool.submit(live_undisturbed, way, place / f"undisturbed {way.name}") for way in used}
        undisturbed = {way: future.result() for way, future in alone.items()}
        futures = [
            pool.submit(live, way, kinds, asked.seed * 1000 + k, place / f"life{k:03d}", undisturbed[way])
            for k, (way, kinds) in enumerate(lives)
        ]
        for future in as_completed(futures):
            life = future.result()
            done.append(life)
            words = ", ".join(f"{f.kind} at {f.step} ({f.seen})" for f in life.faults)
            print(f"{len(done)}/{len(lives)} {life.way.name}, {life.seconds:.0f} s: {words}", flush=True)
            if life.lost is not None:
                print(f"  LOST: {life.lost}", flush=True)
    found = f"{table(done, left_out)}\n{(time.monotonic() - begun) / 60:.1f} minutes"
    print(found)
    lost = [life for life in done if life.lost is not None]
    if asked.out is not None:
        asked.out.mkdir(parents=True, exist_ok=True)
        (asked.out / "faults.txt").write_text(f"{found}\n")
        content = [
            {"way": life.way.name, "seed": life.seed, "lost": life.lost, "faults": [vars(f) for f in life.faults]}
            for life in done
        ]
        (asked.out / "faults.json").write_text(json.dumps(content, indent=1) + "\n")
    if not lost:
        shutil.rmtree(place)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
