"""From the syntax tree to the flat graph: fragments are expanded, expressions become standard operations.

Every value is either an attribute (a Python number, string, list, tuple) or a ``TensorRef``. A statement tells the
expression on its right the names its tensors shall have (its *target*), so that ``y = relu6(x)`` makes a tensor ``y``
whatever the fragment is made of; tensors that the text does not name get ``<statement>_<operation>``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from systola.hw.errors import ModelError, SemanticModelError
from systola.mapper.nnef import attributes, syntax
from systola.mapper.nnef.attributes import AttributeRuleError
from systola.mapper.nnef.builder import GraphBuilder
from systola.mapper.nnef.limits import MAX_ARRAY_ITEMS, MAX_EVALUATIONS, MAX_EXPANDED_OPERATIONS, MAX_NESTING
from systola.mapper.nnef.shape_rules import ShapeError
from systola.mapper.nnef.signature import BindError, Signature, bind, signature_of, standard_signatures, suggest
from systola.mapper.nnef.types import TensorRef, describe, fits

__all__ = ["Expander"]

Environment = dict[str, Any]
Target = Any  # None, a name, or a list of targets for several values assigned together

_OPERATIONS = {
    "+": "add", "-": "sub", "*": "mul", "/": "div", "^": "pow", "<": "lt", ">": "gt", "<=": "le", ">=": "ge",
    "==": "eq", "!=": "ne", "&&": "and", "||": "or",
}  # fmt: skip
_DECLARATIONS = ("external", "variable", "constant")
_EXTENSIONS = ("KHR_enable_fragment_definitions", "KHR_enable_operator_expressions")


class Expander:
    """One expansion of a document. ``run`` fills ``builder``."""

    def __init__(
        self, source: syntax.Source, document: syntax.Document, external_shapes: Mapping[str, tuple[int, ...]]
    ) -> None:
        self.source = source
        self.document = document
        self.graph = document.graph
        self.external_shapes = external_shapes
        self.builder = GraphBuilder()
        self.fragments: dict[str, tuple[syntax.Fragment, Signature]] = {}
        self.operators = False
        self._calls: list[tuple[str, int]] = []
        self._depth = 0
        self._prefix = ""
        self._evaluations_left = MAX_EVALUATIONS + len(source.text)
        self._items_left = 4 * MAX_ARRAY_ITEMS + len(source.text)
        self._operations_left = MAX_EXPANDED_OPERATIONS + len(self.graph.body)
        self._defined_at: dict[str, int] = {}
        self._names: set[str] = set()
        self._name_counts: dict[str, int] = {}
        self._inputs = {name.id for name in self.graph.inputs}
        self._handlers: dict[type, Callable[[Any, Environment, Target], Any]] = {
            syntax.Call: self._call,
            syntax.Array: self._array,
            syntax.TupleOf: self._tuple,
            syntax.Binary: self._binary,
            syntax.Unary: self._unary,
            syntax.Select: self._select,
            syntax.Subscript: self._subscript,
            syntax.Comprehension: self._comprehension,
            syntax.Builtin: self._builtin,
        }

    def fail(self, pos: int, message: str, kind: type[ModelError] = SemanticModelError) -> NoReturn:
        """Raise an error at ``pos``, naming the fragment being expanded."""
        if self._calls:
            name, called = self._calls[-1]
            message += f" (inside fragment {name!r}, invoked on line {self.source.place(called).line})"
        raise self.source.error(kind, message, pos) from None

    def run(self) -> None:
        """Expand the graph.

        Raises:
            SemanticModelError: a rule of NNEF is broken; the message has place and text.
        """
        self._check_header()
        for fragment in self.document.fragments:
            self._define(fragment)
        self._check_signature()
        for statement in self.graph.body:
            self._collect(statement.left, statement.right)
        environment: Environment = {}
        for statement in self.graph.body:
            self._statement(statement, environment, None)
        for name in self.graph.inputs:
            if name.id not in self.builder.tensors:
                self.fail(name.pos, f"graph input {name.id!r} is never made by 'external'")
        for name in self.graph.outputs:
            if not isinstance(environment.get(name.id), TensorRef):
                self.fail(name.pos, f"graph output {name.id!r} is never assigned a tensor")

    # Rules of the whole document

    def _check_header(self) -> None:
        if self.document.version not in ("1.0", "1"):
            self.fail(0, f"NNEF version {self.document.version} is not known; this reader knows 1.0")
        for words in self.document.extensions:
            if words[0] not in _EXTENSIONS:
                known = " and ".join(_EXTENSIONS)
                self.fail(max(self.source.text.find(words[0]), 0), f"extension {words[0]!r} is not known; known: {known}")
        names = {words[0] for words in self.document.extensions}
        self.operators = _EXTENSIONS[1] in names
        if self.document.fragments and _EXTENSIONS[0] not in names:
            self.fail(self.document.fragments[0].pos, f"fragments need 'extension {_EXTENSIONS[0]};' after the version")

    def _define(self, fragment: syntax.Fragment) -> None:
        if fragment.name in standard_signatures():
            self.fail(fragment.pos, f"fragment {fragment.name!r} has the name of a standard operation; rename it")
        if fragment.name in self.fragments:
            self.fail(fragment.pos, f"fragment {fragment.name!r} is defined twice")
        try:
            signature = signature_of(fragment)
        except BindError as error:
            self.fail(fragment.pos, str(error))
        for parameter, node in zip(signature.parameters, fragment.parameters, strict=True):
            if not parameter.required and not fits(parameter.default, parameter.type, fragment.generic_default or ""):
                self.fail(node.pos, f"the default of {parameter.name!r} is not of type {parameter.type}")
        self.fragments[fragment.name] = (fragment, signature)

    def _check_signature(self) -> None:
        for names in (self.graph.inputs, self.graph.outputs):
            seen: set[str] = set()
            for name in names:
                if name.id in seen:
                    self.fail(name.pos, f"{name.id!r} is listed twice")
                seen.add(name.id)

    def _collect(self, left: syntax.Expression, right: syntax.Expression) -> None:
        """Note where each name of the graph is assigned; twice is an error, and so is an input that is computed."""
        if isinstance(left, syntax.Name):
            if left.id in self._defined_at:
                line = self.source.place(self._defined_at[left.id]).line
                self.fail(left.pos, f"{left.id!r} is assigned twice; the first time on line {line}")
            if left.id in self._inputs and not (isinstance(right, syntax.Call) and right.name == "external"):
                self.fail(left.pos, f"graph input {left.id!r} can only be made by 'external'")
            self._defined_at[left.id] = left.pos
            self._names.add(left.id)
        elif isinstance(left, (syntax.Array, syntax.TupleOf)):
            for item in left.items:
                self._collect(item, right)

    # Statements

    def _statement(self, statement: syntax.Assignment, environment: Environment, results: dict[str, Target] | None) -> None:
        """Evaluate and assign; ``results`` has the targets of a fragment's results, None in the graph itself."""
        left, right = statement.left, statement.right
        if type(left) is syntax.Name:  # the flat case
            name = left.id
            target = name if results is None else results.get(name) or self._unique(f"{self._prefix}_{name}")
            if results is None:
                self._prefix = name
        else:
            target = self._target(left, results)
        value = self.evaluate(right, environment, target)
        if results is None and not isinstance(right, syntax.Call):
            value = self._materialize(value, target, left.pos)
        self._assign(left, value, environment)

    def _target(self, left: syntax.Expression, results: dict[str, Target] | None) -> Target:
        if isinstance(left, syntax.Name):
            if results is None:
                self._prefix = left.id
                return left.id
            return results.get(left.id) or self._unique(f"{self._prefix}_{left.id}")
        assert isinstance(left, (syntax.Array, syntax.TupleOf))  # the grammar allows nothing else
        return [self._target(item, results) for item in left.items]

    def _assign(self, left: syntax.Expression, value: Any, environment: Environment) -> None:
        if isinstance(left, syntax.Name):
            if left.id in environment:
                self.fail(left.pos, f"{left.id!r} is assigned twice")
            if not self._calls and isinstance(value, TensorRef) and value.name != left.id:
                value = self._copy(value, left.id, left.pos)
            environment[left.id] = value
            return
        assert isinstance(left, (syntax.Array, syntax.TupleOf))
        wanted = list if isinstance(left, syntax.Array) else tuple
        if not isinstance(value, wanted):
            self.fail(left.pos, f"a single {describe(value)} cannot be assigned to several names in this form")
        if len(value) != len(left.items):
            self.fail(left.pos, f"{len(left.items)} names stand on the left for {len(value)} values")
        for item, each in zip(left.items, value, strict=True):
            self._assign(item, each, environment)

    def _materialize(self, value: Any, target: Target, pos: int) -> Any:
        """``y = x`` in the graph makes a tensor of its own: a copy."""
        if isinstance(value, TensorRef) and isinstance(target, str) and value.name != target:
            return self._copy(value, target, pos)
        return value

    def _copy(self, value: TensorRef, name: str, pos: int) -> TensorRef:
        made = self._invoke(standard_signatures()["copy"], {"x": value}, value.dtype, name, pos)
        assert isinstance(made, TensorRef)  # copy has one result
        return made

    def _unique(self, base: str) -> str:
        """A name that no tensor has."""
        name, count = base, self._name_counts.get(base, 1)
        while name in self._names:
            count += 1
            name = f"{base}_{count}"
        self._name_counts[base] = count
        self._names.add(name)
        return name

    # Expressions

    def evaluate(self, node: syntax.Expression, environment: Environment, target: Target = None) -> Any:
        """The value of an expression; tensors that it makes are named by ``target``."""
        kind = type(node)
        if kind is syntax.Name:
            return self._name(node, environment)  # type: ignore[arg-type]  # checked on the line before
        if kind is syntax.Literal:
            return node.value  # type: ignore[union-attr]  # checked on the line before
        self._evaluations_left -= 1
        if self._evaluations_left < 0:
            self.fail(node.pos, f"expanding the graph takes more than {MAX_EVALUATIONS} evaluations")
        self._depth += 1
        if self._depth > MAX_NESTING:
            self.fail(node.pos, f"expressions and fragments are nested deeper than {MAX_NESTING}; is a fragment recursive?")
        value = self._handlers[kind](node, environment, target)
        self._depth -= 1
        return value

    def _name(self, node: syntax.Name, environment: Environment) -> Any:
        if node.id in environment:
            return environment[node.id]
        if not self._calls and node.id in self._defined_at:
            line = self.source.place(self._defined_at[node.id]).line
            message = f"{node.id!r} is used before it is assigned (on line {line}): operations stand in order"
        else:
            message = f"{node.id!r} is not defined{suggest(node.id, list(environment))}"
        return self.fail(node.pos, message)

    def _charge(self, items: int) -> None:
        self._items_left -= items
        if self._items_left < 0:
            raise AttributeRuleError(f"computed arrays have more than {4 * MAX_ARRAY_ITEMS} items in all")

    def _need_operators(self, pos: int) -> None:
        if not self.operators:
            self.fail(pos, f"operators and expressions need 'extension {_EXTENSIONS[1]};' after the version")

    def _array(self, node: syntax.Array, environment: Environment, target: Target) -> Any:
        targets = self._item_targets(target, len(node.items))
        return [self.evaluate(each, environment, t) for each, t in zip(node.items, targets, strict=True)]

    def _tuple(self, node: syntax.TupleOf, environment: Environment, target: Target) -> Any:
        targets = self._item_targets(target, len(node.items))
        return tuple([self.evaluate(each, environment, t) for each, t in zip(node.items, targets, strict=True)])

    def _item_targets(self, target: Target, count: int) -> list[Target]:
        return target if isinstance(target, list) and len(target) == count else [None] * count

    def _unary(self, node: syntax.Unary, environment: Environment, target: Target) -> Any:
        self._need_operators(node.pos)
        value = self.evaluate(node.operand, environment)
        for i, sign in reversed(list(enumerate(node.operators))):
            if isinstance(value, TensorRef):
                name = "neg" if sign == "-" else "not"
                value = self._standard(name, [(None, value)], target if i == 0 else None, node.pos)
            else:
                value = self._rule(node.pos, attributes.unary, sign, value)
        return value

    def _binary(self, node: syntax.Binary, environment: Environment, target: Target) -> Any:
        self._need_operators(node.pos)
        value = self.evaluate(node.first, environment)
        last = len(node.rest) - 1
        for i, (sign, operand) in enumerate(node.rest):
            if isinstance(value, bool) and sign in ("&&", "||") and value is (sign == "||"):
                continue  # decided: the operand may have no value, as in length_of(x) > 0 && x[0] == 1
            right = self.evaluate(operand, environment)
            if sign in _OPERATIONS and (isinstance(value, TensorRef) or isinstance(right, TensorRef)):
                arguments = [(None, value), (None, right)]
                value = self._standard(_OPERATIONS[sign], arguments, target if i == last else None, operand.pos)
            else:
                value = self._rule(operand.pos, attributes.binary, sign, value, right, self._charge)
        return value

    def _rule(self, pos: int, rule: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return rule(*arguments)
        except AttributeRuleError as error:
            self.fail(pos, str(error))

    def _select(self, node: syntax.Select, environment: Environment, target: Target) -> Any:
        self._need_operators(node.pos)
        for value, condition in zip(node.values, node.conditions, strict=False):
            decided = self.evaluate(condition, environment)
            if not isinstance(decided, bool):
                self.fail(condition.pos, f"the condition of 'if' must be logical, not {describe(decided)}; use 'select'")
            if decided:
                return self.evaluate(value, environment, target)
        return self.evaluate(node.values[-1], environment, target)

    def _subscript(self, node: syntax.Subscript, environment: Environment, target: Target) -> Any:  # noqa: ARG002
        self._need_operators(node.pos)
        sequence = self.evaluate(node.sequence, environment)
        begin = None if node.begin is None else self.evaluate(node.begin, environment)
        end = None if node.end is None else self.evaluate(node.end, environment)
        return self._rule(node.pos, attributes.subscript, sequence, begin, end, node.slice, self._charge)

    def _builtin(self, node: syntax.Builtin, environment: Environment, target: Target) -> Any:  # noqa: ARG002
        self._need_operators(node.pos)
        value = self.evaluate(node.argument, environment)
        return self._rule(node.pos, attributes.builtin, node.name, value, self._charge)

    def _comprehension(self, node: syntax.Comprehension, environment: Environment, target: Target) -> Any:  # noqa: ARG002
        self._need_operators(node.pos)
        iterables = [self.evaluate(iterable, environment) for _, iterable in node.loops]
        if not all(isinstance(each, list) for each in iterables):
            self.fail(node.pos, "'for' walks over arrays only")
        lengths = {len(each) for each in iterables}
        if len(lengths) > 1:
            self.fail(node.pos, f"arrays walked together must be equally long, not {sorted(lengths)}")
        names = [name.id for name, _ in node.loops]
        inner = dict(environment)
        result = []
        for values in zip(*iterables, strict=True):
            inner.update(zip(names, values, strict=True))
            self._rule(node.pos, self._charge, 1)
            if node.condition is not None:
                keep = self.evaluate(node.condition, inner)
                if not isinstance(keep, bool):
                    self.fail(node.condition.pos, f"the condition of 'for' must be logical, not {describe(keep)}")
                if not keep:
                    continue
            result.append(self.evaluate(node.body, inner))
        return result

    # Invocations

    def _call(self, node: syntax.Call, environment: Environment, target: Target) -> Any:
        arguments = [(name, self.evaluate(value, environment)) for name, value in node.arguments]
        signature = standard_signatures().get(node.name)
        fragment = None
        if signature is None:
            if node.name not in self.fragments:
                known = [*standard_signatures(), *self.fragments]
                self.fail(node.pos, f"operation {node.name!r} is not known{suggest(node.name, known)}")
            fragment, signature = self.fragments[node.name]
        values, dtype = self._bind(signature, node.dtype, arguments, node.pos)
        if fragment is not None:
            return self._fragment(fragment, signature, values, dtype, target, node.pos)
        if node.name in _DECLARATIONS:
            return self._declaration(node, values, dtype or "scalar", target)
        return self._invoke(signature, values, dtype, target, node.pos)

    def _bind(
        self, signature: Signature, dtype: str | None, arguments: Sequence[tuple[str | None, Any]], pos: int
    ) -> tuple[dict[str, Any], str | None]:
        for _, value in arguments:
            if type(value) is list and len(value) > 64:  # binding walks over it
                self._rule(pos, self._charge, len(value))
        try:
            return bind(signature, dtype, arguments)
        except BindError as error:
            self.fail(pos, str(error))

    def _standard(self, name: str, arguments: Sequence[tuple[str | None, Any]], target: Target, pos: int) -> Any:
        signature = standard_signatures()[name]
        values, dtype = self._bind(signature, None, arguments, pos)
        return self._invoke(signature, values, dtype, target, pos)

    def _fragment(
        self,
        fragment: syntax.Fragment,
        signature: Signature,
        values: dict[str, Any],
        dtype: str | None,
        target: Target,
        pos: int,
    ) -> Any:
        if fragment.body is None:
            self.fail(pos, f"fragment {fragment.name!r} has no body and is no standard operation: what it does is unknown")
        results = signature.results
        targets = [target] if len(results) == 1 else self._item_targets(target, len(results))
        prefix, environment = self._prefix, dict(values)
        named = {result.name: each for result, each in zip(results, targets, strict=True) if each is not None}
        self._calls.append((fragment.name, pos))
        self._prefix = next((each for each in targets if isinstance(each, str)), prefix)
        for statement in fragment.body:
            self._statement(statement, environment, named)
        made = []
        for result in results:
            if result.name not in environment:
                self.fail(fragment.pos, f"result {result.name!r} of fragment {fragment.name!r} is never assigned")
            value = environment[result.name]
            if not fits(value, result.type, dtype):
                self.fail(fragment.pos, f"result {result.name!r} is declared {result.type} but is {describe(value)}")
            made.append(value)
        self._calls.pop()
        self._prefix = prefix
        return made[0] if len(made) == 1 else tuple(made)

    def _declaration(self, node: syntax.Call, values: dict[str, Any], dtype: str, target: Target) -> TensorRef:
        """``external``, ``variable`` and ``constant``: tensors that no operation makes."""
        if node.name != "constant" and (self._calls or not isinstance(target, str)):
            self.fail(node.pos, f"{node.name!r} must be assigned to one name in the graph itself, outside of fragments")
        name = target if isinstance(target, str) else self._unique(f"{self._prefix}_constant")
        if node.name == "external" and name not in self._inputs:
            self.fail(node.pos, f"{name!r} is made by 'external' but is no input of the graph; list it after 'graph'")
        shape = tuple(values["shape"])
        try:
            if node.name == "constant":
                self._spend(node.pos)
                return self.builder.constant(name, shape, dtype, values["value"], self.source.place(node.pos))
            if node.name == "external":
                return self.builder.declare(name, self._external_shape(name, shape), dtype)
            return self.builder.declare(name, shape, dtype, values["label"])
        except ShapeError as error:
            self.fail(node.pos, str(error))

    def _external_shape(self, name: str, written: tuple[int, ...]) -> tuple[int, ...]:
        given = self.external_shapes.get(name)
        if given is not None:
            fit = len(given) == len(written) and all(w in (0, -1, g) for w, g in zip(written, given, strict=True))
            if not fit:
                raise ShapeError(f"the shape {list(given)} given for input {name!r} does not fit {list(written)}")
            return tuple(given)
        if any(extent in (0, -1) for extent in written):
            raise ShapeError(f"input {name!r} has the open shape {list(written)}: give its shape when reading the model")
        return written

    def _spend(self, pos: int, count: int = 1) -> None:
        self._operations_left -= count
        if self._operations_left < 0:
            self.fail(pos, f"expanding fragments makes more than {MAX_EXPANDED_OPERATIONS} additional operations")

    def _invoke(self, signature: Signature, values: dict[str, Any], dtype: str | None, target: Target, pos: int) -> Any:
        """Add a standard operation; its tensors are named by ``target``."""
        try:
            shapes = self.builder.infer(signature, values)
        except ShapeError as error:
            self.fail(pos, str(error))
        targets = [target] if len(shapes) == 1 else self._item_targets(target, len(shapes))
        made: list[tuple[str, tuple[int, ...], str]] = []
        for result, shape, each in zip(signature.results, shapes, targets, strict=True):
            kind = result.type.items[0].name if result.type.kind == "array" else result.type.name
            kind = (dtype or "scalar") if kind == "?" else kind
            base = each if isinstance(each, str) else f"{self._prefix}_{signature.name}"
            if isinstance(shape, list):
                names = self._array_names(each, base, len(shape), pos)
                made += [(name, one, kind) for name, one in zip(names, shape, strict=True)]
            else:
                made.append((base if base is each else self._unique(base), shape, kind))
        self._spend(pos, len(made))
        tensors = iter(self.builder.operation(signature, values, made, self.source.place(pos)))
        values_made = [[next(tensors) for _ in shape] if isinstance(shape, list) else next(tensors) for shape in shapes]
        return values_made[0] if len(values_made) == 1 else tuple(values_made)

    def _array_names(self, target: Target, base: str, count: int, pos: int) -> list[str]:
        """Names for the tensors of an array result."""
        if isinstance(target, list):
            if len(target) != count:
                self.fail(pos, f"{len(target)} names stand on the left for {count} values")
            if all(isinstance(each, str) for each in target):
                return target
        return [self._unique(f"{base}_{i}") for i in range(count)]
