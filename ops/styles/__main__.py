"""``make styles``: write the styles that the dashboard serves."""

from __future__ import annotations

import click

from ops.styles import SERVED, WHOLE, served

if __name__ == "__main__":
    text = served()
    SERVED.write_text(text, encoding="utf-8")
    click.echo(f"{SERVED.name}: {len(text.encode())} of {WHOLE.stat().st_size} bytes")
