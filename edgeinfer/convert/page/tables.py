"""The tables of an HTML page of a plan: its buffers and its steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape

from edgeinfer.convert.draw.buffers import (
    band_of,
    buffer_label,
    buffer_names,
    bytes_in_use,
    ring_of,
    short_name,
    touched_by,
)
from edgeinfer.convert.draw.timeline import StepGroup
from edgeinfer.convert.model_file import FileProgram


def buffer_table(program: FileProgram, prefix: str) -> str:
    """A row for each buffer, those of the state too; the number leads to it in the chart."""
    rows = []
    for index, buffer in enumerate(program.buffers):
        at_peak = buffer.first_step <= program.peak_step <= buffer.last_step
        mark = ' class="peak-row"' if at_peak else ""
        ring = ring_of(program, index)
        kinds = [buffer.region] if buffer.region != "arena" else []
        kinds += ["input"] if buffer.is_input else []
        kinds += ["output"] if buffer.is_output else []
        held = ""
        if ring:
            word = "fed by rows, " if buffer.is_input else ""
            held = f"{word}{ring.ring_rows} of {ring.rows}"
        shapes = {f"{t.dtype} {list(t.shape)}": None for t in program.tensors if t.buffer == index}
        names = ", ".join(short_name(name, 60) for name in buffer_names(program, index))
        link = f'<a href="#{prefix}b{index}">{index}</a>' if buffer.region == "arena" else index
        rows.append(
            f"<tr{mark}>"
            f'<td class="n">{link}</td><td class="n">{buffer.offset:,}</td>'
            f'<td class="n">{buffer.bytes:,}</td>'
            f'<td class="n">{buffer.first_step} to {buffer.last_step}</td>'
            f"<td>{held}</td><td>{' '.join(kinds)}</td><td>{escape(', '.join(shapes))}</td>"
            f'<td class="names">{escape(names)}</td></tr>\n'
        )
    head = (
        '<th class="n">buffer</th><th class="n">offset</th><th class="n">bytes</th>'
        '<th class="n">steps</th><th>rows held</th><th></th><th>type</th><th>tensors</th>'
    )
    return _table("buffers", f"{len(rows):,} buffers; coloured: alive at the peak", head, rows)


def step_table(program: FileProgram, groups: Sequence[StepGroup], prefix: str) -> str:
    """A row for each step; those in which operators take turns are introduced by a row."""
    used = bytes_in_use(program)
    rows = []
    for group in groups:
        if len(group.nodes) > 1:
            counts = Counter(program.nodes[node].operator for node in group.nodes)
            names = ", ".join(f"{n} {name}" if n > 1 else name for name, n in counts.items())
            rows.append(
                f'<tr class="group-row"><td colspan="7">steps {group.first_step} to '
                f"{group.last_step}: {len(group.nodes)} operators in turn, by bands of rows: "
                f"{escape(names)}</td></tr>\n"
            )
        for step in range(group.first_step, group.last_step + 1):
            rows.append(_step_row(program, step, used[step], prefix))
    head = (
        '<th class="n">step</th><th>operator</th><th>name</th><th>rows</th><th>reads</th>'
        '<th>writes</th><th class="n">bytes in use</th>'
    )
    return _table("steps", f"{len(program.steps):,} steps; coloured: the peak", head, rows)


def _step_row(program: FileProgram, step: int, used: int, prefix: str) -> str:
    record = program.steps[step]
    node = program.nodes[record.node]
    read, written = touched_by(program, step)
    peak = ' class="peak-row"' if step == program.peak_step else ""
    return (
        f'<tr{peak}><td class="n">{step}</td><td>{escape(node.operator)}</td>'
        f'<td>{escape(short_name(node.name))}</td><td class="band">{band_of(program, step)}</td>'
        f"<td>{_links(program, read, prefix)}</td><td>{_links(program, written, prefix)}</td>"
        f'<td class="n">{used:,}</td></tr>\n'
    )


def _links(program: FileProgram, buffers: Sequence[int], prefix: str) -> str:
    parts = []
    for index in buffers:
        name = f"{index} {escape(short_name(buffer_label(program, index), 20))}"
        if program.buffers[index].region == "arena":
            name = f'<a href="#{prefix}b{index}">{name}</a>'
        parts.append(name)
    return ", ".join(parts)


def _table(kind: str, title: str, head: str, rows: Sequence[str]) -> str:
    return (
        f'<details class="{kind}"><summary>{title}</summary><div class="table"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>\n{''.join(rows)}</tbody></table></div></details>"
    )
