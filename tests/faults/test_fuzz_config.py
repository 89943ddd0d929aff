"""Whatever the words, the saved configurations and the files: they are accepted, or refused in one readable message."""

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

from gantrain.cli import checked
from gantrain.commands import COMMANDS
from gantrain.commands.options import key_of, parse_words
from gantrain.config import Config, ConfigError, from_dict, to_dict
from gantrain.config.checks import check_overrides
from gantrain.config.compose import compose
from gantrain.config.overrides import count_values, parse_overrides, with_literal_resume
from gantrain.run_io.metrics_jsonl import METRICS, RunFolderError
from gantrain.run_io.run_folder import CONFIG, HYDRA, JOB, OVERRIDES, RUN, SWEEP
from gantrain.run_io.run_reader import find_runs, read_run
from gantrain.run_io.status import STATUS, Status, read_status
from gantrain.sweeps.driver import Sweep, locked, resumed_words, summarize
from gantrain.system.error_messages import describe_error, readable
from tests.conftest import plan
from tests.faults.fuzzing import broken_text, configurations, examples, swept_words, values, words

LONGEST = 2_000  # characters of an error
HANGS_AFTER = 120  # seconds for one example; the slowest takes two


@pytest.fixture(autouse=True)
def _nothing_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Works in an empty folder, which stays empty; an example that hangs ends with its stack."""
    place = tmp_path / "empty"
    place.mkdir()
    monkeypatch.chdir(place)
    yield
    faulthandler.cancel_dump_traceback_later()
    assert not any(place.iterdir())


def refusal(act: Callable[[], object]) -> str | None:
    """The message of the refusal; None if it is accepted."""
    faulthandler.dump_traceback_later(HANGS_AFTER, exit=True)
    try:
        act()
    except Exception as error:
        found = describe_error(error)
        if found is None:
            raise
        code, text = found
        assert code == 2, text
        assert 0 < len(text) <= LONGEST
        assert text.isprintable(), repr(text)
        return text
    return None


def trained(given_words: list[str]) -> Config:
    """The configuration that training would use."""
    literal = with_literal_resume(given_words)
    overrides = parse_overrides(literal)
    check_overrides(overrides)
    if any(override.is_sweep_override() for override in overrides):
        raise ConfigError("several values")
    return checked(compose(literal, with_hydra=True), literal)


def survives_saving(config: Config) -> None:
    tree = to_dict(config)
    assert from_dict(json.loads(json.dumps(tree, allow_nan=False))) == config, "all numbers are finite"
    assert from_dict(yaml.safe_load(yaml.safe_dump(tree, allow_unicode=True))) == config


@examples(60)
@given(words())
def test_words_of_training(given_words: list[str]) -> None:
    accepted: list[Config] = []
    if refusal(lambda: accepted.append(trained(given_words))) is None:
        survives_saving(accepted[0])


@examples(30)
@given(swept_words())
def test_words_of_a_sweep(given_words: list[str]) -> None:
    refusal(lambda: plan(*given_words))


@examples(30)
@given(configurations())
def test_a_configuration_of_a_damaged_checkpoint(tree: dict[Any, Any]) -> None:
    accepted: list[Config] = []
    if refusal(lambda: accepted.append(from_dict(tree))) is None:
        survives_saving(accepted[0])


OPTIONS: dict[str, Any] = {
    command: importlib.import_module(f"gantrain.commands.{command}").Options for command in COMMANDS
}


@st.composite
def command_words(draw: st.DrawFn) -> tuple[str, list[str]]:
    command = draw(st.sampled_from(sorted(COMMANDS)))
    fields = dataclasses.fields(OPTIONS[command])
    names = [key_of(f.name) for f in fields]
    pair = st.builds(lambda key, value: f"{key}={value}", st.sampled_from((*names, *names, "x", "")), values())
    needed = [f"{key_of(f.name)}=x" for f in fields if f.default is dataclasses.MISSING]
    return command, [*draw(st.sampled_from(([], needed))), *draw(st.lists(st.one_of(pair, values()), max_size=3))]


@examples(60)
@given(command_words())
def test_words_of_a_command(drawn: tuple[str, list[str]]) -> None:
    command, given_words = drawn

    def read() -> None:
        with contextlib.suppress(SystemExit):
            asked = parse_words(OPTIONS[command], command, given_words)
            floats = [value for value in dataclasses.asdict(asked).values() if isinstance(value, float)]
            assert all(map(math.isfinite, floats))

    refusal(read)


FILES = {
    RUN: ("time", "command", "versions", "step"),
    JOB: ("job", "config"),
    str(OVERRIDES): ("seed=1",),
    STATUS: ("state", "step", "steps", "metric_values", "best", "findings", "reason", "host", "pid", "seconds"),
    CONFIG: ("seed", "name", "model", "schedule"),
    METRICS: ("step", "kind", "name", "protocol", "value", "loss/g"),
    SWEEP: ("words", "jobs", "starts"),
}


def read_all(place: Path) -> None:
    """A run in a sweep, as reports and watch read it."""
    for run in find_runs([place]):
        record = read_run(run)
        assert record.name == "run"
        assert isinstance(record.measured, dict)
        record.series("loss/g")


@examples(40)
@given(st.sampled_from(sorted(FILES)).flatmap(lambda name: st.tuples(st.just(name), broken_text(FILES[name]))))
def test_files_of_a_run(tmp_path_factory: pytest.TempPathFactory, drawn: tuple[str, bytes]) -> None:
    name, content = drawn
    place = tmp_path_factory.mktemp("sweep")
    run = folder_with(place)
    ((place if name == SWEEP else run) / name).write_bytes(content)
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    refusal(lambda: read_all(place))
    refusal(lambda: resumed_words([f"sweep.resume={place}"]))
    refusal(lambda: summarize(Sweep(place, [], None, [])))
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
    refusal(lambda: start(place))


def folder_with(place: Path, **contents: str) -> Path:
    run = place / "run"
    (run / HYDRA).mkdir(parents=True)
    for name, content in {CONFIG: "{}", **contents}.items():
        (run / name).write_text(content)
    return run


def start(place: Path) -> None:
    with locked(Sweep(place, [], None, []), []):
        pass


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("data.means=" + "[" * 3000 + "]" * 3000, "nested too deep"),
        ("seed=" + "9" * 5000, "digits"),
        ("optimizer.lr_g=" + "9" * 400, "optimizer.lr_g"),
        ("model=null", "model"),
        ("hydra=1", "hydra"),
        ("model=[{}]", "model=[{}]"),
        ("name=" + "a" * 100_000, "characters left out"),
        ("a" * 100_000 + "=1", "--help lists all keys"),
        ("\x1b[2J=1", "\\x1b[2J"),
        ("name='\ud800'", "\\ud800"),
        ("hydra.run.dir='a\x00b'", "no file system"),
        ("hydra.run.dir='a\ud800b'", "no file system"),
    ],
    ids=lambda value: value[:20],
)
def test_malformed_words_are_refused(word: str, text: str) -> None:
    assert text in (refusal(lambda: trained([word])) or "")


@pytest.mark.parametrize(
    ("given_words", "text"),
    [
        (["seed=range(0,1000000000000)"], "results in 1,000,000,000,000 jobs"),
        (["optimizer.lr_g=range(0.0,1.0,1e-12)"], "results in 1,000,000,000,0"),
        (["seed=shuffle(range(0,1000000000000))"], "the limit is 10,000"),
        (["seed=range(0,200)", "model.width=range(1,200)"], "the sweep results in 39,800 jobs"),
        (["model.width=range(nan,1)"], "is infinite"),
        (["model.width=range(0,1e400)"], "is infinite"),
        (["seed=range(0,10,0)"], "range"),
        (["seed=range(3,0)"], "has no value"),
        (["model=glob(x*)"], "has no value"),
    ],
    ids=str,
)
def test_sweeps_that_are_too_long_or_empty_are_refused(given_words: list[str], text: str) -> None:
    assert text in (refusal(lambda: plan(*given_words)) or "")


@pytest.mark.parametrize(
    ("swept", "count"),
    [("range(0,10000)", 10_000), ("range(10,0,-3)", 4), ("range(0.0,1.0,0.3)", 4), ("choice(1,2)", 2)],
)
def test_values_are_counted(swept: str, count: int) -> None:
    (override,) = parse_overrides([f"seed={swept}"])
    assert count_values(override) == count == len(list(override.sweep_string_iterator()))


def test_a_long_error_keeps_its_beginning_and_end() -> None:
    short = "a plain error with é and 日本 is unchanged"
    assert readable(short) == short
    text = readable("key=" + "\x1b" * 10_000 + " must be short")
    assert text.startswith("key=\\x1b")
    assert text.endswith(" must be short")
    assert len(text) <= LONGEST


@pytest.mark.parametrize("tree", [{"optimizer": {"lr_g": 10**400}}, {"data": {"stds": [10**400]}}])
def test_a_stored_number_beyond_float_range_is_refused(tree: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="larger than"):
        from_dict(tree)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (JOB, '{"job": {}}'),
        (str(OVERRIDES), "[a"),
        (JOB, '{"config": [1]}'),
        (RUN, "[1]"),
        (RUN, "[" * 100_000),
        (CONFIG, "[" * 5_000),
        (CONFIG, "&a {a: *a}"),
        (CONFIG, "a: 2020-13-45"),
        (METRICS, '{"step": 1, "kind": "metric", "name": "fid", "value": 1}\n{}\n'),
        (METRICS, '{"step": -1, "kind": "train"}\n{}\n'),
        (METRICS, '{"step": 1, "kind": "doctor"}\n{}\n'),
    ],
    ids=lambda value: value[:30],
)
def test_a_damaged_file_of_a_run_is_named(file: str, content: str, tmp_path: Path) -> None:
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
            '{"state": "finished", "best": {"name": "fid"}}',
            "[" * 100_000,
        ),
        *('{"state": "running", "host": 1}', '{"state": "running", "pid": -1}', '{"state": "finished", "findings": 3}'),
    ],
    ids=lambda value: value[:40],
)
def test_a_malformed_status_is_ignored(content: str, tmp_path: Path) -> None:
    assert read_status(folder_with(tmp_path, **{STATUS: content})) is None


def test_a_process_id_without_a_process_is_not_alive() -> None:
    assert not Status(state="running", host=socket.gethostname(), pid=2**62).is_alive


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"words": "abc", "starts": []}', '{"words": ["-m"], "starts": []}', '{"words": []}', "[" * 10**5],
    ids=lambda value: value[:20],
)
def test_a_damaged_sweep_json_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / SWEEP).write_text(content)
    for act in (lambda: resumed_words([f"sweep.resume={tmp_path}"]), lambda: start(tmp_path)):
        with pytest.raises(ConfigError, match="is not the folder of a sweep"):
            act()
    assert (tmp_path / SWEEP).read_text() == content
