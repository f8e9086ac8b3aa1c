"""Addresses: another process finds what is at the top of a module, and runs the command."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from typing import Any

import pytest

from astro import Budget, Context, Node, Workflow, agent, task
from astro.testing.addresses import address_of, command_for


@task(needs_agent=True)
async def review(ctx: Context, text: str) -> str: ...


@agent(review)
async def critic(ctx: Context, text: str) -> str:
    return text


@task
async def draft(ctx: Context) -> str:
    return "text"


FLOW = Workflow("flow", [Node("one", draft)])


def show(*args: Any, **options: Any) -> None:
    print(args, options)


@pytest.mark.parametrize(
    ("value", "name"),
    [(review, "review"), (critic, "critic"), (draft, "draft"), (FLOW, "FLOW"), (show, "show")],
)
def test_what_is_at_the_top_of_a_module_has_an_address(value: Any, name: str) -> None:
    assert address_of(value) == (__name__, name)


def test_what_is_made_in_a_function_has_none() -> None:
    def inside() -> None: ...

    assert address_of(inside) is None
    assert command_for(show, [inside], {}) == ""


def test_a_command_calls_a_function_with_what_has_addresses_and_with_values() -> None:
    said = {"seeds": [3], "share": 0.5, "names": {"a": "it's"}, "of": timedelta(hours=1)}
    command = command_for(show, [draft, FLOW], said | {"budgets": {"acme": Budget(money=7.5)}})
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert "Task" in done.stdout
    assert "'seeds': [3], 'share': 0.5, 'names': {'a': \"it's\"}" in done.stdout
    assert "datetime.timedelta(seconds=3600)" in done.stdout
    assert "Budget(money=7.5" in done.stdout
