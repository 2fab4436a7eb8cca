# Varnish in front of a node whose configuration says `surrogate: true`, with `upstash-global edge purger` beside it.
#
# Replies are kept for each token apart, and until the purger bans them by the hashes in Surrogate-Key.
vcl 4.1;

backend default {
    .host = "127.0.0.1";
    .port = "8005";  # the REST port of the node
}

acl purgers {
    "127.0.0.1";
    "::1";
}

sub vcl_recv {
    if (req.method == "BAN") {
        if (!client.ip ~ purgers) {
            return (synth(405));
        }
        if (req.http.Surrogate-Key) {
            ban("obj.http.Surrogate-Key ~ (^|\s)(" + req.http.Surrogate-Key + ")(\s|$)");
        } else {
            ban("obj.status != 0");
        }
        return (synth(200, "Banned"));
    }
    # A position that a client has seen, or a choice of consistency, is the node's to honour.
    if (req.method != "GET" || req.http.Upstash-Sync-Token || req.http.Upstash-Consistency
        || req.http.If-Match || req.http.Idempotency-Key || req.http.Cache-Control ~ "(?i)no-cache") {
        return (pass);
    }
    if (req.url ~ "^/p?subscribe/" || req.url ~ "^/monitor") {
        return (pipe);
    }
    return (hash);
}

sub vcl_hash {
    hash_data(req.http.Authorization);
    hash_data(req.http.Upstash-Encoding);
    hash_data(req.http.Upstash-Response-Format);
}

sub vcl_backend_response {
    set beresp.grace = 0s;  # what has been banned or has ended is not served once more
    set beresp.keep = 0s;
}

sub vcl_deliver {
    unset resp.http.Surrogate-Key;
    if (obj.hits > 0) {
        set resp.http.X-Cache = "Hit from varnish";
        unset resp.http.Upstash-Sync-Token;  # it was of the first answer
    } else {
        set resp.http.X-Cache = "Miss from varnish";
    }
}
