"""Commands about a configuration file."""

import os
from pathlib import Path

import click

from upstash_global.cli.failures import reporting_mistakes
from upstash_global.config import load, to_tree, to_yaml

file_argument = click.argument("file", type=click.Path(path_type=Path))


@click.group()
def config() -> None:
    """Check and show configurations."""


@config.command()
@file_argument
@reporting_mistakes
def validate(file: Path) -> None:
    """List every mistake in a configuration; exit code 1 if there is one. The environment counts as at a start."""
    loaded = load(file, os.environ)
    for warning in loaded.warnings:
        click.echo(f"Warning: {warning}", err=True)
    click.echo(f"{file} is valid: {len(loaded.nodes)} nodes in {len(loaded.regions)} regions")


@config.command()
@file_argument
@click.option("--reveal-secrets", is_flag=True, help="Show secrets instead of ***; the result can be loaded again.")
@click.option("-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True)
@reporting_mistakes
def show(file: Path, reveal_secrets: bool, output: str) -> None:
    """Show a configuration as it is in force: with its defaults, and with what the environment says."""
    loaded = load(file, os.environ)
    if output == "yaml":
        click.echo(to_yaml(loaded, reveal_secrets), nl=False)
    else:
        import json

        click.echo(json.dumps(to_tree(loaded, reveal_secrets), indent=2, ensure_ascii=False))
