"""Why the arena is as large as it is, in words."""

from __future__ import annotations

from collections.abc import Sequence

from edgeinfer.convert.draw.buffers import (
    BufferUses,
    band_of,
    buffer_label,
    buffer_uses,
    bytes_in_use,
    ring_of,
    short_name,
    touched_by,
)
from edgeinfer.convert.model_file import FileProgram
from edgeinfer.printing import printable

_MOST_NAMED = 3  # tensors that wait; more are counted


def peak_sentence(program: FileProgram) -> str:
    """How full the arena is where it is fullest, in a line."""
    node = program.nodes[program.steps[program.peak_step].node]
    live = [
        buffer
        for buffer in program.buffers
        if buffer.region == "arena" and buffer.first_step <= program.peak_step <= buffer.last_step
    ]
    used = bytes_in_use(program)[program.peak_step]
    return (
        f"{used:,} bytes are in use at step {program.peak_step}, {node.operator} "
        f"{short_name(node.name)}: {len(live)} buffers; the arena has {program.arena_bytes:,}"
    )


def explain_peak(program: FileProgram) -> str:
    """The sentence that says what fills the arena at its peak: read, written, and waiting.

    A ring is given as the rows that are held of the rows that the tensor has.
    """
    peak = program.peak_step
    step = program.steps[peak]
    read, written = (
        [b for b in buffers if program.buffers[b].region == "arena"]
        for buffers in touched_by(program, peak)
    )
    live = [
        index
        for index, buffer in enumerate(program.buffers)
        if buffer.region == "arena" and buffer.first_step <= peak <= buffer.last_step
    ]
    waiting = [b for b in live if b not in read and b not in written]
    parts = []
    if read:
        parts.append(f"reads {_listed([_held(program, b) for b in read])}")
    fresh = [b for b in written if b not in read]
    if fresh:
        parts.append(f"writes {_listed([_held(program, b) for b in fresh])}")
    elif written:
        parts.append("writes its result over it")
    rows = program.nodes[step.node].outputs[0].rows
    band = "" if (step.row_begin, step.row_end) == (0, rows) else f" ({band_of(program, peak)})"
    sentence = f"Memory peaks in step {peak}, {_node(program, peak)}{band}"
    if parts:
        sentence += f": it {' and '.join(parts)}"
    if waiting:
        sentence += f", while {_waits(program, waiting, buffer_uses(program))}"
    total = bytes_in_use(program)[peak]
    unused = program.arena_bytes - total
    common = sum(program.buffers[b].bytes for b in live) - total
    rest = ""
    if common:
        rest = f", {common:,} of them a graph input's and of what takes the place of its dead rows"
    rest += f"; {unused:,} of the arena lie unused between them" if unused > 0 else ""
    return f"{sentence}. Together {total:,} bytes{rest}."


def _node(program: FileProgram, step: int) -> str:
    node = program.nodes[program.steps[step].node]
    return f"{node.operator} {short_name(node.name)}".strip()


def _held(program: FileProgram, buffer: int) -> str:
    name = printable(buffer_label(program, buffer)) or f"buffer {buffer}"
    ring = ring_of(program, buffer)
    rows = f", {ring.ring_rows} of {ring.rows} rows" if ring else ""
    if ring and program.buffers[buffer].is_input:
        rows += ", fed by rows"
    return f"{name} ({program.buffers[buffer].bytes:,} bytes{rows})"


def _waits(program: FileProgram, waiting: Sequence[int], uses: Sequence[BufferUses]) -> str:
    """What waits for what: the largest by name, those that wait for the same step together."""
    largest = sorted(waiting, key=lambda b: -program.buffers[b].bytes)
    named, others = largest[:_MOST_NAMED], largest[_MOST_NAMED:]
    by_reason: dict[tuple[str, str], list[str]] = {}
    for buffer in named:
        step = uses[buffer].next_after(program.peak_step)
        if step is not None:
            reason = ("waits", f" for step {step}, {_node(program, step)}")
        else:
            reason = (
                "is",
                " kept for the caller" if program.buffers[buffer].is_output else " kept",
            )
        by_reason.setdefault(reason, []).append(_held(program, buffer))
    parts = []
    for (verb, rest), held in by_reason.items():
        plural = {"waits": "wait", "is": "are"}[verb]
        parts.append(f"{_listed(held)} {verb if len(held) == 1 else plural}{rest}")
    if others:
        size = sum(program.buffers[b].bytes for b in others)
        what = "another one" if len(others) == 1 else f"{len(others)} others"
        parts.append(f"{what} ({size:,} bytes) {'waits' if len(others) == 1 else 'wait'} too")
    return "; ".join(parts)


def _listed(parts: Sequence[str]) -> str:
    if len(parts) < 2:
        return "".join(parts)
    comma = "," if len(parts) > 2 else ""
    return f"{', '.join(parts[:-1])}{comma} and {parts[-1]}"
