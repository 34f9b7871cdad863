"""Plans made by hand for the tests of drawings, and what a browser would make of a page."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser

from edgeinfer.convert.model_file import FileBuffer, FileNode, FileProgram, FileStep, FileTensor

_VOID = {"br", "meta"}


def tensor(
    name: str, buffer: int | None, rows: int, row_bytes: int, ring_rows: int | None = None
) -> FileTensor:
    """int8 of one image, `row_bytes` wide."""
    shape = (1, rows, row_bytes, 1)
    held = rows if ring_rows is None else ring_rows
    return FileTensor(name, "int8", shape, buffer, 0, rows, held, row_bytes, 0.5, -3)


def buffer(
    offset: int,
    size: int,
    first: int,
    last: int,
    *,
    is_input: bool = False,
    is_output: bool = False,
) -> FileBuffer:
    """A range of the arena."""
    return FileBuffer("arena", offset, size, first, last, is_input, is_output)


def in_turns(prefix: str = "", *, fed_rows: int | None = None) -> FileProgram:
    """Two convolutions in turn by a row each over a ring, then a sum with what had to wait.

    in (8 rows of 8) -> skip (all at once), in -> a (ring of 2 of 8) -> b, b + skip -> out.
    """
    x = tensor(f"{prefix}in", 0, 8, 8, fed_rows)
    skip = tensor(f"{prefix}skip", 1, 8, 16)
    a = tensor(f"{prefix}a", 2, 8, 32, 2)
    b = tensor(f"{prefix}b", 3, 8, 16)
    out = tensor(f"{prefix}out", 4, 8, 16)
    nodes = (
        FileNode("conv2d", (x,), (skip,), {}, f"{prefix}make skip"),
        FileNode("conv2d", (x,), (a,), {}, f"{prefix}make a"),
        FileNode("depthwise_conv2d", (a,), (b,), {}, f"{prefix}make b"),
        FileNode("add", (b, skip), (out,), {}, f"{prefix}make out"),
    )
    turns = [FileStep(node, row, row + 1) for row in range(8) for node in (1, 2)]
    steps = (FileStep(0, 0, 8), *turns, FileStep(3, 0, 8))
    buffers = (
        buffer(0, x.held_bytes, 0, 15, is_input=True),
        buffer(64, 128, 0, 17),
        buffer(192, 64, 1, 16),
        buffer(256, 128, 2, 17),
        buffer(384, 128, 17, 17, is_output=True),
    )
    return FileProgram(
        name=f"{prefix}main",
        inputs=(x,),
        outputs=(out,),
        tensors=(x, skip, a, b, out),
        buffers=buffers,
        nodes=nodes,
        steps=steps,
        peak_step=2,
        arena_bytes=512,
        state_bytes=0,
        scratch_bytes=0,
        session_bytes=512 + 832,
        weights_bytes=100,
    )


@dataclass
class Element:
    """An element of a page: its tag, attributes, and the text directly and deeper inside it."""

    tag: str
    attributes: dict[str, str]
    text: str = ""
    inside: list[Element] = field(default_factory=list)

    @property
    def classes(self) -> set[str]:
        return set(self.attributes.get("class", "").split())

    @property
    def style(self) -> dict[str, str]:
        parts = [p.partition(":") for p in self.attributes.get("style", "").split(";") if p]
        return {name: value for name, _, value in parts}

    def all(self, tag: str = "", kind: str = "") -> list[Element]:
        """Elements inside, in their order, of a tag and with a class."""
        found = []
        for element in self.inside:
            if (not tag or element.tag == tag) and (not kind or kind in element.classes):
                found.append(element)
            found += element.all(tag, kind)
        return found

    def tags(self) -> Counter[str]:
        return Counter(element.tag for element in self.all())


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        assert len(element.attributes) == len(attrs), f"an attribute of {tag} is there twice"
        self.open[-1].inside.append(element)
        if tag not in _VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag, "elements cross"

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data


def parse_page(page: str) -> Element:
    """The tree of a page whose elements are all closed in their order."""
    assert page.startswith("<!doctype html>\n")
    parser = _Parser()
    parser.feed(page)
    parser.close()
    assert parser.open == [parser.root], "an element is not closed"
    return parser.root
