#!/bin/sh
# Before anything is written; preseed/early_command runs it.
{% include "debian/report.sh" %}
tell {{ stage.pre }}

# The installer tells nobody when it fails, but it writes it down: main-menu names each step and what it ended with.
watch() {
    said=
    while sleep 5; do
        if grep -q "main-menu.*Menu item 'pkgsel' selected" /var/log/syslog; then
            now={{ stage.packages }}
        elif grep -q "main-menu.*Menu item 'bootstrap-base' selected" /var/log/syslog; then
            now={{ stage.packages }}
        elif grep -q "main-menu.*Menu item 'partman-base' selected" /var/log/syslog; then
            now={{ stage.partitioning }}
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

{% include "common/early.sh" %}
exit 0
