"""A report as a browser reads it."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """What a browser would make of a page: tags, attributes, texts, the cells of tables."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.content = content
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.unclosed: list[str] = []
        self.texts: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.feed(content.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.unclosed.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.unclosed.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"style", "script"} & set(self.unclosed):
            return
        self.texts.append(" ".join(data.split()))
        if {"td", "th"} & set(self.unclosed):
            self.tables[-1][-1][-1] += data

    @property
    def text(self) -> str:
        """All that is read, in order, without what is between words."""
        return " ".join(" ".join(self.texts).split())

    def rows_of(self, table: int) -> list[list[str]]:
        """The cells of a table, without what is between words."""
        return [[" ".join(cell.split()) for cell in row] for row in self.tables[table]]

    def table_with(self, header: str) -> list[list[str]]:
        """The rows of the first table that has such a cell in its first row."""
        for number in range(len(self.tables)):
            if header in (rows := self.rows_of(number))[0]:
                return rows
        raise AssertionError(f"no table has {header!r}")

    def data(self, id_: str) -> Any:
        """What a script element of that name holds as JSON."""
        pattern = rf'<script type="application/json" id="{id_}">(.*?)</script>'
        found = re.search(pattern, self.content.decode(), re.DOTALL)
        assert found is not None, id_
        return json.loads(found[1])

    def check_loads_nothing(self) -> None:
        """Every tag is closed, and nothing is loaded from outside, nor could be.

        A browser runs the page's own style and script, by their digests, and nothing else.
        """
        assert self.unclosed == []
        assert not {"link", "iframe", "object", "embed", "img", "image", "use"} & set(self.tags)
        names = {name for name, _ in self.attributes}
        assert not {"src", "srcset", "action", "style", "xlink:href"} & names
        assert not [name for name in names if name.startswith("on")]
        links = [value for name, value in self.attributes if name == "href"]
        assert all(re.fullmatch(r"#[a-z]+|\.\./[\w.]+/report\.html", link) for link in links)
        for outside in (b"http:", b"https:", b"url(", b"@import"):
            assert outside not in self.content
        text = self.content.decode()
        policies = [value for _, value in self.attributes if value.startswith("default-src 'none'")]
        assert len(policies) == 1
        for tag in ("style", "script"):
            (own,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
            digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
            assert f"{tag}-src 'sha256-{digest}'" in policies[0]
