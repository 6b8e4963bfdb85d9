LOGS="/var/log/installer/subiquity-server-debug.log /var/log/installer/curtin-install.log"
{% include "common/report.sh" %}
report_failure "Subiquity stopped"
