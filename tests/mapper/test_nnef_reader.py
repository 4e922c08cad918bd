"""graph.nnef text to Graph: the language, binding, expansion, and errors with their place."""

from __future__ import annotations

import numpy as np
import pytest

from systola.hw.errors import ModelError, SemanticModelError, SyntaxModelError
from systola.mapper.graph import Graph
from systola.mapper.nnef import parse_graph, standard_signatures

EXTENSIONS = "extension KHR_enable_fragment_definitions;\nextension KHR_enable_operator_expressions;\n"


def graph_text(body: str, fragments: str = "", shape: str = "[1, 4, 8, 8]", outputs: str = "y") -> str:
    """A document around some statements; the input is x."""
    return (
        f"version 1.0;\n{EXTENSIONS}{fragments}\n"
        f"graph g(x) -> ({outputs})\n{{\n    x = external(shape = {shape});\n{body}\n}}\n"
    )


def read(body: str, fragments: str = "", shape: str = "[1, 4, 8, 8]", outputs: str = "y") -> Graph:
    return parse_graph(graph_text(body, fragments, shape, outputs))


def kinds(graph: Graph) -> list[str]:
    return [operation.name for operation in graph.operations]


def test_flat_operation_is_bound_with_defaults() -> None:
    graph = read("w = variable(shape = [6, 2, 3, 3], label = 'w'); y = conv(x, w, stride = [2, 2], groups = 2);")
    (conv,) = graph.operations
    assert conv.inputs == {"input": "x", "filter": "w", "bias": 0.0}
    assert conv.attributes == {"border": "constant", "padding": (), "stride": (2, 2), "dilation": (), "groups": 2}
    assert conv.outputs == ("y",)
    assert (conv.place.line, conv.place.column) == (8, 54)
    assert graph.tensors["y"].shape == (1, 6, 4, 4)
    assert graph.tensors["w"].label == "w"


def test_standard_has_121_operations() -> None:
    assert len(standard_signatures()) == 121


def test_fragment_expands_under_the_name_of_its_result() -> None:
    fragment = "fragment relu6(input: tensor<scalar>) -> (output: tensor<scalar>) { output = clamp(input, 0.0, 6.0); }"
    graph = read("y = relu6(x);", fragment)
    (clamp,) = graph.operations
    assert (clamp.name, clamp.inputs, clamp.outputs) == ("clamp", {"x": "x", "a": 0.0, "b": 6.0}, ("y",))


def test_fragments_nest_and_take_attributes_and_defaults() -> None:
    fragments = """
    fragment scaled(x: tensor<scalar>, k: scalar = 2.0) -> (y: tensor<scalar>) { y = x * k; }
    fragment twice(x: tensor<scalar>, k: scalar) -> (y: tensor<scalar>, z: tensor<scalar>)
    { y = scaled(x); m = scaled(x, k = k + 1.0); z = m + y; }
    """
    graph = read("y, z = twice(x, k = 4.0);", fragments, outputs="y, z")
    assert kinds(graph) == ["mul", "mul", "add"]
    assert graph.operations[1].inputs == {"x": "x", "y": 5.0}
    assert graph.operations[0].outputs == ("y",)
    assert graph.operations[2].outputs == ("z",)


def test_generic_fragment() -> None:
    fragment = "fragment same<?>(x: tensor<?>, n: ?) -> (y: tensor<?>) { y = copy(x); }"
    graph = read("m = x > 0.0; a = same(m, n = true); y = select(a, x, 0.0);", fragment)
    assert graph.tensors["a"].dtype == "logical"
    with pytest.raises(SemanticModelError, match="'n' of 'same' is logical, but scalar is given"):
        read("m = x > 0.0; a = same(m, n = 1.0); y = select(a, x, 0.0);", fragment)


def test_operators_follow_precedence_and_associate_to_the_left() -> None:
    graph = read("y = x - x * x - 1.0 ^ x;")
    assert kinds(graph) == ["mul", "sub", "pow", "sub"]
    assert graph.operations[1].inputs["x"] == "x"
    assert graph.operations[3].outputs == ("y",)
    graph = read("y = -(x + x) * 2.0 ;")
    assert kinds(graph) == ["add", "neg", "mul"]


