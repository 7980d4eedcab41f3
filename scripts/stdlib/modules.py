"""Which of the standard library's tests are run: those of what waits, of what tools see, and of what is patched."""

from __future__ import annotations

import subprocess
from pathlib import Path

VERSIONS = ["3.11", "3.12", "3.13", "3.14"]

NAMES = """
test_socket test_ssl test_socketserver test_select test_poll test_epoll test_selectors test_timeout
test_thread test_threading test_threading_local test_threadedtempfile test_threadsignals test_threaded_import
test_queue test_sched test_time test_signal test_fork1 test_wait3 test_wait4 test_atexit test_gc test_weakref
test_concurrent_futures test_context test_contextlib test_contextlib_async test_generators test_coroutines test_asyncgen
test_sys test_sys_settrace test_sys_setprofile test_monitoring test_trace test_bdb test_pdb test_cprofile test_profile
test_faulthandler test_traceback test_warnings test_tracemalloc
test_file test_fileio test_io test_memoryio test_bufio test_largefile test_univnewlines test_fileinput test_print
test_builtin test_codecs test_tempfile test_pathlib test_glob test_shutil test_filecmp test_linecache test_tokenize
test_os test_posix test_posixpath test_genericpath test_subprocess test_popen test_pipes test_pty test_openpty test_tty
test_fcntl test_ioctl test_mmap test_resource test_syslog test_pwd test_getpass
test_zipfile test_tarfile test_gzip test_bz2 test_lzma test_zlib test_hashlib test_dbm test_shelve test_mailbox
test_pickle test_copy test_copyreg test_functools test_decimal test_random test_uuid
test_sqlite3 test_logging test_cmd test_code test_runpy test_import test_importlib test_pkgutil
test_httplib test_http_cookiejar test_httpservers test_urllib test_urllib2 test_urllib2_localnet test_urllib_response
test_ftplib test_poplib test_imaplib test_smtplib test_nntplib test_telnetlib test_asyncore test_asynchat test_smtpd
test_xmlrpc test_docxmlrpc test_wsgiref test_robotparser
test_multiprocessing_main_handling test_multiprocessing_fork test_multiprocessing_forkserver
test_multiprocessing_spawn test_asyncio
"""

MODULES = NAMES.split()
"""What a version of Python does not have is left out; a package stands for each of its modules."""

WHOLE = {"test_importlib", "test_sqlite3"}
"""Packages whose modules take less time together than to begin."""


def expand(python: Path, names: list[str]) -> list[str]:
    """The modules that these names stand for, in the tests that come with a Python."""
    asked = subprocess.run(
        [python, "-c", "import test; print(test.__path__[0])"], check=True, capture_output=True, text=True
    )
    tests = Path(asked.stdout.strip())
    found = []
    for name in names:
        path = tests / name.replace(".", "/")
        if path.with_suffix(".py").exists() or (path.is_dir() and name in WHOLE):
            found.append(name)
        elif path.is_dir():
            found += [f"{name}.{file.stem}" for file in sorted(path.glob("test_*.py"))] or [name]
    return found
