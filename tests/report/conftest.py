"""Opens pages in a headless Chromium, if there is one."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

OpenPage = Callable[[Path, int, int], Any]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium; skips the test with the reason if it is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no browser: playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no browser: neither chromium, chromium-browser nor google-chrome is on the PATH")
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[OpenPage]:
    """Opens a page from disk: open_page(path, width, height).

    Fails afterwards if a page wrote errors or warnings to the console, or requested anything but itself.
    """
    contexts, complaints, asked = [], [], []
    opened = set()

    def open_(path: Path, width: int, height: int) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        opened.add(path.resolve().as_uri())
        page.goto(path.resolve().as_uri())
        return page

    yield open_
    for context in contexts:
        context.close()
    assert [words for words in complaints if not words.startswith(("log:", "info:", "debug:"))] == []
    assert [url for url in asked if url not in opened and not url.startswith(("data:", "blob:"))] == []
