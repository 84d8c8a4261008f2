"""Skips fail where FACEMASK_NO_SKIP is set, and only there."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

TESTS = """
import pytest
def test_passes(): pass
def test_skips(): pytest.skip("no display")
@pytest.mark.skip(reason="not today")
def test_is_marked(): pass
@pytest.mark.xfail(reason="known")
def test_fails_as_known(): assert False
"""


@pytest.fixture
def tests(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest((Path(__file__).parent / "no_skips.py").read_text(encoding="utf-8"))
    pytester.makepyfile(test_some=TESTS, test_module="import pytest\npytest.importorskip('no_such_module')\n")
    return pytester


def test_skips_are_skips_elsewhere(tests: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FACEMASK_NO_SKIP", raising=False)
    tests.runpytest().assert_outcomes(passed=1, skipped=3, xfailed=1)


def test_skips_fail_where_none_may_be(tests: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEMASK_NO_SKIP", "1")
    done = tests.runpytest("--continue-on-collection-errors")
    done.assert_outcomes(passed=1, failed=1, errors=2, xfailed=1)
    done.stdout.fnmatch_lines(["*test_skips skips where no test may (FACEMASK_NO_SKIP): *no display*"])
