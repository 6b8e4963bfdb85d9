#!/bin/sh
# Before anything is written; preseed/early_command runs it.
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
    printf '%s' "$1" | post 10.77.0.1 8080 10.77.0.1:8080 /install/4f1c/progress
}

# The reason, and how the log ends.
report_failure() {
    {
        printf '%s\n' "$1"
        tail -n 40 /var/log/syslog
    } | post 10.77.0.1 8080 10.77.0.1:8080 /install/4f1c/failure
}

# What has failed is begun anew: the machine starts again and asks the server, which gives it another try, or shows it why
# not. Whoever stands before it has a minute to read.
again() {
    sleep 60
    sync
    echo b >/proc/sysrq-trigger
}

# Not every installer stops because a script does.
fail() {
    printf '%s\n' "$1" >&2
    report_failure "$1"
    again
    exit 1
}

# The installer would ask a person whether to go on, and go on; what waits here writes nothing.
fail() {
    logger -t gleaner "$1"
    report_failure "$1"
    again
    while :; do sleep 3600; done
}
tell pre

# The installer tells nobody when it fails, but it writes it down: main-menu names each step and what it ended with.
watch() {
    said=
    while sleep 5; do
        if grep -q "main-menu.*Menu item 'pkgsel' selected" /var/log/syslog; then
            now=packages
        elif grep -q "main-menu.*Menu item 'bootstrap-base' selected" /var/log/syslog; then
            now=packages
        elif grep -q "main-menu.*Menu item 'partman-base' selected" /var/log/syslog; then
            now=partitioning
        else
            now=
        fi
        [ "$now" = "$said" ] || tell "$now"
        said=$now
        # A step that asks a person what to do about it has not ended, and anna's is one.
        wrong=$(grep -e "main-menu.*WARNING.*Configuring '.*' failed with error code" \
            -e 'anna.*WARNING.*package retrieval failed' /var/log/syslog | tail -n 1)
        if [ -n "$wrong" ]; then
            report_failure "$wrong"
            again
        fi
    done
}
# The installer waits until nobody has its pipe open any more; a redirection of the function alone would keep a copy of it.
(exec </dev/null >/dev/null 2>&1 3>&-; watch) &

# What was asked for before anything is written.
sh -c 'echo a'\''b"c\d {{ 7*7 }} {% x %} $HOME `id` <e/> ]]> & # ; | %end é 😀' || fail 'early_commands[0] failed'
exit 0