@pytest.mark.parametrize(
    ("expression", "shape"),
    [
        ("[1, 2] + [2 * 4, 32]", (1, 2, 8, 32)),
        ("[for i in range_of([7, 7, 7]) yield i + 1] + [-1]", (1, 2, 3, 128 // 3)),
        ("[4] * 4", (4, 4, 4, 4)),
        ("[for a in [4, 1, 8], b in [2, 9, 4] if a > 1 yield a * b]", (8, 32)),
        ("[256] if length_of([1, 2]) == 3 else [2, 128] if 3 in [1, 2] else [128, 2]", (128, 2)),
        ("[9, 8, 16, 2][1:]", (8, 16, 2)),
        ("[(16, 4)[0], 2 ^ 4]", (16, 16)),
        ("[integer(16.9), 32 / 2]", (16, 16)),
        ("[integer(string(64)), integer(true && !false) * 4]", (64, 4)),
        ("[256 - -0]", (256,)),
    ],
)
def test_attribute_expressions(expression: str, shape: tuple[int, ...]) -> None:
    if np.prod(shape) != 256:
        with pytest.raises(SemanticModelError, match="cannot be arranged"):
            read(f"y = reshape(x, shape = {expression});")
        return
    assert read(f"y = reshape(x, shape = {expression});").tensors["y"].shape == shape


def test_arrays_tuples_and_several_results() -> None:
    body = """
    [a, b] = split(x, axis = 1, ratios = [1, 3]);
    mean, variance = moments(b, axes = [2, 3]);
    (m, i) = max_pool_with_index(a, size = [1, 1, 2, 2], stride = [1, 1, 2, 2]);
    parts = unstack(m, axis = 2);
    y = concat([parts[0], parts[1] + parts[2]], axis = 1);
    """
    graph = read(body, outputs="y, mean, variance")
    assert graph.tensors["b"].shape == (1, 3, 8, 8)
    assert graph.tensors["variance"].shape == (1, 3, 1, 1)
    assert graph.tensors["i"].dtype == "integer"
    assert graph.tensors["y"].shape == (1, 2, 4)
    assert graph.operations[0].outputs == ("a", "b")


def test_recursive_fragment_that_ends() -> None:
    fragment = """
    fragment total(v: tensor<scalar>[]) -> (s: tensor<scalar>)
    { s = v[0] + total(v[1:]) if length_of(v) > 1 else v[0]; }
    """
    assert kinds(read("y = total([x, x, x]);", fragment)) == ["add", "add"]


def test_an_alias_of_a_tensor_becomes_a_copy() -> None:
    assert kinds(read("y = x;")) == ["copy"]


def test_constants_hold_their_values() -> None:
    graph = read("c = constant<scalar>(shape = [1, 4], value = [1.0, -2.5, 3e2, 0.0]); y = x + c;")
    assert graph.tensors["c"].data is not None
    assert graph.tensors["c"].data.tolist() == [[1.0, -2.5, 300.0, 0.0]]


def test_open_input_shapes_must_be_given() -> None:
    text = graph_text("y = relu(x);", shape="[0, 3, -1]")
    with pytest.raises(SemanticModelError, match=r"open shape \[0, 3, -1\]"):
        parse_graph(text)
    assert parse_graph(text, external_shapes={"x": (2, 3, 5)}).tensors["y"].shape == (2, 3, 5)
    with pytest.raises(SemanticModelError, match="does not fit"):
        parse_graph(text, external_shapes={"x": (2, 4, 5)})


@pytest.mark.parametrize(
    ("body", "line", "column", "message"),
    [
        ("y = rleu(x);", 8, 5, "operation 'rleu' is not known; did you mean 'relu'"),
        ("y = relu(z);", 8, 10, "'z' is not defined"),
        ("y = add(x, z);\n z = relu(y);", 8, 12, r"'z' is used before it is assigned \(on line 9\)"),
        ("y = relu(x);\ny = relu(x);", 9, 1, "'y' is assigned twice; the first time on line 8"),
        ("x = relu(x); y = x;", 8, 1, "'x' is assigned twice; the first time on line 7"),
        ("z = external(shape = [1]); y = relu(x);", 8, 5, "'z' is made by 'external' but is no input"),
        ("y = relu(x, x);", 8, 5, "'relu' takes 1 arguments, not 2"),
        ("y = leaky_relu(x);", 8, 5, "'leaky_relu' needs its parameter 'alpha'"),
        ("y = leaky_relu(x, alhpa = 0.1);", 8, 5, "no parameter 'alhpa'; did you mean 'alpha'"),
        ("y = leaky_relu(x, alpha = 1);", 8, 5, "'alpha' of 'leaky_relu' is scalar, but integer is given; write it with"),
        ("y = leaky_relu(x, alpha = 0.1, alpha = 0.2);", 8, 5, "given 'alpha' twice"),
        ("y = leaky_relu(alpha = 0.1, x);", 8, 5, "positional argument of 'leaky_relu' follows a named one"),
        ("y = relu<scalar>(x);", 8, 5, "'relu' is not generic"),
        ("y = not(x);", 8, 5, "is tensor<logical>, but tensor<scalar> is given"),
        ("[a, b, y] = split(x, axis = 1, ratios = [1, 1]);", 8, 13, "3 names stand on the left for 2 values"),
        ("y = relu(x) if x > 0.0 else x;", 8, 16, "condition of 'if' must be logical, not tensor<logical>"),
        ("y = reshape(x, shape = [4 / 0]);", 8, 29, "division by zero"),
        ("y = reshape(x, shape = [2 ^ 70]);", 8, 29, "does not fit 64 bits"),
        ("y = reshape(x, shape = [1, 2][5:]);", 8, 24, "outside of 0:2"),
        ("y = 1.0;", 5, 16, "graph output 'y' is never assigned a tensor"),
    ],
)
def test_semantic_errors_name_their_place(body: str, line: int, column: int, message: str) -> None:
    with pytest.raises(SemanticModelError, match=message) as caught:
        read(body)
    place = caught.value.place
    assert place is not None
    assert (place.line, place.column) == (line, column)
    assert caught.value.excerpt in graph_text(body)
    assert caught.value.excerpt


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file ends; expected 'version'"),
        ("version 1.0;", "the file ends; expected"),
        ("version 2.0; graph g(x)->(x) { x = external(shape=[1]); }", "version 2.0 is not known"),
        ("version 1.0; extension Foo; graph g(x)->(x) { x = external(shape=[1]); }", "extension 'Foo' is not known"),
        ("version 1.0; graph g(x)->(y) { x = external(shape=[1]); y = x + x; }", "need 'extension KHR_enable_operator"),
        ("version 1.0; graph g(x)->(y) { x = external(shape=[1]); relu(x); }", r"'\(' cannot stand here"),
        ("version 1.0; graph g(x)->(y) { x = external(shape=[1]; }", r"';' cannot stand here; expected '\)' or ','"),
        ("version 1.0; graph g(x)->(y) { x = external(shape=['a]); }", "a string is not closed"),
        ("version 1.0; graph g(x)->(y) { x = é; }", "means nothing in NNEF"),
    ],
)
def test_errors_of_the_document(text: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        parse_graph(text)


def test_errors_inside_a_fragment_name_the_invocation() -> None:
    fragment = "fragment bad(a: tensor<scalar>) -> (b: tensor<scalar>) { b = relu(c); }"
    with pytest.raises(SemanticModelError, match=r"'c' is not defined \(inside fragment 'bad', invoked on line 9\)"):
        read("z = relu(x);\ny = bad(z);", fragment)


def test_fragments_need_their_extension_and_a_body() -> None:
    with pytest.raises(SemanticModelError, match="has no body"):
        read("y = f(x);", "fragment f(x: tensor<scalar>) -> (y: tensor<scalar>);")
    with pytest.raises(SemanticModelError, match="name of a standard operation"):
        read("y = relu(x);", "fragment relu(x: tensor<scalar>) -> (y: tensor<scalar>) { y = max(x, 0.0); }")
    with pytest.raises(SemanticModelError, match="fragments need 'extension KHR_enable_fragment_definitions;'"):
        parse_graph(
            "version 1.0; fragment f(x: tensor<scalar>) -> (y: tensor<scalar>) { y = relu(x); }"
            "graph g(x) -> (y) { x = external(shape = [1]); y = f(x); }"
        )


def test_syntax_error_class() -> None:
    with pytest.raises(SyntaxModelError):
        parse_graph("graph")
