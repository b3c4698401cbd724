"""People whom an authenticating proxy has signed in, such as oauth2-proxy at a company's login.

The proxy names the user of a request in a header, which counts on connections from the proxy alone
(`app.api.http.proxy`). The name is in the log, and each user has a rate.
"""

from __future__ import annotations

from flask import Flask
from limits import parse

from app.api.http.current import current_request
from app.api.http.gate import OPEN
from app.api.telemetry.record import record_of
from app.errors import TooManyRequests
from app.keys.rate_limiter import RateLimiter, rate_in_words
from app.settings import Settings


class UserRates:
    """Counts the requests of each user. rate: N/second, N/minute or N/hour."""

    def __init__(self, rate: str) -> None:
        self._rate = parse(rate)
        self._rates = RateLimiter()

    def install(self, app: Flask) -> None:
        """Count the requests of `app`."""
        app.before_request(self.check)

    def check(self) -> None:
        """Count the current request, unless it has no user, or is for a file or a health check.
        Raises TooManyRequests."""
        request = current_request()
        if request.endpoint not in OPEN:
            self.count(record_of(request.environ).user)

    def count(self, user: str | None) -> None:
        """Count a request of a user; None counts as no one. Raises TooManyRequests."""
        if user is None:
            return
        if wait := self._rates.hit(self._rate, user):
            allowed = rate_in_words(self._rate)
            raise TooManyRequests(
                f"the user {user!r} may send {allowed} (KERAPORT_USER_RATE): slow down", wait
            )


def user_rates(settings: Settings) -> UserRates | None:
    """Return the rates of users, if the settings have one."""
    return UserRates(settings.user_rate) if settings.user_rate else None
