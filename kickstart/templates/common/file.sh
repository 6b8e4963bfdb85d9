{% set mode = ("0700" if file.executable else "0600") if file.private else ("0755" if file.executable else "0644") %}
put {{ file.path }} {{ mode }} {{ file.contents | b64 }}
label {{ file.path }}
