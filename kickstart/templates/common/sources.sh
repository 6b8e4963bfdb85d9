{% if os.packages == "apt" %}
{% if spec.proxy %}
{% set text %}{% include "common/apt-proxy.ini" %}{% endset %}
put /etc/apt/apt.conf.d/90gleaner-proxy 0644 {{ text | b64 }}
{% endif %}
{% for repository in spec.repositories %}
{% set text %}{% include "common/apt-source.ini" %}{% endset %}
put {{ "/etc/apt/keyrings/" ~ repository.name ~ ".asc" }} 0644 {{ repository.key | b64 }}
put {{ "/etc/apt/sources.list.d/" ~ repository.name ~ ".sources" }} 0644 {{ text | b64 }}
{% endfor %}
{% if spec.repositories %}
apt-get -q update
{% for repository in spec.repositories if repository.packages %}
DEBIAN_FRONTEND=noninteractive apt-get -q -y install{% for package in repository.packages %} {{ package }}{% endfor %}

{% endfor %}
{% endif %}
{% else %}
{% if spec.proxy %}
{% if os.packages == "dnf" %}
sed -i '/^proxy=/d' /etc/dnf/dnf.conf
echo {{ "proxy=" ~ spec.proxy }} >>/etc/dnf/dnf.conf
{% else %}
sed -i -e 's/^PROXY_ENABLED=.*/PROXY_ENABLED="yes"/' -e '/^HTTPS\{0,1\}_PROXY=/d' /etc/sysconfig/proxy
echo {{ "HTTP_PROXY=" ~ spec.proxy }} >>/etc/sysconfig/proxy
echo {{ "HTTPS_PROXY=" ~ spec.proxy }} >>/etc/sysconfig/proxy
{% endif %}
{% endif %}
{% for repository in spec.repositories %}
{% set text %}{% include "common/rpm-source.ini" %}{% endset %}
put {{ "/etc/pki/rpm-gpg/RPM-GPG-KEY-" ~ repository.name }} 0644 {{ repository.key | b64 }}
rpm --import {{ "/etc/pki/rpm-gpg/RPM-GPG-KEY-" ~ repository.name }}
put {{ ("/etc/yum.repos.d/" if os.packages == "dnf" else "/etc/zypp/repos.d/") ~ repository.name ~ ".repo" }} 0644 {{ text | b64 }}
{% if repository.packages %}
{% if os.packages == "dnf" %}
dnf -y install{% for package in repository.packages %} {{ package }}{% endfor %}

{% else %}
zypper --non-interactive install{% for package in repository.packages %} {{ package }}{% endfor %}

{% endif %}
{% endif %}
{% endfor %}
{% endif %}
