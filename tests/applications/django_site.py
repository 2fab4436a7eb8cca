"""Django's cache and its sessions in the database at the URL that is given; prints what they answered as JSON."""

import json
import sys

from django.conf import settings

settings.configure(
    CACHES={"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": sys.argv[1]}},
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
)

from django.contrib.sessions.backends.cache import SessionStore  # noqa: E402  # after the settings
from django.core.cache import cache  # noqa: E402

report: dict[str, object] = {}
cache.set("a", {"a": [1, 2]}, timeout=60)
report["get"] = cache.get("a")
cache.set_many({"x": 1, "y": 2})
report["many"] = cache.get_many(["x", "y", "z"])
report["added"] = [cache.add("once", 1), cache.add("once", 2)]
cache.set("counter", 1)
report["counter"] = cache.incr("counter", 5)
cache.set("short", 1, timeout=0)
report["expired"] = cache.get("short")
report["touched"] = cache.touch("counter", 100)
session = SessionStore()
session["user"] = "carol"
session.save()
report["session"] = SessionStore(session_key=session.session_key).get("user")
session.flush()
cache.delete("a")
report["gone"] = cache.get("a")
print(json.dumps(report))
