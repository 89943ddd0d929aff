"""Whatever the words, the trees and the files: it is accepted whole, or refused in one short and readable line."""

import contextlib
import dataclasses
import faulthandler
import importlib
import json
import math
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gantrain.cli import (
    check_command_line,
    compose_config,
    count_values,
    parse_overrides,
    with_literal_resume,
)
from gantrain.commands import COMMANDS
from gantrain.commands.options import key_of, parse_words
from gantrain.config import Config, ConfigError, flatten, from_dict, from_omegaconf, to_dict
from gantrain.errors import describe_error, readable
from gantrain.run_io.metrics_jsonl import METRICS, RunFolderError
from gantrain.run_io.run_folder import CONFIG, JOB, RUN, SWEEP
from gantrain.run_io.run_reader import find_runs, read_run
from gantrain.run_io.status import STATUS, Status, read_status
from gantrain.sweeps.driver import Sweep, is_sweep, prepare, summary, taken_up, under_way
from tests.faults.fuzzing import (
    KNOWN,
    broken_text,
    configurations,
    examples,
    fitting_words,
    swept_words,
    values,
    words,
)

LONGEST = 2_000  # characters of an error
HANGS_AFTER = 120  # seconds in which one example has to end; the slowest takes two

SMALL, LARGE = 5e-324, 1.7976931348623157e308
RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, 2**63 - 1),
    "model.width": (1, 2048),
    "model.d_width": (1, 2048),
    "model.latent_dim": (1, 65536),
    "model.g_dropout": (0, 1),
    "model.d_dropout": (0, 1),
    "model.virtual_reference": (2, 4096),
    "loss.alpha_disc": (-LARGE, LARGE),
    "loss.alpha_gen": (-LARGE, LARGE),
    "loss.label_smoothing": (0, 1),
    "loss.max_log_ratio": (SMALL, LARGE),
    **{f"regularizer.{key}": (0, LARGE) for key in ("gp", "dragan", "r1", "r2", "clip")},
    "regularizer.interval": (1, 10**6),
    "cond.weight_d": (0, LARGE),
    "cond.weight_g": (0, LARGE),
    "augment.p": (0, 1),
    "augment.target": (-1, 1),
    "augment.speed_images": (1, 10**12),
    "tricks.instance_noise": (0, LARGE),
    "tricks.instance_noise_until": (SMALL, 1),
    "tricks.top_k": (SMALL, 1),
    "tricks.top_k_decay": (SMALL, 1),
    "tricks.history": (0, 10**6),
    "optimizer.lr_g": (SMALL, 1),
    "optimizer.lr_d": (SMALL, 1),
    **{f"optimizer.beta{n}_{side}": (0, 1) for n in (1, 2) for side in "gd"},
    "optimizer.grad_clip_norm": (0, LARGE),
    "schedule.steps": (1, 10**9),
    "schedule.d_steps": (1, 1000),
    "schedule.early_d_steps": (0, 1000),
    "schedule.early_until": (0, 10**9),
    "schedule.early_every": (0, 10**9),
    "schedule.batch_size": (2, 65536),
    "schedule.lr_decay_from": (0, 1),
    "schedule.ema_decay": (0, 1),
    "data.image_size": (32, 64),
    "data.means": (-1000, 1000),
    "data.stds": (SMALL, 1000),
    "data.weights": (SMALL, 1e6),
    "metrics.every_steps": (0, 10**9),
    "metrics.samples": (2, 10**7),
    "metrics.reference_samples": (2, 10**7),
    "metrics.batch_size": (1, 65536),
    **{f"log.{key}_every_steps": (1, 10**9) for key in ("grids", "checkpoint")},
    "log.every_steps": (1, 10**9),
    "log.diagnostics_every_steps": (0, 10**9),
    "log.grid_images": (1, 1024),
    "sweep.prune_percentile": (0, 100),
    "sweep.prune_after": (1, 10**6),
    "sweep.prune_from": (0, 1),
}
"""What the documentation says of each number, told here once more."""


