LOGS="/var/log/installer/subiquity-server-debug.log /var/log/installer/curtin-install.log"
{% include "common/report.sh" %}
curl -fsS --retry 5 --retry-connrefused -o /target/root/gleaner-late.sh {{ answers ~ "/target.sh" }} ||
    fail "late step: target.sh could not be fetched"
curtin in-target --target=/target -- sh /root/gleaner-late.sh || exit 1
rm -f /target/root/gleaner-late.sh
