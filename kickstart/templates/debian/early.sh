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
        wrong=$(grep "main-menu.*WARNING.*Configuring '.*' failed with error code" /var/log/syslog | tail -n 1)
        if [ -n "$wrong" ]; then
            report_failure "$wrong"
            again
        fi
    done
}
watch </dev/null >/dev/null 2>&1 &

{% include "common/early.sh" %}
exit 0
