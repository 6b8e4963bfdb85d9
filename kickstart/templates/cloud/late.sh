LOGS="/var/log/cloud-init.log /var/log/cloud-init-output.log"
{% include "common/report.sh" %}
{% include "common/again.sh" %}
[ -s /var/lib/gleaner/late.sh ] || fail "late step: cloud-init has not written it down"
# It says by itself why it stopped.
sh /var/lib/gleaner/late.sh || {
    again
    exit 1
}
rm -f /var/lib/gleaner/late.sh
# Only what is on the disk is done.
sync
: >/var/lib/gleaner/installed
sync
systemctl start --no-block{% for unit in spec.role.units + site.node_init.units %} {{ unit }}{% endfor %}