@pytest.fixture(autouse=True)
def _nothing_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An empty folder of work, which stays empty; a hang ends with the stack that hangs."""
    place = tmp_path / "empty"
    place.mkdir()
    monkeypatch.chdir(place)
    yield
    faulthandler.cancel_dump_traceback_later()
    assert not any(place.iterdir())


def refusal(act: Callable[[], object]) -> str | None:
    """The words by which it is refused, of the promised form; None where it is accepted."""
    faulthandler.dump_traceback_later(HANGS_AFTER, exit=True)
    try:
        act()
    except Exception as error:
        found = describe_error(error)
        if found is None:
            raise
        code, told = found
        assert code == 2, told
        assert 0 < len(told) <= LONGEST
        assert told.isprintable(), repr(told)
        assert not any(Path().iterdir())
        return told
    return None


def numbers(value: object) -> Iterator[float]:
    """All within, but true and false."""
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from numbers(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def holds(config: Config) -> None:
    """Every number is finite and within its documented range; it is the same after a way through each form."""
    tree = to_dict(config)
    for key, value in flatten(tree).items():
        for number in numbers(value):
            low, high = RANGES[key]
            assert low <= number <= high, (key, number)
            assert math.isfinite(number)
    assert from_dict(tree) == config
    assert from_dict(json.loads(json.dumps(tree, allow_nan=False))) == config
    assert from_dict(yaml.safe_load(yaml.safe_dump(tree, allow_unicode=True))) == config


def trained(given_words: list[str]) -> Config:
    """As training takes its words."""
    literal = with_literal_resume(given_words)
    check_command_line(literal)
    return from_omegaconf(compose_config(literal))


def test_every_number_has_its_range_here() -> None:
    kinds = {
        key for key, default in KNOWN.items() if isinstance(default, int | float) and not isinstance(default, bool)
    }
    assert kinds <= set(RANGES) <= set(KNOWN)


@pytest.mark.slow
@examples(75)
@given(words())
def test_words_of_training(given_words: list[str]) -> None:
    accepted: list[Config] = []
    if refusal(lambda: accepted.append(trained(given_words))) is None:
        holds(accepted[0])


@pytest.mark.slow
@examples(35)
@given(fitting_words())
def test_words_that_fit(given_words: list[str]) -> None:
    accepted: list[Config] = []
    if refusal(lambda: accepted.append(trained(given_words))) is None:
        holds(accepted[0])


@examples(40)
@given(swept_words())
def test_words_of_a_sweep(given_words: list[str]) -> None:
    def sweep() -> None:
        assert is_sweep(["--multirun", *given_words])
        check_command_line(["--multirun", *given_words])
        prepare(["--multirun", *given_words])

    refusal(sweep)


@st.composite
def command_words(draw: st.DrawFn) -> tuple[str, list[str]]:
    command = draw(st.sampled_from(sorted(COMMANDS)))
    fields = dataclasses.fields(options_of(command))
    names = [key_of(f.name) for f in fields]
    pair = st.builds(lambda key, value: f"{key}={value}", st.sampled_from((*names, *names, "x", "")), values())
    wanted = [
        f"{key_of(f.name)}=x" for f in dataclasses.fields(options_of(command)) if f.default is dataclasses.MISSING
    ]
    return command, [*draw(st.sampled_from(([], wanted))), *draw(st.lists(st.one_of(pair, values()), max_size=3))]


def options_of(command: str) -> type:
    found: type = importlib.import_module(f"gantrain.commands.{command}").Options
    return found


@examples(95)
@given(command_words())
def test_words_of_a_command(drawn: tuple[str, list[str]]) -> None:
    command, given_words = drawn

    def read() -> None:
        with contextlib.suppress(SystemExit):
            asked = parse_words(options_of(command), command, given_words)
            for name, member in vars(type(asked)).items():
                if isinstance(member, property):
                    getattr(asked, name)
            floats = [value for value in dataclasses.asdict(asked).values() if isinstance(value, float)]
            assert all(map(math.isfinite, floats))

    refusal(read)


@examples(60)
@given(configurations())
def test_a_configuration_of_a_hostile_checkpoint(tree: dict[Any, Any]) -> None:
    accepted: list[Config] = []
    if refusal(lambda: accepted.append(from_dict(tree))) is None:
        holds(accepted[0])


FILES = {
    RUN: ("time", "command", "versions", "step"),
    JOB: ("job", "overrides", "config"),
    STATUS: (
        "state",
        "step",
        "steps",
        "metric_values",
        "best",
        "findings",
        "reason",
        "value",
        "host",
        "pid",
        "seconds",
    ),
    CONFIG: ("seed", "name", "model", "schedule"),
    METRICS: ("step", "kind", "name", "protocol", "value", "loss/g"),
    SWEEP: ("words", "jobs", "starts"),
}


def read_all(place: Path) -> None:
    """A run in a sweep, as reports, watchers and drivers read it."""
    for run in find_runs([place]):
        record = read_run(run)
        assert (record.name, record.grids, record.findings) == ("run", {}, record.findings)
        assert isinstance(record.measured, dict)
        record.series("loss/g")


@examples(45)
@given(st.sampled_from(sorted(FILES)).flatmap(lambda name: st.tuples(st.just(name), broken_text(FILES[name]))))
def test_files_of_a_run(tmp_path_factory: pytest.TempPathFactory, drawn: tuple[str, bytes]) -> None:
    name, content = drawn
    place = tmp_path_factory.mktemp("sweep")
    run = place / "run"
    run.mkdir()
    (run / CONFIG).write_text("{}")
    ((place if name == SWEEP else run) / name).write_bytes(content)
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    refusal(lambda: read_all(place))
    refusal(lambda: taken_up([f"sweep.resume={place}"]))
    refusal(lambda: summary(Sweep(place, [], None, [])))
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
    refusal(lambda: begin(place))


def begin(place: Path) -> None:
    with under_way(Sweep(place, [], None, []), []):
        pass


REFUSED = {
    "a value nested three thousand deep": (["data.means=" + "[" * 3000 + "]" * 3000], "nested too deep"),
    "a number of five thousand digits": (["seed=" + "9" * 5000], "digits"),
    "a mean that no float holds": (
        ["data=mixture", "model=mlp", f"data.means=[[{'9' * 400},1]]", "data.stds=[1]"],
        "between -1000 and 1000",
    ),
    "a rate that no float holds": (["optimizer.lr_g=" + "9" * 400], "optimizer.lr_g"),
    "a group that is null": (["model=null"], "model"),
    "Hydra as a value": (["hydra=1"], "hydra"),
    "a tree for the name of a group": (["model=[{}]"], "model=[{}]"),
    "a name of a hundred thousand letters": (["name=" + "a" * 100_000], "characters left out"),
    "a key of a hundred thousand letters": (["a" * 100_000 + "=1"], "--help lists them all"),
    "an escape sequence": (["\x1b[2J=1"], "\\x1b[2J"),
    "a lone surrogate": (["name='\ud800'"], "\\ud800"),
    "a direction of text turned round": (["\u202e=1"], "\\u202e"),
    "a place with a NUL in it": (["hydra.run.dir='a\x00b'"], "no file system"),
    "a place with a surrogate in it": (["hydra.run.dir='a\ud800b'"], "no file system"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    given_words, told = REFUSED[name]
    found = refusal(lambda: trained(given_words))
    assert found is not None
    assert told in found


REFUSED_SWEEPS = {
    "more jobs than anyone waits for": (["seed=range(0,1000000000000)"], "asks for 1,000,000,000,000 jobs"),
    "as many in small steps": (["optimizer.lr_g=range(0.0,1.0,1e-12)"], "asks for 1,000,000,000,0"),
    "as many shuffled": (["seed=shuffle(range(0,1000000000000))"], "at most 10,000"),
    "as many of several keys": (["seed=range(0,200)", "model.width=range(1,200)"], "the sweep asks for 39,800 jobs"),
    "a range from no number": (["model.width=range(nan,1)"], "does not end"),
    "a range without an end": (["model.width=range(0,1e400)"], "does not end"),
    "a range that stands still": (["seed=range(0,10,0)"], "range"),
    "a range of nothing": (["seed=range(3,0)"], "names no value"),
    "a pattern that nothing fits": (["model=glob(x*)"], "names no value"),
}


@pytest.mark.parametrize("name", REFUSED_SWEEPS)
def test_sweeps_refused(name: str) -> None:
    given_words, told = REFUSED_SWEEPS[name]

    def sweep() -> None:
        check_command_line(["--multirun", *given_words])
        prepare(["--multirun", *given_words])

    found = refusal(sweep)
    assert found is not None
    assert told in found


def test_a_sweep_of_as_many_jobs_as_there_may_be_is_counted() -> None:
    ranges = {
        "range(0,10000)": 10_000,
        "range(10,0,-3)": 4,
        "range(0,1,0.25)": 4,
        "range(0.0,1.0,0.3)": 4,
        "choice(1,2)": 2,
    }
    for swept, count in ranges.items():
        (override,) = parse_overrides([f"seed={swept}"])
        assert count_values(override) == count == len(list(override.sweep_string_iterator()))


def test_a_long_error_keeps_its_beginning_and_its_end() -> None:
    short = "a plain error, with é and 日本, stays as it is"
    assert readable(short) == short
    told = readable("key=" + "\x1b" * 10_000 + " must be short")
    assert told.startswith("key=\\x1b")
    assert told.endswith(" must be short")
    assert len(told) <= LONGEST


def test_a_word_of_a_command_longer_than_a_file_name() -> None:
    found = refusal(lambda: parse_words(options_of("report"), "report", ["x" * 300 + "=1"]))
    assert found is not None
    assert "is not a key of report" in found


@pytest.mark.parametrize("tree", [{"optimizer": {"lr_g": 10**400}}, {"data": {"stds": [10**400]}}])
def test_a_saved_number_that_no_float_holds(tree: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="larger than"):
        from_dict(tree)


def folder_with(place: Path, **contents: str) -> Path:
    """A run's folder with these files."""
    run = place / "run"
    run.mkdir()
    (run / CONFIG).write_text("{}")
    for name, content in contents.items():
        (run / name).write_text(content)
    return run


