"""Options of commands that come from the signatures and docstrings of functions.

What a model's constructor takes, `isthmus train` takes as an option; what `read_ratings` takes, so
does every command that reads ratings. Neither is written down twice.
"""

import enum
import inspect
import re
import types
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    NamedTuple,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import typer
from typer.core import TyperCommand

from isthmus._util.docstrings import parameter_entries

__all__ = [
    "Source",
    "command_with",
    "file_argument",
    "parse_columns",
    "parse_integers",
    "parse_numbers",
]


class Source(NamedTuple):
    """A function some of whose arguments become options.

    Parameters
    ----------
    title : str
        Heading of the options in the command's help.
    function : callable
        Its signature and annotations say what the options are.
    documentation : str
        A docstring whose Parameters section describes them.
    skip : collection of str
        Arguments that are no options.
    parsers : mapping of str to callable
        For arguments that their annotation does not tell how to parse.
    """

    title: str
    function: Callable[..., Any]
    documentation: str
    skip: Iterable[str] = ()
    parsers: Mapping[str, Callable[[str], Any]] = MappingProxyType({})

    def options(self) -> list[Any]:
        """Make the options, none of which has a default: what is not given is not passed on."""
        helps = describe_parameters(self.documentation)
        hints = get_type_hints(self.function)
        parameters = []
        for name, parameter in inspect.signature(self.function).parameters.items():
            if parameter.kind is not inspect.Parameter.KEYWORD_ONLY or name in self.skip:
                continue
            kind, help_text = helps.get(name, ("", ""))
            option = _option(
                name, hints[name], kind, self.parsers.get(name), default=parameter.default
            )
            info = typer.Option(
                *option.names,
                help=f"{help_text}{_shown_default(parameter.default, name)}".strip() or None,
                metavar=option.metavar,
                parser=option.parser,
                show_default=False,
            )
            parameters.append(
                inspect.Parameter(
                    name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=None,
                    annotation=Annotated[option.annotation, info],
                )
            )
        return _as_options(parameters)


def command_with(*sources: Callable[[list[str]], Source]) -> type[TyperCommand]:
    """Make a class of commands that take further options.

    The values of those that were given are in the context's ``obj``, by source and name.

    Parameters
    ----------
    *sources : callable
        Each takes the command's arguments, as they were written, and returns a source of options,
        which may thus depend on another option.
    """

    class Command(TyperCommand):
        _sources: ClassVar = sources

        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            chosen = [source(args) for source in self._sources]
            ctx.meta[__name__] = [(source.title, source.options()) for source in chosen]
            rest: list[str] = super().parse_args(ctx, args)
            ctx.obj = [
                {
                    option.name: _plain(value)
                    for option in options
                    if (value := ctx.params.pop(option.name, None)) is not None
                }
                for _, options in ctx.meta[__name__]
            ]
            return rest

        def get_params(self, ctx: Any) -> list[Any]:
            own = super().get_params(ctx)
            groups = ctx.meta.get(__name__, [])
            return [*own, *(option for _, options in groups for option in options)]

        def format_options(self, ctx: Any, formatter: Any) -> None:
            groups = [("Options", super().get_params(ctx)), *ctx.meta.get(__name__, [])]
            for title, options in groups:
                records = [
                    record
                    for option in options
                    if option.param_type_name == "option"
                    and (record := option.get_help_record(ctx)) is not None
                ]
                with formatter.section(title):
                    formatter.write_dl(records)

    return Command


def file_argument(metavar: str, help: str) -> Any:
    """Make the argument of a command that names a file."""
    return typer.Argument(metavar=metavar, help=help, show_default=False)


def describe_parameters(documentation: str) -> dict[str, tuple[str, str]]:
    """Read types and descriptions out of the Parameters section of a docstring."""
    described = {}
    for name, entry in parameter_entries(documentation).items():
        head, _, body = entry.partition("\n")
        plain = re.sub(r":\w+:(?=`)|`+", "", " ".join(body.split()))
        described[name] = (head.partition(" : ")[2], plain)
    return described


