"""A transformer encoder of any size as NNEF text, in the form that BERT has: post-normalization, GELU, attention in heads.

``bert_text(layers=12, width=768, heads=12, inner=3072, tokens=128)`` is BERT-base on 128 tokens, embeddings and pooler apart. The
graph comes without weights; the reader draws them from a seed.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["bert_text"]

_EPSILON = "1e-12"


def bert_text(layers: int = 12, width: int = 768, heads: int = 12, inner: int = 3072, tokens: int = 128) -> str:
    """The graph: one input [tokens, width], one output of the same shape."""
    body = [f"input = external<scalar>(shape = [{tokens}, {width}]);"]
    name = "input"
    for number in range(layers):
        body += _layer(f"l{number}", name, width, heads, inner, tokens)
        name = f"l{number}_out"
    lines = "\n".join(f"    {line}" for line in body)
    return f"version 1.0;\n\ngraph bert_encoder(input) -> ({name})\n{{\n{lines}\n}}\n"


def _layer(p: str, source: str, width: int, heads: int, inner: int, tokens: int) -> Iterator[str]:
    """Attention, then the two linear layers, each with its residual and normalization; names begin with ``p``."""
    size = width // heads
    for part in "qkv":
        yield from _linear(f"{p}_{part}_all", source, width, width)
        yield f"{p}_{part}_split = reshape({p}_{part}_all, shape = [{tokens}, {heads}, {size}]);"
        yield f"{p}_{part} = transpose({p}_{part}_split, axes = [1, 0, 2]);"
    yield f"{p}_scores = matmul({p}_q, {p}_k, transposeB = true);"
    yield f"{p}_scaled = mul({p}_scores, {size**-0.5!r});"
    yield f"{p}_weights = softmax({p}_scaled, axes = [2]);"
    yield f"{p}_mixed = matmul({p}_weights, {p}_v);"
    yield f"{p}_turned = transpose({p}_mixed, axes = [1, 0, 2]);"
    yield f"{p}_joined = reshape({p}_turned, shape = [{tokens}, {width}]);"
    yield from _linear(f"{p}_attended", f"{p}_joined", width, width)
    yield from _normalized(f"{p}_middle", source, f"{p}_attended", width)
    yield from _linear(f"{p}_wide", f"{p}_middle", width, inner)
    yield f"{p}_active = gelu({p}_wide);"
    yield from _linear(f"{p}_narrow", f"{p}_active", inner, width)
    yield from _normalized(f"{p}_out", f"{p}_middle", f"{p}_narrow", width)


def _linear(name: str, source: str, inputs: int, outputs: int) -> Iterator[str]:
    yield f"{name}_filter = variable<scalar>(shape = [{outputs}, {inputs}], label = '{name}/filter');"
    yield f"{name}_bias = variable<scalar>(shape = [1, {outputs}], label = '{name}/bias');"
    yield f"{name} = linear({source}, {name}_filter, {name}_bias);"


def _normalized(name: str, one: str, other: str, width: int) -> Iterator[str]:
    """The sum of two tensors, normalized over each row, with gain and offset."""
    yield f"{name}_gain = variable<scalar>(shape = [1, {width}], label = '{name}/gain');"
    yield f"{name}_offset = variable<scalar>(shape = [1, {width}], label = '{name}/offset');"
    yield f"{name}_sum = add({one}, {other});"
    yield f"{name}_mean = mean_reduce({name}_sum, axes = [1]);"
    yield f"{name}_centred = sub({name}_sum, {name}_mean);"
    yield f"{name}_square = sqr({name}_centred);"
    yield f"{name}_variance = mean_reduce({name}_square, axes = [1]);"
    yield f"{name}_safe = add({name}_variance, {_EPSILON});"
    yield f"{name}_factor = rsqrt({name}_safe);"
    yield f"{name}_unit = mul({name}_centred, {name}_factor);"
    yield f"{name}_gained = mul({name}_unit, {name}_gain);"
    yield f"{name} = add({name}_gained, {name}_offset);"
