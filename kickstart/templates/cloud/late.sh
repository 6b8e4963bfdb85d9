LOGS="/var/log/cloud-init.log /var/log/cloud-init-output.log"
{% include "common/report.sh" %}
(umask 077 && curl -fsS --retry 5 --retry-connrefused -o /root/gleaner-late.sh {{ answers ~ "/target.sh" }}) ||
    fail "late step: target.sh could not be fetched"
sh /root/gleaner-late.sh || exit 1
rm -f /root/gleaner-late.sh
systemctl start --no-block{% for unit in spec.role.units + site.node_init.units %} {{ unit }}{% endfor %}

