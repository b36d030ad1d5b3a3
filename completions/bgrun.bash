_bgrun() {
    local i cur prev opts cmd
    COMPREPLY=()
    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
        cur="$2"
    else
        cur="${COMP_WORDS[COMP_CWORD]}"
    fi
    prev="$3"
    cmd=""
    opts=""

    for i in "${COMP_WORDS[@]:0:COMP_CWORD}"
    do
        case "${cmd},${i}" in
            ",$1")
                cmd="bgrun"
                ;;
            *)
                ;;
        esac
    done

    case "${cmd}" in
        bgrun)
            opts="-n -e -C -w -f -q -h -V --name --env --env-secret --chdir --memsafe --nice --ionice --oom-score-adj --unique --grace --wait --follow --json --quiet --dry-run --dir --log-dir --log --unsafe-lock --help --version"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 1 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --name)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                -n)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --env)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                -e)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --env-secret)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --chdir)
                    COMPREPLY=()
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o plusdirs
                    fi
                    return 0
                    ;;
                -C)
                    COMPREPLY=()
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o plusdirs
                    fi
                    return 0
                    ;;
                --nice)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --ionice)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --oom-score-adj)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --grace)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --dir)
                    COMPREPLY=()
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o plusdirs
                    fi
                    return 0
                    ;;
                --log-dir)
                    COMPREPLY=()
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o plusdirs
                    fi
                    return 0
                    ;;
                --log)
                    local oldifs
                    if [ -n "${IFS+x}" ]; then
                        oldifs="$IFS"
                    fi
                    IFS=$'\n'
                    COMPREPLY=($(compgen -f "${cur}"))
                    if [ -n "${oldifs+x}" ]; then
                        IFS="$oldifs"
                    fi
                    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
                        compopt -o filenames
                    fi
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
    esac
}

if [[ "${BASH_VERSINFO[0]}" -eq 4 && "${BASH_VERSINFO[1]}" -ge 4 || "${BASH_VERSINFO[0]}" -gt 4 ]]; then
    complete -F _bgrun -o nosort -o bashdefault -o default bgrun
else
    complete -F _bgrun -o bashdefault -o default bgrun
fi

# What the generated function can't know: the jobs there are, and where another command begins.
_bgrun_also() {
    local cur=$2 prev=$3 i
    COMPREPLY=()
    if [[ $cur == = ]]; then
        prev=${COMP_WORDS[COMP_CWORD - 1]} cur=
    elif [[ $prev == = && COMP_CWORD -ge 2 ]]; then
        prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    for (( i = 1; i < COMP_CWORD; i++ )); do
        case ${COMP_WORDS[i]} in
            --) (( i++ )); break ;;
            =) (( i++ )) ;;
            -n|--name|-e|--env|--env-secret|-C|--chdir|--nice|--ionice|--oom-score-adj|--grace|--dir|--log-dir|--log) [[ ${COMP_WORDS[i + 1]} == = ]] || (( i++ )) ;;
            -*) ;;
            *) break ;;
        esac
    done
    if (( i < COMP_CWORD )); then
        if declare -F _command_offset >/dev/null; then _command_offset "$i"; fi
        return
    elif (( i == COMP_CWORD )) && [[ $cur != -* || ${COMP_WORDS[i - 1]} == -- ]]; then
        COMPREPLY=( $(compgen -c -- "$cur") )
        return
    fi
    case $prev in
        -n|--name|-e|--env|--env-secret|-C|--chdir|--nice|--ionice|--oom-score-adj|--grace|--dir|--log-dir|--log)
            _bgrun "$1" "$cur" "$prev"
            return ;;
    esac
    _bgrun "$@"
}
complete -F _bgrun_also -o nosort -o bashdefault -o default bgrun 2>/dev/null || complete -F _bgrun_also -o bashdefault -o default bgrun
