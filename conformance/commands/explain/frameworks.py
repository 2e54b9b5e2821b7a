"""
The snippets of `conformance explain --framework`: dense layers as code of each framework.

The snippets are text; no framework is imported. The shapes and counts in their comments are those of
`conformance.table.rule`. A test runs each snippet on its framework and compares the shapes and counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from conformance.commands.explain.layer_table import Layer, words
from conformance.table.rule import Shape

#: The samples of the batch in a snippet.
SAMPLES: Final = 2
_ALL: Final = "all"

#: A line of code, and the layer it builds, whose shape and count become its comment.
Line = tuple[str, Layer | None]


def resolve_frameworks(names: Sequence[str]) -> list[str]:
    """
    Return the frameworks of some names, each once: `all` names every framework, `flax` all whose name begins with it.

    Raises:
        ValueError: a name matches no framework.
    """
    frameworks: list[str] = []
    for name in names:
        matching = [each for each in SNIPPETS if name in (each, _ALL) or each.startswith(f"{name}-")]
        if not matching:
            raise ValueError(f"no such framework: {name!r}; there are {', '.join(SNIPPETS)}, flax for both, and {_ALL}")
        frameworks += matching
    return list(dict.fromkeys(frameworks))


def snippet(framework: str, layers: Sequence[Layer]) -> str:
    """Return Python code that builds a stack of layers as `model`, and calls it on a batch of zeros: `y = model(x)`."""
    lines = list(SNIPPETS[framework](layers))
    width = max((len(code) for code, layer in lines if layer is not None), default=0)
    return "\n".join(
        code if layer is None else f"{code:<{width}}  # {_shape_and_count(layer)}" for code, layer in lines
    )


def _shape_and_count(layer: Layer) -> str:
    return f"{words((None, *layer.output_shape))}, {layer.parameters:,} parameter{'' if layer.parameters == 1 else 's'}"


def _batch(layers: Sequence[Layer]) -> str:
    return words((SAMPLES, *layers[0].input_shape))


def _plain(lines: str) -> Iterator[Line]:
    return ((line, None) for line in lines.split("\n"))


def _layer_lines(
    layers: Sequence[Layer], layer_code: Callable[[Layer], str], functions: Mapping[str, str], indent: str = "    "
) -> Iterator[Line]:
    """Yield a line for each layer, and one for its activation unless it is linear."""
    for layer in layers:
        yield f"{indent}{layer_code(layer)},", layer
        if layer.activation != "linear":
            yield f"{indent}{functions[layer.activation]},", None


def _keras(layers: Sequence[Layer]) -> Iterator[Line]:
    own = {
        "leaky_relu": "lambda z: keras.activations.leaky_relu(z, negative_slope=0.01)",
        "gelu_tanh": "lambda z: keras.activations.gelu(z, approximate=True)",
    }

    def layer_code(layer: Layer) -> str:
        function = own.get(layer.activation, f'"{layer.activation}"')
        activation = "" if layer.activation == "linear" else f", activation={function}"
        return f"keras.layers.Dense({layer.units}{activation}{_without_bias(layer, 'use_bias')})"

    yield from _plain(f"import keras\n\nmodel = keras.Sequential([\n    keras.Input({words(layers[0].input_shape)}),")
    for layer in layers:
        yield f"    {layer_code(layer)},", layer
    yield from _plain(f"])\nx = keras.ops.zeros({_batch(layers)})\ny = model(x)")


def _without_bias(layer: Layer, word: str) -> str:
    return "" if layer.use_bias else f", {word}=False"


def _torch(layers: Sequence[Layer]) -> Iterator[Line]:
    if any(layer.activation == "exponential" for layer in layers):
        yield from _plain("import torch\nfrom torch import nn\n\n\nclass Exponential(nn.Module):")
        yield from _plain("    def forward(self, x):\n        return x.exp()\n\n")
    else:
        yield from _plain("import torch\nfrom torch import nn\n")
    yield "model = nn.Sequential(", None
    yield from _layer_lines(
        layers, lambda each: f"nn.Linear({each.features}, {each.units}{_without_bias(each, 'bias')})", _TORCH
    )
    yield from _plain(f")\nx = torch.zeros({_batch(layers)})\ny = model(x)")


_TORCH: Final = {
    "relu": "nn.ReLU()",
    "sigmoid": "nn.Sigmoid()",
    "softmax": "nn.Softmax(dim=-1)",
    "tanh": "nn.Tanh()",
    "leaky_relu": "nn.LeakyReLU(0.01)",
    "elu": "nn.ELU()",
    "selu": "nn.SELU()",
    "softplus": "nn.Softplus()",
    "softsign": "nn.Softsign()",
    "silu": "nn.SiLU()",
    "gelu": "nn.GELU()",
    "gelu_tanh": 'nn.GELU(approximate="tanh")',
    "hard_sigmoid": "nn.Hardsigmoid()",
    "log_softmax": "nn.LogSoftmax(dim=-1)",
    "exponential": "Exponential()",
}


def _jax_functions(module: str) -> Mapping[str, str]:
    """Return the code of each activation function of JAX as a member of `module`: jax.nn, or a module of Flax."""
    words = ("relu", "sigmoid", "softmax", "tanh", "elu", "selu", "softplus", "silu", "hard_sigmoid", "log_softmax")
    return {
        **{each: f"{module}.{each}" for each in words},
        "leaky_relu": f"lambda z: {module}.leaky_relu(z, 0.01)",
        "softsign": f"{module}.soft_sign",
        "gelu": f"lambda z: {module}.gelu(z, approximate=False)",
        "gelu_tanh": f"{module}.gelu",
        "exponential": "jnp.exp",
    }


def _flax_linen(layers: Sequence[Layer]) -> Iterator[Line]:
    yield from _plain("import flax.linen as nn\nimport jax\nimport jax.numpy as jnp\n\nmodel = nn.Sequential([")
    yield from _layer_lines(
        layers, lambda each: f"nn.Dense({each.units}{_without_bias(each, 'use_bias')})", _jax_functions("nn")
    )
    yield from _plain(f"])\nx = jnp.zeros({_batch(layers)})")
    yield from _plain("variables = model.init(jax.random.key(0), x)\ny = model.apply(variables, x)")


def _flax_nnx(layers: Sequence[Layer]) -> Iterator[Line]:
    def layer_code(layer: Layer) -> str:
        return f"nnx.Linear({layer.features}, {layer.units}{_without_bias(layer, 'use_bias')}, rngs=rngs)"

    yield from _plain("import jax.numpy as jnp\nfrom flax import nnx\n\nrngs = nnx.Rngs(0)\nmodel = nnx.Sequential(")
    yield from _layer_lines(layers, layer_code, _jax_functions("nnx"))
    yield from _plain(f")\nx = jnp.zeros({_batch(layers)})\ny = model(x)")


def _equinox(layers: Sequence[Layer]) -> Iterator[Line]:
    def layer_code(layer: Layer) -> str:
        return f"eqx.nn.Linear({layer.features}, {layer.units}{_without_bias(layer, 'use_bias')}, key=key)"

    functions = {name: f"eqx.nn.Lambda({each})" for name, each in _jax_functions("jax.nn").items()}
    axes = len(layers[0].input_shape)
    yield from _plain("import equinox as eqx\nimport jax\nimport jax.numpy as jnp\n\nkey = jax.random.key(0)")
    yield "model = eqx.nn.Sequential([", None
    yield from _layer_lines(layers, layer_code, functions)
    yield from _plain(f"])\nx = jnp.zeros({_batch(layers)})")
    # A layer of Equinox takes one vector. jax.vmap maps over each axis before the last, including the batch axis.
    yield f"y = {'jax.vmap(' * axes}model{')' * axes}(x)", None


def _haiku(layers: Sequence[Layer]) -> Iterator[Line]:
    yield from _plain("import haiku as hk\nimport jax\nimport jax.numpy as jnp\n\n\ndef stack(x):")
    yield "    return hk.Sequential([", None
    yield from _layer_lines(
        layers,
        lambda each: f"hk.Linear({each.units}{_without_bias(each, 'with_bias')})",
        _jax_functions("jax.nn"),
        indent=" " * 8,
    )
    yield from _plain("    ])(x)\n\n\nmodel = hk.without_apply_rng(hk.transform(stack))")
    yield from _plain(f"x = jnp.zeros({_batch(layers)})")
    yield from _plain("weights = model.init(jax.random.key(0), x)\ny = model.apply(weights, x)")


def _jax(layers: Sequence[Layer]) -> Iterator[Line]:
    functions = _jax_functions("jax.nn")
    yield from _plain("import jax\nimport jax.numpy as jnp\n\nweights = [")
    for layer in layers:
        kernel = f"jnp.zeros({words((layer.features, layer.units))})"
        bias = f"jnp.zeros({words((layer.units,))})" if layer.use_bias else "0.0"
        yield f"    ({kernel}, {bias}),", layer
    yield from _plain("]\n\n\ndef model(weights, x):")
    for index, layer in enumerate(layers):
        function = functions.get(layer.activation, "")
        called = f"({function})" if function.startswith("lambda") else function
        z = f"x @ weights[{index}][0] + weights[{index}][1]"
        yield f"    x = {called}({z})" if called else f"    x = {z}", None
    yield from _plain(f"    return x\n\n\nx = jnp.zeros({_batch(layers)})\ny = model(weights, x)")


def _tensorflow_v1(layers: Sequence[Layer]) -> Iterator[Line]:
    own = {
        "leaky_relu": "lambda z: tf.nn.leaky_relu(z, 0.01)",
        "gelu_tanh": "lambda z: tf.nn.gelu(z, approximate=True)",
        "hard_sigmoid": "lambda z: tf.nn.relu6(z + 3) / 6",
        "exponential": "tf.exp",
    }
    yield from _plain('import os\n\nos.environ["TF_USE_LEGACY_KERAS"] = "1"\n\nimport tensorflow as tf\n')
    yield from _plain("tf1 = tf.compat.v1\ntf1.disable_eager_execution()")
    yield f'x = tf1.placeholder("float32", {words((None, *layers[0].input_shape))})', None
    input_name = "x"
    for layer in layers:
        function = own.get(layer.activation, f"tf.nn.{layer.activation}")
        activation = "" if layer.activation == "linear" else f", activation={function}"
        yield f"y = tf1.layers.dense({input_name}, {layer.units}{activation}{_without_bias(layer, 'use_bias')})", layer
        input_name = "y"


#: Framework -> the lines of its snippet, in the order in which `all` shows them.
SNIPPETS: Final[Mapping[str, Callable[[Sequence[Layer]], Iterator[Line]]]] = {
    "keras": _keras,
    "torch": _torch,
    "flax-linen": _flax_linen,
    "flax-nnx": _flax_nnx,
    "equinox": _equinox,
    "haiku": _haiku,
    "jax": _jax,
    "tensorflow-v1": _tensorflow_v1,
}


def notations(frameworks: Sequence[str], stacks: Sequence[tuple[Shape, Sequence[Layer]]]) -> Iterator[tuple[str, str]]:
    """Yield a heading and the code for every framework and input shape."""
    for framework in frameworks:
        for shape, layers in stacks:
            heading = f"In {framework}" + (f", for {words(shape)}" if len(stacks) > 1 else "")
            yield heading, snippet(framework, layers)
