"""A memory plan as one HTML page that needs nothing else: no network, no other file.

The page opens with the sizes and the sentence on the peak. The chart has time to the right and
addresses upwards: bytes in use, the buffers as rectangles, whose turn it is where operators take
turns, and the operators' names. Tables of buffers and steps follow.

Everything is laid out here, in plain elements with places in percent, so the page is complete
without its script, which adds zoom, a cursor and the scale by steps. Whatever comes from the model
file is escaped; and the page's own policy lets the browser run its script and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from html import escape
from pathlib import Path

from edgeinfer.budget import SESSION_ALIGNMENT, SESSION_THREAD_BYTES, align_up, format_bytes
from edgeinfer.convert.draw.buffers import (
    BufferUses,
    buffer_label,
    buffer_uses,
    bytes_in_use,
    ring_of,
    short_name,
    touched_by,
)
from edgeinfer.convert.draw.peak import explain_peak
from edgeinfer.convert.draw.timeline import NodeSpan, Timeline, node_spans, step_groups
from edgeinfer.convert.model_file import FileProgram, FileTensor
from edgeinfer.convert.page.pareto import pareto_svg
from edgeinfer.convert.page.tables import buffer_table, step_table
from edgeinfer.printing import printable, shortened

_COLOURS = 7  # classes c0 to c6 of page.css
_MAX_TICKS = 8
_MOST_LANE_HEIGHT, _LANES_HEIGHT = 12, 180  # pixels, of one lane and, if they are many, of all
_MOST_TOLD = 4  # steps that a tip lists


def plan_html(
    programs: Sequence[FileProgram],
    *,
    title: str,
    pareto: Sequence[tuple[str, float, int, bool]] = (),
    pareto_cost_name: str = "time of a run, µs",
) -> str:
    """The page, as text to be written in UTF-8.

    Parameters
    ----------
    programs : those of a model file; each has a section.
    title : what the model is called, for a heading.
    pareto : plans of the model to draw as RAM against time (see `pareto_svg`); none: no drawing.
    pareto_cost_name : what the costs of these plans are.
    """
    script, style = _part("page.js"), _part("page.css")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    name = escape(printable(title))
    curve = ""
    if pareto:
        drawing = pareto_svg(pareto, cost_name=pareto_cost_name)
        curve = f"<h2>RAM against time</h2>\n{drawing}"
    sections = "\n".join(_section(program, i) for i, program in enumerate(programs))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Memory plan of {name}</title>
<style>
{style}</style>
</head>
<body>
<h1>Memory plan of {name}</h1>
{sections}
{curve}
<script>{script}</script>
</body>
</html>
"""


