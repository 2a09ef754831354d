"""Docstrings of this project say after a name's colon what it is; its type stands in the signature."""

from typing import Any

import griffe

KINDS = (
    griffe.DocstringSectionKind.parameters,
    griffe.DocstringSectionKind.other_parameters,
    griffe.DocstringSectionKind.attributes,
    griffe.DocstringSectionKind.returns,
)


class Words(griffe.Extension):
    """Take what stands after the colon as the description, where no description follows."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        for section in obj.docstring.parsed if obj.docstring else ():
            if section.kind in KINDS:
                for item in section.value:
                    self._move(item, obj)

    def _move(self, item: griffe.DocstringNamedElement, obj: griffe.Object) -> None:
        said = item.annotation
        if isinstance(said, str) and not item.description:
            item.description, item.annotation = said, None
