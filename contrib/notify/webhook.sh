#!/bin/sh
# Posts the record of a job as JSON:  bgrun --on-end '/usr/local/share/bgtools/notify/webhook.sh https://example.org/hook' -- …
# A token belongs into a file that only you can read, not into a command line: WEBHOOK_HEADERS names one with a header a line.
set -eu
url=${1:?usage: webhook.sh URL}
exec curl --fail --silent --show-error --max-time 30 --retry 2 \
    ${WEBHOOK_HEADERS:+--header "@$WEBHOOK_HEADERS"} \
    --header 'Content-Type: application/json' --data-binary @- --output /dev/null -- "$url"
