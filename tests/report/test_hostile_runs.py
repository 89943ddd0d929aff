"""Texts in run folders cannot inject elements or scripts into a page, or control characters into a terminal."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from gantrain.commands import report, watch
from gantrain.formatting import printable
from gantrain.run_io.run_folder import CONFIG, METRICS, REASON, RUN
from gantrain.run_io.status import STATUS
from gantrain.theory.figure import TheoryFigure, as_html
from tests.written_runs import write_request, write_run

HARMLESS = "w-harmless"
HOSTILE = (
    "w-pwn\"'><x-pwn onerror=pwn()><img src=x onerror=pwn()></script><script>pwn()</script></style></title>"
    "<!--{{7*7}}{% raw %}$\\nope{$\u2028javascript:pwn()&lt;\x1b]0;pwn\x07\x1b[2J\x9b2J\r\x08"
)
OF_FOLDERS = "w-pwn\"'><x-pwn onerror=pwn()><img src=x onerror=pwn()>{{7*7}}$\\nope{$\x1b]0;pwn\x07\u2028"  # no slash
KEPT = ("state", "kind", "network", "time", "host")
"""Keys whose values are an enumeration; any other word is a damaged file."""


def tainted(value: Any, word: str, key: str = "") -> Any:
    """A file's content with the word appended to every text."""
    if isinstance(value, dict):
        return {k: tainted(inner, word, str(k)) for k, inner in value.items()}
    if isinstance(value, list):
        return [tainted(inner, word, key) for inner in value]
    return value + word if isinstance(value, str) and key not in KEPT else value


def write(place: Path, word: str, of_folder: str) -> None:
    """Three runs that differ in a text and in a key of that name; one failed, all have a finding."""
    for number in range(3):
        folder = write_run(
            place / f"{number}{of_folder}",
            f"seed={number % 2}",
            f"model.prior={('normal', 'uniform', 'sphere')[number]}",
            steps=20,
            every=10,
            measured={"fid": lambda step, number=number: 30.0 + number + step},  # type: ignore[misc]
            state="failed" if number == 2 else "finished",
            grids=2,
        )
        tree = yaml.safe_load((folder / CONFIG).read_text())
        loss = tree.pop("loss")  # another name is no objective
        tree = tainted(tree, word) | {"loss": loss, word: f"{word}{number}"}
        tree["paper"]["source"] = f"{word}{number}"
        (folder / CONFIG).write_text(yaml.safe_dump(tree, allow_unicode=True))
        write_request(folder, number, [f"{word}={word}"], tree)
        (folder / RUN).write_text(json.dumps(tainted(json.loads((folder / RUN).read_text()), word)))
        status = tainted(json.loads((folder / STATUS).read_text()), word)
        status |= {"reason": word, "findings": [word], "best": {"headline": f"fid{word}_ema", "value": 1.0, "step": 1}}
        status["metric_values"] = {f"fid{word}_ema": 1.0}
        (folder / STATUS).write_text(json.dumps(status))
        rows = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
        rows = [tainted(row, word) | ({f"loss/{word}": 1.0} if row["kind"] == "train" else {}) for row in rows]
        rows += [
            {**row, "name": "fid", "protocol": {**row["protocol"], word: word}}
            for row in rows
            if row["kind"] == "metric"
        ]
        rows.append({"step": 10, "kind": "doctor", "name": word, "evidence": word, "advice": word, "value": 1.0})
        (folder / METRICS).write_text("".join(json.dumps(row) + "\n" for row in rows))
        if number == 2:
            (folder / REASON).write_text(f"{word}\n{word}\n")


