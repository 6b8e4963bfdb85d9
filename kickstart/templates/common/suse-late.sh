LOGS=/var/log/YaST2/y2log
{% include "common/report.sh" %}
{% include "common/again.sh" %}
(umask 077 && curl -fsS --retry 5 --retry-connrefused -o /root/gleaner-late.sh {{ answers ~ "/target.sh" }}) ||
    fail "late step: target.sh could not be fetched"
sh /root/gleaner-late.sh || fail "late step: target.sh ended with an error"
rm -f /root/gleaner-late.sh
