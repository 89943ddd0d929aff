"""Statistics, counts and verdicts of the benchmark; nothing here looks at a clock."""

import numpy as np
import pytest
import torch

from gantrain.benchmark.building import Iterating, make_trainer
from gantrain.benchmark.cells import FED, LOOPS, NETWORKS, VARIANTS
from gantrain.benchmark.counting import iteration_flops, operators_of
from gantrain.benchmark.layers import convolutions
from gantrain.benchmark.peers import PEERS
from gantrain.benchmark.rows import Row
from gantrain.benchmark.session import SCALES, Session
from gantrain.benchmark.targets import MET, NOT_MET, NOT_RUN, discriminate
from gantrain.benchmark.timing import Spread, paired_ratio, speed_spread, spread_of, time_rounds
from gantrain.builders import build_networks
from gantrain.config import ConfigError
from gantrain.networks import make_networks
from tests.conftest import compose


def make_session(minutes: float = 1.0, size: str = "rehearsal") -> Session:
    return Session(torch.device("cpu"), SCALES[size], rounds=2, minutes=minutes, tell=lambda row: None)


@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_spreads_and_paired_ratios_are_numpys(count: int) -> None:
    source = np.random.default_rng(count)
    ours, peers = source.uniform(1, 2, count), source.uniform(2, 5, count)
    for found, values in (
        (spread_of(list(ours)), ours),
        (paired_ratio(list(ours), list(peers)), peers / ours),
        (speed_spread(64, list(ours)), 64 / ours),
    ):
        expected = (np.median(values), *np.percentile(values, [10, 90]))
        np.testing.assert_allclose((found.median, found.low, found.high), expected, rtol=1e-12)


def test_a_ratio_of_other_rounds_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        paired_ratio([1.0, 2.0], [1.0])


def test_contestants_take_turns() -> None:
    turns: list[str] = []
    works = {name: (lambda name=name: turns.append(name)) for name in "ab"}
    seconds = time_rounds(works, torch.device("cpu"), rounds=4, slice_seconds=0)
    assert {name: len(taken) for name, taken in seconds.items()} == {"a": 4, "b": 4}
    assert "".join(turns[-8:]) == "abbaabba"


@pytest.mark.parametrize(("network", "gflop"), [("A", 0.832), ("D", 2.558), ("64px", 2.484)])
def test_the_floor_is_that_of_the_papers_networks(network: str, gflop: float) -> None:
    """GFLOP of a discriminator and a generator step per real image, counted by another script."""
    config = compose(*NETWORKS[network])
    flops = iteration_flops(
        build_networks(config, 0),
        config.loss.make(),
        batch_size=8,
        d_steps=1,
        image_size=config.data.image_size,
    )
    assert flops / 8 / 1e9 == pytest.approx(gflop, rel=0.03)


def test_operators_waits_and_flops_are_counted() -> None:
    a, b = torch.ones(4, 8), torch.ones(8, 16)
    found = operators_of(lambda: (a @ b).sum().item())
    assert (found.count, found.waits, found.flops) == (3, 1, 2 * 4 * 8 * 16)


def test_our_iteration_never_waits_and_lets_its_records_go() -> None:
    run = Iterating(make_trainer(make_session(), NETWORKS["A"]))
    assert operators_of(run).waits == 0
    for _ in range(101):
        run()


def test_every_convolution_is_found_with_its_input() -> None:
    pair = make_networks("dcgan", width=2, latent_dim=5, prior="normal", d_norm="none", image_size=32)
    found = convolutions(pair.generator, pair.discriminator, torch.zeros(3, 5))
    assert [(layer.name, layer.shape) for layer in found] == [
        ("G0", (3, 5, 1, 1)),
        ("G1", (3, 8, 4, 4)),
        ("G2", (3, 4, 8, 8)),
        ("G3", (3, 2, 16, 16)),
        ("D0", (3, 3, 32, 32)),
        ("D1", (3, 2, 16, 16)),
        ("D2", (3, 4, 8, 8)),
        ("D3", (3, 8, 4, 4)),
    ]


def test_every_name_in_the_tables_is_there() -> None:
    for contest in [contest for table in (LOOPS, FED) for contests in table.values() for contest in contests]:
        assert contest.network in NETWORKS
        assert set(contest.peers) <= set(PEERS)
        assert contest.against in contest.peers
        assert set(contest.variants) <= set(VARIANTS)
        compose(*contest.overrides)


def ratio_row(cell: str, ratio: float, block: str = "loops", contest: str = "A, B=64, k=1") -> Row:
    return Row(block=block, contest=contest, cell=cell, ratios={"examples": Spread(ratio, ratio, ratio)})


def test_verdicts() -> None:
    rows = [ratio_row("ours, eager", 1.5), ratio_row("ours, graph", 2.9), ratio_row("ours, graph bf16", 4.0)]
    rows.append(Row(block="overhead", contest="", cell="", figures={"percent": 2.1}))
    found = {verdict.name: (verdict.outcome, verdict.value) for verdict in discriminate(rows, "gpu")}
    assert found["loop alone, A, B=64, against examples"] == (MET, 4.0)
    assert found["the same by a graph alone"] == (NOT_MET, 2.9)
    assert found["logging and diagnostics"] == (NOT_MET, 2.1)
    assert found["loop alone, E, B=64, against mimicry"] == (NOT_RUN, None)
    assert {verdict.outcome for verdict in discriminate(rows, "rehearsal")} == {NOT_RUN}
    assert {verdict.name for verdict in discriminate(rows, "cpu") if verdict.outcome != NOT_RUN} == {
        "logging and diagnostics"
    }


def test_per_flop_a_spared_pass_is_no_advantage() -> None:
    examples = Row(block="loops", contest="x", cell="examples", flops=700)
    ours = ratio_row("ours", 0.8, contest="x")
    ours.flops = 875
    found = {verdict.name: verdict.value for verdict in discriminate([examples, ours], "cpu")}
    assert found["loop alone, per FLOP, against examples"] == pytest.approx(1.0)


def test_what_fails_or_does_not_fit_leaves_a_row_and_the_rest_goes_on() -> None:
    def broken() -> list[Row]:
        raise RuntimeError("no such kernel")

    def absent() -> list[Row]:
        raise ConfigError("Key 'executor' not in 'Config'; full_key: executor")

    session = make_session()
    session.attempt("b", "one", 10**6, broken)
    session.attempt("b", "two", 1, absent)
    late = make_session(minutes=1e-9, size="gpu")
    late.attempt("b", "three", 1, broken)
    statuses = [row.status for row in (*session.rows, *late.rows)]
    assert statuses == [
        "failed: RuntimeError: no such kernel",
        "not available: Key 'executor' not in 'Config'",
        "skipped: 0 s were left, 1 needed",
    ]
