# Calls the server. The installer's wget cannot send anything, so what is said goes through nc.
post() { # HOST PORT AUTHORITY PATH, the text comes in
    cat >/tmp/gleaner.said
    {
        printf 'POST %s HTTP/1.0\r\nHost: %s\r\nContent-Type: text/plain\r\nContent-Length: %s\r\n\r\n' \
            "$4" "$3" "$(wc -c </tmp/gleaner.said | tr -d ' ')"
        cat /tmp/gleaner.said
    } | nc -w 20 "$1" "$2" >/dev/null 2>&1 || :
}

tell() {
    printf '%s' "$1" | post {{ progress.host }} {{ progress.port }} {{ progress.authority }} {{ progress.path }}
}

# The reason, and how the log ends.
report_failure() {
    {
        printf '%s\n' "$1"
        tail -n 40 /var/log/syslog
    } | post {{ failure.host }} {{ failure.port }} {{ failure.authority }} {{ failure.path }}
}

{% include "common/again.sh" %}

# The installer would ask a person whether to go on, and go on; what waits here writes nothing.
fail() {
    logger -t gleaner "$1"
    report_failure "$1"
    again
    while :; do sleep 3600; done
}