class Parsed(HTMLParser):
    """The elements with their attributes' names in order, the scripts, and the URLs."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.urls: list[str] = []
        self.texts: list[str] = []
        self.comments: list[str] = []
        self._in_script = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attributes)))
        self.urls += [str(value) for name, value in attributes if name in ("href", "src", "action", "style")]
        self._in_script = tag == "script"
        if self._in_script:
            self.scripts.append((dict(attributes), ""))

    def handle_data(self, data: str) -> None:
        if self._in_script:
            attributes, text = self.scripts[-1]
            self.scripts[-1] = attributes, text + data
        else:
            self.texts.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


def faults_of(page: str, like: str) -> list[str]:
    """What a page took from its runs as more than text; `like` is the page of harmless runs."""
    parsed, harmless = Parsed(page), Parsed(like)
    found = []
    if parsed.elements != harmless.elements:
        found.append("other elements")
    if parsed.comments != harmless.comments:
        found.append("other comments")
    found += [f"an address: {url[:80]}" for url in parsed.urls if "pwn" in url]
    for attributes, text in parsed.scripts:
        if attributes.get("type") == "application/json":
            json.loads(text)
        elif "pwn" in text and "pwn" in re.sub(r'"(?:[^"\\\n]|\\.)*"', '""', text):
            found.append("a script outside of its strings")
    return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    places = {name: tmp_path_factory.mktemp("runs") for name in ("harmless", "hostile")}
    write(places["harmless"], HARMLESS, HARMLESS)
    write(places["hostile"], HOSTILE, OF_FOLDERS)
    return places


def test_injections_are_found() -> None:
    like = "<p>word</p><script>f(\"word\")</script><a href='#x'>x</a>"
    assert faults_of(like.replace("word", "pwn()"), like) == []
    for page in (
        '<p><x-pwn></p><script>f("")</script><a href="#x">x</a>',
        '<p>w</p><script>f(""); pwn()</script><a href="#x">x</a>',
        '<p>w</p><script>f("")</script><a href="javascript:pwn()">x</a>',
        '<p onclick="pwn()">w</p><script>f("")</script><a href="#x">x</a>',
        '<p>w<!--pwn--></p><script>f("")</script><a href="#x">x</a>',
    ):
        assert faults_of(page, like) != [], page


def test_the_report_escapes_all_texts_of_runs(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pages, printed = {}, {}
    for name, place in runs.items():
        title = HOSTILE if name == "hostile" else HARMLESS
        out = tmp_path / f"{name}.html"
        report.run(report.Options(folders=[str(place)], out=str(out), title=title))
        pages[name], printed[name] = out.read_text(encoding="utf-8"), capsys.readouterr().out
    assert faults_of(pages["hostile"], pages["harmless"]) == []
    texts = "".join(Parsed(pages["hostile"]).texts)
    assert texts.count("<x-pwn onerror=pwn()>") >= 20
    assert "{{7*7}}" in texts
    assert printed["hostile"].count("pwn") > 3
    assert_no_control_characters(printed["hostile"])


def assert_no_control_characters(text: str) -> None:
    assert re.findall(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202e]", text) == []


def test_watch_prints_no_control_characters(runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    watch.run(watch.Options(folders=[str(runs["hostile"])], once=True))
    printed = capsys.readouterr().out
    assert printed.count("pwn") >= 3
    assert_no_control_characters(printed)


def test_printable_replaces_control_characters_only() -> None:
    assert printable("a\x1b]0;title\x07b\x9b2J\r\x00\u202e") == "a\ufffd]0;title\ufffdb\ufffd2J\ufffd\ufffd\ufffd"
    plain = "σ(log r) ≥ 0,5\n\t日本語 – ✓ \U0001f600"
    assert printable(plain) == plain


def test_the_theory_page_escapes_its_command() -> None:
    """Other texts of that page are not from users."""

    def page(word: str) -> str:
        figure = TheoryFigure("1-x", word, word, word, {"": {}}, lambda _: None)
        return as_html([figure], word)

    assert faults_of(page(HOSTILE), page(HARMLESS)) == []


def test_errors_print_no_control_characters(command: Any) -> None:
    code, words = command("loss.gen=\x1b]0;pwn\x07")
    assert code == 2
    assert_no_control_characters(words)
