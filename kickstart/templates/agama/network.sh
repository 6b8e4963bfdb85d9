{% include "common/networkmanager.sh" %}
{% if spec.ntp %}
step="time"
{% set text %}{% include "common/chrony.ini" %}{% endset %}
put /etc/chrony.d/gleaner.conf 0644 {{ text | b64 }}
systemctl enable chronyd.service
{% endif %}
systemctl enable sshd.service
