"""Tasks: typed async functions that can be asked for durably.

A task's name is a capability: agents perform it, workflows name it, routing looks for it.
Calling a task directly, `await greet(ctx, "Ada")`, runs its body and journals nothing, which is
what unit tests do with a `FakeContext`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Concatenate, Final, Generic, ParamSpec, TypeVar, overload

import attrs
from attrs.validators import and_, deep_iterable, instance_of, is_callable, optional

from astro.core.errors import InvalidArgumentsError, NeedsAgentError, nearest
from astro.core.policy import (
    LASTING,
    POSITIVE,
    URGENCY,
    Budget,
    Effect,
    Priority,
    Retry,
    exception_classes,
    misuse,
)
from astro.core.sandbox import SandboxSpec
from astro.core.signature import Signature, signature_of

if TYPE_CHECKING:
    from astro.core.context import Context

__all__ = [
    "MAX_NAME",
    "ONCE",
    "Task",
    "check_name",
    "require_async",
    "require_performs",
    "require_task",
    "step_task",
    "task",
]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

MAX_NAME: Final = 200
"""Characters a name of a task, a workflow, a node or an agent may have."""

ONCE: Final = Retry(attempts=1)
"""The policy of tasks that say nothing: one attempt."""

_TEXTS: Any = and_(instance_of(tuple), deep_iterable(instance_of(str)))
_NAME: Final = re.compile(r"[^\W\d]([\w.\-/ ]*[\w.\-/])?", re.UNICODE)


def check_name(name: str, *, what: str) -> str:
    """Return a name that is fit to be stored, shown and spoken.

    Raises:
        InvalidArgumentsError: It is empty, too long, or has characters that mislead.
    """
    if not isinstance(name, str) or len(name) > MAX_NAME or not _NAME.fullmatch(name):
        shown = repr(name)
        raise InvalidArgumentsError(
            f"{shown[:60] + '…' if len(shown) > 60 else shown} is no name for a {what}.",
            remedy=f"Use letters, digits, '_', '-', '.', '/' and spaces, beginning with a letter "
            f"or '_', at most {MAX_NAME}.",
        )
    return name


@attrs.frozen(kw_only=True, slots=False, eq=False, repr=False)
class Task(Generic[P, R_co]):
    """A typed async function with the policy of its calls.

    Attributes:
        timeout: Of one attempt.
        deadline: Of one call, all its attempts and waits together.
        priority: Of its calls; None takes the caller's.
        cache: How long a result answers later calls with equal arguments, in any run of the
            tenant; None does not cache.
        undo: `undo(ctx, result, *args)`, run when the asking call fails or is cancelled;
            `result` is None when the call had started and its result is unknown.
        version: Of the meaning of results; another version does not share the cache.
        limit: Attempts of this task at the same moment in one engine.
        effect: What it does to the world outside the store.
        raises: Exception classes that reach the caller as themselves.
        needs_agent: Whether only agents perform it.
        budget: What one call may use, all that it asks for included; its money and tokens are
            put aside before an attempt begins, and what is left is given back after it.
        sandbox: What the task's box is made of; None takes the sandbox's defaults.
        aliases: Earlier names, kept so that unfinished runs go on.
        skip: How many parameters of `fn` come before the arguments.
        shape: The signature, where it is not that of `fn` (a workflow's inputs).
    """

    fn: Callable[..., Awaitable[R_co]]
    name: str = attrs.field(validator=instance_of(str))
    retry: Retry = attrs.field(default=ONCE, validator=instance_of(Retry))
    timeout: timedelta | None = attrs.field(default=None, validator=optional(LASTING))
    deadline: timedelta | None = attrs.field(default=None, validator=optional(LASTING))
    priority: int | None = attrs.field(default=None, validator=optional(URGENCY))
    cache: timedelta | None = attrs.field(default=None, validator=optional(LASTING))
    undo: Callable[..., Awaitable[object]] | None = attrs.field(
        default=None, validator=optional(is_callable())
    )
    version: str = attrs.field(default="", validator=instance_of(str))
    limit: int | None = attrs.field(default=None, validator=optional(POSITIVE))
    effect: Effect = attrs.field(default=Effect.WRITE, validator=instance_of(Effect))
    raises: tuple[type[Exception], ...] = attrs.field(default=(), validator=exception_classes)
    needs_agent: bool = attrs.field(default=False, validator=instance_of(bool))
    aliases: tuple[str, ...] = attrs.field(default=(), validator=_TEXTS)
    budget: Budget | None = attrs.field(default=None, validator=optional(instance_of(Budget)))
    sandbox: SandboxSpec | None = attrs.field(
        default=None, validator=optional(instance_of(SandboxSpec))
    )
    skip: int = 1
    shape: Signature | None = None

    def __call__(self, ctx: Context, /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[R_co]:
        """Run the body itself: nothing is routed, retried or journaled."""
        if self.needs_agent:
            raise NeedsAgentError(self.name)
        return self.fn(ctx, *args, **kwargs)

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    @property
    def description(self) -> str:
        """The first paragraph of the docstring."""
        return (inspect.getdoc(self.fn) or "").split("\n\n")[0]

    @cached_property
    def signature(self) -> Signature:
        """Parameters and result; built on first use, when every name is defined."""
        return self.shape or signature_of(self.fn, skip=self.skip)


@overload
def task(fn: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /) -> Task[P, R]: ...


@overload
def task(
    *,
    name: str | None = None,
    retry: Retry | int = ONCE,
    timeout: timedelta | float | None = None,
    deadline: timedelta | None = None,
    priority: int | Priority | None = None,
    cache: timedelta | None = None,
    undo: Callable[..., Awaitable[object]] | None = None,
    version: str = "",
    limit: int | None = None,
    effect: Effect | str = Effect.WRITE,
    raises: tuple[type[Exception], ...] = (),
    needs_agent: bool = False,
    aliases: tuple[str, ...] = (),
    budget: Budget | None = None,
    sandbox: SandboxSpec | None = None,
) -> Callable[[Callable[Concatenate[Context, P], Coroutine[Any, Any, R]]], Task[P, R]]: ...


def task(fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a task of an async function whose first parameter is a `Context`.

    Usable as `@task` and as `@task(...)`; the options are the attributes of `Task`. `retry=3` is
    `Retry(attempts=3)`; a number of seconds is accepted for `timeout`.

    Raises:
        InvalidArgumentsError: The function is not async, takes no context, or an option is wrong.
    """
    if fn is None:
        return lambda function: _make(function, options)
    return _make(fn, options)


def _make(fn: Callable[..., Any], options: dict[str, Any]) -> Task[Any, Any]:
    label = getattr(fn, "__name__", repr(fn))
    if not inspect.iscoroutinefunction(fn):
        raise _blocking(fn)
    first = next(iter(inspect.signature(fn).parameters.values()), None)
    if first is None or _is_value(first.annotation):
        known = f": its first parameter is {first.name!r}" if first else ""
        raise InvalidArgumentsError(
            f"{label} takes no context{known}.",
            remedy=f"Write `async def {label}(ctx: Context, ...)`.",
        )
    chosen = {key: value for key, value in options.items() if value is not None}
    unknown = chosen.keys() - _OPTIONS
    if unknown:
        raise InvalidArgumentsError(
            f"{min(unknown)!r:.60} is no option of a task.{nearest(min(unknown), _OPTIONS)}",
            remedy=f"The options are {', '.join(sorted(_OPTIONS))}.",
        )
    try:
        for name in (chosen.setdefault("name", label), *chosen.get("aliases", ())):
            check_name(name, what="task")
        if isinstance(chosen.get("retry"), int):
            chosen["retry"] = Retry(attempts=chosen["retry"])
        if type(chosen.get("timeout")) in (int, float):
            chosen["timeout"] = timedelta(seconds=chosen["timeout"])
        if "effect" in chosen:
            chosen["effect"] = Effect(chosen["effect"])
        if callable(chosen.get("undo")):
            _require_undo(fn, chosen["undo"])
        return Task(fn=fn, **chosen)
    except InvalidArgumentsError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        remedy = "See the attributes of astro.Task; leave an option out for no limit."
        raise misuse(label, error, remedy=remedy) from error


def _is_value(annotation: object) -> bool:
    """Return whether an annotation, resolved or not, is that of an argument and of no context."""
    word = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return word.partition("[")[0] in _VALUES


def _require_undo(fn: Callable[..., Any], undo: Callable[..., Any]) -> None:
    """Return if a function can be called as the undo of another.

    Raises:
        InvalidArgumentsError: It lacks parameters, wants others, or is not async.
    """
    body = undo.fn if isinstance(undo, Task) else undo
    _, *given = inspect.signature(fn).parameters.values()
    _require_like(body, given, first=("ctx", "result"), use=f"undo {fn.__name__}")
    require_async(body)


# --- What a function has to be -----------------------------------------------------------------


def require_task(value: object) -> Task[..., Any]:
    """Return a value if it is a task.

    Raises:
        InvalidArgumentsError: It is something else: often a function that is not decorated.
    """
    if not isinstance(value, Task):
        raise InvalidArgumentsError(
            f"{_label(value)} is no task.",
            remedy="Pass a function that is decorated with @task. Plain functions are for "
            "ctx.step(...), workflows for engine.start(...).",
        )
    return value


def require_async(fn: object) -> None:
    """Return if calling a function gives something to await.

    Raises:
        InvalidArgumentsError: It would run at once, and give a result.
    """
    inner = inspect.unwrap(fn) if callable(fn) else fn
    call = getattr(type(inner), "__call__", None)  # noqa: B004  # an instance may be a function
    if not (inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(call)):
        raise _blocking(fn)


def require_performs(fn: Any, task: Task[..., Any], *, first: Sequence[str]) -> None:
    """Return if a function can perform a task.

    Args:
        first: What is passed to it before the arguments of the task.

    Raises:
        InvalidArgumentsError: It is not async, or takes other arguments.
    """
    require_async(fn)
    if task.shape is None:
        own = [*inspect.signature(task.fn).parameters.values()][task.skip :]
        use = f"perform {task.name}"
        _require_like(fn, own, first=first, use=use)
        # What a caller leaves out is left out here too, so it needs a default here too.
        given = [one for one in own if one.default is one.empty or one.kind is one.POSITIONAL_ONLY]
        _require_like(fn, given, first=first, use=use, names=own)


def _require_like(
    fn: Callable[..., Any],
    given: Sequence[inspect.Parameter],
    *,
    first: Sequence[str],
    use: str,
    names: Sequence[inspect.Parameter] = (),
) -> None:
    """Return if a function takes the parameters of another one.

    Args:
        given: The parameters of the other one; they are passed by name where they have one.
        first: What is passed by place before them.
        use: What the function is for, in words.
        names: All parameters that it needs, if more than are given.

    Raises:
        InvalidArgumentsError: It lacks parameters, or wants others.
    """
    plain = [one for one in given if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    by_place = [*first, *(one.name for one in plain if one.kind is one.POSITIONAL_ONLY)]
    by_name = dict.fromkeys(one.name for one in plain if one.kind is not one.POSITIONAL_ONLY)
    try:
        inspect.signature(fn).bind(*by_place, **by_name)
    except TypeError as error:
        label = _label(fn)
        spelled = [
            one.name if one.default is one.empty else f"{one.name}=..." for one in names or plain
        ]
        raise InvalidArgumentsError(
            f"{label} cannot {use}: {error}.",
            remedy=f"Write `async def {label}({', '.join([*first, *spelled])})`.",
        ) from error


def _blocking(fn: object) -> InvalidArgumentsError:
    return InvalidArgumentsError(
        f"{_label(fn)} is no async function.",
        remedy="Write `async def`; wrap blocking code in anyio.to_thread.run_sync.",
    )


def _label(value: object) -> str:
    """Return what to call a value in an error: its name if it has one."""
    return str(getattr(value, "__name__", f"{value!r:.60}"))


_VALUES: Final = frozenset({"bool", "bytes", "dict", "float", "int", "list", "set", "str", "tuple"})
_OPTIONS: Final = frozenset(field.name for field in attrs.fields(Task)) - {"fn", "skip", "shape"}


def step_task(fn: Callable[..., Awaitable[Any]], name: str | None) -> Task[Any, Any]:
    """Return the task that a step of a plain async function is.

    Raises:
        InvalidArgumentsError: The function has no name that stays the same: a lambda, or a
            closure over variables, whose values would be missing from the call's identity. Or
            it is not async.
    """
    if isinstance(fn, Task):
        raise InvalidArgumentsError(
            f"{fn!r} is no async function but a task.", remedy="Ask for it: ctx.call(...)."
        )
    if not callable(fn):
        raise _blocking(fn)
    label = getattr(fn, "__name__", "<lambda>")
    hidden = label == "<lambda>" or bool(getattr(fn, "__closure__", None))
    if name is None and hidden:
        raise InvalidArgumentsError(
            f"The step {label} has no identity of its own: it is a lambda or a closure.",
            remedy="Pass all it uses as arguments, or name it: ctx.options(name=...).step(...).",
        )
    if label != "<lambda>":  # only calling it tells whether it gives something to await
        require_async(fn)
    return Task(fn=fn, name=name or label, skip=0)
