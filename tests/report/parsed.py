"""Reads the tables of a page with Python's HTML parser."""

from html.parser import HTMLParser


class Tables(HTMLParser):
    """The tables with an id: `heads` by id, `rows` by id as dictionaries from head to (text, data-v)."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.heads: dict[str, list[str]] = {}
        self.rows: dict[str, list[dict[str, tuple[str, str | None]]]] = {}
        self.best: dict[str, list[set[str]]] = {}
        self._table: str | None = None
        self._cell: str | None = None
        self._column = 0
        self._in_head = False
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag == "table" and given.get("id"):
            self._table = given["id"]
            assert self._table is not None
            self.heads[self._table], self.rows[self._table], self.best[self._table] = [], [], []
        if self._table is None:
            return
        if tag in ("thead", "tbody"):
            self._in_head = tag == "thead"
        if tag == "tr" and not self._in_head:
            self.rows[self._table].append({})
            self.best[self._table].append(set())
            self._column = 0
        if tag in ("th", "td"):
            if self._in_head and "data-key" in given:
                self.heads[self._table].append(str(given["data-key"]))
            elif not self._in_head:
                self._cell = self.heads[self._table][self._column]
                self._column += 1
                self.rows[self._table][-1][self._cell] = ("", given.get("data-v"))
                if "best" in str(given.get("class")).split():
                    self.best[self._table][-1].add(self._cell)

    def handle_data(self, data: str) -> None:
        if self._table is not None and self._cell is not None:
            text, value = self.rows[self._table][-1][self._cell]
            self.rows[self._table][-1][self._cell] = (text + data, value)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("th", "td"):
            self._cell = None
        if tag == "table":
            self._table = None
