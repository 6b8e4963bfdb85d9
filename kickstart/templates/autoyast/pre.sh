LOGS=/var/log/YaST2/y2log
{% include "common/report.sh" %}
{% include "common/again.sh" %}
tell {{ stage.pre }}

# YaST tells nobody when it fails, but it writes down every error that it shows.
watch() {
    while sleep 5; do
        wrong=$(grep '<3>.*Report\.rb' /var/log/YaST2/y2log 2>/dev/null | tail -n 1)
        if [ -n "$wrong" ]; then
            report_failure "$wrong"
            again
        fi
    done
}
(exec </dev/null >/dev/null 2>&1; watch) &

{% include "common/early.sh" %}
{% include "common/disks.sh" %}
# YaST takes the profile that lies here in the place of the one it came with. The names that stand there are of no
# disk: without this, nothing is written.
sed -e "s|<device>/dev/gleaner/disk1</device>|<device>/dev/$DISK1</device>|" \
{% if spec.storage.layout.kind == "raid1" %}
    -e "s|<device>/dev/gleaner/disk2</device>|<device>/dev/$DISK2</device>|" \
{% endif %}
    /tmp/profile/autoinst.xml >/tmp/profile/modified.xml || fail "the profile could not be written"
tell {{ stage.partitioning }}
