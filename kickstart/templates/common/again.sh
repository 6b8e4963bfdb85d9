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
