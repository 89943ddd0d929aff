"""What the audit of the packages says and ends with, over answers as pip-audit writes them."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scripts import audit

OFFLINE = (
    "Traceback (most recent call last):\n  ...\nrequests.exceptions.ConnectionError: Max retries exceeded with url: "
    '/v1/query (Caused by NameResolutionError("Failed to resolve"))\n'
)
SLOW = "ERROR:pip_audit._cli:Could not connect to OSV's vulnerability feed\n"
BROKEN = "ERROR:pip_audit._cli:requirement jinja2==3.1.6 does not contain a hash\n"
WITHOUT = {"name": "torch", "version": "2.11.0", "vulns": []}
KNOWN = {"name": "jinja2", "version": "3.1.0", "vulns": [{"id": "CVE-1", "fix_versions": ["3.1.3"], "aliases": []}]}
SKIPPED = {"name": "odd", "skip_reason": "no version"}


@pytest.mark.parametrize(
    ("answer", "errors", "code", "words"),
    [
        ([WITHOUT, SKIPPED], "", 0, "1 packages of requirements.lock, 0 known vulnerabilities"),
        ([WITHOUT, KNOWN], "Found 1 known vulnerability", 1, "jinja2 3.1.0: CVE-1, fixed in 3.1.3"),
        (None, OFFLINE, 0, "nothing was audited: the database of vulnerabilities cannot be reached"),
        (None, SLOW, 0, "nothing was audited: the database of vulnerabilities cannot be reached"),
        (None, BROKEN, 2, "does not contain a hash"),
        (None, "", 2, "exit code 1"),
    ],
)
def test_a_finding_ends_it_with_1_and_no_network_with_0(
    answer: list[dict[str, Any]] | None,
    errors: str,
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        assert options["timeout"] <= audit.SECONDS
        assert "--require-hashes" in command
        (place,) = (Path(word.partition("=")[2]) for word in command if word.startswith("--output="))
        if answer is not None:
            place.write_text(json.dumps({"dependencies": answer, "fixes": []}))
        return subprocess.CompletedProcess(command, 1 if errors or answer is None else 0, "", errors)

    monkeypatch.setattr(audit.importlib.util, "find_spec", lambda _: object())
    monkeypatch.setattr(audit.subprocess, "run", run)
    assert audit.main() == code
    assert words in capsys.readouterr().out


def test_a_database_that_does_not_answer_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(command: list[str], **options: Any) -> None:
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setattr(audit.importlib.util, "find_spec", lambda _: object())
    monkeypatch.setattr(audit.subprocess, "run", run)
    assert audit.main() == 0
    assert "has not answered" in capsys.readouterr().out


def test_without_pip_audit_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(audit.importlib.util, "find_spec", lambda _: None)
    assert audit.main() == 0
    assert "pip-audit is not installed" in capsys.readouterr().out
