step="network"
{% for card in net.cards %}
{% set text %}{% include "debian/card.ini" %}{% endset %}
put {{ "/etc/systemd/network/10-" ~ card.id ~ ".network" }} 0644 {{ text | b64 }}
{% endfor %}
{% if net.bond %}
{% set text %}{% include "debian/bond.ini" %}{% endset %}
put /etc/systemd/network/20-bond0.netdev 0644 {{ text | b64 }}
{% set device = net.bond %}
{% set text %}{% include "debian/device.ini" %}{% endset %}
put /etc/systemd/network/20-bond0.network 0644 {{ text | b64 }}
{% endif %}
{% if net.vlan %}
{% set text %}{% include "debian/vlan.ini" %}{% endset %}
put /etc/systemd/network/30-vlan.netdev 0644 {{ text | b64 }}
{% set device = net.vlan.name %}
{% set text %}{% include "debian/device.ini" %}{% endset %}
put /etc/systemd/network/30-vlan.network 0644 {{ text | b64 }}
{% endif %}
{% if net.bridge %}
{% set text %}{% include "debian/bridge.ini" %}{% endset %}
put /etc/systemd/network/40-bridge.netdev 0644 {{ text | b64 }}
{% set device = net.bridge %}
{% set text %}{% include "debian/device.ini" %}{% endset %}
put /etc/systemd/network/40-bridge.network 0644 {{ text | b64 }}
{% endif %}
systemctl enable systemd-networkd.service
{% if spec.ntp %}
{% set text %}{% include "common/timesyncd.ini" %}{% endset %}
put /etc/systemd/timesyncd.conf.d/gleaner.conf 0644 {{ text | b64 }}
systemctl enable systemd-timesyncd.service
{% endif %}
# It makes resolv.conf a link to what it will write when it runs; what comes after this needs names too.
cat /etc/resolv.conf >/tmp/gleaner-resolv.conf
DEBIAN_FRONTEND=noninteractive apt-get -q -y install systemd-resolved
if [ ! -e /etc/resolv.conf ]; then
    mkdir -p /run/systemd/resolve
    cat /tmp/gleaner-resolv.conf >/run/systemd/resolve/stub-resolv.conf
fi
systemctl enable systemd-resolved.service
