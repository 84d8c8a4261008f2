"""Run a function when a module is imported, without importing it earlier or changing its file."""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

Action = Callable[[ModuleType], None]


def after_import(name: str, action: Action) -> None:
    """Run `action(module)` right after the module `name` is imported; at once, if it already was.

    Registering the same action for the same module again has no effect.
    """
    actions = _finder().actions.setdefault(name, [])
    if action in actions:
        return
    actions.append(action)
    if name in sys.modules:
        action(sys.modules[name])


class _AfterFinder(importlib.abc.MetaPathFinder):
    """Finds the modules that have actions with the finders after it, and wraps their loaders."""

    def __init__(self) -> None:
        self.actions: dict[str, list[Action]] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self.actions:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _AfterLoader(spec.loader, self.actions[fullname])
                return spec
        return None


class _AfterLoader(importlib.abc.Loader):
    """Executes a module with its own loader, restores that loader in the module, and runs the actions."""

    def __init__(self, loader: importlib.abc.Loader, actions: Sequence[Action]) -> None:
        self._loader = loader
        self._actions = actions

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        for action in self._actions:
            action(module)


def _finder() -> _AfterFinder:
    for finder in sys.meta_path:
        if isinstance(finder, _AfterFinder):
            return finder
    finder = _AfterFinder()
    sys.meta_path.insert(0, finder)
    return finder
