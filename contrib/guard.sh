# shellcheck shell=sh
# Source this at the head of a heavy script:   . "$(dirname "$0")/../contrib/guard.sh"
# Unless bgrun started the script (GRAV_BG_JOB=1), it says so in one line on stderr and exits 1.
# Works in sh, dash, busybox, bash and zsh, also after `set -eu`.

[ "${GRAV_BG_JOB-}" = 1 ] || {
    # A subshell, so that no variable of the script is touched.
    (
        # In zsh $0 is the sourced file itself; the script's name is elsewhere.
        if [ -n "${ZSH_VERSION-}" ]; then name=${ZSH_ARGZERO-$0}; else name=$0; fi
        LC_ALL=C
        export LC_ALL
        # The name is data: C0, DEL and the UTF-8 form of C1 (0xC2 0x80-0x9F) could drive the terminal. The x keeps
        # a newline at the end from vanishing in $( ); tr gets its 32 marks in full, as not every tr repeats one.
        c1=$(printf '\302[\200-\237]')
        shown=$(printf '%sx' "${name##*/}" | tr '\001-\037\177' '????????????????????????????????' 2>/dev/null |
            sed "s/$c1/?/g" 2>/dev/null) || shown=
        shown=${shown%x}
        shown=${shown:-script}
        # bgrun takes letters of any script, digits and . _ - in a name, but no . or - in front.
        job=$(printf '%s' "${shown%.*}" |
            sed "s/[^A-Za-z0-9._$(printf '\200-\377')-]/_/g; s/^[.-]*//" 2>/dev/null) || job=
        printf '%s: start me through the dispatcher: bgrun --name %s -- … / dispatcher経由で実行してください (bgrun)\n' \
            "$shown" "${job:-job}" >&2
    ) || :
    exit 1
}
