"""Which clients there are: name in the table -> module and class. Imported only when it runs."""

from __future__ import annotations

import importlib
import shutil

CLIENTS = {
    "confluent-kafka": "clients.confluent:ConfluentDriver",
    "kafka-python": "clients.kafka_python:PythonDriver",
    "aiokafka": "clients.aio:AioDriver",
    "kafkajs": "clients.node_clients:KafkajsDriver",
    "platformatic": "clients.node_clients:PlatformaticDriver",
    "kcat": "clients.kcat:KcatDriver",
}


def driver_class(name: str):
    """A client's driver class."""
    module, _, cls = CLIENTS[name].partition(":")
    return getattr(importlib.import_module(module), cls)


def missing(name: str) -> str | None:
    """Why a client cannot run on this machine at all."""
    if name == "kcat" and shutil.which("kcat") is None:
        return "kcat is not installed"
    return None
