"""What the README shows is what is run: its walk with curl is the script that CI plays."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_walk_with_curl_is_the_one_that_is_played() -> None:
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("### With curl\n")[1].split("```console\n")[1]
    shown = [line for line in section.split("```")[0].splitlines() if line.startswith("$ ")]

    script = [str(ROOT / "ops" / "walkthrough.sh"), "--commands"]
    played = subprocess.run(script, capture_output=True, text=True, check=True, timeout=30).stdout.splitlines()

    assert shown == played
    assert len(played) > 10
