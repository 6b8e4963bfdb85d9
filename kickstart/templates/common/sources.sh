{% if spec.proxy %}
{% include "common/proxy.sh" %}
{% endif %}
{% if os.packages == "apt" %}
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
