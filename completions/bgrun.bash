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
            opts="-n -e -C -w -f -q -h -V --name --env --env-secret --chdir --memsafe --nice --ionice --oom-score-adj --isolate --memory-high --memory-max --memory-swap-max --cpus --pids-max --unique --wait --follow --json --quiet --dry-run --grace --timeout --warn-signal --restart --max-restarts --backoff --max-failures --every --max-runs --watchdog --watchdog-any-cpu --after --after-any --delay --queue --slots --priority --on-end --on-fail --on-stuck --dir --log-dir --log --unsafe-lock --recover --recover-env --help --version"
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
                --isolate)
                    COMPREPLY=($(compgen -W "auto systemd cgroup none" -- "${cur}"))
                    return 0
                    ;;
                --memory-high)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --memory-max)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --memory-swap-max)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --cpus)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --pids-max)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --grace)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --timeout)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --warn-signal)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --restart)
                    COMPREPLY=($(compgen -W "never on-failure always" -- "${cur}"))
                    return 0
                    ;;
                --max-restarts)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --backoff)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --max-failures)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --every)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --max-runs)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --watchdog)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --after)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --after-any)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --delay)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --queue)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --slots)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --priority)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --on-end)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --on-fail)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --on-stuck)
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

# Offers the jobs whose id or name begins with $1, from the directory that the command line means. compgen -W would
# expand the words, and a record can say anything: what the shell would not take as a plain word is left out.
_bgrun_jobs() {
    local i word state id name dir=() odd='*[]$`"\\(){}[<>&|;*?!#~=%^,:@+/[:space:]'\'']*'
    local -A seen=()
    for (( i = 1; i < COMP_CWORD; i++ )); do
        [[ ${COMP_WORDS[i]} == -- ]] && break
        [[ ${COMP_WORDS[i]} == --dir ]] || continue
        word=${COMP_WORDS[i + 1]}
        [[ $word == = ]] && word=${COMP_WORDS[i + 2]}
        word=${word//[\"\'\\]/}
        dir=(--dir "${word/#\~\//$HOME/}")
    done
    while read -r state id name; do
        case $state in
            queued|running|waiting|succeeded|failed|cancelled|timed-out|oom-killed|skipped|lost) ;;
            *) continue ;;
        esac
        for word in "$id" "$name"; do
            [[ $word == $odd || $word != "$1"* || -n ${seen[x$word]-} ]] && continue
            seen[x$word]=1
            COMPREPLY+=("$word")
        done
    done < <(bgstatus "${dir[@]}" -a -o state,id,name 2>/dev/null)
}

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
            -n|--name|-e|--env|--env-secret|-C|--chdir|--nice|--ionice|--oom-score-adj|--isolate|--memory-high|--memory-max|--memory-swap-max|--cpus|--pids-max|--grace|--timeout|--warn-signal|--restart|--max-restarts|--backoff|--max-failures|--every|--max-runs|--watchdog|--delay|--queue|--slots|--priority|--on-end|--on-fail|--on-stuck|--dir|--log-dir|--log) [[ ${COMP_WORDS[i + 1]} == = ]] || (( i++ )) ;;
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
        --after|--after-any)
            _bgrun_jobs "$cur"
            return ;;
        -n|--name|-e|--env|--env-secret|-C|--chdir|--nice|--ionice|--oom-score-adj|--isolate|--memory-high|--memory-max|--memory-swap-max|--cpus|--pids-max|--grace|--timeout|--warn-signal|--restart|--max-restarts|--backoff|--max-failures|--every|--max-runs|--watchdog|--delay|--queue|--slots|--priority|--on-end|--on-fail|--on-stuck|--dir|--log-dir|--log)
            _bgrun "$1" "$cur" "$prev"
            return ;;
    esac
    _bgrun "$@"
}
complete -F _bgrun_also -o nosort -o bashdefault -o default bgrun 2>/dev/null || complete -F _bgrun_also -o bashdefault -o default bgrun
