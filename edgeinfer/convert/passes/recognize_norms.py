"""Layer and RMS normalisation that arrive as means, squares and roots.

    centred  = x - mean(x)                       layer norm alone; x itself for RMS norm
    deviation = sqrt(mean(centred squared) + epsilon)
    y = centred / deviation * scale + bias

over the last axes of x, all in float32. The square may be a product, the quotient a product with a
reciprocal or with an inverse root. Scale and bias are constants of the shape of these axes, and may
stand behind; either may be absent.

Keras multiplies first, as batch normalisation does, which is the same:

    inverse = scale / deviation
    y = x * inverse + (bias - mean(x) * inverse)

What is read elsewhere as well ends the pattern. The results differ from those of the single
operators by rounding: statistics are summed as docs/internals/numerics.md says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeinfer.convert.graph import Graph, Node, Tensor
from edgeinfer.convert.passes.edit import absorb_names, constant, only_reader

_ROOTS = ("rsqrt", "reciprocal")


def recognize_norms(graph: Graph) -> bool:
    """Replace the last node of every pattern; what was in front of it goes as dead nodes."""
    found = _Patterns(graph)
    changed = False
    for node in graph.nodes:
        changed = found.normalise(node) or found.normalise_by_products(node) or changed
    for node in list(graph.nodes):
        while found.absorb_affine(node):
            changed = True
    return changed


@dataclass(frozen=True)
class _Match:
    """x over its deviation along the axes from `axis` on."""

    x: Tensor
    axis: int
    epsilon: float
    centred: bool
    nodes: tuple[Node, ...]


class _Patterns:
    """Looks for the patterns in a graph."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._producers = graph.producers()
        self._readers = graph.consumers()

    def _made_by(self, tensor: Tensor | None, *ops: str) -> Node | None:
        """The node that makes a float32 tensor, if it is one of `ops` without an activation."""
        node = None if tensor is None else self._producers.get(tensor)
        if node is None or node.op not in ops or node.activation is not None:
            return None
        return node if all(t is None or _is_float(t) for t in [*node.inputs, tensor]) else None

    def _is_inner(self, tensor: Tensor, readers: int) -> bool:
        return tensor not in self._graph.outputs and len(self._readers.get(tensor, [])) == readers

    # --- the quotient

    def normalise(self, node: Node) -> bool:
        """Make one operator of x over its deviation."""
        match = self._match(node)
        if match is None:
            return False
        absorb_names(node, match.nodes)
        node.op = "layer_norm" if match.centred else "rms_norm"
        node.inputs = [match.x, None, None] if match.centred else [match.x, None]
        node.attrs = {"axis": match.axis, "epsilon": match.epsilon}
        return True

    def _match(self, node: Node) -> _Match | None:
        if node.op not in ("div", "mul") or node.activation is not None:
            return None
        if not all(t is not None and _is_float(t) for t in node.inputs):
            return None
        sides = ((0, 1),) if node.op == "div" else ((0, 1), (1, 0))
        for value, factor in sides:
            match = self._quotient(node, node.input(value), node.input(factor))
            if match is not None:
                return match
        return None

    def _quotient(self, node: Node, value: Tensor, factor: Tensor) -> _Match | None:
        chain: list[Node] = []
        if node.op == "mul":
            inverse = self._made_by(factor, *_ROOTS)
            if inverse is None or not self._is_inner(factor, 1):
                one = self._made_by(factor, "div")
                if one is None or not self._is_inner(factor, 1) or _scalar(one.input(0)) != 1.0:
                    return None
                inverse, factor = one, one.input(1)
            else:
                factor = inverse.input(0)
            chain.append(inverse)
        if not chain or chain[0].op != "rsqrt":
            root = self._made_by(factor, "sqrt")
            if root is None or not self._is_inner(factor, 1):
                return None
            chain.append(root)
            factor = root.input(0)
        return self._of_variance(value, factor, chain)

    def _of_variance(self, value: Tensor, total: Tensor, chain: list[Node]) -> _Match | None:
        """`total` is the mean of the squares of `value`, and epsilon."""
        addition = self._made_by(total, "add")
        if addition is None or not self._is_inner(total, 1):
            return None
        for mean_at in (0, 1):
            epsilon = _scalar(addition.input(1 - mean_at))
            variance = addition.input(mean_at)
            mean = self._made_by(variance, "mean")
            if epsilon is None or epsilon < 0 or mean is None or not self._is_inner(variance, 1):
                continue
            axis = _last_axes(mean)
            square = self._square_of(mean.input(0), value)
            if axis is None or square is None or mean.input(0).shape != value.shape:
                continue
            nodes = [*chain, addition, mean, square]
            return self._centred(value, axis, epsilon, nodes)
        return None

    # --- Keras's form

    def normalise_by_products(self, node: Node) -> bool:
        """Make one operator of x * inverse + (bias - mean * inverse)."""
        if node.op != "add" or node.activation is not None or not _is_float(node.output):
            return False
        for place in (0, 1):
            product = self._made_by(node.input(place), "mul")
            rest = self._made_by(node.input(1 - place), "sub")
            if product is None or rest is None:
                continue
            shift = self._made_by(rest.input(1), "mul")
            if shift is None or not all(
                self._is_inner(n.output, 1) for n in (product, rest, shift)
            ):
                continue
            for side in (0, 1):
                inverse, x = product.input(side), product.input(1 - side)
                if inverse not in shift.inputs or not self._is_inner(inverse, 2):
                    continue
                mean = shift.input(1 if shift.input(0) is inverse else 0)
                found = self._by_inverse(node, x, mean, inverse)
                bias = None if found is None else _vector(rest.input(0), x.shape, found[0].axis)
                if found is None or bias is None:
                    continue
                match, scale = found
                absorb_names(node, (*match.nodes, product, rest, shift))
                node.op, node.inputs = "layer_norm", [match.x, scale, bias]
                node.attrs = {"axis": match.axis, "epsilon": match.epsilon}
                return True
        return False

    def _by_inverse(
        self, node: Node, x: Tensor, mean: Tensor, inverse: Tensor
    ) -> tuple[_Match, Tensor | None] | None:
        """`inverse` is a constant scale over the deviation of x around `mean`."""
        chain: list[Node] = []
        scale: Tensor | None = None
        scaled = self._made_by(inverse, "mul")
        root = inverse
        if scaled is not None:
            place = 0 if scaled.input(0).is_constant else 1
            scale, root = scaled.input(place), scaled.input(1 - place)
            if not self._is_inner(root, 1):
                return None
            chain.append(scaled)
        inverted = self._made_by(root, "rsqrt")
        difference = None
        if inverted is not None and self._is_inner(inverted.input(0), 1):
            variance = self._made_by(inverted.input(0), "add")
            squares = None if variance is None else self._squares_in(variance)
            difference = None if squares is None else self._made_by(squares.input(0), "sub")
        if inverted is None or difference is None or difference.inputs != [x, mean]:
            return None
        match = self._of_variance(difference.output, inverted.input(0), [*chain, inverted])
        averaged = self._made_by(mean, "mean")
        if match is None or averaged is None or averaged.input(0) is not x:
            return None
        if _last_axes(averaged) != match.axis or not self._is_inner(mean, 2):
            return None
        vector = None if scale is None else _vector(scale, x.shape, match.axis)
        if (scale is None) != (vector is None) or x.shape != node.output.shape:
            return None
        nodes = (*match.nodes, difference, averaged)
        return _Match(x, match.axis, match.epsilon, True, nodes), vector

    def _squares_in(self, addition: Node) -> Node | None:
        """The squares whose mean is one of the operands of a sum."""
        for tensor in addition.inputs:
            mean = self._made_by(tensor, "mean")
            if mean is not None:
                return self._made_by(mean.input(0), "square", "mul", "pow")
        return None

    def _square_of(self, squares: Tensor, value: Tensor) -> Node | None:
        node = self._made_by(squares, "square", "mul", "pow")
        if node is None or not self._is_inner(squares, 1):
            return None
        if node.input(0) is not value:
            return None
        if node.op == "mul" and node.input(1) is not value:
            return None
        if node.op == "pow" and _scalar(node.input(1)) != 2.0:
            return None
        return node

    def _centred(
        self, value: Tensor, axis: int, epsilon: float, nodes: list[Node]
    ) -> _Match | None:
        """A layer norm where `value` is x less its own mean, which only the pattern reads."""
        difference = self._made_by(value, "sub")
        mean = None if difference is None else self._made_by(difference.input(1), "mean")
        if difference is None or mean is None or mean.input(0) is not difference.input(0):
            return _Match(value, axis, epsilon, False, tuple(nodes))
        square = nodes[-1]
        reads = 1 + sum(tensor is value for tensor in square.inputs)
        if (
            _last_axes(mean) != axis
            or not self._is_inner(value, reads)
            or not self._is_inner(mean.output, 1)
        ):
            return _Match(value, axis, epsilon, False, tuple(nodes))
        x = difference.input(0)
        return _Match(x, axis, epsilon, True, (*nodes, difference, mean))

    # --- scale and bias

    def absorb_affine(self, node: Node) -> bool:
        """Let a normalisation take the constant product or sum behind it."""
        if node.op not in ("layer_norm", "rms_norm") or node.activation is not None:
            return False
        if not _is_float(node.output):
            return False
        reader = only_reader(self._graph, node.output, self._readers)
        if reader is None or reader.op not in ("mul", "add") or len(reader.inputs) != 2:
            return False
        place = 1 if reader.op == "mul" else 2
        if place >= len(node.inputs) or node.inputs[place] is not None:
            return False
        if place == 1 and len(node.inputs) > 2 and node.inputs[2] is not None:
            return False  # a product behind the sum
        other = reader.input(1) if reader.input(0) is node.output else reader.input(0)
        vector = _vector(other, node.output.shape, node.attrs["axis"])
        if vector is None or reader.activation is not None or not _is_float(reader.output):
            return False
        node.inputs[place] = vector
        node.outputs = [reader.output]
        absorb_names(node, [reader])
        self._graph.nodes.remove(reader)
        self._producers[reader.output] = node
        return True


def _is_float(tensor: Tensor) -> bool:
    return tensor.dtype == "float32" and tensor.quantization is None


def _scalar(tensor: Tensor) -> float | None:
    if tensor.data is None or tensor.data.size != 1:
        return None
    return float(tensor.data.reshape(-1)[0])


def _last_axes(mean: Node) -> int | None:
    """The first of the axes that a mean is over, if they are the last ones and are kept."""
    rank = len(mean.input(0).shape)
    axes = tuple(mean.attrs["axes"])
    if not axes or not mean.attrs["keep_dims"] or axes != tuple(range(axes[0], rank)):
        return None
    return int(axes[0])


def _vector(tensor: Tensor, shape: tuple[int, ...], axis: int) -> Tensor | None:
    """A constant that is the same for every row, in the shape of the rows."""
    if tensor.data is None or not _is_float(tensor):
        return None
    rows, data = shape[axis:], tensor.data
    leading = data.shape[: max(data.ndim - len(rows), 0)]
    if any(extent != 1 for extent in leading):
        return None
    try:
        whole = np.broadcast_to(data.reshape(data.shape[len(leading) :]), rows)
    except ValueError:
        return None
    return constant(tensor.name, np.ascontiguousarray(whole))
