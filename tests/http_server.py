"""A web server on this machine that behaves as badly as it is told to."""

import contextlib
import datetime
import hashlib
import html
import http.server
import re
import threading
import time
from email.utils import format_datetime
from typing import NamedTuple
from urllib.parse import quote, unquote

DATE = datetime.datetime(2014, 5, 1, 10, 11, tzinfo=datetime.timezone.utc)
HOSTILE = [  # links that lead nowhere or elsewhere
    "../../x",
    "/etc/passwd",
    "%2e%2e/",
    "%2e%2e%2fx",
    "..\\x",
    "..%5cx",
    "%00",
    "a%00b",
    "//evil.org/er/x",
    "http://evil.org/er/x",
    "https://127.0.0.1/er/x",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "/er/../x",
    "/er/a/../../../x",
    "http://[",
    "C:%5Cx",
    "c:x",
    "?C=N",
    "#top",
    "x%0d%0aSet: y",
    ".",
    "..",
    "./",
    "",
    "%2fetc%2fpasswd",
    "http://user@host/er/x",
    "a" * 400,
    "http://host:99999/er/x",
    "/er/%252e%252e/../..",
    "\x00",
    "x\ty/..",
    "CON:",
    "/er//x",
    "/er/./x/y",
]


class Request(NamedTuple):
    "One line of the server's log."

    method: str
    path: str
    range: str
    if_range: str
    time: float


class Fault(NamedTuple):
    "What goes wrong with one answer."

    kind: str  # such as "cut", "stall", "status", "redirect", "drip" or "mute"
    value: object = None  # bytes sent before, status code, address or new content
    header: str = ""  # value of Retry-After; words behind the status


def _apache(name, is_folder, size, date):
    shown = (
        "  - "
        if is_folder
        else f"{size / 1024:.1f}K"
        if 1024 <= size < 10240
        else f"{size // 1024}K"
        if size >= 1024
        else str(size)
    )
    text = name if len(name) < 22 else name[:20] + "..>"
    link = f'<a href="{html.escape(quote(name))}">{html.escape(text)}</a>'
    icon = '<img src="/icons/x.gif" alt="[   ]">'
    return f"{icon} {link} {date:%Y-%m-%d %H:%M}  {shown:>4}  \n"


def _nginx(name, is_folder, size, date):
    link = f'<a href="{html.escape(quote(name))}">{html.escape(name)}</a>'
    shown = "-" if is_folder else size
    return f"{link}{' ' * 20}{date:%d-%b-%Y %H:%M}{shown:>20}\r\n"


def _iis(name, is_folder, size, date, folder):
    clock = f"{date.hour % 12 or 12:>2}:{date:%M} {'PM' if date.hour >= 12 else 'AM'}"
    stamp = f"{date.month:>2}/{date.day}/{date.year} {clock}"
    shown = "        &lt;dir&gt;" if is_folder else f"{size:>12}"
    address, text = html.escape(quote(folder + name)), html.escape(name.rstrip("/"))
    return f' {stamp} {shown} <A HREF="{address}">{text}</A><br>'


def _tomcat(name, is_folder, size, date, folder):
    shown = "&nbsp;" if is_folder else f"{size / 1024:.1f} kb"
    address, when = (
        html.escape(quote(folder + name)),
        format_datetime(date, usegmt=True),
    )
    return (
        '<tr>\n<td align="left">&nbsp;&nbsp;\n'
        f'<a href="{address}"><tt>{html.escape(name)}</tt></a></td>\n'
        f'<td align="right"><tt>{shown}</tt></td>\n'
        f'<td align="right"><tt>{when}</tt></td>\n</tr>\n'
    )


