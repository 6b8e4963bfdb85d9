step="network"
# These, and no other: what the installer worked with is not what the machine shall have.
rm -f /etc/NetworkManager/system-connections/* /etc/sysconfig/network-scripts/ifcfg-*
{% for card in net.cards %}
{% set text %}{% include "common/nm-card.ini" %}{% endset %}
put {{ "/etc/NetworkManager/system-connections/" ~ card.id ~ ".nmconnection" }} 0600 {{ text | b64 }}
{% endfor %}
{% if net.bond %}
{% set text %}{% include "common/nm-bond.ini" %}{% endset %}
put /etc/NetworkManager/system-connections/bond0.nmconnection 0600 {{ text | b64 }}
{% endif %}
{% if net.vlan %}
{% set text %}{% include "common/nm-vlan.ini" %}{% endset %}
put /etc/NetworkManager/system-connections/vlan.nmconnection 0600 {{ text | b64 }}
{% endif %}
{% if net.bridge %}
{% set text %}{% include "common/nm-bridge.ini" %}{% endset %}
put /etc/NetworkManager/system-connections/bridge.nmconnection 0600 {{ text | b64 }}
{% endif %}
label /etc/NetworkManager/system-connections
systemctl enable NetworkManager.service
