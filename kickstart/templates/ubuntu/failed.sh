LOGS="/var/log/installer/subiquity-server-debug.log /var/log/installer/curtin-install.log"
{% include "common/report.sh" %}
{% include "common/again.sh" %}
report_failure "Subiquity stopped"
again