def parse_integers(text: str) -> tuple[int, ...]:
    """Read ``500,250,500``; an empty text is an empty tuple."""
    try:
        return tuple(int(number) for number in text.split(",")) if text else ()
    except ValueError:
        raise typer.BadParameter(
            f"it must be integers separated by commas, but it was {text!r}."
        ) from None


def parse_numbers(text: str) -> list[float]:
    """Read ``-1`` or ``-1,99``."""
    try:
        return [float(number) for number in text.split(",")]
    except ValueError:
        raise typer.BadParameter(
            f"it must be numbers separated by commas, but it was {text!r}."
        ) from None


def parse_columns(text: str) -> list[str | int | None]:
    """Read ``userId,movieId,rating`` or ``0,2,-,1``: names, positions, or - for none."""
    return [
        None if name == "-" else int(name) if name.isdecimal() else name for name in text.split(",")
    ]


class _Nothing(enum.Enum):
    """Stands for None as the value of an option: an option that is not given is not passed on."""

    none = None


def _number_or(kind: type, words: Mapping[str, Any]) -> Callable[[str], Any]:
    """Read a number, or one of some words that stand for a value."""

    def parse(text: str) -> Any:
        if text.lower() in words:
            return words[text.lower()]
        try:
            return kind(text)
        except ValueError:
            article = "an integer" if kind is int else f"a {kind.__name__}"
            *most, last = (article, *words)
            raise typer.BadParameter(
                f"it must be {', '.join(most)} or {last}, but it was {text!r}."
            ) from None

    return parse


class _Option(NamedTuple):
    annotation: Any
    names: tuple[str, ...]
    parser: Callable[[str], Any] | None = None
    metavar: str | None = None


def _option(
    name: str, hint: Any, kind: str, parser: Callable[[str], Any] | None, *, default: Any
) -> _Option:
    flag = "--" + name.replace("_", "-")
    possible = _alternatives(hint)
    if parser is not None:
        return _Option(str | None, (flag,), parser, "A,B,...")
    if bool in possible:
        return _Option(bool | None, (f"{flag}/--no-{flag[2:]}",))
    choices = [value for p in possible if get_origin(p) is Literal for value in get_args(p)]
    if str in possible:
        choices = re.findall(r'"([^"]*)"', kind) if kind.startswith("{") else []
    number: Any = next((p for p in (float, int) if p in possible), None)
    words: dict[str, Any] = {choice: choice for choice in choices}
    if types.NoneType in possible and default is not None:
        words["none"] = _Nothing.none
    if number is not None and words:
        metavar = "|".join([number.__name__.upper(), *words])
        return _Option(str | None, (flag,), _number_or(number, words), metavar)
    if choices:
        members: Any = enum.Enum(name, {choice: choice for choice in choices}, type=str)  # type: ignore[misc]
        return _Option(members | None, (flag,))
    if any(get_origin(p) is tuple for p in possible):
        return _Option(str | None, (flag,), parse_integers, "N,N,...")
    return _Option((number or str) | None, (flag,))


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _shown_default(default: Any, name: str) -> str:
    if default is None or default is inspect.Parameter.empty:
        return ""
    if isinstance(default, bool):
        shown = f"{'' if default else 'no-'}{name.replace('_', '-')}"
    else:
        numbers = ",".join(map(str, default)) or "no number" if isinstance(default, tuple) else ""
        shown = numbers or str(default)
    return f"  [default: {shown}]"


def _as_options(parameters: list[inspect.Parameter]) -> list[Any]:
    """Let Typer turn parameters of a function into options."""

    def command(**_: Any) -> None: ...

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    maker = typer.Typer(add_completion=False, rich_markup_mode=None)
    maker.command()(command)
    return list(typer.main.get_command(maker).params)


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, enum.Enum) else value
