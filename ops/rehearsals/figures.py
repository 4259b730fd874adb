"""Owns: reading figures from the /metrics of every process of a stack. Must not know: what they mean."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite

from prometheus_client.parser import text_string_to_metric_families

from ops.stack import Stack

_TIMEOUT_S = 5.0
_NOT_OURS = ("rabbitmq", "postgres", "prometheus")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """All series of one name with these labels; summed up, or the highest of them where replicas say the same."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    is_gauge: bool = False

    @property
    def title(self) -> str:
        chosen = ",".join(f'{label}="{value}"' for label, value in self.labels.items())
        return f"{self.name}{{{chosen}}}" if chosen else self.name

    def of(self, samples: Iterable[Sample]) -> float:
        """0 while nobody has told one; infinite is what nobody knows."""
        values = [sample.value for sample in samples if self._is_of(sample) and isfinite(sample.value)]
        return max(values, default=0.0) if self.is_gauge else sum(values)

    def _is_of(self, sample: Sample) -> bool:
        return sample.name == self.name and self.labels.items() <= sample.labels.items()


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One line of what a process tells."""

    name: str
    labels: Mapping[str, str]
    value: float


def samples_in(text: str) -> Iterator[Sample]:
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield Sample(name=sample.name, labels=sample.labels, value=float(sample.value))


def samples_of(stack: Stack, process: str | None = None) -> list[Sample]:
    """Of every process that answers, or of one and its replicas; broker and Prometheus are not ours."""
    names = [running.name for running in stack.processes() if _is_wanted(running.name, process)]
    addresses = [address for name in names if (address := stack.metrics_address(name))]
    return [sample for address in addresses for sample in samples_in(_text(address))]


def _is_wanted(name: str, process: str | None) -> bool:
    if process is None:
        return name not in _NOT_OURS
    return name == process or name.startswith(f"{process}-")


def _text(address: str) -> str:
    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=_TIMEOUT_S) as answer:
            return str(answer.read().decode())
    except OSError:
        # Down just now: that may be what is rehearsed.
        return ""


def values_of(figures: Sequence[Figure], samples: Sequence[Sample]) -> dict[str, float]:
    return {figure.title: figure.of(samples) for figure in figures}
