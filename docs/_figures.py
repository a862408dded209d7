"""Figures are made while the documentation is built, each by the command that stands under it.

    <!-- figure: convmat explain --example | What it shows. -->      a live page, in a frame
    <!-- figure: convmat draw 1x3x8x8 4x3x3x3 layer.svg | .. -->     a picture

{height: 1200} before the bar makes a frame as high as that.

A page's figures lie in a folder of their own name beside it. The command's file name becomes the figure's.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

MARK = re.compile(
    r"^<!-- figure: convmat (?P<command>[^|{]*?)(?: \{height: (?P<height>\d+)\})? \| (?P<caption>.*?) -->$",
    re.MULTILINE | re.DOTALL,
)
FOLDER = "figures"
MAIN = "from convmat.cli import main; main()"


def on_files(files: Files, config: Any) -> Files:
    """Called by mkdocs once: runs the commands of all pages and adds what they wrote."""
    for page in list(files.documentation_pages()):
        for found in MARK.finditer(page.content_string):
            for command, name in _variants(found["command"]):
                uri = f"{FOLDER}/{name}"
                if files.get_file_from_path(uri) is None:
                    files.append(File.generated(config, uri, content=_made(command, _name(found["command"]))))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for each page: a figure in the place of each mark."""
    return MARK.sub(lambda found: _figure(found["command"], found["caption"], found["height"]), markdown)


def _variants(command: str) -> list[tuple[str, str]]:
    """Each command that is run, and its figure's name: a picture is drawn on a dark ground too."""
    name = _name(command)
    if name.endswith(".html"):
        return [(command, name)]
    return [(command, name), (f"{command} --dark", f"dark-{name}")]


def _name(command: str) -> str:
    """The file that a command writes."""
    words = shlex.split(command)
    return words[words.index("-o") + 1] if "-o" in words else words[-1]


def _made(command: str, name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            [sys.executable, "-c", MAIN, *shlex.split(command)],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if run.returncode:
            raise SystemExit(f"convmat {command}\n{run.stderr}")
        return (Path(folder) / name).read_bytes()


def _figure(command: str, caption: str, height: str | None) -> str:
    name, words = _name(command), " ".join(caption.replace("`", "").split())
    said = re.sub(r"`(.+?)`", r"<code>\1</code>", escape(" ".join(caption.split())))
    if name.endswith(".html"):
        shown = (
            f'<iframe src="{FOLDER}/{name}" title="{escape(words)}" loading="lazy" '
            f'style="height: {height or 900}px"></iframe>'
        )
        alone = f' <a href="{FOLDER}/{name}">The page alone.</a>'
    else:
        # The theme shows one of the two.
        grounds = ((name, "only-light"), (f"dark-{name}", "only-dark"))
        shown = "".join(f'<img src="{FOLDER}/{file}#{when}" alt="{escape(words)}">' for file, when in grounds)
        alone = ""
    return (
        f'<figure class="made">{shown}<figcaption>{said}{alone}<br><code>convmat {escape(command)}</code>'
        "</figcaption></figure>"
    )
