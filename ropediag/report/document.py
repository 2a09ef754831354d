"""The document: sections set in one page, kept below its size, and written."""

import base64
import hashlib
import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib import metadata, resources
from pathlib import Path

import plotly
from jinja2 import Environment, StrictUndefined
from plotly.offline import get_plotlyjs

from ropediag.errors import CaptureError, ConfigError
from ropediag.plots import SHOW_CONFIG
from ropediag.plots.style import DARK
from ropediag.report.capture_section import Answer, CaptureSection, describe_capture
from ropediag.report.causes_section import CausesSection, describe_causes
from ropediag.report.cost_section import CostSection, describe_costs
from ropediag.report.figures import Drawing, pack, pack_drawings
from ropediag.report.side_by_side import SideBySide, set_side_by_side
from ropediag.report.study_section import StudySection, describe_study
from ropediag.store import Capture, is_study, open_capture, open_study
from ropediag.store.disk import publish_alone
from ropediag.store.guard import check_writable

LARGEST = 5_000_000  # bytes
LEFT_OUT = "its figure was left out to keep this file small. ropediag analyze --csv writes its numbers"


def write_report(files: Sequence[Path | str], out: Path | str, *, force: bool = False) -> Path:
    """Write one self-contained HTML file about captures, ablations, attributions and studies.

    Parameters
    ----------
    files : NAME.h5 or NAME.h5.partial, a capture, an ablation or an attribution, or the table of a
        study; one that is named twice counts once
    out : the file to write, NAME.html
    force : replace a file of this name

    Returns
    -------
    out

    Raises
    ------
    ConfigError
        If there are no files, one is of another kind, or a capture does not state its training length.
    CaptureError
        If the name is taken or the disk refuses.
    FormatError
        If a file cannot be read.
    """
    out = Path(out)
    files = list({Path(path).resolve(): Path(path) for path in files}.values())
    if not files:
        raise ConfigError("a report needs at least one capture, ablation or study: got none.")
    if out.suffix not in (".html", ".htm"):
        raise ConfigError(f"the file to write must be named *.html: got {out}.")
    if out.exists() and not force:
        raise CaptureError(f"{out} exists. Choose another name with --out, or replace it with --force.")
    check_writable(out)
    tables = [Path(path) for path in files if is_study(Path(path))]
    studies = tuple(
        describe_study(open_study(path), path, f"study-{index}") for index, path in enumerate(tables)
    )
    with ExitStack() as stack:
        opened = [stack.enter_context(open_capture(path)) for path in files if Path(path) not in tables]
        ablations = [one for one in opened if one.attrs.get("kind") == "ablation"]
        attributions = [one for one in opened if one.attrs.get("kind") == "attribution"]
        captures = [one for one in opened if one not in ablations + attributions]
        sections = tuple(describe_capture(one, f"capture-{index}") for index, one in enumerate(captures))
        together = _set_together(captures, sections) if len(captures) > 1 else None
        costs = describe_costs(_name_files(attributions))
        causes = describe_causes(_name_files(ablations)) if ablations else None
    document = render(Content(sections, together, costs, causes, studies, _write_command(files, out)))
    out.parent.mkdir(parents=True, exist_ok=True)
    publish_alone(out, document.encode())
    return out


@dataclass(frozen=True, eq=False)
class Content:
    """What a page holds: captures, what they are together, attributions, ablations, studies, its command."""

    sections: tuple[CaptureSection, ...]
    together: SideBySide | None
    costs: tuple[CostSection, ...]
    causes: CausesSection | None
    studies: tuple[StudySection, ...]
    command: str

    def list_drawings(self) -> list[Drawing]:
        """List all figures."""
        answers = [
            each for one in self.sections for each in (one.breakdown, one.seen_lags, one.drift, *one.answers)
        ]
        drawings = [each.drawing for each in answers if each.drawing is not None]
        for part in (self.together, *self.studies):
            drawings += [drawing for _, drawing in (part.drawings if part else ())]
        drawings += [drawing for cost in self.costs for drawing in (cost.waterfall, cost.by_head)]
        return drawings + (
            [
                self.causes.repairs,
                *filter(None, [self.causes.over_reach]),
                *(each.curves for each in self.causes.ablated),
            ]
            if self.causes
            else []
        )


def _set_together(captures: Sequence[Capture], sections: Sequence[CaptureSection]) -> SideBySide:
    named = _name_files(captures)
    verdicts = [section.verdict for section in sections]
    return set_side_by_side(named, dict(zip(named, verdicts, strict=True)))


def render(content: Content) -> str:
    """Set the page; the largest figures of diagnostics are left out where it would be too large."""
    library = pack(get_plotlyjs())
    while True:
        document = _set_page(content, library)
        if len(document.encode()) < LARGEST:
            return document
        content = replace(content, sections=_leave_out_largest(content.sections))


def _set_page(content: Content, library: str) -> str:
    page, script, style = (
        resources.files(__package__).joinpath(f"page.{ending}").read_text()
        for ending in ("html", "js", "css")
    )
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(page).render(
        sections=content.sections,
        together=content.together,
        costs=content.costs,
        causes=content.causes,
        studies=content.studies,
        command=content.command,
        script=script,
        style=style,
        hashes=[_hash(script), _hash(get_plotlyjs())],
        library=library,
        figures=pack_drawings(content.list_drawings()),
        settings=json.dumps({"dark": DARK, "config": {**SHOW_CONFIG, "responsive": True}}),
        versions=f"ropediag {metadata.version('ropediag')}, plotly {plotly.__version__}",
    )


def _leave_out_largest(sections: Sequence[CaptureSection]) -> tuple[CaptureSection, ...]:
    """Take away the largest figure among the diagnostics.

    Raises
    ------
    ConfigError
        If none is left.
    """
    sizes = {
        (place, index): len(answer.drawing.figure)
        for place, section in enumerate(sections)
        for index, answer in enumerate(section.answers)
        if answer.drawing is not None
    }
    if not sizes:
        raise ConfigError(f"a report of {len(sections)} captures is too large for one file: name fewer.")
    place, index = max(sizes, key=lambda key: sizes[key])
    answers = list(sections[place].answers)
    answers[index] = Answer(answers[index].about, None, LEFT_OUT)
    changed = list(sections)
    changed[place] = replace(sections[place], answers=tuple(answers))
    return tuple(changed)


def _name_files(files: Sequence[Capture]) -> dict[str, Capture]:
    """Name files without their folders; a second one of a name with its folder."""
    named: dict[str, Capture] = {}
    for each in files:
        path = Path(each.path)
        named[path.name if path.name not in named else str(path)] = each
    return named


def _write_command(files: Sequence[Path | str], out: Path) -> str:
    import shlex

    return shlex.join(["ropediag", "report", *(Path(file).name for file in files), "--out", out.name])


def _hash(script: str) -> str:
    """The hash by which the page's policy knows a script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"
