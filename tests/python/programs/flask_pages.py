"""A plain application of Flask's, whose requests can wait for one another."""

import threading

from flask import Flask, request

application = Flask(__name__)
together = threading.Barrier(50)


@application.post("/echo")
def echo() -> bytes:
    return request.get_data().upper()


@application.get("/together")
def wait_for_all() -> str:
    """Answers when as many as there are threads have asked."""
    return str(together.wait(60))
