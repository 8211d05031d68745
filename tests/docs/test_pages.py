"""The documentation is whole: links lead somewhere, and the reference names the public API."""

import re

import pytest

import bpfstream
from tests.docs.snippets import ROOT, pages

LINK = re.compile(r"\]\(([^)#]+)[^)]*\)")


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page):
    targets = [each for each in LINK.findall(page.read_text()) if "://" not in each]
    assert [each for each in targets if not (page.parent / each).exists()] == []


def test_the_reference_has_every_public_name():
    text = (ROOT / "docs" / "reference.md").read_text()
    missing = [name for name in bpfstream.__all__ if not re.search(rf"`{name}\b", text)]
    assert missing == []