BROKEN_FILES = {
    "a job that is a tree": (JOB, '{"job": {}}'),
    "words of a job that are a number": (JOB, '{"overrides": 3}'),
    "a configuration of a job that is a list": (JOB, '{"config": [1]}'),
    "starts that are numbers": (RUN, "[1]"),
    "starts nested deep": (RUN, "[" * 100_000),
    "a configuration nested deep": (CONFIG, "[" * 5_000),
    "a configuration that holds itself": (CONFIG, "&a {a: *a}"),
    "a date that is none": (CONFIG, "a: 2020-13-45"),
    "a figure without its protocol": (METRICS, '{"step": 1, "kind": "metric", "name": "fid", "value": 1}\n{}\n'),
    "a step below none": (METRICS, '{"step": -1, "kind": "train"}\n{}\n'),
    "a finding without a name": (METRICS, '{"step": 1, "kind": "doctor"}\n{}\n'),
}


@pytest.mark.parametrize("name", BROKEN_FILES)
def test_a_broken_file_of_a_run(name: str, tmp_path: Path) -> None:
    file, content = BROKEN_FILES[name]
    with pytest.raises(RunFolderError, match=file):
        read_run(folder_with(tmp_path, **{file: content}))


@pytest.mark.parametrize(
    "content",
    [
        *(
            '{"state": 1}',
            '{"state": "gone"}',
            '{"state": "running", "step": "1"}',
            '{"state": "running", "step": true}',
        ),
        *(
            '{"state": "running", "metric_values": [1]}',
            '{"state": "running", "metric_values": {"fid": "1"}}',
            "[" * 100_000,
        ),
        *('{"state": "finished", "best": {"name": "fid"}}', '{"state": "finished", "findings": 3}'),
        *('{"state": "running", "host": 1}', '{"state": "running", "pid": -1}', '{"state": "running", "pid": 1e9}'),
    ],
)
def test_a_status_of_another_form_is_none(content: str, tmp_path: Path) -> None:
    assert read_status(folder_with(tmp_path, **{STATUS: content})) is None


