# The mirror, in the place of what the image came with.
# archive URL SUITES COMPONENTS
archive() {
    printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: %s\nSigned-By: %s\n\n' "$@" "$keys"
}
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
{% if os.name == "cloud-ubuntu" %}
keys=/usr/share/keyrings/ubuntu-archive-keyring.gpg
parts="main restricted universe multiverse"
{% else %}
keys=/usr/share/keyrings/debian-archive-keyring.gpg
parts=main
{% endif %}
{
    archive {{ spec.mirror }} "$release $release-updates" "$parts"
{% if spec.security %}
    archive {{ spec.security }} "$release-security" "$parts"
{% endif %}
} >/etc/apt/sources.list.d/gleaner-mirror.sources
rm -f /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list.d/ubuntu.sources
