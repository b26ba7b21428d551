"""Scope: what the code that is about to ask for a connection says about itself. Standard library only.

In: a name (endpoint, transaction), and for a load generator the work item and its intended start. Out: a context
variable that every request made inside carries, across tasks, threads started with `contextvars` and greenlets.
"""

from __future__ import annotations

from contextvars import ContextVar, Token


class scope:  # noqa: N801 - used as `with scope("checkout"):`
    """Everything requested inside carries this name, and this site when one is given.

    `site` is (file, line, function) and replaces the frame that asks. `intended_at` is in nanoseconds of the monotonic
    clock (0: not a load test), `item` and `client` number the work item of the tape and who runs it. May be nested;
    one object may be entered once at a time.
    """

    __slots__ = ("_token", "client", "intended_at", "item", "name", "site")

    def __init__(
        self,
        name: str,
        *,
        site: tuple[str, int, str] | None = None,
        intended_at: int = 0,
        item: int = 0,
        client: int = 0,
    ) -> None:
        self.name = name
        self.site = site
        self.intended_at = intended_at
        self.item = item
        self.client = client
        self._token: Token[scope | None] | None = None

    def __enter__(self) -> scope:
        self._token = current.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            current.reset(self._token)
            self._token = None


current: ContextVar[scope | None] = ContextVar("poolctl_scope", default=None)
"""The scope that the running code is in."""
