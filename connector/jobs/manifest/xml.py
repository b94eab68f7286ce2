"""Metadata documents, written with a library so that no value can end an element."""

from collections.abc import Sequence
from typing import TypeAlias, Union
from xml.etree import ElementTree

#: A name with a text or with further elements.
Element: TypeAlias = tuple[str, Union[str, "Sequence[Element]"]]

NAMESPACE = "http://soap.sforce.com/2006/04/metadata"
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'


def document(name: str, content: Sequence[Element]) -> str:
    """A Metadata API document."""
    root = ElementTree.Element(name, xmlns=NAMESPACE)
    _fill(root, content)
    ElementTree.indent(root, "    ")
    return f"{_HEAD}{ElementTree.tostring(root, encoding='unicode')}\n"


def _fill(parent: ElementTree.Element, content: Sequence[Element]) -> None:
    for name, value in content:
        child = ElementTree.SubElement(parent, name)
        if isinstance(value, str):
            child.text = value
        else:
            _fill(child, value)
