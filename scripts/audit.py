"""Asks a database of known vulnerabilities about every package of requirements.lock, by pip-audit.

Exit code 0: none is known, or the database cannot be asked, which is said; 1: some are; 2: the lock cannot be read.
"""

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"
ANSWER_SECONDS, SECONDS = 5, 180
"""For one answer of the database, and for all of them."""
UNREACHABLE = re.compile(r"connect|timed? ?out|resol|ServiceError|HTTPError|SSLError|ProxyError", re.IGNORECASE)
OPTIONS = ("--require-hashes", "--disable-pip", "--vulnerability-service=osv", "--progress-spinner=off")


def main() -> int:
    """Audits; the exit code."""
    if importlib.util.find_spec("pip_audit") is None:
        print("audit: nothing was audited: pip-audit is not installed (make audit installs it)")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        command = [sys.executable, "-m", "pip_audit", f"--requirement={LOCK}", *OPTIONS]
        command += [f"--timeout={ANSWER_SECONDS}", "--format=json", f"--output={answer}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            print(f"audit: nothing was audited: the database has not answered in {SECONDS} s")
            return 0
        if answer.is_file():
            return discriminate(json.loads(answer.read_text(encoding="utf-8")))
    reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:300]
    if UNREACHABLE.search(reason):
        print(f"audit: nothing was audited: the database of vulnerabilities cannot be reached ({reason})")
        return 0
    print(f"audit: pip-audit failed: {reason}")
    return 2


def discriminate(answer: dict[str, Any]) -> int:
    """Prints what pip-audit's JSON tells; 1 where there is a finding."""
    packages = answer["dependencies"]
    found = [(package, known) for package in packages for known in package.get("vulns", [])]
    for package, known in found:
        fixed = ", ".join(known["fix_versions"]) or "no version"
        print(f"audit: {package['name']} {package['version']}: {known['id']}, fixed in {fixed}")
    asked = len([package for package in packages if "version" in package])
    print(f"audit: {asked} packages of {LOCK.name}, {len(found)} known vulnerabilities")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
