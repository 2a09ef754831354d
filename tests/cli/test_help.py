"""What the command line says of itself: help, version, lengths, interruptions, the last handler."""

import inspect
import re
import shlex
import typing

import pytest
import typer
from click import unstyle

from ropediag import __version__, cli
from ropediag.cli import PANELS, build_app
from ropediag.config import parse_length
from ropediag.errors import ConfigError
from tests.cli.command_line import run

COMMANDS = {found.name: found.callback for found in build_app().registered_commands}


@pytest.fixture
def ropediag(monkeypatch, capsys, tmp_path):
    """Give a function that runs ``ropediag`` in an empty folder, on a terminal 200 columns wide."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *words: run(monkeypatch, capsys, *words)


def squeeze(text):
    """A rendered help as one line, without the frames and the breaks between words."""
    return re.sub(r"\s+", " ", re.sub(r"[│╭╮╰╯─]", " ", unstyle(text)))


def option_helps(command):
    for hint in typing.get_type_hints(inspect.unwrap(command), include_extras=True).values():
        for note in getattr(hint, "__metadata__", ()):
            if isinstance(note, typer.models.ParameterInfo) and note.help:
                yield note.help


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_shows_every_text_whole_an_example_and_no_python(ropediag, name):
    shown = squeeze(ropediag(name, "--help").out)
    for text in option_helps(COMMANDS[name]):
        assert squeeze(text) in shown
    assert f"Example: ropediag {name}" in shown
    for noise in ("<bool>", "<int>", "list[str]", "list[float]", "Raises", "Parameters"):
        assert noise not in shown
    assert squeeze(ropediag(name, "-h").out) == shown


def test_the_commands_are_grouped_by_task(ropediag):
    shown = unstyle(ropediag("--help").out)
    titles = [shown.index(f"─ {panel} ─") for panel in PANELS]
    assert titles == sorted(titles)
    for name in COMMANDS:
        assert re.search(rf"│ {name} ", shown)


@pytest.mark.parametrize("name", COMMANDS)
def test_an_example_has_only_options_that_exist(name):
    module = getattr(cli, name.replace("-", "_"))
    words = shlex.split(module.EXAMPLE)
    assert words[:2] == ["ropediag", name]
    command = typer.main.get_command(build_app()).commands[name]
    command.make_context(name, words[2:])  # raises where a word is not understood


def test_the_version_is_that_of_the_package(ropediag):
    assert ropediag("--version").out == f"ropediag {__version__}\n"


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("8192", 8192),
        ("65_536", 65536),
        ("8k", 8192),
        ("128K", 131072),
        ("1M", 2**20),
        ("1e5", 100_000),
        ("1.5e3", 1500),
        (" 7 ", 7),
    ],
)
def test_a_length_is_read_as_people_write_it(text, tokens):
    assert parse_length(text) == tokens


@pytest.mark.parametrize("text", ["1.5k", "128.5", "8x", "k", "", "1e5k", "inf", "nan", "1e-3", "0x10"])
def test_what_is_no_whole_number_of_tokens_is_refused(text):
    with pytest.raises(ConfigError, match="is not a number of tokens"):
        parse_length(text)


def test_a_length_that_no_file_can_hold_is_refused():
    with pytest.raises(ConfigError, match="more tokens than a file can count"):
        parse_length("1e300")


def test_the_length_that_a_suffix_comes_to_is_printed(ropediag):
    done = ropediag("predict", "--base", "1e4", "--train-len", "4k", "--rotary-dim", "128")
    assert done.err == "4k is 4,096 tokens\n"
    assert ropediag("predict", "--base", "1e4", "--train-len", "4096", "--rotary-dim", "128").err == ""


def test_an_interrupted_capture_says_what_is_kept_and_how_to_go_on(ropediag, monkeypatch, tmp_path):
    from ropediag.cli import _terminal

    class Impatient(_terminal.TerminalReporter):
        def layer_done(self, sequence, layer):
            if (sequence, layer) == (1, 1):
                raise KeyboardInterrupt

    monkeypatch.setattr(_terminal, "TerminalReporter", Impatient)
    words = ("capture", "--model", "demo", "--len", "200", "--sequences", "2", "--out", "my run.h5")
    done = ropediag(*words)
    assert done.status == 130
    assert done.err.splitlines()[-1] == (
        "ropediag: interrupted: 7 of 10 parts are in my run.h5.partial; "
        "the same command with --resume goes on."
    )
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert ropediag(*words, "--resume").status == 0


def test_an_error_that_nobody_foresaw_is_one_line_and_debug_shows_where(ropediag, monkeypatch):
    def fail(*arguments, **options):
        raise ZeroDivisionError("a division\nby zero")

    monkeypatch.setattr("ropediag.prediction.predict", fail)
    done = ropediag("predict", "--base", "1e4")
    assert done.status == 2
    assert done.err == (
        "ropediag: predict: an error that ropediag did not foresee, ZeroDivisionError: a division by zero. "
        "Check the input; the same command with --debug shows where it happened.\n"
    )
    for words in (("--debug", "predict"), ("predict", "--debug")):
        traced = ropediag(*words)
        assert "Traceback" in traced.err
        assert "in fail" in traced.err
        assert traced.err.endswith(done.err)
