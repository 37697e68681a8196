"""The requests for the report: its page, to be seen within ours or kept, and its figures."""

from __future__ import annotations

from aiohttp import web

from rtsep.errors import InputError
from rtsep.panel.report import Report

# The page has no scripts; its style and its pictures are inside.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
_NAME = "rtsep-latency"


class ReportRequests:
    """Where there is no report yet, there is no page."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def routes(self) -> list[web.RouteDef]:
        """All."""
        return [web.get("report/page", self._page), web.get("report/figures", self._figures)]

    async def _page(self, request: web.Request) -> web.Response:
        try:
            text = self._report.page()
        except InputError as error:
            raise web.HTTPNotFound(text=str(error)) from None
        headers = {"Content-Security-Policy": _POLICY}
        if "keep" in request.query:
            headers["Content-Disposition"] = f"attachment; filename={_NAME}.html"
        return web.Response(text=text, content_type="text/html", headers=headers)

    async def _figures(self, _: web.Request) -> web.Response:
        try:
            result = self._report.result()
        except InputError as error:
            raise web.HTTPNotFound(text=str(error)) from None
        return web.json_response(result, headers={"Content-Disposition": f"attachment; filename={_NAME}.json"})
