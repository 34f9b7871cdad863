"""`edgeinfer run --report-memory`: what a session was planned to take, and what it takes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgeinfer.budget import format_bytes
from edgeinfer.cli.session_memory import SessionMemory
from edgeinfer.printing import format_table
from edgeinfer.source_format import HEAD_BYTES, source_format


@contextmanager
def as_edge_file(path: Path, custom_ops: Sequence[str]) -> Iterator[Path | int]:
    """The model as an .edge file; a .tflite or .onnx one is converted by another process.

    The memory that converting takes would hide what is to be measured. Where it fails, what comes
    is the other command's exit code; it has said why.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if source_format(head, path.suffix.lower()) is None:
        yield path
        return
    with TemporaryDirectory(prefix="edgeinfer-") as folder:
        target = Path(folder) / "model.edge"
        command = [sys.executable, "-m", "edgeinfer", "convert", str(path), "-o", str(target)]
        for operators in custom_ops:
            command += ["--custom-ops", operators]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        yield target if done.returncode == 0 else done.returncode


def as_text(found: SessionMemory) -> str:
    """The report for people."""
    threads = "1 thread" if found.threads == 1 else f"{found.threads} threads"
    rows = [
        ("arena", found.arena_bytes),
        ("state", found.state_bytes),
        ("scratch", found.scratch_bytes),
        ("bookkeeping", found.bookkeeping_bytes),
        ("session", found.session_bytes),
        ("threads beyond the first", found.thread_bytes),
    ]
    planned = "\n".join(f"  {name:<26}{size:>14,}" for name, size in rows)
    phases = format_table(
        ("", "resident", "of it no file's", "minor faults", "major faults", "malloc"),
        [
            (
                phase.name,
                _number(phase.resident_bytes),
                _number(phase.anonymous_bytes),
                f"{phase.minor_faults:,}",
                f"{phase.major_faults:,}",
                _number(phase.malloc_bytes),
            )
            for phase in found.phases
        ],
        right=(1, 2, 3, 4, 5),
    )
    return "\n".join(
        [
            f"planned, bytes ({found.tier}, {threads})",
            planned,
            "",
            "the process grows by, bytes",
            *(f"  {line}" for line in phases.splitlines()),
            "",
            "measured",
            *(f"  {line}" for line in _measured(found)),
        ]
    )


def as_data(found: SessionMemory) -> dict[str, Any]:
    """The report for scripts: planned and measured apart, None for what this system lacks."""
    data = asdict(found)
    keys = ("arena_bytes", "state_bytes", "scratch_bytes", "bookkeeping_bytes", "session_bytes")
    planned = {key: data.pop(key) for key in (*keys, "thread_bytes", "planned_pages")}
    ran = {key: data.pop(key) for key in ("tier", "threads")}
    return {**ran, "planned": planned, "measured": data}


def _measured(found: SessionMemory) -> list[str]:
    total = found.session_bytes + found.thread_bytes
    pages = _unknown("mincore")
    if found.session_pages is not None:
        held = found.session_pages * found.page_bytes
        pages = (
            f"{found.session_pages:,} of {found.planned_pages:,} pages touched, "
            f"{format_bytes(held)}; planned {total:,}"
        )
    stack = _unknown("makecontext")
    if found.stack_bytes is not None:
        stack = f"{format_bytes(found.stack_bytes)} to the deepest byte that a run writes"
    by_rows = ", by a run that is fed by rows" if found.fed_by_rows else ""
    lines = [
        f"session's memory: {pages}",
        f"arena: {found.arena_bytes_written:,} of {found.arena_bytes:,} bytes written{by_rows}",
        f"beside the session's memory: {found.bytes_written_outside:,} bytes written",
        f"stack of the calling thread: {stack}",
    ]
    lines += [
        f"stack of thread {number}, in the session's memory: {format_bytes(size)}"
        for number, size in enumerate(found.thread_stack_bytes, 1)
    ]
    if found.file_resident_bytes is not None:
        lines.append(
            f"model file: {format_bytes(found.file_resident_bytes)} resident, shared with whoever "
            "maps it; the system may drop them"
        )
    return lines


def _unknown(function: str) -> str:
    return f"not measured, for this C library has no {function}"


def _number(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"
