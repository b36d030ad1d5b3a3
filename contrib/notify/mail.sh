#!/bin/sh
# Mails the end of a job:  bgrun --on-fail '/usr/local/share/bgtools/notify/mail.sh me@example.org' -- …
# The record comes on standard input, BG_JOB_ID, BG_JOB_STATE, BG_JOB_RUN and BG_JOB_LOG in the environment.
set -eu
to=${1:-${USER:-root}}
{
    echo "Job $BG_JOB_ID is $BG_JOB_STATE (run $BG_JOB_RUN) on $(uname -n)."
    echo
    echo "The last lines of $BG_JOB_LOG:"
    # A log may hold anything; a mail holds text.
    tail -n 20 -- "$BG_JOB_LOG" 2> /dev/null | tr -cd '\11\12\40-\176\200-\377' || true
    echo
    echo 'The record:'
    cat
} | mail -s "[bgtools] $BG_JOB_NAME $BG_JOB_STATE" -- "$to"
