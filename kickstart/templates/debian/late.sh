#!/bin/sh
# When the system is there; preseed/late_command runs it. All else happens inside the installed system.
{% include "debian/report.sh" %}
wget -q -O /target/root/gleaner-late.sh {{ answers ~ "/target.sh" }} || fail "late step: target.sh could not be fetched"
in-target sh /root/gleaner-late.sh || fail "late step: target.sh ended with an error"
rm -f /target/root/gleaner-late.sh
