# cloud-init goes on where a package cannot be had; this does not, and the server hears of it.
step="package sources"
{% if spec.proxy %}
{% include "common/proxy.sh" %}
{% endif %}
{% if os.packages == "apt" %}
{% include "cloud/apt.sh" %}
{% elif os.packages == "dnf" %}
{% set text %}{% include "cloud/dnf-mirror.ini" %}{% endset %}
sed -i 's/^enabled=1/enabled=0/' /etc/yum.repos.d/fedora*.repo
put /etc/yum.repos.d/gleaner-mirror.repo 0644 {{ text | b64 }}
{% else %}
{% set text %}{% include "cloud/zypper-mirror.ini" %}{% endset %}
rm -f /etc/zypp/repos.d/gleaner-mirror.repo
zypper --non-interactive modifyrepo --disable --all || :
put /etc/zypp/repos.d/gleaner-mirror.repo 0644 {{ text | b64 }}
{% endif %}

step="packages"
tell {{ stage.packages }}
{% if os.packages == "apt" %}
export DEBIAN_FRONTEND=noninteractive
# A start that was cut short may have left some of them half set up.
dpkg --configure -a || :
# An index that is missing is said by what needs it.
apt-get -q update || :
apt-get -q -y -o DPkg::Lock::Timeout=600 -o Dpkg::Options::=--force-confold install{% for package in packages %} {{ package }}{% endfor %}

{% elif os.packages == "dnf" %}
dnf -y install{% for package in packages %} {{ package }}{% endfor %}

{% else %}
zypper --non-interactive install{% for package in packages %} {{ package }}{% endfor %}

{% endif %}
