"""The command `conformance explain`."""

from __future__ import annotations

import click

from conformance.run.errors import CommandFault


@click.command()
@click.option(
    "--input-shape",
    "input_shapes",
    multiple=True,
    required=True,
    metavar="SHAPE",
    help="Shape of a sample without the batch axis, such as 784,1; repeatable, to compare shapes.",
)
@click.option(
    "--units", multiple=True, required=True, type=int, metavar="N", help="Units of a layer; repeat it for each layer."
)
@click.option(
    "--activation",
    "activations",
    multiple=True,
    default=("linear",),
    metavar="NAME",
    help="Activation of all layers, or one for each layer; by default linear.",
)
@click.option("--bias/--no-bias", "use_bias", default=True, help="Whether the layers have a bias; by default they do.")
@click.option(
    "--framework",
    "frameworks",
    multiple=True,
    metavar="NAME",
    help="Also show the layers as code of a framework: keras, torch, flax, equinox ... or all; repeatable.",
)
def explain(
    input_shapes: tuple[str, ...],
    units: tuple[int, ...],
    activations: tuple[str, ...],
    use_bias: bool,
    frameworks: tuple[str, ...],
) -> None:
    """Explain the output shapes and parameter counts of dense layers for an input shape."""
    import shutil

    from conformance.commands.explain.highlight import show
    from conformance.commands.explain.text import explain as explanation
    from conformance.commands.explain.text import parse_shape
    from conformance.text import is_coloured

    try:
        shapes = [parse_shape(each) for each in input_shapes]
        width = shutil.get_terminal_size((100, 24)).columns
        text = explanation(shapes, list(units), list(activations), use_bias, width, frameworks)
    except ValueError as error:
        raise CommandFault(str(error)) from None
    if is_coloured():
        show(text)
    else:
        click.echo(text)
