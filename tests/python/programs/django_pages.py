"""A plain application of Django's, in one file, whose requests can wait for one another."""

import threading

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="none")
together = threading.Barrier(50)


def echo(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.body.upper())


def wait_for_all(request: HttpRequest) -> HttpResponse:
    """Answers when as many as there are threads have asked."""
    return HttpResponse(str(together.wait(60)))


urlpatterns = [path("echo", echo), path("together", wait_for_all)]
application = get_wsgi_application()
