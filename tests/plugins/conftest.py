"""Plugins that this process finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint

import pytest

from difftool.names import registry as plugins
from difftool.names.registry import Registry


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Registry]]:
    """`registered(*points)`: those are all that is installed, besides difftool."""

    def set_points(*points: EntryPoint) -> Registry:
        monkeypatch.setattr(plugins, "installed", lambda: (list(points), []))
        monkeypatch.setattr(plugins, "remembered", plugins.imported)
        plugins.registry.cache_clear()
        return plugins.registry()

    yield set_points
    plugins.registry.cache_clear()