@cache
def _part(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _section(program: FileProgram, number: int) -> str:
    timeline = Timeline(step_groups(program))
    prefix = f"p{number}"
    counts = f"{len(program.nodes):,} operators, {len(program.steps):,} steps"
    return f"""<section class="program">
<h2>Program {escape(printable(program.name))}</h2>
<div class="soft">{counts}</div>
{_sizes(program)}
<p class="why">{escape(explain_peak(program))}</p>
{_controls()}
{_legend(program)}
<p class="readout soft">Time runs to the right, addresses run upwards.</p>
{_chart(program, timeline, prefix)}
{buffer_table(program, prefix)}
{step_table(program, timeline.groups, prefix)}
<script type="application/json">{_data(program, timeline)}</script>
</section>"""


def _sizes(program: FileProgram) -> str:
    parts = {
        "arena": program.arena_bytes,
        "state": program.state_bytes,
        "scratch": program.scratch_bytes,
    }
    rest = sum(align_up(size, SESSION_ALIGNMENT) for size in parts.values())
    parts["bookkeeping"] = program.session_bytes - rest
    parts["session, all of it"] = program.session_bytes
    parts["each thread more"] = SESSION_THREAD_BYTES
    parts["weights, in the file"] = program.weights_bytes
    items = "".join(
        f'<li title="{format_bytes(size)}">{name}<b>{size:,}</b></li>'
        for name, size in parts.items()
        if size or name in ("arena", "bookkeeping")
    )
    return f'<ul class="sizes" aria-label="sizes in bytes">{items}</ul>'


def _controls() -> str:
    def button(action: str, text: str, title: str) -> str:
        return f'<button type="button" data-action="{action}" title="{title}">{text}</button>'

    zoom = button("out", "−", "show more time") + button("in", "+", "show less time")
    return (
        '<div class="controls">'
        '<span class="set">a column for each '
        '<button type="button" data-scale="operator" aria-pressed="true">operator</button>'
        '<button type="button" data-scale="step" aria-pressed="false">step</button></span>'
        f'<span class="set">time {zoom}{button("fit", "all", "the whole run in the window")}'
        f"{button('names', 'names', 'columns wide enough for names')}</span>"
        f'<span class="set">height {button("lower", "−", "lower")}'
        f"{button('taller', '+', 'taller')}</span>"
        f"{button('peak', 'go to the peak', 'scroll to the step that peaks')}"
        '<span class="hint">Ctrl and the wheel zoom</span></div>'
    )


def _legend(program: FileProgram) -> str:
    entries = [("input", "graph input"), ("output", "graph output"), ("", "between operators")]
    rings = [ring_of(program, i) for i in range(len(program.buffers))]
    if any(rings):
        entries.append(("ring", "ring: only some rows of the tensor are held"))
    if any(ring and buffer.is_input for ring, buffer in zip(rings, program.buffers, strict=True)):
        entries.append(("input ring", "graph input, fed by rows"))
    entries.append(("peak", "the step that peaks"))
    shown = "".join(f'<span><i class="{kind}"></i>{text}</span>' for kind, text in entries)
    return f'<div class="legend">{shown}</div>'


# --- the chart


def _chart(program: FileProgram, timeline: Timeline, prefix: str) -> str:
    spans = [span for span in node_spans(program) if _takes_turns(span, timeline)]
    lanes = max((span.lane + 1 for span in spans), default=0)
    lane = min(_MOST_LANE_HEIGHT, max(3, _LANES_HEIGHT // lanes)) if lanes else 0
    uses = buffer_uses(program)
    peak = f'<div class="peak at" style="{_place(timeline, program.peak_step)}"></div>'
    gridlines, ticks = _address_axis(max(program.arena_bytes, 1))
    turns = turns_axis = ""
    if lanes:
        drawn = "".join(_turn(program, timeline, span) for span in spans)
        turns = f'<div class="strip lanes">{drawn}{peak}</div>'
        turns_axis = '<div class="strip lanes"><em>whose turn</em></div>'
    buffers = "".join(
        _buffer(program, timeline, index, uses[index], prefix)
        for index, buffer in enumerate(program.buffers)
        if buffer.region == "arena"
    )
    style = f"--columns:{timeline.columns};--lane:{lane}px;--lanes:{lane * lanes}px"
    return f"""<div class="chart by-operator" style="{style}">
<div class="axis"><div class="strip use"><em>bytes<br>in use</em></div>
<div class="strip plot">{ticks}</div>{turns_axis}
<div class="strip operators"><em>operators</em></div></div>
<div class="scroller" tabindex="0" role="group" aria-label="memory over time"><div class="track">
<div class="strip use">{_use_curve(program, timeline)}{peak}</div>
<div class="strip plot">{gridlines}{buffers}{peak}</div>
{turns}
<div class="strip operators">{_operators(program, timeline)}</div>
<div class="cursor"></div>
</div></div>
</div>"""


def _takes_turns(span: NodeSpan, timeline: Timeline) -> bool:
    group = next(g for g in timeline.groups if g.last_step >= span.steps[0])
    return group.steps > 1


def _place(timeline: Timeline, first: int, last: int | None = None) -> str:
    """Where steps lie: left and right in percent, by operators (a, b) and by steps (c, d)."""
    end = (first if last is None else last) + 1
    a, b = (100 * timeline.by_operator(step) for step in (first, end))
    c, d = (100 * timeline.by_step(step) for step in (first, end))
    return f"--a:{a:.5g};--b:{b:.5g};--c:{c:.5g};--d:{d:.5g}"


def _address_axis(top: int) -> tuple[str, str]:
    step = 1
    while top / step > _MAX_TICKS:
        step *= 2
    addresses = [*range(0, top, step), top]
    if len(addresses) > 2 and addresses[-1] - addresses[-2] < step / 2:
        del addresses[-2]  # the labels would touch
    lines, ticks = [], []
    for address in addresses:
        bottom = f"bottom:{100 * address / top:.4g}%"
        kind = " zero" if address == 0 else " top" if address == top else ""
        ticks.append(f'<span class="tick{kind}" style="{bottom}">{address:,}</span>')
        lines.append(f'<div class="gridline" style="{bottom}"></div>')
    return "".join(lines), "".join(ticks)


def _use_curve(program: FileProgram, timeline: Timeline) -> str:
    top = max(program.arena_bytes, 1)
    used = bytes_in_use(program)
    drawings = []
    for name, scale in (("operators", timeline.by_operator), ("steps", timeline.by_step)):
        path = ["M0 1000"]
        for step, size in enumerate(used):
            if step == 0 or size != used[step - 1]:
                path.append(f"H{10000 * scale(step):.0f}V{1000 * (1 - size / top):.0f}")
        path.append("H10000V1000Z")
        drawings.append(
            f'<svg class="for-{name}" viewBox="0 0 10000 1000" preserveAspectRatio="none" '
            f'aria-hidden="true"><path d="{"".join(path)}"/></svg>'
        )
    return "".join(drawings)


def _buffer(
    program: FileProgram, timeline: Timeline, index: int, uses: BufferUses, prefix: str
) -> str:
    buffer = program.buffers[index]
    top = max(program.arena_bytes, 1)
    ring = ring_of(program, index)
    if buffer.is_input:
        kind = "input"
    elif buffer.is_output:
        kind = "output"
    else:
        kind = f"c{index % _COLOURS}"
    rows = ""
    if ring:
        kind += " ring"
        word = "fed by rows" if buffer.is_input else "ring"
        rows = f'<span class="third">{word}: {ring.ring_rows}/{ring.rows} rows</span>'
    style = (
        f"{_place(timeline, buffer.first_step, buffer.last_step)};"
        f"bottom:{100 * buffer.offset / top:.5g}%;height:{100 * buffer.bytes / top:.5g}%"
    )
    label = escape(buffer_label(program, index))
    return (
        f'<div class="buffer at {kind}" id="{prefix}b{index}" data-buffer="{index}" tabindex="0" '
        f'style="{style}" title="{escape(_told(program, index, uses))}"><div class="label">'
        f'<span>{label}</span><span class="second">{buffer.bytes:,}</span>{rows}</div></div>\n'
    )


def _told(program: FileProgram, index: int, uses: BufferUses) -> str:
    """All that is known of a buffer, a fact in each line."""
    buffer = program.buffers[index]
    tensors = [tensor for tensor in program.tensors if tensor.buffer == index]
    lines = [shortened(tensor.name, 120) for tensor in tensors[:1]] or [f"buffer {index}"]
    for tensor in tensors:
        name = "" if tensor is tensors[0] else f"{shortened(tensor.name, 60)}: "
        lines.append(name + _tensor(tensor))
    lines.append(
        f"buffer {index}: {buffer.bytes:,} bytes at {buffer.offset:,} to "
        f"{buffer.offset + buffer.bytes - 1:,}"
    )
    life = buffer.last_step - buffer.first_step + 1
    lines.append(
        f"alive in steps {buffer.first_step} to {buffer.last_step} ({life:,} of "
        f"{len(program.steps):,})"
    )
    if buffer.is_input:
        rings = any(tensor.ring_rows < tensor.rows for tensor in tensors)
        lines.append("graph input, fed by rows" if rings else "graph input")
    if buffer.is_output:
        lines.append("graph output")
    for what, steps in (("written", uses.writes), ("read", uses.reads)):
        if steps:
            lines.append(f"{what} by {_operators_of(program, steps)}")
    return "\n".join(lines)


def _tensor(tensor: FileTensor) -> str:
    text = f"{tensor.dtype} {list(tensor.shape)}"
    if tensor.scale:
        text += f", scale {tensor.scale:.6g}, zero point {tensor.zero_point}"
    if tensor.ring_rows < tensor.rows:
        text += (
            f"\nring: {tensor.ring_rows} of {tensor.rows} rows held, {tensor.held_bytes:,} of "
            f"{tensor.nbytes:,} bytes"
        )
    return text


def _operators_of(program: FileProgram, steps: Sequence[int]) -> str:
    """The operators that run in some steps, with their first and last one."""
    by_node: dict[int, list[int]] = {}
    for step in steps:
        by_node.setdefault(program.steps[step].node, []).append(step)
    parts = []
    for node, own in list(by_node.items())[:_MOST_TOLD]:
        when = f"step {own[0]}" if len(own) == 1 else f"{len(own)} steps, {own[0]} to {own[-1]}"
        operator = program.nodes[node]
        parts.append(f"{operator.operator} {short_name(operator.name)} ({when})")
    if len(by_node) > _MOST_TOLD:
        parts.append(f"{len(by_node) - _MOST_TOLD} more")
    return ", ".join(parts)


def _turn(program: FileProgram, timeline: Timeline, span: NodeSpan) -> str:
    first, last = span.steps[0], span.steps[-1]
    node = program.nodes[span.node]
    path, before = "M0 0", first
    for step in span.steps:
        path += f"m{step - before} 0h1v1h-1z"  # relative: z goes back to where the square began
        before = step
    rows = node.outputs[0].rows
    told = (
        f"{node.operator} {short_name(node.name)}\n{len(span.steps):,} steps from {first} to "
        f"{last}, {rows:,} rows"
    )
    return (
        f'<div class="turn at" style="{_place(timeline, first, last)};--row:{span.lane}" '
        f'title="{escape(told)}"><svg viewBox="0 0 {last - first + 1} 1" '
        f'preserveAspectRatio="none" aria-hidden="true"><path d="{path}"/></svg></div>'
    )


def _operators(program: FileProgram, timeline: Timeline) -> str:
    """The names, side by side in the order of their first steps."""
    parts = []
    peak_node = program.steps[program.peak_step].node
    column = 0
    for group in timeline.groups:
        count = len(group.nodes)
        for number, node in enumerate(group.nodes):
            a = 100 * (column + number) / timeline.columns
            width = group.steps / count
            c = 100 * (group.first_step + number * width) / timeline.steps
            d = 100 * (group.first_step + (number + 1) * width) / timeline.steps
            b = 100 * (column + number + 1) / timeline.columns
            name = f"{program.nodes[node].operator} {short_name(program.nodes[node].name)}"
            steps = f"step {group.first_step}"
            if group.steps > 1:
                steps = f"in steps {group.first_step} to {group.last_step}, in turn with others"
            mark = " at-peak" if node == peak_node else ""
            told = escape(f"{name}\n{steps}")
            parts.append(
                f'<div class="operator at{mark}" style="--a:{a:.5g};--b:{b:.5g};--c:{c:.5g};'
                f'--d:{d:.5g}" title="{told}"><span class="name">'
                f"{escape(name)}</span></div>"
            )
        if count > 1:
            place = _place(timeline, group.first_step, group.last_step)
            parts.append(f'<div class="group at" style="{place}"></div>')
        column += count
    return "".join(parts)


def _data(program: FileProgram, timeline: Timeline) -> str:
    """What the script needs, as JSON that no name can end."""
    used = bytes_in_use(program)
    touched: list[list[int]] = [[] for _ in program.nodes]
    for step, record in enumerate(program.steps):
        if not touched[record.node]:
            touched[record.node] = [b for side in touched_by(program, step) for b in side]
    data = {
        "arena": program.arena_bytes,
        "columns": timeline.columns,
        "groups": [[g.first_step, g.last_step, len(g.nodes)] for g in timeline.groups],
        "nodes": [[n.operator, short_name(n.name), n.outputs[0].rows] for n in program.nodes],
        "steps": [[s.node, s.row_begin, s.row_end, used[i]] for i, s in enumerate(program.steps)],
        "touched": touched,
    }
    text = json.dumps(data, separators=(",", ":"))  # ASCII: U+2028 is escaped with the rest
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
