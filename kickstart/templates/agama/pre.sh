#!/bin/sh
LOGS="/var/log/YaST2/y2log"
{% include "common/report.sh" %}
{% include "common/again.sh" %}
tell {{ stage.pre }}

# Agama tells nobody when it fails, but its journal does.
watch() {
    while sleep 5; do
        wrong=$(journalctl -b -q -o cat -p err -u 'agama*' 2>/dev/null | tail -n 1)
        if [ -n "$wrong" ]; then
            report_failure "$wrong"
            again
        fi
    done
}
(exec </dev/null >/dev/null 2>&1; watch) &

{% include "common/early.sh" %}
{% include "common/disks.sh" %}
# The profile names disks that do not exist until this gives them their names: without it, nothing is written.
mkdir -p /run/udev/rules.d
echo "ACTION!=\"remove\", SUBSYSTEM==\"block\", KERNEL==\"$DISK1\", SYMLINK+=\"gleaner/disk1\"" >/run/udev/rules.d/99-gleaner.rules
{% if spec.storage.layout.kind == "raid1" %}
echo "ACTION!=\"remove\", SUBSYSTEM==\"block\", KERNEL==\"$DISK2\", SYMLINK+=\"gleaner/disk2\"" >>/run/udev/rules.d/99-gleaner.rules
{% endif %}
udevadm control --reload
udevadm trigger --settle --subsystem-match=block
tell {{ stage.partitioning }}
