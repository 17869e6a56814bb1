"""A report as a browser reads it."""

from html.parser import HTMLParser

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
        self.texts.append(" ".join(data.split()))
        if {"td", "th"} & set(self.unclosed):
            self.tables[-1][-1][-1] += data

    @property
    def sources(self) -> list[str]:
        """What its pictures are."""
        return [value for name, value in self.attributes if name == "src"]

    def check_loads_nothing(self) -> None:
        """Every tag is closed, and nothing is run or loaded from outside."""
        assert self.unclosed == []
        assert not {"script", "link", "iframe", "object", "embed"} & set(self.tags)
        assert [name for name, _ in self.attributes if name in ("href", "srcset", "action")] == []
        assert all(source.startswith("data:image/png;base64,") for source in self.sources)
        for outside in (b"http:", b"https:", b"url(", b"@import"):
            assert outside not in self.content
