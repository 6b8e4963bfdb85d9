# Calls the server. `tell` never stops the installation; `fail` always does.
tell() {
    curl -fsS --retry 3 --max-time 20 -H 'Content-Type: text/plain' --data-binary "$1" \
        {{ site.hooks.progress }} >/dev/null 2>&1 || :
}

# The reason, and how the logs end.
report_failure() {
    {
        printf '%s\n' "$1"
        for log in $LOGS; do
            [ ! -r "$log" ] || tail -n 40 "$log"
        done
    } | curl -fsS --retry 3 --max-time 20 -H 'Content-Type: text/plain' --data-binary @- \
        {{ site.hooks.failure }} >/dev/null 2>&1 || :
}

fail() {
    printf '%s\n' "$1" >&2
    report_failure "$1"
    trap - EXIT
    exit 1
}
