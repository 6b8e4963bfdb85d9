{% if os.packages == "apt" %}
{% set text %}{% include "common/apt-proxy.ini" %}{% endset %}
put /etc/apt/apt.conf.d/90gleaner-proxy 0644 {{ text | b64 }}
{% elif os.packages == "dnf" %}
sed -i '/^proxy=/d' /etc/dnf/dnf.conf
echo {{ "proxy=" ~ spec.proxy }} >>/etc/dnf/dnf.conf
{% else %}
sed -i -e 's/^PROXY_ENABLED=.*/PROXY_ENABLED="yes"/' -e '/^HTTPS\{0,1\}_PROXY=/d' /etc/sysconfig/proxy
echo {{ "HTTP_PROXY=" ~ spec.proxy }} >>/etc/sysconfig/proxy
echo {{ "HTTPS_PROXY=" ~ spec.proxy }} >>/etc/sysconfig/proxy
{% endif %}
