"""An engine inside an ASGI service: it opens and closes with the service.

    pip install starlette uvicorn
    uvicorn examples.embed_asgi:app

    curl -X POST localhost:8000/articles -H 'Idempotency-Key: a1' -d '{"topic": "fusion"}'
    curl localhost:8000/articles/RUN

The key makes repeating a request harmless: the same key is always the same run. Stop the service
in the middle, start it again, and the run goes on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypedDict

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from astro import (
    Context,
    InvalidArgumentsError,
    KeyConflictError,
    LocalEngine,
    RunNotFoundError,
    SqliteStore,
    State,
    task,
)


@task
async def research(ctx: Context, topic: str) -> list[str]:
    await ctx.sleep(timedelta(milliseconds=50))
    return [f"What {topic} is", f"Why {topic} matters"]


@task
async def article(ctx: Context, topic: str) -> str:
    return "\n".join(await ctx.call(research, topic))


class Shared(TypedDict):
    """What every request sees."""

    engine: LocalEngine


def make_app(store: str | Path) -> Starlette:
    """Return the service, with its runs in a file."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[Shared]:
        async with LocalEngine(research, article, store=SqliteStore(store)) as engine:
            yield {"engine": engine}

    routes = [
        Route("/articles", start, methods=["POST"]),
        Route("/articles/{run}", state),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


async def start(request: Request) -> JSONResponse:
    """Start an article; the same `Idempotency-Key` gives the same run."""
    engine: LocalEngine = request.state.engine
    key = request.headers.get("idempotency-key")
    try:
        body = await request.json()
        run = await engine.options(key=key).start(article, **body)
    except KeyConflictError as error:
        return JSONResponse({"error": error.problem}, status_code=409)
    except (InvalidArgumentsError, ValueError, TypeError) as error:
        return JSONResponse({"error": str(error)}, status_code=422)
    return JSONResponse({"run": run.id}, status_code=202)


async def state(request: Request) -> JSONResponse:
    """Return the state of a run, and its result once there is one."""
    engine: LocalEngine = request.state.engine
    try:
        run = await engine.get(request.path_params["run"])
    except RunNotFoundError as error:
        return JSONResponse({"error": error.problem}, status_code=404)
    now = (await run.status()).state
    said = {"run": run.id, "state": now.value}
    if now is State.DONE:
        said["result"] = await run
    return JSONResponse(said)


app = make_app("articles.db")
