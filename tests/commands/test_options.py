"""Options of a command: types, lists, refusals."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from gantrain.commands.options import parse_words
from gantrain.config import ConfigError, option


@dataclass(slots=True, kw_only=True)
class Options:
    """Draws things."""

    run: str = option(..., "a folder")
    n: int | None = option(None, "how many")
    width: float = option(1.5, "how wide")
    fast: bool = option(False, "whether")
    class_: str | None = option(None, "which")
    names: list[str] = option(["a"], "names")
    metrics: list[str] | None = option(None, "which metrics")
    sizes: list[int] = option([1], "sizes")


def parse(*words: str) -> Options:
    return parse_words(Options, "draw", list(words))


def test_every_type_is_read() -> None:
    found = parse("run=a=b/c", "n=1_000", "width=2e-3", "fast=true", "class=ship", "names=[x, y]", "sizes=3,4")
    assert found == Options(run="a=b/c", n=1000, width=0.002, fast=True, class_="ship", names=["x", "y"], sizes=[3, 4])
    assert parse("run=x", "n=null", "names=[]") == Options(run="x", names=[])
    assert parse("run=x", "metrics=fid,2", "fast=no") == Options(run="x", metrics=["fid", "2"])
    assert parse("run=x", "metrics=null") == Options(run="x")


@pytest.mark.parametrize("text", ["2024_01", "1e3", "true", "0x10", "a${b}", "a: b", "[a]", "2026-01-31", "'a'"])
def test_text_stays_text(text: str) -> None:
    assert parse(f"run={text}").run == text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "run is missing: a folder"),
        (("here",), "'here' is not key=value"),
        (("run=x", "nam=a"), "did you mean names"),
        (("run=x", "class_=ship"), "'class_' is not a key of draw; did you mean class"),
        (("run=x", "run=y"), "run is given twice"),
        (("run=x", "n=many"), "n='many' must be a whole number"),
        (("run=x", "n=1.5"), "n='1.5' must be a whole number"),
        (("run=x", "width=wide"), "width='wide' must be a number"),
        (("run=x", "fast=maybe"), "fast='maybe' must be true or false"),
        (("run=",), "run= is empty"),
        (("run=x", "sizes=1,b"), "sizes='b' must be a whole number"),
    ],
)
def test_bad_words_are_refused(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(*words)
    assert said in str(error.value)


def test_a_path_without_its_key_is_recognized(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"did you mean run={tmp_path}"):
        parse(str(tmp_path))


def test_help_lists_every_key(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse("--help")
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for line in ("run=...", "n=null", "width=1.5", "fast=false", "class=null", "names=a", "Draws things."):
        assert line in text
