"""Walks a graph: which nodes run for some outputs, and where tensors come from."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from app.errors import LoadError

# Function calls that pass their inputs on unchanged.
CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
# The attribute of functions that TensorFlow may run in place of each other.
IMPLEMENTS = "api_implements"


class GraphIndex:
    """The nodes (`nodes`) and functions (`library`) of a GraphDef by name.

    related: for each function, those that may run in its place: its gradient, those that its
    attributes name, and those that claim to implement the same.
    Raises LoadError for a name that occurs twice: TensorFlow could use the other one.
    """

    def __init__(self, graph: Any) -> None:
        self.nodes = _by_name((node.name, node) for node in graph.node)
        self.library = _by_name((f.signature.name, f) for f in graph.library.function)
        self.in_bytes = {name.encode(): name for name in self.library}
        self.related: dict[str, set[str]] = {name: set() for name in self.library}
        for gradient in graph.library.gradient:
            if gradient.function_name in self.library and gradient.gradient_func in self.library:
                self.related[gradient.function_name].add(gradient.gradient_func)
        same: dict[bytes, set[str]] = {}
        for name, function in self.library.items():
            for key, value in function.attr.items():
                if value.s in self.in_bytes:
                    self.related[name].add(self.in_bytes[value.s])
                if key.lstrip("_") == IMPLEMENTS:
                    same.setdefault(value.s, set()).add(name)
        for names in same.values():
            for name in names:
                self.related[name] |= names - {name}


class ReachableNodes:
    """The nodes that run for `roots` (names of nodes or tensors), and those of the functions that
    they call, directly or indirectly.

    placed: pairs of a function's name (None for the graph itself) and a node in it; names: those of
    the graph's own nodes; functions: the names of the functions.
    Roots that the graph does not have are skipped: TensorFlow refuses them itself.
    """

    def __init__(self, graph: GraphIndex, roots: Iterable[str]) -> None:
        self._graph = graph
        self.names: set[str] = set()
        self.functions: set[str] = set()
        self.placed: list[tuple[str | None, Any]] = []
        # The calls of each function: the function that contains the call (None: the graph) and the
        # calling node; or None if the inputs arrive in some other way.
        self._sites: dict[str, list[tuple[str | None, Any] | None]] = {}
        todo = [_node_name(root) for root in roots]
        while todo:
            name = todo.pop()
            if name not in self.names and name in graph.nodes:
                self.names.add(name)
                node = graph.nodes[name]
                todo += [_node_name(each) for each in node.input]
                self._add(node)

    @property
    def nodes(self) -> Iterator[Any]:
        """All reachable nodes, in the graph and in functions."""
        return (node for _, node in self.placed)

    def _add(self, added: Any) -> None:
        todo: list[tuple[str | None, Any]] = [(None, added)]
        while todo:
            scope, node = todo.pop()
            self.placed.append((scope, node))
            for name, plain in self._mentioned(node):
                self._sites.setdefault(name, []).append((scope, node) if plain else None)
                todo += self._called(name)

    def _called(self, name: str) -> list[tuple[str | None, Any]]:
        """Return the nodes that a call of this function adds."""
        found: list[tuple[str | None, Any]] = []
        todo = [name]
        while todo:
            name = todo.pop()
            if name in self.functions:
                continue
            self.functions.add(name)
            found += [(name, node) for node in self._graph.library[name].node_def]
            for other in self._graph.related[name]:
                self._sites.setdefault(other, []).append(None)
                todo.append(other)
        return found

    def _mentioned(self, node: Any) -> Iterator[tuple[str, bool]]:
        """Yield the functions that the node names, and whether it passes its inputs to them
        unchanged."""
        library, in_bytes = self._graph.library, self._graph.in_bytes
        if node.op in library:
            yield node.op, True
        for key, value in node.attr.items():
            plain = node.op in CALLS and key == "f" and not value.func.attr
            for each in _nested(value):
                for function in (each.func, *each.list.func):
                    if function.name in library:
                        yield function.name, plain
                # Some operations name a function in a plain text attribute.
                for text in (each.s, *each.list.s):
                    if text in in_bytes:
                        yield in_bytes[text], False

    def comes_from(
        self,
        scope: str | None,
        node: Any,
        index: int,
        sources: Collection[str],
        *,
        through_variables: bool = False,
    ) -> bool:
        """Tell whether the node's input can only be one of `sources`, tensors of the graph, passed
        through functions unchanged.

        through_variables: also through a variable that is only ever assigned a source, itself a
        placeholder, as TensorFlow 2 does with assets.
        """
        inputs = data_inputs(node)
        if index >= len(inputs):
            return False
        todo = [(scope, inputs[index])]
        seen: set[tuple[str | None, str]] = set()
        while todo:
            at = todo.pop()
            if at in seen:
                continue
            seen.add(at)
            before = self._before(*at, sources, through_variables)
            if before is None:
                return False
            todo += before
        return True

    def _before(
        self, scope: str | None, tensor: str, sources: Collection[str], through_variables: bool
    ) -> list[tuple[str | None, str]] | None:
        """Return the tensors that the value comes from, [] if it is a source; None if that is
        unknown."""
        if scope is None:
            if tensor_name(tensor) in sources:
                return []
            node = self._graph.nodes.get(_node_name(tensor))
        else:
            function = self._graph.library[scope]
            arguments = [each.name for each in function.signature.input_arg]
            if tensor in arguments:
                return self._passed_as(scope, arguments.index(tensor))
            by_name = {each.name: each for each in function.node_def}
            node = by_name.get(_node_name(tensor))
        if node is None:
            return None
        if node.op == "Identity" and data_inputs(node):
            return [(scope, data_inputs(node)[0])]
        if node.op == "ReadVariableOp" and scope is None and through_variables:
            return [] if self._holds_only(node, sources) else None
        return None

    def _passed_as(self, name: str, index: int) -> list[tuple[str | None, str]] | None:
        arguments = self._graph.library[name].signature.input_arg
        # An argument of several tensors would shift the positions of the others.
        if any(each.number_attr or each.type_list_attr for each in arguments):
            return None
        found = []
        for site in self._sites.get(name, []):
            if site is None:
                return None
            scope, call = site
            inputs = data_inputs(call)
            if len(inputs) != len(arguments):
                return None
            found.append((scope, inputs[index]))
        return found or None

    def _holds_only(self, read: Any, sources: Collection[str]) -> bool:
        """Tell whether the variable that `read` reads is only ever assigned placeholders among
        sources."""
        variable = self._graph.nodes.get(_node_name("".join(data_inputs(read)[:1])))
        if variable is None or variable.op != "VarHandleOp":
            return False
        shared = variable.attr["shared_name"].s or variable.name.encode()
        given = 0
        for name in self.names:
            node = self._graph.nodes[name]
            own = node.attr["shared_name"].s or node.name.encode()
            if node.op == "VarHandleOp" and node is not variable and own == shared:
                return False
            for position, tensor in enumerate(data_inputs(node)):
                if _node_name(tensor) != variable.name:
                    continue
                if node.op == "AssignVariableOp" and position == 0:
                    # Only a placeholder has the value that is fed, wherever this runs.
                    value = "".join(data_inputs(node)[1:])
                    fed = self._graph.nodes.get(_node_name(value))
                    if fed is None or fed.op != "Placeholder" or tensor_name(value) not in sources:
                        return False
                    given += 1
                elif node.op not in ("ReadVariableOp", "VarIsInitializedOp"):
                    return False
        # In a function, a variable without a shared name gets one that is unknown here.
        inner = (n for scope, n in self.placed if scope is not None and n.op == "VarHandleOp")
        return given > 0 and all(n.attr["shared_name"].s not in (b"", shared) for n in inner)


def values(node: Any) -> Iterator[Any]:
    """Yield the node's attributes, and those that it passes to functions."""
    for value in node.attr.values():
        yield from _nested(value)


def _nested(value: Any) -> Iterator[Any]:
    todo = [value]
    while todo:
        value = todo.pop()
        yield value
        for function in (value.func, *value.list.func):
            todo += function.attr.values()


def data_inputs(node: Any) -> list[str]:
    """Return the node's inputs without its control inputs."""
    return [each for each in node.input if not each.startswith("^")]


def tensor_name(name: str) -> str:
    """Return the full name of a tensor: a node's name alone stands for its first output."""
    return name if ":" in name else f"{name}:0"


def _node_name(name: str) -> str:
    return name.removeprefix("^").partition(":")[0]


def _by_name(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for name, each in pairs:
        if named.setdefault(name, each) is not each:
            raise LoadError(f"the graph is corrupt: it has two nodes or functions called {name!r}")
    return named
