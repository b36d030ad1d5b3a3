_bgstatus() {
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
                cmd="bgstatus"
                ;;
            *)
                ;;
        esac
    done

    case "${cmd}" in
        bgstatus)
            opts="-a -o -w -l -f -q -h -V --all --json --output --state --since --wait --timeout --log --follow --quiet --dir --help --version"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 1 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --output)
                    COMPREPLY=($(compgen -W "id name state exit pid run created started ended elapsed cpu peak progress reason info cmd cwd log user host" -- "${cur}"))
                    return 0
                    ;;
                -o)
                    COMPREPLY=($(compgen -W "id name state exit pid run created started ended elapsed cpu peak progress reason info cmd cwd log user host" -- "${cur}"))
                    return 0
                    ;;
                --state)
                    COMPREPLY=($(compgen -W "queued running waiting succeeded failed cancelled timed-out oom-killed skipped lost" -- "${cur}"))
                    return 0
                    ;;
                --since)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --timeout)
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
    complete -F _bgstatus -o nosort -o bashdefault -o default bgstatus
else
    complete -F _bgstatus -o bashdefault -o default bgstatus
fi

# Offers the jobs whose id or name begins with $1, from the directory that the command line means. compgen -W would
# expand the words, and a record can say anything: what the shell would not take as a plain word is left out.
_bgstatus_jobs() {
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
_bgstatus_also() {
    local cur=$2 prev=$3 i
    COMPREPLY=()
    if [[ $cur == = ]]; then
        prev=${COMP_WORDS[COMP_CWORD - 1]} cur=
    elif [[ $prev == = && COMP_CWORD -ge 2 ]]; then
        prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    case $prev in
        -o|--output|--state|--since|--timeout|--dir)
            _bgstatus "$1" "$cur" "$prev"
            return ;;
    esac
    if [[ $cur != -* ]]; then
        _bgstatus_jobs "$cur"
        return
    fi
    _bgstatus "$@"
}
complete -F _bgstatus_also -o nosort -o bashdefault -o default bgstatus 2>/dev/null || complete -F _bgstatus_also -o bashdefault -o default bgstatus
