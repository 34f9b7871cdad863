"""What a shared library asks of the system that loads it, read from the ELF file itself.

Enough of the format for wheels: 32 and 64 bit, little-endian, sections present. Nothing need be
installed to read a library of another architecture.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SHT_SYMTAB, _SHT_DYNAMIC, _SHT_DYNSYM, _SHT_VERNEED = 2, 6, 11, 0x6FFFFFFE
_STT_FUNC, _STT_FILE = 2, 4
_DT_NEEDED, _DT_SONAME = 1, 14


class ElfError(Exception):
    """Not a file of the kind that this module reads."""


@dataclass(frozen=True)
class SharedLibrary:
    """One shared library."""

    machine: int
    """e_machine."""
    bits: int
    flags: int
    """e_flags; on ARM, 0x400 stands for arguments in float registers."""
    soname: str
    needed: tuple[str, ...]
    """Libraries that it is linked with."""
    versions: dict[str, tuple[str, ...]]
    """Versions of symbols wanted from each of them."""
    exported: frozenset[str]
    imported: frozenset[str]

    def newest(self, prefix: str) -> tuple[int, ...]:
        """The newest version wanted among those of one prefix (`GLIBC_`); () if there is none."""
        wanted = [v for found in self.versions.values() for v in found if v.startswith(prefix)]
        return max((_numbers(v.removeprefix(prefix)) for v in wanted), default=())


def _numbers(version: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in version.split("."))
    except ValueError:
        raise ElfError(f"a symbol version that is no number: {version!r}") from None


@dataclass(frozen=True)
class _Section:
    kind: int
    data: bytes
    link: int
    info: int
    address: int
    offset: int


def read_library(path: Path) -> SharedLibrary:
    """Read a shared library.

    Raises
    ------
    ElfError
        The file is no little-endian ELF shared library.
    """
    data, wide = _load(path)
    try:
        return _parse(data, wide)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ElfError(f"{path.name}: {error}") from error


@dataclass(frozen=True, order=True)
class Function:
    """A function of a library that has symbols."""

    offset: int
    """In the file."""
    size: int
    name: str
    source: str
    """File that a function of internal linkage is from, if the library says so; else empty."""
    address: int


def read_functions(path: Path) -> list[Function]:
    """The functions in the order of their addresses; none where symbols were stripped.

    Raises
    ------
    ElfError
        The file is no little-endian ELF file.
    """
    data, wide = _load(path)
    try:
        _, sections = _sections(data, wide)
        return sorted(_functions(sections, wide))
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ElfError(f"{path.name}: {error}") from error


def _functions(sections: list[_Section], wide: bool) -> Iterator[Function]:
    for section in sections:
        if section.kind != _SHT_SYMTAB:
            continue
        strings = sections[section.link].data
        source = ""
        for entry in struct.iter_unpack("<IBBHQQ" if wide else "<IIIBBH", section.data):
            if wide:
                name, info, _, index, value, size = entry
            else:
                name, value, size, info, _, index = entry
            kind, is_local = info & 15, info >> 4 == 0
            if kind == _STT_FILE:  # of the local symbols that follow
                source = _text(strings, name)
            elif kind == _STT_FUNC and 0 < index < len(sections):
                home = sections[index]
                offset = value - home.address + home.offset
                origin = source if is_local else ""
                yield Function(offset, size, _text(strings, name), origin, value)


def _load(path: Path) -> tuple[bytes, bool]:
    """The file, and whether it is of 64 bit."""
    data = path.read_bytes()
    if data[:4] != b"\x7fELF" or data[5:6] != b"\1":
        raise ElfError(f"{path.name} is no little-endian ELF file")
    return data, data[4] == 2


def _sections(data: bytes, wide: bool) -> tuple[tuple[int, ...], list[_Section]]:
    """The header and the sections."""
    header = struct.unpack_from("<HHIQQQIHHHHHH" if wide else "<HHIIIIIHHHHHH", data, 16)
    size, count = header[10], header[11]
    return header, [_section(data, header[5] + i * size, wide) for i in range(count)]


def _parse(data: bytes, wide: bool) -> SharedLibrary:
    header, sections = _sections(data, wide)
    machine, flags, count = header[1], header[6], len(sections)
    needed: list[str] = []
    soname = ""
    exported: set[str] = set()
    imported: set[str] = set()
    versions: dict[str, tuple[str, ...]] = {}
    for section in sections:
        strings = sections[section.link].data if section.link < count else b""
        if section.kind == _SHT_DYNAMIC:
            for tag, value in struct.iter_unpack("<QQ" if wide else "<II", section.data):
                if tag == _DT_NEEDED:
                    needed.append(_text(strings, value))
                elif tag == _DT_SONAME:
                    soname = _text(strings, value)
        elif section.kind == _SHT_DYNSYM:
            for name, index in _symbols(section.data, wide):
                (exported if index else imported).add(_text(strings, name))
        elif section.kind == _SHT_VERNEED:
            versions = _versions(section, strings)
    return SharedLibrary(
        machine,
        64 if wide else 32,
        flags,
        soname,
        tuple(needed),
        versions,
        frozenset(exported - {""}),
        frozenset(imported - {""}),
    )


def _section(data: bytes, at: int, wide: bool) -> _Section:
    fields = struct.unpack_from("<IIQQQQIIQQ" if wide else "<IIIIIIIIII", data, at)
    _, kind, _, address, offset, size, link, info = fields[:8]
    held = data[offset : offset + size] if kind != 8 else b""  # SHT_NOBITS has none
    return _Section(kind, held, link, info, address, offset)


def _symbols(data: bytes, wide: bool) -> list[tuple[int, int]]:
    """Name and section index of each; index 0 is a symbol that another library has."""
    if wide:
        return [(name, index) for name, _, _, index, _, _ in struct.iter_unpack("<IBBHQQ", data)]
    return [(name, index) for name, _, _, _, _, index in struct.iter_unpack("<IIIBBH", data)]


def _versions(section: _Section, strings: bytes) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    at = 0
    for _ in range(section.info):
        _, count, file, first, following = struct.unpack_from("<HHIII", section.data, at)
        names = []
        entry = at + first
        for _ in range(count):
            _, _, _, name, step = struct.unpack_from("<IHHII", section.data, entry)
            names.append(_text(strings, name))
            entry += step
        found[_text(strings, file)] = tuple(names)
        at += following
    return found


def _text(strings: bytes, at: int) -> str:
    return strings[at : strings.index(b"\0", at)].decode()
