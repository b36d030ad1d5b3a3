#!/bin/sh
# Rings where you sit:  bgrun --on-end /usr/local/share/bgtools/notify/bell.sh -- …
# A notification of the desktop where there is one, else the bell of every terminal that you are logged in at.
set -eu
text="$BG_JOB_NAME $BG_JOB_STATE"
if [ -n "${DBUS_SESSION_BUS_ADDRESS:-}" ] && command -v notify-send > /dev/null; then
    exec notify-send --app-name=bgtools -- "$text" "$BG_JOB_ID"
fi
me=$(id -un)
who | while read -r user terminal _; do
    if [ "$user" = "$me" ] && [ -w "/dev/$terminal" ]; then
        printf '\a%s: %s\r\n' "$BG_JOB_ID" "$BG_JOB_STATE" > "/dev/$terminal"
    fi
done
