"""What goes wrong between a server and a worker of :mod:`overlapped.handoff` and :mod:`overlapped.prefork`."""


class ProtocolError(OSError):
    """The other side of a channel broke the rules: nothing more comes from it."""


ProtocolError.__module__ = "overlapped.handoff"
