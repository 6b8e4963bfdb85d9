# At every start until the first one has come to its end: one that was cut short is begun again, with all of it.
[ ! -e /var/lib/gleaner/installed ] || exit 0
LOGS="/var/log/cloud-init.log /var/log/cloud-init-output.log"
{% include "common/report.sh" %}
{% include "common/again.sh" %}
tell {{ stage.pre }}
# What cloud-init has begun once, it takes for done.
rm -f /var/lib/cloud/instance/sem/config_*
{% if os.name == "cloud-debian" %}
# Debian's locale-gen makes what is listed, whatever cloud-init asks it for.
locale={{ spec.locale }}
grep -qxF "$locale ${locale#*.}" /etc/locale.gen || echo "$locale ${locale#*.}" >>/etc/locale.gen
{% endif %}
{% include "common/early.sh" %}