def test_a_number_that_no_process_has_is_not_alive() -> None:
    assert not Status(state="running", host=socket.gethostname(), pid=2**62).is_alive


def test_the_best_by_a_figure_that_is_unknown_is_left_out(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        best = {"name": "x", "headline": "x_ema", "value": 1.0, "step": 1}
        (tmp_path / name / STATUS).write_text(json.dumps({"state": "finished", "best": best}))
    code, told = summary(Sweep(tmp_path, [], 2, []))
    assert code == 0
    assert "  best  " not in told


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"words": "abc", "starts": []}', '{"words": [1], "starts": []}', '{"words": []}', "[" * 10**5],
)
def test_a_broken_sweep_json(content: str, tmp_path: Path) -> None:
    (tmp_path / SWEEP).write_text(content)
    with pytest.raises(ConfigError, match="is no sweep's folder"):
        taken_up([f"sweep.resume={tmp_path}"])
    with pytest.raises(ConfigError, match="is no sweep's folder"):
        begin(tmp_path)
    assert (tmp_path / SWEEP).read_text() == content


def test_a_sweep_of_no_words_is_taken_up(tmp_path: Path) -> None:
    (tmp_path / SWEEP).write_text('{"words": [], "starts": []}')
    assert taken_up([f"sweep.resume={tmp_path}"])[0] == "--multirun"