def listing(
    dialect,  # "apache", "nginx", "iis" or "tomcat"
    folder,  # path of the listed folder on the server, decoded, with a slash at its end
    names,  # decoded name -> size; folders end in a slash
    links=(),  # further links, as written
    date=DATE,
):  # text of the page
    "A listing as such a server prints it."
    extra = "".join(
        f'<a href="{html.escape(link)}">x</a>'
        + ("\n" if dialect in ("apache", "nginx") else "<br>")
        for link in links
    )
    rows = {
        "apache": _apache,
        "nginx": _nginx,
        "iis": lambda *row: _iis(*row, folder),
        "tomcat": lambda *row: _tomcat(*row, folder),
    }[dialect]
    body = "".join(
        rows(name, name.endswith("/"), size, date) for name, size in names.items()
    )
    around = {
        "apache": (
            '<h1>Index</h1><pre><a href="?C=N;O=D">Name</a> '
            '<a href="?C=M;O=A">Last modified</a><hr>'
            f'<a href="{quote(folder)}../">Parent Directory</a>   - \n',
            f"{extra}<hr></pre>",
        ),
        "nginx": (
            '<h1>Index</h1><hr><pre><a href="../">../</a>\r\n',
            f"{extra}</pre><hr>",
        ),
        "iis": (
            f"<H1>host - {html.escape(folder)}</H1><hr>\r\n"
            '<pre><A HREF="/">[To Parent Directory]</A><br><br>',
            f"{extra}</pre><hr>",
        ),
        "tomcat": (
            '<h1>Directory Listing</h1><table width="100%">\n',
            f"</table>{extra}",
        ),
    }
    before, after = around[dialect]
    return f"<html><body>{before}{body}{after}</body></html>"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        site, path = self.server.site, unquote(self.path)
        site.log.append(
            Request(
                self.command,
                path,
                self.headers.get("Range", ""),
                self.headers.get("If-Range", ""),
                time.monotonic(),
            )
        )
        with contextlib.suppress(ConnectionError):
            faults = site.faults.get(path)
            fault = faults.pop(0) if faults and self.command == "GET" else Fault("")
            if self.command == "HEAD" and not site.heads:
                self.answer(405, b"", {})
            elif fault.kind == "drip":
                self.drip(site, fault.value)
            elif fault.kind == "drip head":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
                self.drops(site)
            elif fault.kind == "mute":
                site.closing.wait()
            elif fault.kind == "words":
                self.send_response(fault.value, fault.header)
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif fault.kind == "instead":
                self.answer(200, fault.value, {"Content-Type": "text/plain"})
            elif fault.kind == "status":
                self.answer(
                    fault.value,
                    b"an error page",
                    {"Retry-After": fault.header} if fault.header else {},
                )
            elif fault.kind == "redirect":
                self.answer(302, b"", {"Location": fault.value})
            elif fault.kind == "page":
                self.answer(
                    200, b"<html>please log in</html>", {"Content-Type": "text/html"}
                )
            elif path.endswith("/"):
                page = site.page(path)
                self.answer(
                    404 if page is None else 200,
                    (page or "").encode(),
                    {"Content-Type": "text/html"},
                )
            elif path not in site.files:
                self.answer(404, b"no such file", {"Content-Type": "text/html"})
            else:
                self.file(site, path, fault)

    def drip(self, site, location):
        "An answer, perhaps a redirect, whose body never ends."
        self.send_response(302 if location else 200)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", "250000")
        self.end_headers()
        self.drops(site)

    def drops(self, site):
        "A byte now and then, for ever."
        self.close_connection = True
        while not site.closing.wait(0.05):
            self.wfile.write(b"x")
            self.wfile.flush()

    def answer(self, status, content, headers):
        self.send_response(status)
        for name, value in {"Content-Length": len(content), **headers}.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def file(self, site, path, fault):
        content, headers = (
            site.files[path],
            {"Content-Type": "application/octet-stream", **site.validators(path)},
        )
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range") in (
            None,
            headers.get("ETag"),
            headers.get("Last-Modified"),
        )
        start, status = 0, 200
        if found and fault.kind == "wrong206":
            status, headers["Content-Range"] = 206, fault.value
        elif found and site.ranges and same:
            start, status = int(found[1]), 206
            headers["Content-Range"] = (
                f"bytes {start}-{len(content) - 1}/{len(content)}"
            )
            if start >= len(content):
                return self.answer(
                    416, b"", {"Content-Range": f"bytes */{len(content)}"}
                )
        if fault.kind == "encoded":
            headers["Content-Encoding"] = "gzip"
        rest = content[start:]
        self.send_response(status)
        for name, value in {
            **headers,
            **(
                {"Content-Length": len(rest)}
                if site.lengths
                else {"Connection": "close"}
            ),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection |= not site.lengths
        if self.command != "HEAD":
            self.body(site, path, rest, fault)

    def body(self, site, path, rest, fault):
        before = {"cut": fault.value, "stall": fault.value, "swap": len(rest) // 2}.get(
            fault.kind
        )
        self.wfile.write(rest[:before])
        if before is not None:
            self.wfile.flush()
            if fault.kind == "stall":
                site.closing.wait()
            if fault.kind == "swap":
                site.files[path] = fault.value
            self.close_connection = True


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 64

    def handle_error(self, request, address):
        "A client that went away is no error of the tests."


class Site:
    "A server, its files, its faults and its log; to be used in a `with` statement."

    def __init__(self, files=None, dialect="apache"):
        self.files, self.dialect = dict(files or {}), dialect  # path -> bytes
        self.faults = {}  # path -> list of `Fault`, one for each GET
        self.links = {}  # folder -> further links of its listing
        self.ranges, self.lengths = True, True  # False: not honoured, not sent
        self.kind = "both"  # validators: "both", "etag", "weak", "modified" or "none"
        self.lists = True  # False: listings are forbidden
        self.heads = True  # False: HEAD is not allowed
        self.date, self.log, self.closing = DATE, [], threading.Event()

    def __enter__(self):
        self.server = _Server(("127.0.0.1", 0), _Handler)
        self.server.site = self
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(
            target=self.server.serve_forever,
            kwargs={"poll_interval": 0.02},
            daemon=True,
        ).start()
        return self

    def __exit__(self, *exception):
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

    def validators(self, path):
        etag = f'"{hashlib.md5(self.files[path]).hexdigest()[:16]}"'
        every = {
            "both": {"ETag": etag},
            "etag": {"ETag": etag},
            "weak": {"ETag": "W/" + etag},
            "modified": {},
            "none": {},
        }[self.kind]
        return every | (
            {"Last-Modified": format_datetime(self.date, usegmt=True)}
            if self.kind in ("both", "weak", "modified")
            else {}
        )

    def page(self, folder):
        "The listing of a folder, or None for one that does not exist."
        names = {}
        for path, content in self.files.items():
            if path.startswith(folder):
                first, slash, _ = path[len(folder) :].partition("/")
                names[first + slash] = 0 if slash else len(content)
        known = names or folder in self.links
        return (
            listing(self.dialect, folder, names, self.links.get(folder, ()), self.date)
            if known and self.lists
            else None
        )

    def asked(self, path, method="GET"):
        "The requests for a path, in their order."
        return [
            request
            for request in self.log
            if (request.method, request.path) == (method, path)
        ]
